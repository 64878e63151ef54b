import math
from typing import Any

import pytest
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.training.augmentation import SpectrogramAugmentation, WaveformAugmentation

FLOOR = 1e-5
RATE_HZ = 1000
OFF: dict[str, Any] = {
    "gain_db": (0.0, 0.0), "equalizer_db": 0.0, "noise_db": None, "mix_share": 0.0,
}  # fmt: skip
WAVEFORM_OFF = OFF | {"semitones": (0.0, 0.0), "room_share": 0.0, "sample_rate_hz": RATE_HZ}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def log_mels(batch: int = 6, n_mels: int = 24, frames: int = 20) -> Tensor:
    magnitude = torch.rand(batch, n_mels, frames, generator=generator(9)) + 0.01
    return torch.log(magnitude * torch.linspace(0.1, 2, batch)[:, None, None] + FLOOR)


def one_hot(batch: int = 6, instruments: int = 11) -> Tensor:
    return torch.eye(instruments)[torch.arange(batch) % instruments]


def power(log_mel: Tensor) -> Tensor:
    return (log_mel.exp() - FLOOR).clamp(min=0).square()


def augmented(seed: int = 0, *, windows: Tensor | None = None, **settings: Any) -> Tensor:
    windows = log_mels() if windows is None else windows
    changed, _ = SpectrogramAugmentation(**{**OFF, **settings})(
        windows, one_hot(len(windows)), generator(seed)
    )
    return changed


def test_with_everything_off_nothing_changes() -> None:
    torch.testing.assert_close(augmented(), log_mels(), rtol=0, atol=1e-4)


def test_gains_are_drawn_from_the_range_for_each_window() -> None:
    windows = log_mels(200)
    shift = (augmented(windows=windows, gain_db=(-12, 6)) - windows).amax(dim=(1, 2))
    gains_db = shift * 20 / math.log(10)
    assert -12.1 <= gains_db.min() < -10
    assert 4 < gains_db.max() <= 6.01
    shifted = augmented(windows=windows, gain_db=(6, 6)) - windows
    assert (shifted * 20 / math.log(10))[windows > -3] == pytest.approx(6.0, abs=0.02)


def test_the_equalizer_is_one_smooth_curve_for_all_frames() -> None:
    windows = log_mels(300, n_mels=128, frames=5).clamp(min=-5)
    curves_db = (augmented(windows=windows, equalizer_db=4.0) - windows) * 20 / math.log(10)
    torch.testing.assert_close(
        curves_db, curves_db[:, :, :1].expand_as(curves_db), rtol=0, atol=0.05
    )
    assert curves_db.diff(dim=1).abs().max() < 4 * 8 / 20  # twenty bands from point to point
    assert curves_db[:, ::21].std() == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("below_db", [0.0, 20.0])
def test_noise_has_the_level_that_was_asked_for(below_db: float) -> None:
    windows = log_mels(100, n_mels=64, frames=50)
    noisy = augmented(windows=windows, noise_db=(below_db, below_db))
    added = power(noisy) - power(windows)
    levels_db = 10 * torch.log10(added.mean((1, 2)) / power(windows).mean((1, 2)))
    middle_db = 10 * torch.log10(added[:, 31:33].mean((1, 2)) / power(windows).mean((1, 2)))
    assert middle_db.mean() == pytest.approx(-below_db, abs=0.5)  # where the slope has no say
    assert (levels_db + below_db).abs().max() < 6  # 20 dB of slope add up to 3


