from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.datasets.cache import log_mels
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.training.waveform import WaveformAugmentation
from irdream.training.waveform_windows import context_frames, on_waveforms

RATE_HZ = 1000
OFF: dict[str, Any] = {
    "semitones": 0.0, "equalizer_db": 0.0, "room_share": 0.0, "mix_share": 0.0, "noise_db": None,
    "gain_db": (0.0, 0.0), "sample_rate_hz": RATE_HZ,
}  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sounds(batch: int = 4, samples: int = 1200) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=generator(9))


def changed(waveform: Tensor, seed: int = 0, **settings: Any) -> tuple[Tensor, Tensor]:
    augment = WaveformAugmentation(**{**OFF, **settings})
    return augment(waveform, torch.eye(11)[: len(waveform)], generator(seed))


def test_a_room_may_be_shorter_than_a_sample() -> None:
    heard, _ = changed(sounds(), room_share=1.0, room_seconds=(1e-6, 1e-5))
    torch.testing.assert_close(heard, sounds())


def level_db(waveform: Tensor) -> Tensor:
    return 10 * torch.log10(waveform.square().mean(1))


def test_with_everything_off_nothing_changes() -> None:
    heard, labels = changed(sounds())
    assert torch.equal(heard, sounds())
    assert torch.equal(labels, torch.eye(11)[:4])


@pytest.mark.parametrize("seed", range(3))
def test_a_tone_moves_by_at_most_a_semitone(seed: int) -> None:
    time = torch.arange(4000) / RATE_HZ
    tone = torch.sin(2 * math.pi * 100 * time).expand(8, -1)
    heard, _ = changed(tone, seed, semitones=1.0)
    inner = heard[:, 300:-300]  # beyond the ends there is nothing to play
    spectrum = torch.fft.rfft(inner * torch.hann_window(inner.shape[1]), n=40_000).abs()
    semitones = 12 * torch.log2(spectrum.argmax(1) * RATE_HZ / 40_000 / 100)
    assert semitones.abs().max() <= 1.01
    assert semitones.std() > 0.2
    torch.testing.assert_close(level_db(inner), level_db(tone[:, 300:-300]), rtol=0, atol=0.1)


def test_an_equalizer_is_a_filter_of_one_shape_over_time() -> None:
    impulses = torch.zeros(300, 1000)
    impulses[:, 500] = 1.0
    heard, _ = changed(impulses, equalizer_db=4.0)
    curves_db = 20 * torch.log10(torch.fft.rfft(heard).abs())
    assert curves_db.std() == pytest.approx(4.0 * 0.82, rel=0.15)  # less between the points
    assert curves_db.diff(dim=1).abs().max() < 1.0


def test_a_room_follows_the_direct_sound_and_decays() -> None:
    impulses = torch.zeros(50, 1000)
    impulses[:, 100] = 1.0
    heard, _ = changed(impulses, room_share=1.0, room_seconds=(0.3, 0.3), room_db=(6.0, 6.0))
    assert heard[:, :100].abs().max() < 1e-5
    assert heard[:, 100].mean().item() == pytest.approx(1.0, abs=1e-4)
    tail = heard[:, 101:].square().mean(0)
    assert 10 * torch.log10(tail.sum()).item() == pytest.approx(-6.0, abs=0.5)
    early, late = tail[:50].mean(), tail[150:200].mean()  # 150 ms later: 30 dB
    assert 10 * torch.log10(early / late).item() == pytest.approx(30.0, abs=3.0)
    some, _ = changed(impulses, room_share=0.4)
    assert 0.1 < (some[:, 101:].abs().amax(1) > 1e-4).float().mean() < 0.7


def test_mixing_adds_another_window_at_its_level() -> None:
    waveform = sounds() * torch.tensor([1.0, 0.1, 2.0, 0.5])[:, None]
    heard, labels = changed(waveform, mix_share=1.0, mix_db=(6.0, 6.0), union=False)
    other = torch.randperm(4, generator=generator())
    below_db = level_db(heard - waveform) - level_db(waveform)
    torch.testing.assert_close(below_db, torch.full((4,), -6.0), rtol=0, atol=0.01)
    assert torch.corrcoef(torch.stack([(heard - waveform)[0], waveform[other[0]]]))[0, 1] > 0.99
    factor = 10 ** (-6 / 20)
    expected = (torch.eye(11)[:4] + factor * torch.eye(11)[:4][other]) / (1 + factor)
    torch.testing.assert_close(labels, expected)
    _, union = changed(waveform, mix_share=1.0, union=True)
    assert torch.equal(union, (expected > 0).float())


