"""The algebra of objectives on numbers, and what is printed of it."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming.objectives import (
    Custom,
    ForwardOutput,
    Layer,
    LogProbability,
    Objective,
    TotalVariation,
    WeightedSum,
    as_objective,
)
from irdream.errors import InputError

A, B = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0, 40.0])
NONE = torch.empty(0)


class Known(Objective):
    """Known scores of the items of a run."""

    def __init__(self, name: str, scores: Tensor) -> None:
        self.name, self.scores = name, scores

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return self.scores[output.items]

    def prepare(self, read_layers, originals) -> dict[str, Tensor]:
        return {repr(self): torch.zeros(len(originals.log_mel))}

    def __repr__(self) -> str:
        return self.name


a: Any = Known("a", A)  # Any: also wrong operands are tried
b: Any = Known("b", B)


def value(objective: Objective, items=(0, 1, 2)) -> Tensor:
    output = ForwardOutput(logits=NONE, log_probabilities=NONE, items=torch.tensor(items))
    return objective(output, NONE)


@pytest.mark.parametrize(
    ("objective", "expected", "shown"),
    [
        (2 * a - b, 2 * A - B, "2 * a - b"),
        (a * 2 - b, 2 * A - B, "2 * a - b"),
        (-(a - b) / 2, (B - A) / 2, "-0.5 * a + 0.5 * b"),
        (sum([a, b]), A + B, "a + b"),
        (sum([a]), A, "a"),
        (-a, -A, "-a"),
        (a.__neg__().__neg__(), A, "a"),
        (0 + a, A, "a"),
        (a + 0, A, "a"),
        (a - b - a, -B, "a - b - a"),
        (a - (b - a), 2 * A - B, "a - b + a"),
        (3 * (2 * (a + 0.5 * b) - b), 6 * A, "6 * a + 3 * b - 3 * b"),
        (a + a, 2 * A, "a + a"),
        (0 * a + b, B, "0 * a + b"),
        (True * a, A, "a"),
        (a - 0.01 * b, A - 0.01 * B, "a - 0.01 * b"),
        (1e-7 * a, 1e-7 * A, "1e-07 * a"),
        (np.float32(0.5) * a, 0.5 * A, "0.5 * a"),
        (B * (2 * a) - a, 2 * A * B - A, "[20.0, 40.0, 80.0] * a - a"),
        (-(a * B), -A * B, "[-10.0, -20.0, -40.0] * a"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_sums_and_multiples(objective, expected, shown) -> None:
    torch.testing.assert_close(value(objective), expected)
    assert repr(objective) == shown


weights = st.integers(-500, 500).map(lambda hundredths: hundredths / 100)


@settings(max_examples=20, deadline=None)
@given(x=weights, y=weights, z=weights)
def test_what_is_printed_is_what_is_computed(x, y, z) -> None:
    nested = z * (x * a - y * b) + a - (b - z * a)
    torch.testing.assert_close(value(nested), z * (x * A - y * B) + A - (B - z * A))
    printed = eval(repr(nested), {"a": a, "b": b})
    torch.testing.assert_close(value(printed), value(nested))
    assert repr(printed) == repr(nested)


@pytest.mark.parametrize(
    "mistake",
    ["a + 1", "1 + a", "a - 1", "1 - a", "a + 'b'", "a + A", "A - a", "a * b", "a * '2'",
     "None * a", "a / b", "1 / a", "sum([1, a])"],
)  # fmt: skip
def test_other_operands_are_a_type_error(mistake) -> None:
    with pytest.raises(TypeError):
        eval(mistake)


def test_a_weight_for_each_item_is_found_by_its_place_in_the_run(network) -> None:
    torch.testing.assert_close(value(B * a, items=(2, 0)), (A * B)[[2, 0]])
    assert (B * LogProbability()).goal(0.5) is None
    network.output(B * LogProbability(), torch.zeros(3, 4, 8))
    with pytest.raises(InputError, match=r"weights of shape \(3,\) for log_probability; expected a "
                       r"number, or one for each of 2 items"):  # fmt: skip
        network.output(a - B * LogProbability(), torch.zeros(2, 4, 8))


def test_terms_of_a_yaml_are_mappings() -> None:
    terms = [{"weight": 2, "objective": a}, {"weight": -1, "objective": b}]
    torch.testing.assert_close(value(WeightedSum(terms)), 2 * A - B)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], r"objective\.terms is empty; expected weights and objectives"),
        ([{"weight": 2}], r"objective\.terms has \['weight'\]; expected weight and objective"),
        ([("2", a)], r"weight='2' of an objective; expected a number"),
        ([(2, "flute")], r"objective='flute'; expected an objective or a function"),
    ],
)
def test_terms_that_are_none_are_refused(terms, message) -> None:
    with pytest.raises(InputError, match=message):
        WeightedSum(terms)


def test_the_goal_of_a_multiple_is_the_multiple_of_the_goal() -> None:
    assert (3 * LogProbability()).goal(0.5) == pytest.approx(3 * math.log(0.5))
    assert (-LogProbability()).goal(0.5) is None
    assert (LogProbability() - TotalVariation()).goal(0.5) is None
    assert (2 * Layer("a")).goal(0.5) is None


def test_a_function_is_an_objective_that_reads_the_output() -> None:
    def loudness(output: ForwardOutput, targets: Tensor) -> Tensor:
        return output.items * 2.0

    objective = as_objective(loudness)
    assert isinstance(objective, Custom)
    assert objective.reads_output
    assert repr(objective) == "loudness"
    torch.testing.assert_close(value(a - objective), A - torch.tensor([0.0, 2.0, 4.0]))
    assert as_objective(objective) is objective
    assert repr(as_objective(partial(loudness))) == "loudness"
