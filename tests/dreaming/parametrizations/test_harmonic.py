"""Harmonics and bands of noise: near the original alone, the original without a gain."""

import math

import pytest
import torch
from torch import Tensor, nn

from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations import Harmonic, StftGain
from irdream.dreaming.parametrizations.sound import excitation, harmonics_of, pitch_at_samples
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.measures.sounds import spectral_flatness
from irdream.recognizer import Recognizer

RATE_HZ = 22_050


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(frontend=HanLogMel(), model=nn.Identity())


def vibrato(orders: tuple[int, ...] = tuple(range(1, 9))) -> tuple[Tensor, Tensor]:
    """Return a tone around 440 Hz, half a semitone up and down five times a second, its pitch."""
    time = torch.arange(RATE_HZ, dtype=torch.float64) / RATE_HZ
    pitch = 440.0 * 2.0 ** (0.5 / 12 * torch.sin(2 * math.pi * 5 * time))
    phase = 2 * math.pi / RATE_HZ * pitch.cumsum(0)
    sound = torch.stack([torch.sin(k * phase) / k for k in orders]).sum(dim=0)
    swell = 0.2 + 0.8 * torch.sin(math.pi * time)
    return (0.4 * swell * sound).float(), pitch.float()


def started(recognizer: Recognizer, sound: Tensor, **settings):
    keys = torch.zeros(len(sound), dtype=torch.long)
    originals = Originals(
        recognizer=recognizer, log_mel=recognizer.log_mel(sound), sound=sound, keys=keys
    )
    made = Harmonic(**settings)
    return made, made.start(originals)


def snr_db(sound: Tensor, other: Tensor) -> float:
    return 10 * math.log10(float(sound.square().sum() / (sound - other).square().sum()))


def test_harmonics_alone_are_near_a_tone_with_vibrato() -> None:
    sound, pitch = vibrato()
    found, _ = harmonics_of(sound, pitch, 10, RATE_HZ)
    assert snr_db(sound, found.sum(dim=0)) > 25
    inner = slice(2000, -2000)
    assert snr_db(sound[inner], found.sum(dim=0)[inner]) > 30
    assert found[8:].square().mean() < 1e-4 * sound.square().mean()


def test_they_are_near_it_by_the_pitch_that_is_found(recognizer) -> None:
    sound, _ = vibrato()
    found, _ = harmonics_of(sound, pitch_at_samples(sound, RATE_HZ), 10, RATE_HZ)
    assert snr_db(sound, found.sum(dim=0)) > 20


def test_without_gains_it_is_the_original(recognizer) -> None:
    sound = vibrato()[0][None]
    made, start = started(recognizer, sound)
    signal = made.signal(start, made.parameters(start))
    torch.testing.assert_close(made.waveform(start, signal), sound, atol=1e-6, rtol=0)


def test_a_gain_changes_its_harmonic_alone(recognizer) -> None:
    sound, pitch = vibrato()
    made, start = started(recognizer, sound[None])
    signal = made.signal(start, made.parameters(start))
    signal[:, 1] = -4.0
    quieter = made._changed(start, signal)[0]
    before, after = (
        harmonics_of(x, pitch, 8, RATE_HZ)[0].square().mean(1) for x in (sound, quieter)
    )
    ratio_db = 10 * (after / before).log10()
    assert ratio_db[1] < -20
    assert ratio_db[[0, 2, 3, 4, 5, 6, 7]].abs().max() < 0.5


def test_overtones_can_be_made_where_there_are_none(recognizer) -> None:
    sound, pitch = vibrato(orders=(1, 3))
    made, start = started(recognizer, sound[None])
    signal = made.signal(start, made.parameters(start))
    signal[:, 1] = 24.0 * math.log(10) / 20
    louder = made._changed(start, signal)[0]
    found = harmonics_of(louder, pitch, 3, RATE_HZ)[0].square().mean(dim=1)
    assert 10 * math.log10(float(found[1] / found[0])) == pytest.approx(
        -19.1, abs=1.5
    )  # 23.4 - 40, re RMS, - 2.5


def test_its_gradient_is_finite_and_the_peak_is_kept(recognizer) -> None:
    sound = vibrato()[0][None]
    made, start = started(recognizer, sound)
    parameters = (0.3 * torch.randn(made.parameters(start).shape)).requires_grad_()
    dream = made.waveform(start, made.signal(start, parameters))
    torch.testing.assert_close(dream.abs().amax(), sound.abs().amax())
    (slope,) = torch.autograd.grad(recognizer.log_mel(dream).sum(), parameters)
    assert slope.isfinite().all()
    assert (slope != 0).any()


def test_noise_is_refused(recognizer) -> None:
    noise = torch.randn(1, RATE_HZ, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        InputError, match=r"on a sound with \d+% of its frames voiced; expected 50%"
    ):
        started(recognizer, 0.1 * noise)


# The gain that raises them, too


def gained(recognizer: Recognizer, sound: Tensor, gain_db: float, floor_db: float | None) -> Tensor:
    """Return a sound with a gain on the bins around 880 Hz."""
    made = StftGain(max_gain_db=24.0, floor_db=floor_db)
    keys = torch.zeros(1, dtype=torch.long)
    log_mel = recognizer.log_mel(sound[None])
    start = made.start(
        Originals(recognizer=recognizer, log_mel=log_mel, sound=sound[None], keys=keys)
    )
    signal = made.parameters(start)
    signal[:, 36:46] = gain_db * math.log(10) / 20  # 775 to 990 Hz
    return made.waveform(start, signal)[0]


def test_a_gain_raises_an_overtone_that_is_not_there(recognizer) -> None:
    sound, pitch = vibrato(orders=(1, 3))

    def second_db(of: Tensor) -> float:
        found = harmonics_of(of, pitch, 2, RATE_HZ)[0].square().mean(dim=1)
        return 10 * math.log10(float(found[1] / found[0]))

    alone, raised = (second_db(gained(recognizer, sound, 24.0, floor)) for floor in (None, 10.0))
    assert alone < -30 < -10 < raised
    torch.testing.assert_close(gained(recognizer, sound, 0.0, 10.0), sound, atol=1e-6, rtol=0)


def test_what_is_raised_is_as_loud_as_said_and_noise_where_there_is_no_pitch() -> None:
    sound, _ = vibrato()
    noise = 0.1 * torch.randn(RATE_HZ, generator=torch.Generator().manual_seed(0))
    for of, is_tone in ((sound, True), (noise, False)):
        added = excitation(of, RATE_HZ, 20.0)
        inner = slice(2000, -2000)
        ratio = of[inner].square().mean() / added[inner].square().mean()
        assert 10 * math.log10(float(ratio)) == pytest.approx(20.0, abs=1.0)
        flat = float(spectral_flatness(added[None], n_fft=2048, hop_samples=512))
        assert flat == pytest.approx(0.56, abs=0.02) if not is_tone else flat < 0.45