def mixed(seed: int, windows: Tensor, labels: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
    settings = {**OFF, "mix_share": 1.0, "mix_db": (6.0, 6.0), **settings}
    return SpectrogramAugmentation(**settings)(windows, labels, generator(seed))


@pytest.mark.parametrize("seed", range(3))
def test_mixing_adds_another_window_in_power(seed: int) -> None:
    windows, labels = log_mels(), one_hot()
    other = torch.randperm(6, generator=generator(seed))  # its first draw
    changed, shares = mixed(seed, windows, labels)
    mean = power(windows).mean((1, 2), keepdim=True)
    expected = power(windows) + power(windows)[other] * mean / mean[other] * 10 ** (-6 / 10)
    torch.testing.assert_close(power(changed), expected, rtol=2e-3, atol=1e-7)
    amplitude = 10 ** (-6 / 20)
    torch.testing.assert_close(shares, (labels + amplitude * labels[other]) / (1 + amplitude))


def test_labels_sum_to_one_and_name_what_is_heard() -> None:
    labels = one_hot()
    labels[0, 5] = 1.0  # two of them
    _, shares = mixed(1, log_mels(), labels, mix_share=0.5)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert (shares >= 0).all()
    assert ((shares > 0).sum(1) >= (labels > 0).sum(1)).all()
    _, alone = mixed(1, log_mels(), labels, mix_share=0.0)
    assert alone[0, [0, 5]].tolist() == [0.5, 0.5]
    _, union = mixed(1, log_mels(), labels, mix_share=0.5, union=True)
    assert torch.equal(union, (shares > 0).float())
    assert union.sum() > 7


def test_mix_share_is_the_share_of_windows_that_change() -> None:
    windows = log_mels(400, n_mels=4, frames=4)
    changed, _ = mixed(0, windows, one_hot(400), mix_share=0.3)
    differs = ((changed - windows).abs() > 1e-3).any(2).any(1)
    assert differs.float().mean() == pytest.approx(0.3, abs=0.08)
    alone, shares = mixed(0, windows[:1], one_hot(1))  # has nothing to be mixed with
    torch.testing.assert_close(alone, windows[:1], rtol=0, atol=1e-4)
    assert torch.equal(shares, one_hot(1))


@pytest.mark.parametrize("name", ["time", "band"])
def test_a_mask_is_one_stripe_of_the_mean_in_each_window(name: str) -> None:
    windows = log_mels(300, n_mels=24, frames=20)
    settings = {f"{name}_masks": 1, f"{name}_mask_share": 0.3}
    masked = augmented(windows=windows, **settings)
    changed = (masked - windows).abs() > 1e-3
    along = changed.any(1) if name == "time" else changed.any(2)  # (windows, frames or bands)
    widths = along.sum(1)
    assert widths.min() == 0
    assert widths.max() == (6 if name == "time" else 7)
    assert (along.int().diff(dim=1).abs().sum(1) <= 2).all()  # one stripe
    assert along[:, 0].any()
    assert along[:, -1].any()
    means = windows.mean((1, 2))[:, None, None].expand_as(windows)
    torch.testing.assert_close(masked[changed], means[changed], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("augment", "make"),
    [
        (SpectrogramAugmentation(mix_share=0.5), lambda: log_mels()),
        (WaveformAugmentation(sample_rate_hz=RATE_HZ), lambda: sounds()),
    ],
    ids=["spectrogram", "waveform"],
)
def test_the_same_generator_gives_the_same_result(augment: Any, make: Any) -> None:
    inputs, labels = make(), one_hot(len(make()))
    results = [augment(inputs, labels, generator(seed)) for seed in (1, 1, 2)]
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])
    assert torch.equal(inputs, make())  # which is left alone
    assert torch.equal(labels, one_hot(len(labels)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"gain_db": (6.0, -6.0)},
            r"gain_db=\[6.0,-6.0\]; expected \[least, most\], such as \[0, 6",
        ),
        ({"noise_db": [60, 15]}, r"noise_db=\[60,15\]; expected \[least, most\]"),
        ({"gain_db": None}, "gain_db=null; expected a list of 2 numbers"),
        ({"mix_db": [0, math.nan]}, r"mix_db=\[0,nan\]; expected a list of 2 numbers"),
        ({"mix_share": 1.5}, "mix_share=1.5; expected a number from 0 to 1"),
        ({"time_masks": -1}, "time_masks=-1; expected a whole number, at least 0"),
        ({"equalizer_db": -1.0}, "equalizer_db=-1.0; expected a number, at least 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    for augmentation in (SpectrogramAugmentation, WaveformAugmentation):
        with pytest.raises(InputError, match=f"^{message}"):
            augmentation(**settings)


# Waveforms


def sounds(batch: int = 4, samples: int = 1200) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=generator(9))


def level_db(waveform: Tensor) -> Tensor:
    return 10 * torch.log10(waveform.square().mean(1))


def changed(waveform: Tensor, seed: int = 0, **settings: Any) -> tuple[Tensor, Tensor]:
    augment = WaveformAugmentation(**{**WAVEFORM_OFF, **settings})
    return augment(waveform, one_hot(len(waveform)), generator(seed))


def test_waveforms_stay_with_everything_off_or_next_to_it() -> None:
    sound, labels = changed(sounds())
    assert torch.equal(sound, sounds())
    assert torch.equal(labels, one_hot(4))
    short, _ = changed(sounds(), room_share=1.0, room_seconds=(1e-6, 1e-5))  # than a sample
    torch.testing.assert_close(short, sounds())


