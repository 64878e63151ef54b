from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from irdream.errors import InputError
from irdream.measures.visqol import is_available, visqol

RATE_HZ = 22_050


class FakeApi:
    """Scores a pair by the root mean square of its difference."""

    def create(self, **settings: object) -> None:
        self.settings = settings

    def measure_from_arrays(self, original: np.ndarray, dream: np.ndarray, rate_hz: int):
        assert self.settings == {"mode": "audio", "disable_global_alignment": True}
        assert rate_hz == 48_000
        assert original.shape == dream.shape == (48_000,)
        assert original.dtype == dream.dtype == np.float64
        return SimpleNamespace(moslqo=np.sqrt(np.mean((dream - original) ** 2)))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visqol", SimpleNamespace(VisqolApi=FakeApi))  # type: ignore


@pytest.mark.usefixtures("fake")
def test_each_pair_is_scored_at_48_khz() -> None:
    original = torch.zeros(2, RATE_HZ)
    original[:, 1000:20_000] = 0.5
    dream = original * torch.tensor([[1.0], [3.0]])

    scores = visqol(original, dream, sample_rate_hz=RATE_HZ)

    assert scores.dtype == torch.float32
    # sqrt of the share of the samples that became 1 louder
    assert scores.tolist() == pytest.approx([0.0, math.sqrt(19_000 / RATE_HZ)], rel=1e-3)


@pytest.mark.usefixtures("fake")
def test_silence_has_no_score() -> None:
    sound, silence = torch.ones(1, RATE_HZ), torch.zeros(1, RATE_HZ)
    assert is_available()
    for pair in ((sound, silence), (silence, sound), (silence, silence)):
        assert visqol(*pair, sample_rate_hz=RATE_HZ).isnan().all()


@pytest.mark.usefixtures("fake")
def test_a_short_sound_is_refused() -> None:
    with pytest.raises(
        InputError, match="500 samples is too short for ViSQOL; expected 960 or more"
    ):
        visqol(torch.ones(1, 500), torch.ones(1, 500), sample_rate_hz=1000)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visqol", None)  # type: ignore
    assert not is_available()
    with pytest.raises(InputError, match=r"not installed; run pip install 'irdream\[visqol\]'"):
        visqol(torch.ones(1, RATE_HZ), torch.ones(1, RATE_HZ), sample_rate_hz=RATE_HZ)


def test_another_package_of_that_name_is_not_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visqol", SimpleNamespace())  # type: ignore
    assert not is_available()


def test_a_dream_with_noise_scores_less_than_the_original_beside_itself() -> None:
    pytest.importorskip("visqol", reason="visqol-python is not installed")
    time = torch.arange(round(0.97 * RATE_HZ)) / RATE_HZ
    original = sum(torch.sin(2 * math.pi * 220 * n * time) / n for n in range(1, 20))
    original = 0.1 * torch.as_tensor(original)
    noise = torch.randn(time.shape, generator=torch.Generator().manual_seed(0))
    scale = original.norm() / noise.norm()
    dreams = torch.stack([original, 0.5 * original, original + 0.1 * scale * noise])

    same, quieter, noisy = visqol(original.expand(3, -1), dreams, sample_rate_hz=RATE_HZ).tolist()

    assert same == pytest.approx(4.732, abs=1e-3)  # that of Google's ViSQOL 3.3.3
    assert quieter == pytest.approx(same, abs=1e-3)
    assert 1 <= noisy < 3
