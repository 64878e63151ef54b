"""Tones and strokes, against medians taken by NumPy and a sound of both."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irdream.dreaming.constraints import Harmonic, Percussive
from irdream.dreaming.constraints.harmonic import running_median
from irdream.errors import InputError


def median(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """The running median of values that are mirrored at the ends."""
    around = [(size // 2, size // 2) if a == axis else (0, 0) for a in range(values.ndim)]
    mirrored = np.pad(values, around, mode="symmetric")
    return np.median(np.lib.stride_tricks.sliding_window_view(mirrored, size, axis), axis=-1)


@pytest.mark.parametrize("values", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("size", [1, 3, 9, 17])
def test_the_median_is_that_of_numpy(values, size) -> None:
    rows = np.random.default_rng(values).normal(size=(3, values))
    found = running_median(torch.from_numpy(rows), size)
    assert torch.equal(found, torch.from_numpy(median(rows, size, axis=1)))


@pytest.mark.parametrize("kind", ["log_mel", "gain", "band_gain"])
def test_a_bin_belongs_to_the_louder_part(project, kind) -> None:
    (tones, origin), (strokes, _) = (
        project(part(frames=7, bands=5), kind) for part in (Harmonic, Percussive)
    )
    level = (origin["spectrum"].abs().log() if kind == "gain" else origin["log_mel"]).numpy()
    harmonic, percussive = median(level, 7, axis=2), median(level, 5, axis=1)

    np.testing.assert_array_equal((tones != origin["signal"]).numpy(), harmonic > percussive)
    np.testing.assert_array_equal((strokes != origin["signal"]).numpy(), percussive > harmonic)


def test_a_tone_is_harmonic_and_a_click_percussive(ear) -> None:
    waveform = 0.3 * torch.sin(torch.arange(8000, dtype=torch.float64) * 0.785398)[None]  # 1 kHz
    waveform[0, 4000] = 20.0
    shares = {}
    for part in (Harmonic, Percussive):
        origin = ear.prepared(part(frames=17, bands=9), "gain", waveform)
        changed = part(frames=17, bands=9)(ear.changed(origin, 1), origin) != 0
        shares[part] = changed[0, 16, 50].item(), changed[0, 40, 100].item()

    assert shares == {Harmonic: (True, False), Percussive: (False, True)}  # (the tone, the click)


def test_a_margin_leaves_more_bins_to_neither(project) -> None:
    neither = []
    for margin_db in (-1.0, 0.0, 6.0):
        parts = [project(part(margin_db=margin_db), "log_mel") for part in (Harmonic, Percussive)]
        kept = [held == origin["signal"] for held, origin in parts]
        neither.append((kept[0] & kept[1]).double().mean().item())
    assert neither[0] == 0
    assert neither[1] < 0.2 < neither[2]


@pytest.mark.parametrize(("name", "size"), [("frames", 4), ("bands", 0), ("frames", -3)])
def test_an_even_number_is_refused(name, size) -> None:
    with pytest.raises(InputError, match=rf"constraint\.{name}={size}; expected an odd number"):
        Harmonic(**{name: size})
