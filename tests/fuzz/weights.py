"""Weights and configurations that a stranger made: loaded, or refused with the file's name; nothing in them is run, and
they take no more memory than they have bytes."""

import io
import json
import pickle
import resource
import shutil
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch

import nanocodec
from evalkit import api
from evalkit.baselines import testing
from evalkit.errors import EvalkitError

from . import damage
from .attempt import Fault, shared

BUILTIN = "nanocodec@1.1k"
SPECS = ("wavtokenizer@0.9k-large", "taae@0.7k", "snac@0.98k", "mimi@1.1k", "encodec@1.5k", "dac@6k-16khz",
    "nanocodec@1.78k", BUILTIN,
         "lyra@3.2k", "xcodec@2k-hubert-ls")  # fmt: skip
BUILTIN_FILE = Path(nanocodec.__file__).parent / "weights" / "mini-1.1k.safetensors"
MOST = 400 * 2**20
"""Bytes by which memory may grow while a narrow model is opened."""


@cache
def good_weights(spec: str) -> Path:
    """Narrow weights in the files of a release."""
    family, _, rate = spec.partition("@")
    if spec == BUILTIN:
        (shared() / spec).mkdir()
        shutil.copy(BUILTIN_FILE, shared() / spec / "model.safetensors")
        return shared() / spec
    return testing.write(family, rate, shared() / spec)


def attempt(rng: Random, folder: Path) -> None:
    """One damaged file of one codec's weights."""
    spec = rng.choice(SPECS)
    shutil.copytree(good_weights(spec), folder / "weights")
    path = rng.choice(sorted(one for one in (folder / "weights").iterdir() if one.is_file()))
    evil = folder / "was-executed"
    _damage(path, rng, evil)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        api.load_codec(spec, weights=folder / "weights" if rng.random() < 0.8 else path)
    except EvalkitError as error:
        if "weights" not in str(error) and spec.partition("@")[0] not in str(error):
            raise Fault(f"the refusal names neither file nor codec: {error}") from error
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if evil.exists():
        raise Fault("code in the weights was executed")
    if grown > MOST:
        raise Fault(f"{path.name} of {spec}, {path.stat().st_size} bytes, took {grown / 2**20:.0f} MB")


def _damage(path: Path, rng: Random, evil: Path) -> None:
    data = path.read_bytes()
    if rng.random() < 0.25:
        damage.put(path, damage.content(data, rng), rng)
    elif path.suffix == ".json":
        damage.put(path, damage.json_text(json.loads(data), rng), rng)
    elif path.suffix == ".safetensors":
        damage.put(path, _safetensors(data, rng), rng)
    elif path.suffix in (".ckpt", ".bin"):
        damage.put(path, _checkpoint(path, rng, evil), rng)
    else:
        damage.put(path, damage.content(data, rng), rng)


def _safetensors(data: bytes, rng: Random) -> bytes:
    """The header or its metadata with values replaced, or another length before it."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    if "__metadata__" in header and "config" in header["__metadata__"] and rng.random() < 0.5:
        config = damage.json_text(json.loads(header["__metadata__"]["config"]), rng)
        header["__metadata__"]["config"] = config.decode("utf-8", "replace")
        written = json.dumps(header).encode()
    elif rng.random() < 0.3:
        name = rng.choice([name for name in header if name != "__metadata__"])
        header[name]["shape"] = rng.choice(([2**40], [0], [-1], [1] * 99, [2**20, 2**20], [2**63, 2]))
        written = json.dumps(header).encode()
    else:
        written = damage.json_text(header, rng)
    length = len(written) if rng.random() < 0.9 else rng.choice((0, 2**31, 2**63, len(written) - 1))
    return struct.pack("<Q", length) + written + data[8 + size :]


class _Evil:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(self._path), "w")


def _checkpoint(path: Path, rng: Random, evil: Path) -> bytes:
    """Tensors that repeat a few bytes, of other types and shapes, among code, compressed, or with names in disorder."""
    found = torch.load(path, weights_only=True)
    state = found.get("state_dict", found)
    kind = rng.randrange(8)
    if kind <= 2:
        for _ in range(rng.randint(1, 3)):
            name = rng.choice(list(state))
            state[name] = _tensor(state[name], rng)
    elif kind == 3:
        name = rng.choice(list(state))
        state[rng.choice(damage.NASTY)] = state.pop(name)
    elif kind == 4:
        state[rng.choice(list(state))] = rng.choice((None, 1.0, "x", [1.0], b"x", torch.zeros(2).to_sparse(), {}))
    elif kind == 5:
        return pickle.dumps({"state_dict": state, "x": _Evil(evil)})
    buffer = io.BytesIO()
    if kind == 6:
        torch.save(found | {"x": _Evil(evil)}, buffer)
    else:
        torch.save(
            rng.choice((found, found, found, list(found), state)), buffer, _use_new_zipfile_serialization=kind != 7
        )
    return _compressed(buffer.getvalue()) if rng.random() < 0.2 and kind < 5 else buffer.getvalue()


def _tensor(tensor: torch.Tensor, rng: Random) -> torch.Tensor:
    kind = rng.randrange(8)
    if kind == 0:
        return torch.zeros(1).expand(2**30)
    if kind == 1:
        return torch.zeros((1,) * max(1, tensor.dim())).expand(tensor.shape or (1,))
    if kind == 2:
        return torch.zeros(1).expand(2**12, 2**12, 2**6)
    if kind == 3:
        return torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor
    if kind == 4:
        return tensor.to(rng.choice((torch.int8, torch.float64, torch.complex64, torch.bool)))
    if kind == 5:
        return torch.zeros(0)
    return tensor[..., None] if kind == 6 else torch.empty(tensor.shape, device="meta")


def _compressed(data: bytes) -> bytes:
    """The zip with its entries deflated, one of them with a gigabyte of zeros behind it."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr(f"{name.partition('/')[0]}/data/999", bytes(2**27))
    return buffer.getvalue()
