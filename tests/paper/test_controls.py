"""Random changes: as large as they should be, each item's own, and harmless to silence."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from irdream.dreaming.parametrizations import Fourier, LogMel, LowResolution, StftGain, Waveform
from irdream.frontends import HanLogMel
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.paper.controls import random_change
from irdream.recognizer import Recognizer

RATE_HZ = 8000
KINDS = [LogMel(), StftGain(), Waveform()]
NAMES = ["log_mel", "stft_gain", "waveform"]
SOUNDS = KINDS[1:]
all_kinds = pytest.mark.parametrize("changed", KINDS, ids=NAMES)
of_sounds = pytest.mark.parametrize("changed", SOUNDS, ids=NAMES[1:])


@pytest.fixture
def recognizer(my_package: ModuleType) -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=RATE_HZ, n_fft=256, hop_samples=200, n_mels=12)
    return Recognizer(frontend=frontend, model=my_package.MyNet()).eval()


def originals() -> Tensor:
    """Return a pure tone, a quiet noise, a tone that ends in digital silence, and a loud noise."""
    time = torch.arange(9999) / RATE_HZ
    tone = torch.sin(2 * math.pi * 440 * time)
    noise = torch.randn(2, 9999, generator=torch.Generator().manual_seed(0))
    half = torch.where(time < 0.6, tone, 0.0)
    return torch.stack([tone, 0.001 * noise[0], half, 0.2 * noise[1]])


def size_db(one: Tensor, other: Tensor) -> Tensor:
    return ((other - one) * DB_PER_NATURAL).square().mean(dim=(1, 2)).sqrt()


@all_kinds
@pytest.mark.parametrize("wanted", [(0.1, 2.0, 1.0, 0.3), (5.0, 0.05, 9.0, 3.0)])
def test_the_change_is_as_large_as_wanted(recognizer, changed, wanted) -> None:
    waveform, wanted_db = originals(), torch.tensor(wanted)

    log_mel, sound = random_change(recognizer, changed, waveform, wanted_db, [1, 2, 3, 4])

    found_db = size_db(recognizer.log_mel(waveform), log_mel)
    torch.testing.assert_close(found_db, wanted_db, rtol=0.02, atol=0)
    if isinstance(changed, LogMel):
        assert sound is None
    else:
        assert sound is not None
        assert sound.shape == waveform.shape
        torch.testing.assert_close(log_mel, recognizer.log_mel(sound))


@all_kinds
def test_no_change_gives_the_original(recognizer, changed) -> None:
    waveform = originals()
    log_mel, sound = random_change(recognizer, changed, waveform, torch.zeros(4), [1, 2, 3, 4])
    if isinstance(changed, StftGain):  # there and back
        torch.testing.assert_close(sound, waveform, rtol=0, atol=1e-5)
    else:
        assert sound is None or torch.equal(sound, waveform)
        assert torch.equal(log_mel, recognizer.log_mel(waveform))


@all_kinds
def test_a_change_belongs_to_its_item_alone(recognizer, changed) -> None:
    waveform, wanted_db, seeds = originals(), torch.tensor([1.0, 2.0, 3.0, 4.0]), [7, 8, 9, 10]
    together = random_change(recognizer, changed, waveform, wanted_db, seeds)
    turned = random_change(
        recognizer, changed, waveform.flip(0), wanted_db.flip(0), list(reversed(seeds))
    )
    for i in range(4):
        one = slice(i, i + 1)
        alone = random_change(recognizer, changed, waveform[one], wanted_db[one], seeds[one])
        for found, of_one, other in zip(together, alone, turned, strict=True):
            if found is not None and of_one is not None and other is not None:
                torch.testing.assert_close(found[one], of_one, rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(found[i], other[3 - i], rtol=1e-4, atol=1e-4)


@all_kinds
def test_other_seeds_give_other_noise(recognizer, changed) -> None:
    waveform, wanted_db = originals()[3:].expand(3, -1), torch.full((3,), 2.0)
    log_mel, _ = random_change(recognizer, changed, waveform, wanted_db, [1, 2, 1])
    change = log_mel - recognizer.log_mel(waveform)
    likeness = torch.corrcoef(change.flatten(1))
    assert likeness[0, 2] > 0.999
    assert likeness[0, 1].abs() < 0.2


def test_noise_in_the_log_mel_is_gaussian_and_white(recognizer) -> None:
    waveform = originals()[3:]
    log_mel, _ = random_change(recognizer, LogMel(), waveform, torch.tensor([2.0]), [5])
    change = (log_mel - recognizer.log_mel(waveform))[0] * DB_PER_NATURAL
    standard_error = 2.0 / math.sqrt(change.numel())
    assert abs(float(change.mean())) < 4 * standard_error
    # The mean magnitude of a normal number is sqrt(2 / pi) of its standard deviation.
    magnitude = float(change.abs().mean())
    assert magnitude == pytest.approx(2.0 * math.sqrt(2 / math.pi), rel=0.06)
    assert abs(float((change[:, 1:] * change[:, :-1]).mean())) < 4 * 4.0 / math.sqrt(480)


@of_sounds
def test_silence_gives_numbers(recognizer, changed) -> None:
    waveform = originals()
    waveform[1] = 0.0
    wanted_db = torch.full((4,), 2.0)
    log_mel, sound = random_change(recognizer, changed, waveform, wanted_db, [1, 2, 3, 4])
    assert sound is not None
    assert log_mel.isfinite().all()
    assert sound.isfinite().all()
    found_db = size_db(recognizer.log_mel(waveform), log_mel)
    if isinstance(changed, StftGain):  # a gain of nothing is nothing
        assert not sound[1].any()
        found_db, wanted_db = found_db[[0, 2, 3]], wanted_db[[0, 2, 3]]
    torch.testing.assert_close(found_db, wanted_db, rtol=0.02, atol=0)


@pytest.mark.parametrize("changed", SOUNDS, ids=NAMES[1:])
@pytest.mark.parametrize("wrapper", [Fourier, LowResolution])
def test_what_is_dreamed_in_other_terms_is_changed_in_its_own(recognizer, changed, wrapper) -> None:
    waveform, wanted_db = originals()[:1], torch.tensor([2.0])
    wrapped = random_change(recognizer, wrapper(of=changed), waveform, wanted_db, [1])
    for found, expected in zip(
        wrapped, random_change(recognizer, changed, waveform, wanted_db, [1]), strict=True
    ):
        assert found is not None
        assert expected is not None
        assert torch.equal(found, expected)


def test_a_sound_of_ones_own_kind_is_changed_as_a_waveform(recognizer) -> None:
    class Mine(LogMel):
        kinds = ("sound",)

    waveform, wanted_db = originals()[:1], torch.tensor([2.0])
    _, sound = random_change(recognizer, Mine(), waveform, wanted_db, [1])
    _, expected = random_change(recognizer, Waveform(), waveform, wanted_db, [1])
    assert sound is not None
    assert expected is not None
    assert torch.equal(sound, expected)
