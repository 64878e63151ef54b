"""What to search, in Hydra's override grammar.

`key=a,b,c`, `choice(...)` and `glob(...)` are choices, `interval(a,b)` is a real number,
`int(interval(a,b))` a whole one, `range(a,b,step)` a grid of numbers without its end (as in
Hydra's basic sweeper), `tag(log, ...)` a number on a logarithmic scale; the rest stays fixed.
Grammar: https://hydra.cc/docs/advanced/override_grammar/extended/
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)

from irdream.errors import InputError

if TYPE_CHECKING:
    from optuna.trial import Trial

Number = int | float


@dataclass(frozen=True)
class Parameter:
    """The values that a key may have: some choices, or numbers.

    Attributes:
        key: as typed before the equals sign, with a leading + where there is one.
        choices: as typed after it; empty for numbers.
        low: the least number; an int where only whole numbers are meant.
        high: the largest, included.
        step: from number to number; None: any number between.
        log: whether small numbers are looked at as closely as large ones.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: Number = 0
    high: Number = 0
    step: Number | None = None
    log: bool = False

    @property
    def kind(self) -> str:
        """Return what must not change while a study goes on; bounds may."""
        if self.choices:
            return ",".join(self.choices)
        return ("log " if self.log else "") + type(self.low).__name__

    def suggest(self, trial: Trial) -> None:
        """Let Optuna propose a value, which then is in `trial.params`."""
        if self.choices:
            trial.suggest_categorical(self.key, self.choices)
        elif isinstance(self.low, int):
            step = int(self.step or 1)
            trial.suggest_int(self.key, self.low, int(self.high), step=step, log=self.log)
        else:
            trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def override(self, value: str | Number) -> str:
        """Return what to type for this value; a real number keeps all its digits."""
        if isinstance(value, float) and self.step is not None:
            return f"{self.key}={float(f'{value:.12g}')!r}"
        return f"{self.key}={value}"


@dataclass(frozen=True)
class Space:
    """What was typed: each key with its fixed override or what to search, in that order."""

    entries: Mapping[str, str | Parameter]

    @property
    def searched(self) -> list[Parameter]:
        """Return the parameters to search."""
        return [entry for entry in self.entries.values() if isinstance(entry, Parameter)]

    @property
    def fixed(self) -> list[str]:
        """Return the overrides that all jobs share."""
        return [entry for entry in self.entries.values() if isinstance(entry, str)]

    @property
    def kinds(self) -> dict[str, str]:
        """Return what must not change while a study goes on."""
        return {parameter.key: parameter.kind for parameter in self.searched}

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Return a job's overrides, given the searched keys' values."""
        return [
            entry if isinstance(entry, str) else entry.override(values[entry.key])
            for entry in self.entries.values()
        ]

    def probes(self) -> list[list[str]]:
        """Return jobs in which each choice, and each number's lower end, stands once or more."""
        first = {p.key: p.choices[0] if p.choices else p.low for p in self.searched}
        others = [(p.key, choice) for p in self.searched for choice in p.choices[1:]]
        changed = [{**first, key: choice} for key, choice in others]
        return [self.overrides(values) for values in (first, *changed)]


def read_space(
    params: Mapping[str, Any], typed: Sequence[str], loader: ConfigLoader | None = None
) -> Space:
    """Read `hydra.sweeper.params` and the overrides on the command line, which win.

    Args:
        params: key and what would stand after the equals sign.
        typed: whole overrides.
        loader: finds the choices of a glob.

    Raises:
        InputError: one line on a range that cannot be searched, or when nothing is to be.
        hydra.errors.OverrideParseException: when Hydra cannot read an override.
    """
    lines = [f"{key}={_text(value)}" for key, value in params.items()]
    parser = OverridesParser.create(config_loader=loader)
    entries: dict[str, str | Parameter] = {}
    for override in parser.parse_overrides([*lines, *typed]):
        key = override.get_key_element()
        is_searched = override.is_sweep_override()
        entries[key] = _parameter(override) if is_searched else str(override.input_line)
    space = Space(entries)
    if not space.searched:
        raise InputError(
            "nothing to search; expected at least one key=interval(a,b), key=range(a,b) or "
            "key=a,b,c on the command line or in hydra.sweeper.params"
        )
    return space


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parameter(override: Override) -> Parameter:
    key, sweep = override.get_key_element(), override.value()
    tags = getattr(sweep, "tags", set())
    if tags - {"log"} or (tags and override.is_choice_sweep()):
        raise _refused(override, "no tag but log, and that on numbers")
    if isinstance(sweep, IntervalSweep):
        parameter = Parameter(key, low=_end(sweep.start), high=_end(sweep.end), log="log" in tags)
    elif isinstance(sweep, RangeSweep):
        parameter = _grid(override, sweep)
    else:
        return Parameter(key, choices=_choices(override))
    if not (math.isfinite(parameter.low) and math.isfinite(parameter.high)):
        raise _refused(override, "finite numbers")
    if parameter.low > parameter.high:
        raise _refused(override, "the lower number first")
    if parameter.log and parameter.low <= 0:
        raise _refused(override, "numbers above 0 with tag(log, ...)")
    return parameter


def _choices(override: Override) -> tuple[str, ...]:
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):  # in the order typed, also in shuffle(...)
        found = [Transformer.str(value) for value in sweep.list]
    else:
        found = list(override.sweep_string_iterator())
    if not found:
        raise _refused(override, "a pattern that some choice of the group matches")
    return tuple(dict.fromkeys(found))


def _grid(override: Override, sweep: RangeSweep) -> Parameter:
    """Return the numbers start, start + step, ... before stop, whichever way they go."""
    key, log = override.get_key_element(), "log" in sweep.tags
    numbers = [_end(sweep.start), _end(sweep.stop), _end(sweep.step)]
    if not all(math.isfinite(number) for number in numbers) or sweep.step == 0:
        raise _refused(override, "finite numbers and a step other than 0")
    start, stop, step = (Decimal(str(number)) for number in numbers)
    count = int(((stop - start) / step).to_integral_value(ROUND_CEILING))
    if count < 1:
        raise _refused(override, "at least one number, the end being left out")
    number = int if all(isinstance(number, int) for number in numbers) else float
    low, high = sorted((start, start + (count - 1) * step))
    if log and (number is float or abs(step) != 1):
        raise _refused(override, "tag(log, ...) on an interval, or on whole numbers in steps of 1")
    return Parameter(key, (), number(low), number(high), number(abs(step)), log)


def _end(number: Number | None) -> Number:
    assert number is not None  # the grammar gives all of them
    return number


def _refused(override: Override, expected: str) -> InputError:
    return InputError(f"{override.input_line}; expected {expected}")
