"""Against the published layers in numpy, channels last as TensorFlow has them, on random weights.

The weights lie in files as TensorFlow writes them, of which a test makes the smallest.
"""

import itertools
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from irdream.checkpoint_folder import load_recognizer, new_recognizer, save_recognizer
from irdream.errors import InputError
from irdream.models import MusicnnBody, Transfer
from irdream.models.musicnn import Musicnn, MusicVgg, read
from irdream.recognizer import Recognizer

Arrays = dict[str, np.ndarray]
CONFIGURATION = "SR = 16000\nMTT_LABELS = ['flute', 'no vocal', 'harp']\n"


# Files as TensorFlow writes them


def varint(number: int) -> bytes:
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + varint(high) if high else bytes([low])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(pairs: Mapping[bytes, bytes]) -> bytes:
    """Keys in order, each as what differs from the one before; one restart; uncompressed."""
    out, before = b"", b""
    for key in sorted(pairs):
        shared = next(
            (i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b),
            min(len(key), len(before)),
        )
        out += varint(shared) + varint(len(key) - shared) + varint(len(pairs[key]))
        out += key[shared:] + pairs[key]
        before = key
    return out + (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"\0crc!"


def written(arrays: Arrays) -> tuple[bytes, bytes]:
    """Return `.index` and `.data` of float32 arrays, and of a counter."""
    data, pairs = b"", {b"": field(1, 1)}
    for name, array in {**arrays, "global_step": np.array(7, np.int64)}.items():
        sizes = b"".join(field(2, field(1, size)) for size in array.shape)
        kind = 1 if array.dtype == np.float32 else 9
        entry = field(1, kind) + field(2, sizes) + field(4, len(data)) + field(5, array.nbytes)
        pairs[name.encode()] = entry + varint(6 << 3 | 5) + b"crc!"
        data += array.tobytes()
    first, empty = block(pairs), block({})
    handle = varint(0) + varint(len(first) - 5)
    last = block({b"z": handle})
    places = [len(first), len(empty) - 5, len(first) + len(empty), len(last) - 5]
    footer = b"".join(map(varint, places)).ljust(40, b"\0")
    return first + empty + last + footer + bytes.fromhex("57fb808b247547db"), data


def saved(folder: Path, arrays: Arrays, name: str = "MTT_musicnn") -> Path:
    (folder / name).mkdir(parents=True)
    (folder / "configuration.py").write_text(CONFIGURATION)
    index, data = written(arrays)
    (folder / name / ".index").write_bytes(index)
    (folder / name / ".data-00000-of-00001").write_bytes(data)
    return folder


# Random weights, by TensorFlow's names and shapes


def random_weights(convolutions: Mapping[str, tuple[int, ...]], dense: list[int]) -> Arrays:
    rng, arrays = np.random.default_rng(0), {}

    def draw(name: str, *shape: int) -> None:
        fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 4
        arrays[name] = rng.normal(0, fan_in**-0.5, shape).astype(np.float32)

    norms = [1, *(shape[-1] for shape in convolutions.values())]
    for name, shape in convolutions.items():
        draw(f"{name}/kernel", *shape)
        draw(f"{name}/bias", shape[-1])
    for i, (into, out) in enumerate(itertools.pairwise(dense)):
        draw(f"dense_{i}/kernel" if i else "dense/kernel", into, out)
        draw(f"dense_{i}/bias" if i else "dense/bias", out)
    for i, size in enumerate([*norms, *dense[:-1]] if len(dense) > 2 else norms):
        name = f"batch_normalization_{i}" if i else "batch_normalization"
        for part in ("gamma", "beta", "moving_mean"):
            draw(f"{name}/{part}", size)
        arrays[f"{name}/moving_variance"] = rng.uniform(0.5, 2, size).astype(np.float32)
    return arrays


def musicnn_weights() -> Arrays:
    shapes = [(7, 38, 1, 204), (7, 67, 1, 204), *((k, 1, 1, 51) for k in (128, 64, 32))]
    shapes += [(7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)]
    names = [f"conv2d_{i}" if i else "conv2d" for i in range(len(shapes))]
    return random_weights(dict(zip(names, shapes, strict=True)), [1506, 200, 3])


def vgg_weights() -> Arrays:
    return random_weights(
        {f"{i}CNN": (3, 3, 1 if i == 1 else 128, 128) for i in range(1, 6)}, [256, 3]
    )


# The published layers


class Published:
    """Layers on (frames, bands, channels), by the number of their kind."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def norm(self, x: np.ndarray, i: int) -> np.ndarray:
        name = f"batch_normalization_{i}" if i else "batch_normalization"
        mean, variance = (self.arrays[f"{name}/moving_{w}"] for w in ("mean", "variance"))
        gamma, beta = (self.arrays[f"{name}/{w}"] for w in ("gamma", "beta"))
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def convolved(
        self, x: np.ndarray, name: str, pad: tuple[int, int], bands: int = 0
    ) -> np.ndarray:
        kernel, bias = self.arrays[f"{name}/kernel"], self.arrays[f"{name}/bias"]
        x = np.pad(x, (pad, (bands, bands), (0, 0)))
        patches = sliding_window_view(x, kernel.shape[:2], axis=(0, 1))  # (t, f, in, kt, kf)
        return np.maximum(np.einsum("tfikl,klio->tfo", patches, kernel, optimize=True) + bias, 0)

    def dense(self, x: np.ndarray, i: int) -> np.ndarray:
        name = f"dense_{i}" if i else "dense"
        return x @ self.arrays[f"{name}/kernel"] + self.arrays[f"{name}/bias"]

    def musicnn(self, x: np.ndarray) -> np.ndarray:
        x = self.norm(x[..., None], 0)
        pads = [(3, 3), (3, 3), (63, 64), (31, 32), (15, 16)]
        maps = []
        for i, pad in enumerate(pads):
            name = f"conv2d_{i}" if i else "conv2d"
            maps.append(self.norm(self.convolved(x, name, pad), i + 1).max(1))
        front = np.concatenate(maps, axis=1)
        found, x = [front], front
        for i in (5, 6, 7):
            more = self.norm(self.convolved(x[..., None], f"conv2d_{i}", (3, 3)), i + 1)[:, 0]
            x = more if i == 5 else more + x
            found.append(x)
        every = np.concatenate(found, axis=1)
        flat = self.norm(np.stack([every.max(0), every.mean(0)], axis=1).ravel(), 9)
        return self.dense(self.norm(np.maximum(self.dense(flat, 0), 0), 10), 1)

    def vgg(self, x: np.ndarray) -> np.ndarray:
        x = self.norm(x[..., None], 0)
        for i, (size, step) in enumerate([((4, 1), 2), *[((2, 2), 2)] * 3, ((4, 4), 4)]):
            x = self.norm(self.convolved(x, f"{i + 1}CNN", (1, 1), 1), i + 1)
            x = sliding_window_view(x, size, axis=(0, 1))[::step, ::step].max((-1, -2))
        return self.dense(x.ravel(), 0)


def log_mel(frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 96, frames, generator=generator) * 2 - 4


@pytest.mark.parametrize(
    ("name", "weights", "frames"),
    [
        ("MTT_musicnn", musicnn_weights, 62),
        ("MTT_musicnn", musicnn_weights, 1),
        ("MTT_vgg", vgg_weights, 187),
    ],
    ids=["musicnn", "one frame", "vgg"],
)
def test_logits_are_the_published_networks(
    tmp_path: Path, name: str, weights: object, frames: int
) -> None:
    arrays: Arrays = weights()  # type: ignore[operator]
    network, tags = read(saved(tmp_path / "musicnn", arrays, name), name)
    assert tags == ["flute", "no vocal", "harp"]
    assert not network.training
    with torch.no_grad():
        ours = network(log_mel(frames)).numpy()
    power = np.exp(2 * log_mel(frames).double().numpy())
    published = getattr(Published(arrays), name[4:])
    for item, logits in zip(np.log10(1 + 10000 * power), ours, strict=True):
        np.testing.assert_allclose(logits, published(item.T), rtol=0, atol=1e-4)


def test_from_a_wheel_to_a_checkpoint(tmp_path: Path) -> None:
    folder, wheel = saved(tmp_path / "musicnn", musicnn_weights()), tmp_path / "musicnn.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    network, tags = read(wheel)
    frontend = {"_target_": "irdream.frontends.HanLogMel", "sample_rate_hz": 16_000, "n_fft": 512}
    spec = {
        "frontend": frontend | {"hop_samples": 256, "n_mels": 96, "power": 2},
        "model": {"_target_": "irdream.models.musicnn.Musicnn", "instruments": 3},
    }
    recognizer = new_recognizer(**spec, labels=tags, window_seconds=3.0)
    recognizer.model.load_state_dict(network.state_dict())
    save_recognizer(recognizer.eval(), tmp_path / "made")
    loaded = load_recognizer(tmp_path / "made")
    assert loaded.window_frames == 187
    assert {*loaded.predict(torch.randn(48_000))} == {*tags}
    head = Transfer(
        embedding=MusicnnBody(), features=1506, weights=str(tmp_path / "made/weights.safetensors")
    ).eval()
    with torch.no_grad():
        pooled = MusicnnBody.forward(network, log_mel(43))  # type: ignore[arg-type]
        torch.testing.assert_close(head.embedding(log_mel(43)), pooled)


# What cannot be read


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name='vgg'; expected one of MTT_musicnn, MTT_vgg"):
        read(tmp_path, "vgg")
    refusals = {
        "is no table of TensorFlow": (b"hello", b""),
        r".data ends before \w+": (written(vgg_weights())[0], b"1234"),
        "1CNN/kernel is": written(vgg_weights() | {"1CNN/kernel": np.zeros((3, 3), np.float32)}),
        "'batch_normalization/gamma'": written({}),
        r"\.index is compressed": (written({})[0].replace(b"\0crc!", b"\1crc!"), b""),
    }
    folder = saved(tmp_path / "musicnn", {}, "MTT_vgg")
    for message, (index, data) in refusals.items():
        (folder / "MTT_vgg" / ".index").write_bytes(index)
        (folder / "MTT_vgg" / ".data-00000-of-00001").write_bytes(data)
        with pytest.raises(InputError, match=f"cannot read MTT_vgg in .*{message}") as error:
            read(folder, "MTT_vgg")
        assert "\n" not in str(error.value)
    for name, message in (("MSD_vgg", "configuration.py has no MSD_LABELS"), ("MTT_musicnn", "")):
        with pytest.raises(InputError, match=f"cannot read {name} .*{message}"):
            read(folder, name)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="expected the wheel of musicnn"):
        read(tmp_path / "text")


def test_other_windows() -> None:
    for frames in (130, 193):
        assert MusicVgg()(torch.zeros(1, 96, frames)).shape == (1, 50)
    with pytest.raises(InputError, match=r"expected 96 mel bands and 130 to 193 frames"):
        MusicVgg()(torch.zeros(1, 96, 194))
    for network in (MusicVgg(), Musicnn()):
        with pytest.raises(InputError, match="at least 96 mel bands"):
            network(torch.zeros(1, 95, 187))
    with pytest.raises(InputError, match="expected 96 mel bands, as frontend=musicnn gives them"):
        MusicnnBody()(torch.zeros(1, 128, 187))


def test_items_do_not_mix_and_gradients_reach_the_log_mel() -> None:
    network, given = Musicnn().eval(), log_mel(40).requires_grad_()
    logits = network(given)
    with torch.no_grad():  # computed in another way
        assert torch.allclose(logits, network(given), atol=1e-4)
    (gradient,) = torch.autograd.grad(logits[0, 3], given)
    assert gradient[0].any()
    assert not gradient[1].any()
    assert Recognizer(frontend=_Frontend(), model=network).output == "sigmoid"


class _Frontend(torch.nn.Module):
    sample_rate_hz, hop_samples = 16_000, 256
