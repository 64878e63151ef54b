"""musicnn and its rival VGG, which tag music, and their published weights without TensorFlow.

    python examples/musicnn_checkpoint.py musicnn-0.1.0-py3-none-any.whl my/checkpoint

Both get the log-mel of conf/frontend/musicnn.yaml, windows of 3 s, and give 50 tags. A TensorFlow
checkpoint is two files: `.index`, a sorted table (LevelDB's format) from names to messages of
tensorflow/core/protobuf/tensor_bundle.proto, and `.data`, the numbers.

Source: J. Pons, X. Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging", ISMIR 2019, late-breaking demo; the package musicnn 0.1.0 (ISC).
"""

from __future__ import annotations

import ast
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream.arguments import Count, checked
from irdream.errors import InputError
from irdream.networks import check_size

N_MELS = 96
NAMES = ("MTT_musicnn", "MTT_vgg", "MSD_musicnn", "MSD_vgg")
_EPS = 1e-3  # of a batch norm in TensorFlow
_MAGIC = bytes.fromhex("57fb808b247547db")  # ends a table
_FLOAT = 1


def _compressed(log_mel: Tensor) -> Tensor:
    """Return log10(1 + 10000 power) of the natural log of a magnitude, (batch, 1, mels, frames)."""
    return F.softplus(2 * log_mel + math.log(1e4)).unsqueeze(1) / math.log(10)


