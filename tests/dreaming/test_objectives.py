"""Objectives on numbers worked out by hand."""

from __future__ import annotations

import math

import torch

from irdream.dreaming import objectives
from irdream.dreaming.objectives import Heard, Logit, LogProbability

LOGITS = torch.tensor([[[0.0, math.log(3.0)], [math.log(3.0), 0.0]], [[2.0, 2.0], [0.0, 0.0]]])
HEARD = Heard(logits=LOGITS, log_probabilities=LOGITS.log_softmax(dim=-1))
TARGETS = torch.tensor([1, 0])


def test_log_probability_is_the_mean_over_the_windows() -> None:
    expected = torch.tensor([(math.log(0.75) + math.log(0.25)) / 2, math.log(0.5)])
    torch.testing.assert_close(LogProbability()(HEARD, TARGETS), expected)


def test_logit_is_the_mean_over_the_windows() -> None:
    torch.testing.assert_close(Logit()(HEARD, TARGETS), torch.tensor([math.log(3.0) / 2, 1.0]))


def test_an_items_probability_is_the_mean_of_its_windows() -> None:
    torch.testing.assert_close(HEARD.probabilities(), torch.full((2, 2), 0.5))
    torch.testing.assert_close(
        HEARD.window_probabilities(TARGETS), torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    )


def test_many_windows_give_the_same_gradient_as_few_at_a_time(recognizer, monkeypatch) -> None:
    log_mel = torch.randn(2, 24, 200, generator=torch.Generator().manual_seed(0))
    recognizer.eval()

    def gradient() -> torch.Tensor:
        x = log_mel.clone().requires_grad_()
        score = LogProbability()(Heard.of(recognizer, x), TARGETS)
        return torch.autograd.grad(score.sum(), x)[0]

    whole = gradient()
    monkeypatch.setitem(objectives.CHECKPOINTED, "cpu", 8)
    torch.testing.assert_close(gradient(), whole)


def test_their_names_are_told() -> None:
    assert [repr(LogProbability()), repr(Logit())] == ["log_probability", "logit"]