@pytest.mark.parametrize("seed", range(3))
def test_a_tone_moves_by_at_most_a_semitone(seed: int) -> None:
    time = torch.arange(4000) / RATE_HZ
    tone = torch.sin(2 * math.pi * 100 * time).expand(8, -1)
    sound, _ = changed(tone, seed, semitones=(-1, 1))
    inner = sound[:, 300:-300]  # beyond the ends there is nothing to play
    spectrum = torch.fft.rfft(inner * torch.hann_window(inner.shape[1]), n=40_000).abs()
    semitones = 12 * torch.log2(spectrum.argmax(1) * RATE_HZ / 40_000 / 100)
    assert semitones.abs().max() <= 1.01
    assert semitones.std() > 0.2
    torch.testing.assert_close(level_db(inner), level_db(tone[:, 300:-300]), rtol=0, atol=0.1)


def test_an_equalizer_is_a_filter_of_one_shape_over_time() -> None:
    impulses = torch.zeros(300, 1000)
    impulses[:, 500] = 1.0
    sound, _ = changed(impulses, equalizer_db=4.0)
    curves_db = 20 * torch.log10(torch.fft.rfft(sound).abs())
    assert curves_db.std() == pytest.approx(4.0 * 0.82, rel=0.15)  # less between the points
    assert curves_db.diff(dim=1).abs().max() < 1.0


def test_a_room_follows_the_direct_sound_and_decays() -> None:
    impulses = torch.zeros(50, 1000)
    impulses[:, 100] = 1.0
    sound, _ = changed(impulses, room_share=1.0, room_seconds=(0.3, 0.3), room_db=(6.0, 6.0))
    assert sound[:, :100].abs().max() < 1e-5
    assert sound[:, 100].mean().item() == pytest.approx(1.0, abs=1e-4)
    tail = sound[:, 101:].square().mean(0)
    assert 10 * torch.log10(tail.sum()).item() == pytest.approx(-6.0, abs=0.5)
    early, late = tail[:50].mean(), tail[150:200].mean()  # 150 ms later: 30 dB
    assert 10 * torch.log10(early / late).item() == pytest.approx(30.0, abs=3.0)
    some, _ = changed(impulses, room_share=0.4)
    assert 0.1 < (some[:, 101:].abs().amax(1) > 1e-4).float().mean() < 0.7


def test_mixing_adds_another_window_at_its_level() -> None:
    waveform = sounds() * torch.tensor([1.0, 0.1, 2.0, 0.5])[:, None]
    sound, labels = changed(waveform, mix_share=1.0, mix_db=(6.0, 6.0), union=False)
    other = torch.randperm(4, generator=generator())
    below_db = level_db(sound - waveform) - level_db(waveform)
    torch.testing.assert_close(below_db, torch.full((4,), -6.0), rtol=0, atol=0.01)
    assert torch.corrcoef(torch.stack([(sound - waveform)[0], waveform[other[0]]]))[0, 1] > 0.99
    factor = 10 ** (-6 / 20)
    expected = (one_hot(4) + factor * one_hot(4)[other]) / (1 + factor)
    torch.testing.assert_close(labels, expected)
    _, union = changed(waveform, mix_share=1.0, union=True)
    assert torch.equal(union, (expected > 0).float())


def test_noise_and_gain_have_the_level_that_was_asked_for() -> None:
    noisy, _ = changed(sounds(), noise_db=(20.0, 20.0))
    below_db = level_db(noisy - sounds()) - level_db(sounds())
    torch.testing.assert_close(below_db, torch.full((4,), -20.0), rtol=0, atol=0.5)
    loud, _ = changed(sounds(), gain_db=(6.0, 6.0))
    torch.testing.assert_close(loud, sounds() * 10 ** (6 / 20))


def test_silence_stays_silence() -> None:
    augment = WaveformAugmentation(sample_rate_hz=RATE_HZ)
    sound, labels = augment(torch.zeros(4, 1200), one_hot(4), generator())
    assert sound.abs().max() < 1e-3
    assert labels.isfinite().all()
    silent = torch.full((4, 24, 20), math.log(FLOOR))
    mel, labels = SpectrogramAugmentation(mix_share=1.0)(silent, one_hot(4), generator())
    torch.testing.assert_close(mel, silent, rtol=0, atol=1e-2)
    assert labels.isfinite().all()
