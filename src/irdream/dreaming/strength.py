"""How strong a dream is, by one word or number: how large a gain may get, or how many steps."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Literal

from irdream.arguments import Positive, checked
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.parametrizations import Parametrization, StftGain

ENOUGH = 0.93  # of the target, where a quiet dream stops: 0.9, and what a WAV may lose
QUIET_STEP = 0.25  # length of its steps, as a factor, so that it does not overshoot
FACTORS = {"quiet": 1.0, "clear": 1.0, "strong": 1.5}

Strength = Literal["quiet", "clear", "strong"] | Positive | None


@checked
def with_strength(ascent: Ascent, strength: Strength = None) -> Ascent:
    """Return an ascent whose dreams are weaker or stronger.

    Args:
        ascent: how to dream; left as it is.
        strength: below 1 a factor of the steps; above 1 of the largest gain on the spectrum, in dB,
            or where there is no gain of the steps. "strong" is 1.5: 22.5 dB instead of 15. "clear"
            is 1; "quiet" takes steps a quarter as long and stops where the target has a probability
            of 0.93. None: as it is.
    """
    if strength is None:
        return ascent
    factor = FACTORS[strength] if isinstance(strength, str) else strength
    is_quiet = strength == "quiet"
    larger = _with_gain(ascent.parametrization, factor) if factor > 1.0 else None
    return replace(
        ascent,
        steps=ascent.steps if larger else max(1, round(ascent.steps * factor)),
        step_size=ascent.step_size * (QUIET_STEP if is_quiet else 1.0),
        confidence=ENOUGH if is_quiet else ascent.confidence,
        parametrization=larger or ascent.parametrization,
    )


def _with_gain(parametrization: Parametrization, factor: float) -> Parametrization | None:
    """Return a copy whose gain may be larger; None where it has no gain."""
    if type(parametrization) is StftGain:  # a mask, which is one, has no largest gain
        return replace(parametrization, max_gain_db=parametrization.max_gain_db * factor)
    inner = getattr(parametrization, "of", None)
    inner = inner and _with_gain(inner, factor)
    if inner is None:
        return None
    wrapper = copy.copy(parametrization)
    wrapper.of = inner  # type: ignore[attr-defined]
    return wrapper
