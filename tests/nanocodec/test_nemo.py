"""Weights from a stranger: whatever a file holds, opening it ends in one clear error, runs nothing, writes nothing."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import resource
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nanocodec.checkpoint import CheckpointError, load, save
from nanocodec.testing import nemo_bytes, nemo_config, seeded_tensors, tiny

CONFIG = tiny()
TENSORS = seeded_tensors(CONFIG)
YAML = yaml.safe_dump(nemo_config(CONFIG)).encode()


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Write bytes as a file, require that loading it is refused and touches nothing, and return what was said."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)

    def tree() -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_size) for path in tmp_path.rglob("*"))

    def check(data: bytes, name: str = "model.nemo") -> str:
        (home / name).write_bytes(data)
        before = tree()
        with pytest.raises(CheckpointError) as error:
            load(home / name)
        assert tree() == before
        assert name in str(error.value)
        assert len(str(error.value)) < 4000
        return str(error.value)

    yield check
    assert not (home / "ran").exists()


def tar(members: list[tuple[str, bytes] | tarfile.TarInfo], mode: str = "w:", **kwargs: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **kwargs) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def with_weights(weights: bytes, config: bytes = YAML) -> bytes:
    return tar([("./model_config.yaml", config), ("./model_weights.ckpt", weights)])


def saved(value: object, **kwargs: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **kwargs)
    return out.getvalue()


WEIGHTS = saved(TENSORS)


def rezipped(change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The good weights, each record of their zip passed through `change`."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WEIGHTS)) as old, zipfile.ZipFile(out, "w", compression) as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))
    return out.getvalue()


def with_pickle(data: bytes) -> bytes:
    return with_weights(rezipped(lambda name, old: data if name.endswith("data.pkl") else old))


class Reduce:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_the_untouched_file_loads(tmp_path: Path) -> None:
    (tmp_path / "a.nemo").write_bytes(with_weights(WEIGHTS))
    assert load(tmp_path / "a.nemo").config == CONFIG


CALLS = {
    "os.system": Reduce(os.system, "touch ran"),
    "eval": Reduce(eval, "open('ran', 'w')"),
    "exec": Reduce(exec, "open('ran', 'w')"),
    "open": Reduce(open, "ran", "w"),
    "getattr": Reduce(getattr, 1, "real"),
    "torch.load": Reduce(torch.load, "model.nemo"),
    "bytearray": Reduce(bytearray, 1 << 40),
    "torch.ones": Reduce(torch.ones, 1 << 40),
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("name", list(CALLS))
def test_pickles_that_call_functions_are_refused(name: str, protocol: int, refuse: Callable[..., str]) -> None:
    for value in (CALLS[name], {"audio_encoder.pre_conv.conv.bias": CALLS[name]}):
        data = pickle.dumps(value, protocol)
        assert "refused" in refuse(with_pickle(data))
        refuse(with_weights(data))  # torch's oldest format: a pickle without a zip
        refuse(data)
        refuse(data, "model.safetensors")
    refuse(with_weights(saved(TENSORS | {"x": CALLS[name]})))
    refuse(with_weights(saved(TENSORS | {"x": CALLS[name]}, _use_new_zipfile_serialization=False)))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02cposix\nsystem\n(X\x09\x00\x00\x00touch rantR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch ran\x85R.",
        b"(S'touch ran'\niposix\nsystem\n.",
        b"(cposix\nsystem\nS'touch ran'\no.",
        b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00acos\nsystem\nsb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\ncos\nsystem\n\x85R.",
        b"\x80\x02c__builtin__\neval\n(X\x10\x00\x00\x00open('ran', 'w')tR.",
        b"\x82\x01.",
        b"\x80\x02(" + b"(" * 100_000 + b".",
        b"\x80\x02" + b"}" * 10 + b"s.",
        b"\x80\x02X\xff\xff\xff\x7fshort.",
        b"",
    ],
)
def test_handmade_pickles_are_refused(data: bytes, refuse: Callable[..., str]) -> None:
    refuse(with_pickle(data))


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


ARCHIVES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"not an archive",
    "empty tar": tar([]),
    "no weights": tar([("./model_config.yaml", YAML)]),
    "no configuration": tar([("./model_weights.ckpt", WEIGHTS)]),
    "parent names": tar([("../model_config.yaml", YAML), ("../model_weights.ckpt", WEIGHTS)]),
    "absolute names": tar([("/tmp/model_config.yaml", YAML), ("/tmp/model_weights.ckpt", WEIGHTS)]),
    "nested names": tar([("a/model_config.yaml", YAML), ("a/model_weights.ckpt", WEIGHTS)]),
    "twice": tar([("model_config.yaml", YAML), ("./model_config.yaml", YAML), ("model_weights.ckpt", WEIGHTS)]),
    **{
        f"link {kind!r} to {target}": tar([("model_config.yaml", YAML), link("model_weights.ckpt", target, kind)])
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"S")
        for target in ("/etc/passwd", "../model.nemo", "model_config.yaml")
    },
    "many members": tar([(f"m{i}", b"") for i in range(1200)]),
    "bzip2": tar([("model_config.yaml", YAML), ("model_weights.ckpt", WEIGHTS)], "w:bz2"),
    "xz": tar([("model_config.yaml", YAML), ("model_weights.ckpt", WEIGHTS)], "w:xz"),
    "weights compressed inside": with_weights(rezipped(lambda _, old: old, zipfile.ZIP_DEFLATED)),
    "weights doubled inside": with_weights(
        rezipped(lambda name, old: old + bytes(8) if name.endswith("/0") else old)[:-1]
    ),
    "a tensor alone": with_weights(saved(torch.ones(3))),
    "a list": with_weights(saved([torch.ones(3)])),
    "names that are no text": with_weights(saved(dict(enumerate(TENSORS.values())))),
    "values that are no tensors": with_weights(saved(dict.fromkeys(TENSORS, 1.0))),
    "sparse tensors": with_weights(saved({k: v.to_sparse() for k, v in TENSORS.items()})),
    "whole numbers": with_weights(saved({k: v.to(torch.int64) for k, v in TENSORS.items()})),
    "not finite": with_weights(saved({k: v * torch.inf if v.is_floating_point() else v for k, v in TENSORS.items()})),
    "a zip only": WEIGHTS,
    "yaml aliases": with_weights(WEIGHTS, b"a: &a [x, x]\nb: &b [*a, *a]\n" + YAML),
    "yaml objects": with_weights(WEIGHTS, b"a: !!python/object/apply:os.system ['touch ran']\n" + YAML),
    "yaml nesting": with_weights(WEIGHTS, b"a: " + b"[" * 2_000 + YAML),
    "yaml list": with_weights(WEIGHTS, b"[1, 2]"),
    "yaml bytes": with_weights(WEIGHTS, b"\xff\xfe\x00\x01"),
    "yaml too long": with_weights(WEIGHTS, b"#" * (1 << 19) + YAML),
}


@pytest.mark.parametrize("name", list(ARCHIVES))
def test_archives_that_are_no_codecs_are_refused(name: str, refuse: Callable[..., str]) -> None:
    refuse(ARCHIVES[name])
    refuse(gzip.compress(ARCHIVES[name], 1))


def test_a_header_that_announces_more_than_there_is(refuse: Callable[..., str]) -> None:
    info = tarfile.TarInfo("model_weights.ckpt")
    for size in (1 << 32, 8**11 - 1, 1 << 60, -1):
        info.size = size
        header = info.tobuf(tarfile.GNU_FORMAT)
        refuse(tar([("model_config.yaml", YAML)])[: 512 + -(-len(YAML) // 512) * 512] + header + WEIGHTS)


def test_bombs_are_refused_before_they_unfold(refuse: Callable[..., str]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    zeros = gzip.compress(bytes(1 << 20), 9)
    assert "bomb" in refuse(zeros * 300)  # 300 kB for 300 MB
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", bytes(1 << 27))
    assert "bomb" in refuse(with_weights(inside.getvalue()))
    tail = WEIGHTS.rindex(b"PK\x01\x02")
    longer = bytearray(WEIGHTS)
    longer[tail + 20 : tail + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    refuse(with_weights(bytes(longer)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_tensors_that_are_views_of_little_are_refused(refuse: Callable[..., str]) -> None:
    name = "audio_encoder.post_conv.conv.parametrizations.weight.original1"
    huge = torch.zeros(1).expand(1 << 18, 1 << 18, 7)
    assert "declares tensors" in refuse(with_weights(saved(TENSORS | {name: huge})))
    data = WEIGHTS.replace(b"archive", b"archive")  # sizes larger than the storage: change the index by hand
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        index = archive.read("archive/data.pkl")
    for old, new in ((b"K\x18", b"K\xff"), (b"K\x07", b"J\xff\xff\xff\x7f"), (b"K\x04", b"J\xff\xff\xff\xff")):
        refuse(with_pickle(index.replace(old, new)))


def mutations(data: bytes, avoid: tuple[int, int], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damage of every kind, outside of the bytes in `avoid`."""
    rng = random.Random(seed)
    total = len(data.rstrip(b"\0"))  # a tar ends in kilobytes of nothing
    kinds = ["flip", "cut", "zero", "insert", "remove", "swap", "noise"]
    for i in range(count):
        kind = kinds[i % len(kinds)]
        at = rng.randrange(total)
        while avoid[0] <= at < avoid[1] or avoid[0] <= at + 64 < avoid[1]:
            at = rng.randrange(total)
        if i % 3:  # where the structure is: headers, the zip's directory, the index
            at = rng.choice([rng.randrange(512), max(avoid[1], total - rng.randrange(1, 16000))])
        made = bytearray(data)
        if kind == "flip":
            made[at] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del made[at:]
        elif kind == "zero":
            made[at : at + 64] = bytes(64)
        elif kind == "insert":
            made[at:at] = rng.randbytes(rng.randrange(1, 600))
        elif kind == "remove":
            del made[at : at + rng.randrange(1, 600)]
        elif kind == "swap":
            made[at : at + 32], made[-64:-32] = made[-64:-32], made[at : at + 32]
        else:
            made[at : at + 64] = rng.randbytes(64)
        yield f"{kind} at {at}", bytes(made)


