"""Annotations decide what an argument may be, in a call and on the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Union

import numpy as np
import pytest
from annotated_types import Ge, Le, Len

from irdream.arguments import Amount, Count, Natural, Positive, Share, checked, fits, kinds, problem
from irdream.errors import InputError

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

Ratio = Annotated[Sequence[Annotated[float, Ge(1)]], Len(2, 2)]
Words = Literal["a", "b"] | Annotated[Sequence[Literal["a", "b"]], Len(1)]

HINTS = [  # a type, what it takes, what it refuses, how it is said
    (Count, [1, 7, np.int64(2)], [0, -3, 1.0, "3", "abc", True, None],
     "a whole number, at least 1"),
    (Union[Natural, None], [0, None], [-1, False], "a whole number, at least 0, or null"),  # noqa: UP007
    (Amount, [0, np.float32(0.1), 3], [-1e-9, math.nan, math.inf, "1"], "a number, at least 0"),
    (Share, [1e-9, math.nextafter(1, 0)], [0, 1, 1.0], "a number between 0 and 1"),
    (Annotated[float, Ge(0), Le(0.99)], [0, 0.99], [1], "a number from 0 to 0.99"),
    (Positive | Sequence[Positive], [0.5, [0.1, 2], (1,)], [0, [0.5, -1.0], "1", {}],
     "a number above 0, or a list of numbers above 0"),
    (Ratio, [[1, 1.4]], [[1.4], [1.0, 1.0, 1.0], [0.9, 1], 1.4],
     "a list of 2 numbers, at least 1"),
    (Words, ["a", ["b"]], ["c", ["c"], [], True], "a or b, or a list of some of a and b"),
    (str | Path | None, ["x", Path("x"), None], ["", 3, ["x"]], "text, or null"),
    (Sequence[str], [["a"], []], ["a", [1], [""]], "a list of texts"),
    (bool, [True, False], [1, "true", None], "true or false"),
    (None, [1, "a", {}, None], [], ""),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "fine", "bad", "said"), HINTS, ids=[row[3] for row in HINTS])
def test_a_type_takes_what_is_of_it_and_says_what_it_takes(hint, fine, bad, said) -> None:
    assert [value for value in fine if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []
    for value in bad:
        assert problem("key", value, hint).endswith(f"; expected {said}")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"), (True, "true"), ("a b", "a b"), ("3", "'3'"), ("True", "'True'"),
        ([0.5, "x"], "[0.5,x]"), ({"a": None}, "{a:null}"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_value_is_shown_as_it_is_typed(value, shown) -> None:
    assert problem("key", value, Count).startswith(f"key={shown};")


def test_what_a_type_consists_of() -> None:
    assert kinds(float | Sequence[Positive] | None) == {float, list, type(None)}
    assert kinds(Words) == {Literal, list}
    assert kinds(str | dict) == kinds(Sequence[object]) == kinds(object) == set()


@checked
@dataclass(frozen=True)
class Settings:
    steps: Count
    ratio: Ratio = (1.4, 1.4)
    network: Unknown | None = None
    name: str = "settings"


@checked
def run(items: list[object], *words: object, threads: Count | None = None) -> list[object]:
    return [*items, *words, threads]


def test_a_class_refuses_all_that_its_annotations_do_not_allow_at_once() -> None:
    expected = (
        "^steps=0; expected a whole number, at least 1\n"
        r"ratio=\[1\]; expected a list of 2 numbers, at least 1$"
    )
    with pytest.raises(InputError, match=expected):
        Settings(steps=0, ratio=[1])
    settings = Settings(3, network=7)  # type: ignore[arg-type]
    assert (settings.steps, settings.ratio, settings.network) == (3, (1.4, 1.4), 7)
    with pytest.raises(InputError, match=r"^steps=0;"):
        replace(settings, steps=0)


def test_a_function_is_called_with_what_it_takes_and_keeps_its_name() -> None:
    assert run([1], "a", threads=2) == [1, "a", 2]
    assert run.__name__ == "run"
    with pytest.raises(InputError, match=r"^threads=0; expected a whole number, at least 1, or nu"):
        run([], threads=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'thread'"):
        run([], thread=1)  # type: ignore[call-arg]
