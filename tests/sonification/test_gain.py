from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from irdream.audio.stft import band_shares, inverse_stft, stft
from irdream.frontends import HanLogMel
from irdream.sonification import StftGain

DB = math.log(10) / 20  # one decibel as a natural logarithm
HOP = 512
# Ends that fall anywhere in a hop; at 511 the last taper ends with the sound.
LENGTHS = [20 * HOP + rest for rest in (0, 1, 255, 256, 400, 500, 511)]


@pytest.fixture(scope="module")
def frontend() -> HanLogMel:
    return HanLogMel()


def noise(samples: int = 22_050, *, items: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(items, samples, generator=generator) * 1.6 - 0.8


def sonify(waveform: Tensor, difference: Tensor, frontend: HanLogMel, **settings: float) -> Tensor:
    original = frontend(waveform)
    return StftGain(**settings)(
        dream=original + difference, original=original, waveform=waveform, frontend=frontend
    )


def change_db(waveform: Tensor, sound: Tensor, frontend: HanLogMel) -> Tensor:
    """The mean change of each band in dB, (n_mels,)."""
    return (frontend(sound) - frontend(waveform)).mean(dim=(0, 2)) / DB


@pytest.mark.parametrize("samples", [*LENGTHS, 600, 1024])
def test_no_difference_gives_the_original_back(samples: int, frontend: HanLogMel) -> None:
    waveform = noise(samples, items=2)
    sound = sonify(waveform, torch.zeros(1), frontend)
    assert sound.shape == waveform.shape
    assert torch.allclose(sound, waveform, rtol=0, atol=1e-5)


@pytest.mark.parametrize("gain_db", [-20.0, 6.0206, 40.0])
def test_the_same_gain_everywhere_scales_the_sound(gain_db: float, frontend: HanLogMel) -> None:
    waveform = noise(LENGTHS[-1])
    sound = sonify(waveform, torch.tensor(gain_db * DB), frontend)
    factor = 10 ** (gain_db / 20)
    assert torch.allclose(sound, waveform * factor, rtol=0, atol=1e-5 * max(factor, 1))


def test_a_gain_in_one_band_changes_that_band_only(frontend: HanLogMel) -> None:
    waveform = noise()
    difference = torch.zeros(1, 128, 1)
    difference[:, 60:80] = 6 * DB
    change = change_db(waveform, sonify(waveform, difference, frontend), frontend)
    assert change[62:78] == pytest.approx([6.0] * 16, abs=0.1)
    assert change[:58].abs().max() < 0.1
    assert change[82:].abs().max() < 0.1
    assert (change[58:62].diff() > 0).all()
    assert (change[78:82].diff() < 0).all()


def test_a_gain_in_time_changes_that_time_only(frontend: HanLogMel) -> None:
    waveform = noise()
    difference = torch.zeros(1, 1, 43)
    difference[..., 20:] = 6 * DB
    sound = sonify(waveform, difference, frontend)
    assert torch.allclose(sound[:, : 19 * HOP], waveform[:, : 19 * HOP], atol=1e-5)
    louder = waveform[:, 20 * HOP :] * 10 ** (6 / 20)
    assert torch.allclose(sound[:, 20 * HOP :], louder, atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_gain_is_held(sign: int, frontend: HanLogMel) -> None:
    waveform = noise()
    sound = sonify(waveform, torch.tensor(sign * 100.0), frontend, max_gain_db=12.0)
    factor = 10 ** (sign * 12 / 20)
    assert torch.allclose(sound, waveform * factor, rtol=0, atol=1e-5 * max(factor, 1))


@pytest.mark.parametrize("samples", LENGTHS)
def test_no_click_at_the_end(samples: int, frontend: HanLogMel) -> None:
    waveform = noise(samples)
    frames = samples // HOP
    generator = torch.Generator().manual_seed(1)
    difference = torch.randn(1, 128, frames, generator=generator) * 3 * DB
    sound = sonify(waveform, difference, frontend)
    assert sound[:, -HOP:].abs().max() < 1.5 * sound[:, :-HOP].abs().max()


def test_an_item_does_not_depend_on_the_others(frontend: HanLogMel) -> None:
    waveform = noise(items=3)
    difference = torch.randn(3, 128, 43, generator=torch.Generator().manual_seed(2)) * 3 * DB
    together = sonify(waveform, difference, frontend)
    alone = sonify(waveform[1:2], difference[1:2], frontend)
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_the_same_dream_gives_the_same_sound(frontend: HanLogMel) -> None:
    waveform, difference = noise(), torch.linspace(-1, 1, 128)[:, None]
    first, again = (sonify(waveform, difference, frontend) for _ in range(2))
    assert torch.equal(first, again)


def test_silence_stays_silent(frontend: HanLogMel) -> None:
    sound = sonify(torch.zeros(1, 22_050), torch.tensor(5.0), frontend)
    assert not sound.any()


def test_no_gradient_is_kept(frontend: HanLogMel) -> None:
    assert not sonify(noise(), torch.zeros(1, requires_grad=True), frontend).requires_grad


def test_each_bin_shares_out_its_bands(frontend: HanLogMel) -> None:
    shares = band_shares(frontend.mel_basis)
    assert shares.shape == (513, 128)
    assert shares.min() >= 0
    assert torch.allclose(shares.sum(dim=1), torch.ones(513))
    # A bin takes part in the bands that cover it; those outside all, in their neighbor's.
    covered = frontend.mel_basis.sum(dim=0) > 0
    assert torch.equal(shares[covered] > 0, frontend.mel_basis.T[covered] > 0)
    assert not covered[0]
    assert torch.equal(shares[0], shares[1])
    assert torch.equal(shares[512], shares[511])


def test_bins_far_from_all_bands_take_the_nearest() -> None:
    basis = torch.tensor([[0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 3.0, 0.0, 0.0]])
    expected = torch.tensor(
        [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    )
    assert torch.equal(band_shares(basis), expected)


@pytest.mark.parametrize("samples", LENGTHS)
def test_the_transform_has_the_frames_of_the_front_end(samples: int, frontend: HanLogMel) -> None:
    waveform = noise(samples)
    spectrum = stft(waveform, frontend)
    frames = samples // HOP
    assert spectrum.shape == (1, 513, 1 + math.ceil(samples / HOP))
    log_mel = torch.log(frontend.mel_basis @ spectrum[..., :frames].abs() + frontend.floor)
    assert torch.allclose(log_mel, frontend(waveform), atol=1e-3)
    assert torch.allclose(inverse_stft(spectrum, frontend, samples=samples), waveform, atol=1e-5)
