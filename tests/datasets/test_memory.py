"""What was decoded is not decoded again, unless its file or what is wanted of it changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from irdream.datasets import starts
from irdream.datasets.memory import Memory
from irdream.errors import InputError


@pytest.fixture
def decoder() -> tuple[Callable[[Path], Tensor], list[str]]:
    """A loader that gives as many samples as the file has bytes, and the names it was asked for."""
    asked: list[str] = []

    def load(path: Path) -> Tensor:
        asked.append(path.name)
        return torch.ones(path.stat().st_size)

    return load, asked


def write(path: Path, size: int) -> Path:
    path.write_bytes(bytes(size))
    return path


def test_a_file_is_decoded_once_for_each_setting(tmp_path: Path, decoder) -> None:
    load, asked = decoder
    memory, path = Memory(), write(tmp_path / "a", 3)

    assert memory(path, load, 22_050) is memory(path, load, 22_050)
    assert asked == ["a"]
    memory(path, load, 44_100)
    assert asked == ["a", "a"]


def test_a_file_that_changed_is_decoded_anew(tmp_path: Path, decoder) -> None:
    load, asked = decoder
    memory, path = Memory(), write(tmp_path / "a", 3)
    memory(path, load)

    assert len(memory(write(path, 5), load)) == 5
    os.utime(path, ns=(1, 1))  # the content is the same
    memory(path, load)
    assert asked == ["a", "a"]


def test_what_was_not_used_for_longest_is_let_go_first(tmp_path: Path, decoder) -> None:
    load, asked = decoder
    a, b, c = (write(tmp_path / name, 10) for name in "abc")
    for path in (a, b, c):
        path.write_text(path.name * 10)
    memory = Memory(max_bytes=80)  # two of 10 float32

    for path in (a, b, a, c):
        memory(path, load)
    assert memory.bytes == 80
    memory(a, load)
    assert asked == ["a", "b", "c"]
    memory(b, load)
    assert asked == ["a", "b", "c", "b"]


def test_what_is_too_long_is_not_kept(tmp_path: Path, decoder) -> None:
    load, _ = decoder
    memory = Memory(max_bytes=80)
    assert len(memory(write(tmp_path / "a", 100), load)) == 100
    assert memory.bytes == 0


def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    def fail(path: Path) -> Tensor:
        raise InputError(f"cannot read {path.name}; check it")

    memory = Memory()
    for path in (tmp_path / "missing", write(tmp_path / "there", 1)):
        with pytest.raises(InputError, match=rf"^cannot read {path.name}; check it$"):
            memory(path, fail)
    assert memory.bytes == 0


def test_a_start_from_files_decodes_them_once(tmp_path: Path, monkeypatch) -> None:
    soundfile.write(tmp_path / "a.wav", torch.rand(9000).numpy() - 0.5, 8000)
    monkeypatch.setattr(starts, "decoded", Memory())
    first, _ = starts.FileStart(path=tmp_path).excerpts(sample_rate_hz=8000, min_seconds=1.0)
    monkeypatch.setattr(starts, "load_audio", None)
    again, _ = starts.FileStart(path=tmp_path, seconds=1.0).excerpts(
        sample_rate_hz=8000, min_seconds=1.0
    )
    assert torch.equal(again[0].waveform, first[0].waveform[:8000])
