from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from irdream.frontends import HanLogMel
from irdream.sonification import GriffinLim

DB = math.log(10) / 20
HOP = 512
LENGTHS = [20 * HOP + rest for rest in (0, 1, 256, 400, 511)]


@pytest.fixture(scope="module")
def frontend() -> HanLogMel:
    return HanLogMel()


def tone(samples: int = 22_050, *, pitch_hz: float = 220.0) -> Tensor:
    """Nineteen harmonics, the n-th with amplitude 1 / n; (1, samples), peak 1."""
    time = torch.arange(samples) / 22_050
    wave = sum(torch.sin(2 * torch.pi * pitch_hz * n * time) / n for n in range(1, 20))
    assert isinstance(wave, Tensor)
    return (wave / wave.abs().max())[None]


def noise(samples: int = 22_050, *, items: int = 1) -> Tensor:
    return torch.rand(items, samples, generator=torch.Generator().manual_seed(0)) * 2 - 1


def sonify(waveform: Tensor, frontend: HanLogMel, *, iterations: int = 64) -> Tensor:
    """The sound of an undreamed log-mel; of the waveform, only the length may be used."""
    log_mel = frontend(waveform)
    return GriffinLim(iterations=iterations)(
        dream=log_mel, original=log_mel * 0, waveform=waveform * 0, frontend=frontend
    )


def test_a_tone_comes_back_within_three_decibels(frontend: HanLogMel) -> None:
    # Measured over the loudest 40 dB: 3.3 dB after 16 iterations, 2.4 after 64, 1.2 after 200.
    log_mel = frontend(tone())
    loud = log_mel > log_mel.max() - 40 * DB
    assert loud.float().mean() > 0.3
    difference_db = (frontend(sonify(tone(), frontend)) - log_mel)[loud] / DB
    assert difference_db.square().mean().sqrt() < 3
    assert difference_db.mean().abs() < 1


def test_noise_comes_back_within_a_decibel(frontend: HanLogMel) -> None:
    # Measured: 0.3 dB.
    difference_db = (frontend(sonify(noise(), frontend)) - frontend(noise())) / DB
    assert difference_db.square().mean().sqrt() < 1


def test_more_iterations_come_nearer(frontend: HanLogMel) -> None:
    errors = []
    for iterations in (1, 8, 64):
        sound = sonify(tone(), frontend, iterations=iterations)
        errors.append(float((frontend(sound) - frontend(tone())).square().mean()))
    assert errors == sorted(errors, reverse=True)


def test_the_pitch_is_kept(frontend: HanLogMel) -> None:
    spectrum = torch.fft.rfft(sonify(tone(pitch_hz=440.0), frontend)[0]).abs()  # one Hz a bin
    partials = spectrum[220 : 220 + 6 * 440].reshape(6, 440).argmax(dim=1) + 220
    assert (partials - 220).tolist() == pytest.approx([220.0] * 6, abs=15)


@pytest.mark.parametrize("samples", LENGTHS)
def test_length_and_no_click_at_the_end(samples: int, frontend: HanLogMel) -> None:
    sound = sonify(noise(samples), frontend, iterations=8)
    assert sound.shape == (1, samples)
    assert sound[:, -HOP:].abs().max() < 1.5 * sound[:, :-HOP].abs().max()


def test_an_item_does_not_depend_on_the_others(frontend: HanLogMel) -> None:
    waveform = noise(items=3) * torch.tensor([[1.0], [0.01], [1.0]])
    together = sonify(waveform, frontend, iterations=4)
    alone = sonify(waveform[1:2], frontend, iterations=4)
    assert torch.allclose(together[1:2], alone, rtol=0, atol=1e-5)


def test_the_same_dream_gives_the_same_sound(frontend: HanLogMel) -> None:
    first, again = (sonify(tone(), frontend, iterations=4) for _ in range(2))
    assert torch.equal(first, again)


def test_silence_stays_silent(frontend: HanLogMel) -> None:
    sound = sonify(torch.zeros(1, 22_050), frontend, iterations=4)
    assert sound.isfinite().all()
    assert sound.abs().max() < 1e-4


def test_no_gradient_is_kept(frontend: HanLogMel) -> None:
    dream = frontend(noise()).requires_grad_()
    sound = GriffinLim(iterations=1, mel_iterations=1)(
        dream=dream, original=dream, waveform=noise(), frontend=frontend
    )
    assert not sound.requires_grad
