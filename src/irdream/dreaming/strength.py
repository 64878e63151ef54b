"""How strong a dream is, by one word or number: how many steps, and how large a gain may get."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Literal

from irdream.arguments import Positive, checked
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.parametrizations import Parametrization, StftGain

ENOUGH = 0.9  # probability of the target at which a quiet dream stops
FACTORS = {"quiet": 1.0, "clear": 1.0, "strong": 1.5}


@checked
def with_strength(
    ascent: Ascent, strength: Literal["quiet", "clear", "strong"] | Positive | None = None
) -> Ascent:
    """Return an ascent whose dreams are weaker or stronger.

    Args:
        ascent: how to dream; left as it is.
        strength: a factor of the steps; above 1 a gain on the spectrum may also be larger, by
            the square root of it: with 1.5, or "strong", 90 steps instead of 60, and 18.4 dB
            instead of 15. "clear" is 1; "quiet" stops where the target has a probability of 0.9.
            None: as it is.
    """
    if strength is None:
        return ascent
    factor = FACTORS[strength] if isinstance(strength, str) else strength
    return replace(
        ascent,
        steps=max(1, round(ascent.steps * factor)),
        confidence=ENOUGH if strength == "quiet" else ascent.confidence,
        parametrization=_with_gain(ascent.parametrization, max(1.0, math.sqrt(factor))),
    )


def _with_gain(parametrization: Parametrization, factor: float) -> Parametrization:
    """Return a copy whose gain may be larger, where it has a gain."""
    if type(parametrization) is StftGain:  # a mask, which is one, has no largest gain
        return replace(parametrization, max_gain_db=parametrization.max_gain_db * factor)
    if not hasattr(parametrization, "of"):
        return parametrization
    wrapper = copy.copy(parametrization)
    wrapper.of = _with_gain(wrapper.of, factor)  # type: ignore[attr-defined]
    return wrapper