class _Maps(nn.Sequential):
    """(batch, into, height, frames) -> (batch, out, height - bands + 1, frames)."""

    def __init__(self, into: int, out: int, bands: int, frames: int) -> None:
        super().__init__(
            nn.ZeroPad2d(((frames - 1) // 2, frames // 2, 0, 0)),
            nn.Conv2d(into, out, (bands, frames)),
            nn.ReLU(),
            nn.BatchNorm2d(out, eps=_EPS),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the maps; for a gradient, those of a tall pattern are computed in a faster way.

        Each height is then an item of a convolution over time whose channels are the bands of
        the pattern: the same numbers, and a gradient in a third of the time.
        """
        pad, conv, *rest = self
        assert isinstance(conv, nn.Conv2d)
        if not (torch.is_grad_enabled() and conv.in_channels == 1 and conv.kernel_size[0] > 1):
            return super().forward(input)
        strips = pad(input).squeeze(1).unfold(1, conv.kernel_size[0], 1)
        # (batch, height, frames, bands)
        maps = F.conv1d(strips.mT.flatten(0, 1), conv.weight.squeeze(1), conv.bias)
        maps = maps.unflatten(0, strips.shape[:2]).transpose(1, 2)
        return nn.Sequential(*rest)(maps)


class MusicnnBody(nn.Module):
    """log-mel (batch, 96, frames) -> (batch, 1506): the maximum and the mean over time of 753 maps.

    204 maps each of patterns 38 and 67 bands high, 51 each of 128, 64 and 32 frames in one band,
    the largest of all bands; and three times 64 of what is around in time.
    """

    any_length: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=_EPS)
        tall = [_Maps(1, 204, bands, 7) for bands in (38, 67)]
        self.front = nn.ModuleList([*tall, *(_Maps(1, 51, 1, long) for long in (128, 64, 32))])
        self.middle = nn.ModuleList([_Maps(into, 64, 1, 7) for into in (561, 64, 64)])
        self.pooled_norm = nn.BatchNorm1d(1506, eps=_EPS)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the features; InputError without a frame, or with other than 96 bands."""
        check_size(log_mel, n_mels=N_MELS, frames=1)
        if log_mel.shape[1] != N_MELS:
            raise InputError(
                f"log_mel={tuple(log_mel.shape)}; expected {N_MELS} mel bands, as frontend=musicnn "
                "gives them"
            )
        given = self.norm(_compressed(log_mel))
        maps = [torch.cat([layer(given).amax(2, keepdim=True) for layer in self.front], dim=1)]
        for i, layer in enumerate(self.middle):
            maps.append(layer(maps[-1]) + (maps[-1] if i else 0))
        over_time = torch.cat(maps, dim=1).squeeze(2)
        pooled = torch.stack([over_time.amax(2), over_time.mean(2)], dim=2)
        return self.pooled_norm(pooled.flatten(1))


@checked
class Musicnn(MusicnnBody):
    """log-mel (batch, 96, frames) -> logits (batch, tags), each a sigmoid's."""

    output: ClassVar[str] = "sigmoid"

    def __init__(self, *, instruments: Count = 50) -> None:
        super().__init__()
        dense = [nn.Linear(1506, 200), nn.ReLU(), nn.BatchNorm1d(200, eps=_EPS)]
        self.head = nn.Sequential(
            nn.Dropout(0.5), *dense, nn.Dropout(0.5), nn.Linear(200, instruments)
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits; InputError without a frame, or with other than 96 bands."""
        return self.head(super().forward(log_mel))


@checked
class MusicVgg(nn.Module):
    """log-mel (batch, 96, 187) -> logits (batch, tags), each a sigmoid's: five 3x3 convolutions."""

    output: ClassVar[str] = "sigmoid"

    def __init__(self, *, instruments: Count = 50) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm2d(1, eps=_EPS)]
        pools = [((1, 4), 2), *[((2, 2), 2)] * 3, ((4, 4), 4)]  # bands, frames; step
        for i, (size, step) in enumerate(pools):
            conv = nn.Conv2d(128 if i else 1, 128, 3, padding=1)
            layers += [conv, nn.ReLU(), nn.BatchNorm2d(128, eps=_EPS)]
            layers += [nn.MaxPool2d(size, step), nn.Dropout(0.25 if i < 4 else 0.5)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(256, instruments)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits; InputError for other windows than of 96 bands and 187 frames or so."""
        check_size(log_mel, n_mels=N_MELS, frames=130)
        maps = self.features(_compressed(log_mel))  # (batch, 128, 1, 2)
        if maps.shape[2:] != (1, 2):
            raise InputError(
                f"log_mel={tuple(log_mel.shape)}; expected 96 mel bands and 130 to 193 frames, "
                "such as 3 s: 187"
            )
        return self.classifier(maps.transpose(1, 3).flatten(1))


def read(path: str | Path, name: str = "MTT_musicnn") -> tuple[Musicnn | MusicVgg, list[str]]:
    """Return a network of the package musicnn with its weights, in eval mode, and its tags.

    `path` is the wheel musicnn-0.1.0-py3-none-any.whl, or the folder `musicnn` of it, `name` one of
    `NAMES`. Raises InputError for another name, or when the files are missing or cannot be read.
    """
    if name not in NAMES:
        raise InputError(f"name={name!r}; expected one of {', '.join(NAMES)}")
    path = Path(path).expanduser()
    try:
        root: Any = zipfile.Path(path, "musicnn/") if path.is_file() else path
        tags = _assigned(root.joinpath("configuration.py").read_text(), f"{name[:3]}_LABELS")
        index = root.joinpath(name, ".index").read_bytes()
        data = root.joinpath(name, ".data-00000-of-00001").read_bytes()
        network = (MusicVgg if name.endswith("vgg") else Musicnn)(instruments=len(tags))
        _fill(network, bundle(index, data))
    except (OSError, KeyError, ValueError, LookupError, zipfile.BadZipFile) as error:
        raise InputError(
            f"cannot read {name} in {str(path)!r}: {error}; expected the wheel of musicnn 0.1.0 "
            "(pip download --no-deps musicnn) or the folder musicnn of it"
        ) from error
    return network.eval(), tags


def _assigned(source: str, name: str) -> list[str]:
    """Return the list that Python source gives a name, without running it."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    raise ValueError(f"configuration.py has no {name}")


@torch.no_grad()
def _fill(network: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Copy weights into layers by kind and order, which is how TensorFlow names them."""
    seen = {"conv2d": 0, "batch_normalization": 0, "dense": 0}
    vgg = isinstance(network, MusicVgg)
    for layer in network.modules():
        kinds = {nn.Conv2d: "conv2d", nn.Linear: "dense"}
        normed = isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        kind = "batch_normalization" if normed else kinds.get(type(layer))  # type: ignore[arg-type]
        if kind is None:
            continue
        i = seen[kind]
        seen[kind] += 1
        name = f"{i + 1}CNN" if vgg and kind == "conv2d" else f"{kind}_{i}" if i else kind
        mine = {"kernel": "weight", "bias": "bias"}
        if normed:
            mine = {"gamma": "weight", "beta": "bias"}
            mine |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
        for theirs, own in mine.items():
            value = weights[f"{name}/{theirs}"].T  # a kernel is (frames, bands, into, out)
            into: Tensor = getattr(layer, own)
            if value.size != into.numel() or value.shape[0] != into.shape[0]:
                raise ValueError(f"{name}/{theirs} is {value.shape[::-1]}, for {tuple(into.shape)}")
            into.copy_(torch.from_numpy(value.copy()).reshape(into.shape))


# TensorFlow's files


def bundle(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Return the float32 tensors of a TensorFlow checkpoint by name.

    They are of `.index`, uncompressed, and of the only `.data-00000-of-00001`; ValueError or
    IndexError when these are something else.
    """
    if index[-8:] != _MAGIC:
        raise ValueError(".index is no table of TensorFlow")
    footer = index[-48:]
    numbers, at = [], 0
    for _ in range(4):  # place and size of two blocks, of which the second lists the others
        number, at = _varint(footer, at)
        numbers.append(number)
    found = {}
    for _, handle in _block(index, *numbers[2:]):
        start, at = _varint(handle, 0)
        for key, value in _block(index, start, _varint(handle, at)[0]):
            entry = dict(_fields(value))
            if not key or entry.get(1) != _FLOAT:  # the head; counters
                continue
            sizes = [
                dict(_fields(size)).get(1, 0) for f, size in _fields(entry.get(2, b"")) if f == 2
            ]
            first, count = entry.get(4, 0), math.prod(sizes)
            if first + 4 * count > len(data):
                raise ValueError(f".data ends before {key.decode()}")
            found[key.decode()] = np.frombuffer(data, "<f4", count, first).reshape(sizes)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        number, shift, at = number | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return number, at


def _block(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values; a key begins as the one before, as far as it says."""
    data = table[start : start + size]
    if table[start + size]:
        raise ValueError(".index is compressed")
    restarts = int.from_bytes(data[-4:], "little")
    at, end, key = 0, len(data) - 4 - 4 * restarts, b""
    while at < end:
        shared, at = _varint(data, at)
        more, at = _varint(data, at)
        length, at = _varint(data, at)
        key = key[:shared] + data[at : at + more]
        yield key, data[at + more : at + more + length]
        at += more + length


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield numbers and values of a message's fields: whole numbers, or bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        else:
            length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at : at + length], at + length
        yield tag >> 3, value