@pytest.mark.parametrize("compress", [False, True])
def test_damage_is_an_error_or_does_not_matter(compress: bool, tmp_path: Path) -> None:
    """A tar protects headers, a zip its records, a gzip everything; the YAML in a plain tar is tested by itself."""
    data = nemo_bytes(nemo_config(CONFIG), TENSORS, compress=compress)
    start = 0 if compress else data.index(b"audio_decoder:")
    path = tmp_path / "model.nemo"
    path.write_bytes(data)
    good = load(path).state_dict()
    refused = 0
    for what, damaged in mutations(data, (start, start if compress else start + len(YAML)), 80, seed=int(compress)):
        path.write_bytes(damaged)
        try:
            made = load(path).state_dict()
        except CheckpointError as error:
            refused += 1
            assert "model.nemo" in str(error)
        else:
            assert all(torch.equal(made[name], good[name]) for name in good), what
    assert refused >= 60, refused


def test_damaged_safetensors_end_in_errors_too(tmp_path: Path) -> None:
    path = tmp_path / "model.nemo"
    path.write_bytes(with_weights(WEIGHTS))
    save(load(path), tmp_path / "good.safetensors")
    data = (tmp_path / "good.safetensors").read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    rng = random.Random(0)
    path = tmp_path / "model.safetensors"
    refused = 0
    for i in range(45):
        made = bytearray(data)
        if i % 3 == 0:
            del made[rng.randrange(len(data)) :]
        elif i % 3 == 1:
            made[rng.randrange(header)] ^= 1 << rng.randrange(8)
        else:
            made[rng.randrange(8)] = rng.randrange(256)
        path.write_bytes(made)
        try:
            load(path)
        except CheckpointError:
            refused += 1
    assert refused >= 37, refused
