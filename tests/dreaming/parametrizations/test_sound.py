"""The waveform as it is, and gains: peak, unit, harmonics, what becomes of a sound."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.audio.stft import stft
from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations import Harmonic, StftGain, StftMask, Waveform
from irdream.dreaming.parametrizations.sound import excitation, harmonics_of, pitch_at_samples
from irdream.errors import InputError
from irdream.frontends import ConstantQ, HanLogMel
from irdream.measures.dreams import spectral_flatness
from irdream.recognizer import Recognizer


class Given(nn.Module):
    """A front end that gives the sound itself."""

    sample_rate_hz = hop_samples = 1


# The sound


def started(bench, waveform: Waveform, sounds: torch.Tensor) -> Any:
    return bench.start(waveform, sounds, sounds)


def test_a_sound_stays_below_its_peak(bench) -> None:
    origin = started(bench, Waveform(peak=0.5), torch.tensor([[0.9, -0.9, 0.1]]))
    dream = Waveform(peak=0.5).signal(origin, torch.zeros(1, 3))
    assert dream.tolist() == [[0.5, -0.5, pytest.approx(0.1)]]


def test_sounds_above_full_scale_are_dreamed_as_they_are(bench) -> None:
    sounds = torch.tensor([[900.0, -1200.0, 3.0], [0.9, -0.9, 0.1]])
    origin = started(bench, Waveform(), sounds)
    assert torch.equal(Waveform().signal(origin, torch.zeros(2, 3)), sounds)
    louder = Waveform().signal(origin, torch.tensor([1.0, -1.0])[:, None].expand(2, 3))
    assert louder.tolist() == [[901, -1199, 4], pytest.approx([-0.1, -1, -0.9])]


def test_a_unit_is_a_hundredth_of_the_rms(bench) -> None:
    origin = started(
        bench, Waveform(), torch.tensor([[3.0, -4.0, 3.0, -4.0], [0.0, 0.0, 0.0, 0.0]])
    )
    unit = Waveform().unit(origin)
    torch.testing.assert_close(unit[0], torch.tensor([0.125**0.5 / 10]))
    assert unit[1].item() == pytest.approx(1e-5)  # silence can be changed


# A gain on its spectrum


def test_a_sound_can_keep_the_peak_of_its_original(bench) -> None:
    gain, sounds = StftGain(keep_peak=True), bench.sounds(2, 777)
    origin = bench.origin(gain, sounds, [1, 2])
    for by in (0.5, 1.0, 3.0):
        level = torch.full_like(origin.signal, math.log(by))
        torch.testing.assert_close(gain.waveform(origin, level), sounds)
    changed = gain.waveform(origin, bench.changed(gain, origin))
    torch.testing.assert_close(changed.abs().amax(dim=1), sounds.abs().amax(dim=1))
    assert not torch.allclose(changed, sounds, atol=1e-2)


def test_the_level_that_keeps_the_peak_has_the_gradient_of_the_rms(bench) -> None:
    gain, sounds = StftGain(keep_peak=True), bench.sounds(2, 777)
    origin = bench.origin(gain, sounds, [1, 2])
    weights = torch.rand(2, 777, dtype=sounds.dtype)

    def slope(waveform: Tensor) -> Tensor:
        (found,) = torch.autograd.grad((weights * waveform).sum(), undreamed)
        return found

    undreamed = torch.zeros_like(origin.signal, requires_grad=True)
    loud = StftGain().waveform(origin, undreamed)
    level = (sounds.square().sum(dim=1) / loud.square().sum(dim=1)).sqrt()[:, None]
    expected, found = slope(level * loud), slope(gain.waveform(origin, undreamed))
    torch.testing.assert_close(found, expected)
    # through the peak it is another: most of it lies in one place
    peak = sounds.abs().amax(dim=1) / StftGain().waveform(origin, undreamed).abs().amax(dim=1)
    assert not torch.allclose(slope(peak[:, None] * StftGain().waveform(origin, undreamed)), found)


def test_a_gain_on_high_bins_leaves_a_low_tone(bench) -> None:
    gain = StftGain()
    time = torch.arange(2000, dtype=torch.float64) / 2000
    low, high = (torch.sin(2 * math.pi * hz * time)[None] / 2 for hz in (125.0, 750.0))
    origin = bench.origin(gain, low + high, [1])
    signal = torch.zeros_like(origin.signal)
    signal[:, 16:] = -20.0  # of 33 bins of 31.25 Hz, so from 500 Hz

    sound = gain.waveform(origin, signal)
    torch.testing.assert_close(sound[:, 100:-100], low[:, 100:-100], rtol=0, atol=2e-3)


def test_the_origin_has_the_magnitudes_and_the_phases(bench) -> None:
    origin = bench.origin(StftGain(), bench.sounds(2, 777), [1, 2])
    expected = stft(origin.sound, bench.recognizer.frontend)
    assert torch.equal(origin.own["stft"], expected)
    assert torch.equal(origin.spectrum, expected.abs())
    assert origin.signal.shape == expected.shape
    assert not origin.signal.any()


def test_a_mask_and_its_complement_add_up_to_the_sound(bench) -> None:
    mask, sounds = StftMask(bins=4, frames=4), bench.sounds(2, 777)
    origin = bench.origin(mask, sounds, [1, 2])
    undreamed, parameters = mask.parameters(origin), bench.changed(mask, origin)
    assert parameters.shape == (2, 8, 5)  # of 33 bins and 21 frames
    half = mask.waveform(origin, mask.signal(origin, undreamed))
    torch.testing.assert_close(half, sounds / 2)
    kept, rest = (mask.signal(origin, sign * parameters) for sign in (1, -1))
    assert 0 < float(kept.exp().min()) < 0.1 < 0.9 < float(kept.exp().max()) < 1
    both = [mask.waveform(origin, signal) for signal in (kept, rest)]
    torch.testing.assert_close(both[0] + both[1], sounds)


def test_the_gain_is_limited(bench) -> None:
    gain = StftGain(max_gain_db=20.0)
    origin = bench.origin(gain, bench.sounds(1, 500), [1])
    signal = gain.signal(origin, torch.full_like(origin.signal, -9.0))
    torch.testing.assert_close(signal, torch.full_like(signal, -math.log(10.0)))


@pytest.mark.parametrize("keep_peak", [False, True])
def test_silence_stays_silent_and_its_gradient_finite(bench, keep_peak) -> None:
    gain = StftGain(keep_peak=keep_peak)
    origin = bench.origin(gain, torch.zeros(1, 500, dtype=torch.float64), [1])
    at = bench.changed(gain, origin).requires_grad_()
    _, sound, log_mel = bench.forward(gain, origin, at)
    (gradient,) = torch.autograd.grad(log_mel.sum(), at)
    assert sound is not None
    assert not sound.any()
    assert torch.isfinite(gradient).all()


def test_a_front_end_that_is_no_stft_is_refused(bench) -> None:
    raw = Recognizer(frontend=Given(), model=nn.Identity())
    with pytest.raises(InputError, match=r"StftGain with Given; expected a front end with n_fft"):
        StftGain().start(bench.originals(bench.sounds(1, 500), recognizer=raw))


def test_a_front_end_that_is_no_stft_gets_a_gain_on_one(bench) -> None:
    frontend = ConstantQ(sample_rate_hz=2000, n_bins=24)
    recognizer = Recognizer(frontend=frontend, model=nn.Identity())
    gain, sounds = StftGain(), bench.sounds(1, 4000)
    origin = gain.start(bench.originals(sounds, sounds, recognizer=recognizer))
    doubled = torch.full_like(origin.signal, math.log(2.0))
    sound = gain.waveform(origin, doubled)
    torch.testing.assert_close(sound, 2 * sounds.to(sound), atol=1e-5, rtol=0)


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


def tracked(recognizer: Recognizer, sound: Tensor, **settings):
    made = Harmonic(**settings)
    return made, made.start(Originals.of(recognizer, sound))


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
    made, start = tracked(recognizer, sound)
    signal = made.signal(start, made.parameters(start))
    torch.testing.assert_close(made.waveform(start, signal), sound, atol=1e-6, rtol=0)


def test_a_gain_changes_its_harmonic_alone(recognizer) -> None:
    sound, pitch = vibrato()
    made, start = tracked(recognizer, sound[None])
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
    made, start = tracked(recognizer, sound[None])
    signal = made.signal(start, made.parameters(start))
    signal[:, 1] = 24.0 * math.log(10) / 20
    louder = made._changed(start, signal)[0]
    found = harmonics_of(louder, pitch, 3, RATE_HZ)[0].square().mean(dim=1)
    assert 10 * math.log10(float(found[1] / found[0])) == pytest.approx(
        -19.1, abs=1.5
    )  # 23.4 - 40, re RMS, - 2.5


def test_its_gradient_is_finite_and_the_peak_is_kept(recognizer) -> None:
    sound = vibrato()[0][None]
    made, start = tracked(recognizer, sound)
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
        tracked(recognizer, 0.1 * noise)


# The gain that raises them, too


def gained(recognizer: Recognizer, sound: Tensor, gain_db: float, floor_db: float | None) -> Tensor:
    """Return a sound with a gain on the bins around 880 Hz."""
    made = StftGain(max_gain_db=24.0, floor_db=floor_db)
    start = made.start(Originals.of(recognizer, sound[None]))
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
