"""Lyra: TensorFlow Lite files with seeded weights, and, where they are here, the released ones beside LiteRT."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import lyra, tflite
from evalkit.baselines.lyra_model import HOP
from evalkit.baselines.testing import lyra as narrow
from evalkit.baselines.testing import write
from evalkit.errors import MissingError

pytest.importorskip("flatbuffers", reason="writing TensorFlow Lite files needs flatbuffers")
GOLDEN = Path(__file__).parent / "golden" / "lyra.npz"
"""Made by LiteRT with the released weights: tests/oracle/lyra.py --golden."""
build = lyra.FAMILY.build_from


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write("lyra", "3.2k", tmp_path_factory.mktemp("lyra"))


@pytest.mark.parametrize("rate", list(lyra.QUANTIZERS))
def test_lyra_keeps_the_protocol(folder: Path, rate: str) -> None:
    codec, card = build(folder, rate), lyra.FAMILY.info(rate)
    testing.check_codec(codec, lyra.FAMILY.rates[rate], tolerance=0.01)
    built = (codec.sample_rate, codec.frame_rate, codec.codebook_sizes, codec.streaming)
    assert built == (card.sample_rate, card.frame_rate, card.codebook_sizes, card.causal)
    assert codec.codebook_sizes == (16,) * lyra.QUANTIZERS[rate]


def test_every_weight_of_the_files_arrives(folder: Path) -> None:
    loaded = lyra.load([folder / name for name in lyra.RELEASE.files], "test").state_dict()
    for name, tensor in narrow.seeded_model().state_dict().items():
        assert torch.allclose(loaded[name], tensor, rtol=1e-6, atol=1e-8), name


def test_a_frame_needs_nothing_after_it(folder: Path) -> None:
    """As upstream runs it: each 20 ms by themselves, with what came before."""
    codec, voice = build(folder, "3.2k"), testing.speech(1.0, 16_000)
    codes = codec.encode(voice)
    start = codec.encode(voice[: 20 * HOP])
    assert np.array_equal(start.indices, codes.indices[:, :20]) and len(np.unique(codes.indices)) == 16
    decoded = codec.decode(codes)
    assert 0.05 < decoded.std() < 0.2 and np.allclose(codec.decode(start), decoded[: 20 * HOP], atol=1e-5)


def test_fewer_codebooks_are_the_first_ones(folder: Path) -> None:
    voice = testing.speech(0.5, 16_000)
    indices = {rate: build(folder, rate).encode(voice).indices for rate in lyra.QUANTIZERS}
    assert np.array_equal(indices["3.2k"], indices["9.2k"][:16])
    assert np.array_equal(indices["6k"], indices["9.2k"][:30])


def test_what_is_beyond_full_scale_is_clipped(folder: Path) -> None:
    codec = build(folder, "3.2k")
    codec._model.decoder[-1].weight.data *= 100
    audio = codec.decode(codec.encode(testing.speech(0.5, 16_000)))
    assert (audio.min(), audio.max()) == (-1, np.float32(32767 / 32768))


def test_the_card_counts_the_networks() -> None:
    model = narrow.seeded_model()
    assert sum(p.numel() for p in model.parameters()) == lyra.PARAMETERS
    assert lyra.FAMILY.info("9.2k").parameters == lyra.PARAMETERS + model.books.numel()


def agreement(model, wav: np.ndarray, golden) -> tuple[float, float, float, float]:
    """Shares of equal codes in the first 1, 16 and 46 codebooks; the worst ratio of audio to difference in dB."""
    with torch.inference_mode():
        whole = torch.from_numpy(np.pad(wav, (0, -len(wav) % HOP)))[None]
        equal = model.encode(whole, 46)[0].numpy() == golden["codes"]
        ratios = []
        for count in lyra.QUANTIZERS.values():
            theirs = golden[f"audio-{count}"]
            codes = torch.from_numpy(golden["codes"][:count].astype(np.int64))
            ours = model.decode(codes[None])[0].numpy()[:: golden["stride"]]
            ratios.append(10 * np.log10((theirs**2).sum() / ((ours - theirs) ** 2).sum()))
    return equal[0].mean(), equal[:16].mean(), equal.mean(), min(ratios)


@pytest.mark.skipif(lyra.RELEASE.find() is None, reason="no released weights here: evalkit fetch lyra")
def test_the_released_weights_compute_what_litert_computes() -> None:
    """As far as LiteRT's kernels agree with each other: 98 %, 80 % and 49 % of codes, 25 dB."""
    folder = lyra.RELEASE.find()
    codec = lyra.FAMILY.build("3.2k")
    assert codec.name == "lyra@3.2k" and codec.note == ""
    model, wav = lyra.load([folder / name for name in lyra.RELEASE.files], "test"), testing.speech(2.0, 16_000)
    with np.load(GOLDEN) as file:
        golden = dict(file)
    first, some, every, ratio = agreement(model, wav, golden)
    assert first > 0.93 and some > 0.75 and every > 0.42 and ratio > 18, (first, some, every, ratio)
    with torch.no_grad():
        for unit in (model.encoder[1], model.decoder[3]):  # the taps of one depthwise convolution, the wrong way round
            unit.layers[1].weight.copy_(unit.layers[1].weight.flip(-1))
    first, some, every, ratio = agreement(model, wav, golden)
    assert some < 0.75 and every < 0.42 and ratio < 18, (first, some, every, ratio)


def test_files_that_are_no_such_networks_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"lyra@3\.2k: .*soundstream_encoder\.tflite is not there"):
        build(tmp_path, "3.2k")
    good = {name: (folder / name).read_bytes() for name in lyra.RELEASE.files}
    encoder = good[lyra.ENCODER]
    for name, content, message in (
        (lyra.ENCODER, b"", "not a TensorFlow Lite model"),
        (lyra.ENCODER, b"\x08\0\0\0TFL3" + bytes(30), "layers|list index|damaged"),
        (lyra.ENCODER, encoder[:-5000], "damaged"),
        (lyra.ENCODER, good[lyra.DECODER], "a layer of .* where .* is expected"),
        (lyra.QUANTIZER, encoder, "non-empty"),
    ):
        for other, bytes_ in (good | {name: content}).items():
            (tmp_path / other).write_bytes(bytes_)
        with pytest.raises(MissingError, match=rf"lyra@3\.2k: .*{name} is not Lyra's network of that name .*{message}"):
            build(tmp_path, "3.2k")


def test_a_damaged_file_raises_nothing_but_a_value_error(folder: Path) -> None:
    """Whatever byte is wrong: offsets that lead out of the file, counts beyond it, types that there are none of."""
    path = folder / "damaged.tflite"
    data = bytearray(narrow.tflite([[(3, {1: (np.ones((2, 3, 1, 1), np.float32), None)})]]))
    for place in range(len(data)):
        for value in (0x00, 0x7F, 0xFF):
            path.write_bytes(bytes(data[:place]) + bytes([value]) + bytes(data[place + 1 :]))
            with suppress(ValueError):
                tflite.read(path)
