"""Objectives on the outputs, on numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from irdream.dreaming.objectives import ForwardOutput, Logit, LogProbability, Margin, Probability

LOGITS = torch.tensor([[[0.0, math.log(3.0)], [math.log(3.0), 0.0]], [[2.0, 2.0], [0.0, 0.0]]])
HEARD = ForwardOutput(logits=LOGITS, log_probabilities=LOGITS.log_softmax(dim=-1))
TARGETS = torch.tensor([1, 0])  # of the first item .75 and .25 in its windows, of the second .5


def test_log_probability_is_the_mean_over_the_windows() -> None:
    expected = torch.tensor([(math.log(0.75) + math.log(0.25)) / 2, math.log(0.5)])
    torch.testing.assert_close(LogProbability()(HEARD, TARGETS), expected)


def test_probability_is_the_mean_over_the_windows() -> None:
    torch.testing.assert_close(Probability()(HEARD, TARGETS), torch.tensor([0.5, 0.5]))


def test_logit_is_the_mean_over_the_windows() -> None:
    torch.testing.assert_close(Logit()(HEARD, TARGETS), torch.tensor([math.log(3.0) / 2, 1.0]))


def test_margin_is_the_mean_of_the_log_odds_of_the_windows() -> None:
    first = (math.log(0.75 / 0.25) + math.log(0.25 / 0.75)) / 2
    torch.testing.assert_close(Margin()(HEARD, TARGETS), torch.tensor([first, 0.0]))
    logits = torch.tensor([[[1.0, 2.0, 4.0]]])
    output = ForwardOutput(logits=logits, log_probabilities=logits.log_softmax(dim=-1))
    expected = torch.tensor([4.0 - math.log(math.exp(1.0) + math.exp(2.0))])
    torch.testing.assert_close(Margin()(output, torch.tensor([2])), expected)


def test_margin_of_a_certain_window_is_finite_and_has_a_gradient() -> None:
    logits = torch.tensor([[[0.0, 200.0, 0.0]]], requires_grad=True)
    output = ForwardOutput(logits=logits, log_probabilities=logits.log_softmax(dim=-1))
    margin = Margin()(output, torch.tensor([1]))
    torch.testing.assert_close(margin, torch.tensor([200.0 - math.log(2.0)]))
    (gradient,) = torch.autograd.grad(margin.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([[[-0.5, 1.0, -0.5]]]))


@pytest.mark.parametrize("objective", [LogProbability(), Probability(), Margin()], ids=repr)
@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9])
def test_the_goal_is_the_score_at_that_probability(objective, confidence) -> None:
    """Of a single window."""
    probabilities = torch.tensor([[[confidence, 0.7 * (1 - confidence), 0.3 * (1 - confidence)]]])
    output = ForwardOutput(logits=probabilities, log_probabilities=probabilities.log())
    score = float(objective(output, torch.tensor([0])))
    assert objective.goal(confidence) == pytest.approx(score, abs=1e-6)


def test_a_logit_has_no_goal() -> None:
    assert Logit().goal(0.9) is None


def test_an_items_probability_is_the_mean_of_its_windows() -> None:
    torch.testing.assert_close(HEARD.probabilities(), torch.full((2, 2), 0.5))


def test_their_names_are_told() -> None:
    names = [repr(o) for o in (LogProbability(), Probability(), Logit(), Margin())]
    assert names == ["log_probability", "probability", "logit", "margin"]