def test_noise_and_gain_have_the_level_that_was_asked_for() -> None:
    noisy, _ = changed(sounds(), noise_db=(20.0, 20.0))
    below_db = level_db(noisy - sounds()) - level_db(sounds())
    torch.testing.assert_close(below_db, torch.full((4,), -20.0), rtol=0, atol=0.5)
    loud, _ = changed(sounds(), gain_db=(6.0, 6.0))
    torch.testing.assert_close(loud, sounds() * 10 ** (6 / 20))


def test_silence_stays_finite() -> None:
    augment = WaveformAugmentation(sample_rate_hz=RATE_HZ)
    heard, labels = augment(torch.zeros(4, 1200), torch.eye(11)[:4], generator())
    assert heard.abs().max() < 1e-3
    assert labels.isfinite().all()


def test_the_same_generator_gives_the_same_result() -> None:
    augment = WaveformAugmentation(sample_rate_hz=RATE_HZ)
    results = [augment(sounds(), torch.eye(11)[:4], generator(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"semitones": 1.5}, r"augmentation.semitones=1.5; expected 0 to 1"),
        ({"equalizer_db": -1.0}, r"augmentation.equalizer_db=-1.0; expected 0 or more"),
        ({"room_share": 2.0}, r"augmentation.room_share=2.0; expected 0 to 1"),
        ({"mix_share": -1.0}, r"augmentation.mix_share=-1.0; expected 0 to 1"),
        ({"room_seconds": (0.0, 1.0)}, r"augmentation.room_seconds=\(0.0, 1.0\); expected above 0"),
        ({"gain_db": None}, r"augmentation.gain_db=None; expected \[least, most\]"),
        ({"time_masks": -1}, r"augmentation.time_masks=-1; expected 0 or more"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WaveformAugmentation(**settings)


# Windows of waveforms


@pytest.fixture
def recognizer() -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=RATE_HZ, n_fft=128, hop_samples=40, n_mels=12)
    return Recognizer(frontend=frontend, model=nn.Flatten())


@pytest.fixture
def excerpts(tmp_path: Path) -> Excerpts:
    """Two excerpts of noise, 2.4 s and 1.61 s long."""
    loaded: dict[str, Tensor] = {}
    files = []
    for i, samples in enumerate((2400, 1610)):
        path = tmp_path / str(i)
        path.touch()
        loaded[str(path)] = 0.1 * torch.randn(samples, generator=generator(i))
        files.append(ExcerptFile(path=path, name=str(i), labels=("flu",), recording=str(i)))
    load: Callable[[Path], Tensor] = lambda path: loaded[str(path)]  # noqa: E731
    return Excerpts(files, load)


def test_unchanged_waveforms_have_the_log_mels_of_their_excerpts(
    recognizer: Recognizer, excerpts: Excerpts, tmp_path: Path
) -> None:
    expected = log_mels(excerpts, recognizer.log_mel, cache_dir=None)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        waveforms, heard = on_waveforms(WaveformAugmentation(**OFF), excerpts, recognizer, cache)
        assert waveforms.frames.tolist() == expected.frames.tolist()
        which, starts = np.array([0, 1, 0, 1]), np.array([3, 5, 35, 15])
        cut = waveforms.windows(which, starts, recognizer.window_frames)
        windows, labels = heard(cut, torch.eye(11)[:4], generator())
        inside = expected.windows(which, starts, recognizer.window_frames)
        torch.testing.assert_close(windows[:2], inside[:2], rtol=0, atol=1e-4)
        torch.testing.assert_close(windows[2:, :, :-2], inside[2:, :, :-2], rtol=0, atol=1e-4)
        assert torch.equal(labels, torch.eye(11)[:4])


def test_context_is_enough_for_the_transform_and_for_a_semitone(recognizer: Recognizer) -> None:
    context, hop = context_frames(recognizer), recognizer.hop_samples
    whole = (recognizer.window_frames + 2 * context) * hop
    needed = ((recognizer.window_frames - 1) * hop + 128) * 2 ** (1 / 12)
    assert whole >= needed
    assert context * hop >= 64 * 2 ** (1 / 12)


def test_beyond_an_excerpt_there_is_silence(recognizer: Recognizer, excerpts: Excerpts) -> None:
    waveforms, _ = on_waveforms(WaveformAugmentation(**OFF), excerpts, recognizer, None)
    cut = waveforms.windows(np.array([1]), np.array([0]), 40)
    before = waveforms.context * recognizer.hop_samples
    assert cut[0, :before].abs().max() == 0
    assert torch.equal(cut[0, before : before + 1600], excerpts[1].waveform[:1600])
    assert cut[0, before + 1600 :].abs().max() == 0
