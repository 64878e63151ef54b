"""Spectrograms that a sound has."""

from typing import Any

import pytest
import torch

from irdream.audio.stft import inverse_stft, stft
from irdream.dreaming.constraints import Consistency, MaxChange, with_consistency
from irdream.errors import InputError


def test_a_gain_becomes_that_of_its_sound(bench, project) -> None:
    waveform = bench.sounds(2, 4000, seed=1)
    found, asked, held = project(Consistency(every=1), "gain", waveform=waveform, size=0.2)
    spectrum = stft(waveform, bench.frontend) * asked.exp()
    sound = inverse_stft(spectrum, bench.frontend, samples=4000)
    expected = stft(sound, bench.frontend).abs().log() - held.start.spectrum.log()
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, asked, atol=1e-3)


def test_a_log_mel_becomes_that_of_a_sound(bench, project) -> None:
    """Made again of what a sound has, it changes by less than before."""
    found, asked, held = project(Consistency(every=1), "log_mel")
    assert (held(found) - found).square().mean() < 0.5 * (found - asked).square().mean()
    unchanged = held(held.start.log_mel)
    torch.testing.assert_close(unchanged, held.start.log_mel, atol=1e-6, rtol=0)


def test_a_sound_stays(project) -> None:
    found, asked, _ = project(Consistency(every=1), "sound")
    assert found is asked


def test_it_is_put_before_other_constraints() -> None:
    one = MaxChange(db=1.0)
    for given, others in ((None, []), (one, [one]), ([one, one], [one, one])):
        held: Any = with_consistency(given, 5)
        first, *rest = held
        assert isinstance(first, Consistency)
        assert (first.every, rest) == (5, others)
        assert with_consistency(given, 0) is given


def test_a_negative_period_is_refused() -> None:
    with pytest.raises(InputError, match=r"^every=-1; expected a whole number, at least 0"):
        Consistency(every=-1)
