from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from irdream.audio import load_audio, write_wav
from irdream.errors import InputError

RATE_HZ = 22_050


def sine(seconds: float, *, rate_hz: int = RATE_HZ, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def test_comes_back_within_half_a_step(tmp_path: Path) -> None:
    waveform = torch.linspace(-1, 1, 5001)
    write_wav(tmp_path / "a.wav", waveform, sample_rate_hz=RATE_HZ)
    pcm, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate_hz == RATE_HZ
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    assert np.abs(pcm / 32767 - waveform.numpy()).max() <= 0.5 / 32767 + 1e-6


def test_what_was_read_is_written_unchanged(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", torch.from_numpy(sine(1.0)), sample_rate_hz=RATE_HZ)
    loaded = load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
    write_wav(tmp_path / "b.wav", loaded, sample_rate_hz=RATE_HZ)
    again = load_audio(tmp_path / "b.wav", sample_rate_hz=RATE_HZ)
    torch.testing.assert_close(again, loaded, atol=1 / 32767, rtol=0)


@pytest.mark.parametrize(
    ("waveform", "match"),
    [
        (torch.tensor([0.0, -1.001]), r"peak is 1\.001, above full scale 1; scale it down"),
        (torch.tensor([0.0, torch.nan]), "has NaN or infinite values"),
        (torch.tensor([0.0, torch.inf]), "has NaN or infinite values"),
        (torch.zeros(2, 100), r"shape \(2, 100\), not \(samples,\)"),
    ],
    ids=["loud", "nan", "inf", "batch"],
)
def test_refuses_rather_than_clips(tmp_path: Path, waveform: torch.Tensor, match: str) -> None:
    with pytest.raises(InputError, match=match):
        write_wav(tmp_path / "a.wav", waveform, sample_rate_hz=RATE_HZ)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_wav(tmp_path / "a.wav", torch.zeros(100), sample_rate_hz=RATE_HZ)
    assert os.listdir(tmp_path) == []
