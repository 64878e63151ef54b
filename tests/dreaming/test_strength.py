"""The strength of a dream: steps, gain and where it stops."""

from typing import Any

import pytest

from irdream.dreaming.ascent import with_strength
from irdream.dreaming.parametrizations import Fourier, LogMel, StftGain
from irdream.errors import InputError


@pytest.mark.parametrize(
    ("strength", "steps", "most_db", "confidence"),
    [
        (None, 60, 12.0, None),
        ("quiet", 60, 12.0, 0.93),
        ("clear", 60, 12.0, None),
        ("strong", 60, 18.0, None),
        (2, 60, 24.0, None),
        (0.5, 30, 12.0, None),
        (0.001, 1, 12.0, None),
    ],
)
def test_steps_gain_and_stop(ascent, strength, steps, most_db, confidence) -> None:
    inner = StftGain(max_gain_db=12.0, keep_peak=True, floor_db=30.0)
    given = ascent(parametrization=Fourier(of=inner), steps=60)
    made: Any = with_strength(given, strength)
    assert (made.steps, made.confidence) == (steps, confidence)
    assert made.step_size == given.step_size * (0.25 if strength == "quiet" else 1.0)
    assert made.parametrization.of.max_gain_db == pytest.approx(most_db)
    assert made.parametrization.of.keep_peak
    assert made.parametrization.of.floor_db == 30.0
    assert inner.max_gain_db == 12.0  # of the caller: as it was
    assert given.steps == 60


def test_what_has_no_gain_is_dreamed_for_longer_alone(ascent) -> None:
    log_mel = LogMel()
    made = with_strength(ascent(parametrization=log_mel, steps=10), "strong")
    assert made.parametrization is log_mel
    assert made.steps == 15


@pytest.mark.parametrize("strength", ["loud", 0, -1])
def test_another_strength_is_refused(ascent, strength) -> None:
    with pytest.raises(
        InputError, match=rf"^strength={strength}; expected quiet or clear or strong, or"
    ):
        with_strength(ascent(), strength)
