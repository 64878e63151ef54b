import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    StepLR,
)  # fmt: skip

from irdream.errors import InputError
from irdream.training.schedules import Plan, continued, planned, warmup_cosine


def plan(schedule: Any, epochs: int, *, lr: float = 1.0) -> Plan:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    return planned(optimizer, schedule, epochs)


def rates(plan: Plan) -> list[float]:
    return [groups[0]["lr"] for groups in plan]


def cosine(epochs: int) -> Plan:
    return plan(partial(CosineAnnealingLR, T_max=epochs), epochs)


def warmup(epochs: int) -> Plan:
    return plan(partial(warmup_cosine, epochs=epochs, warmup_epochs=3), epochs)


def test_the_rate_rises_and_falls() -> None:
    falling = [0.5 + 0.5 * math.cos(math.pi * e / 4) for e in range(4)]
    assert rates(plan(partial(warmup_cosine, epochs=6, warmup_epochs=2), 6)) == pytest.approx(
        [1 / 3, 2 / 3, *falling]
    )
    assert rates(plan(partial(warmup_cosine, epochs=4, warmup_epochs=0), 4)) == pytest.approx(
        falling
    )
    assert rates(cosine(4)) == pytest.approx(falling)

    assert rates(plan(None, 3, lr=0.5)) == [0.5] * 3
    found = plan(partial(OneCycleLR, max_lr=1.0, total_steps=5), 5)
    assert len({groups[0]["momentum"] for groups in found}) > 2  # all that it changes
    with pytest.raises(InputError, match=r"scheduler.warmup_epochs=4; .* train.epochs=4"):
        plan(partial(warmup_cosine, epochs=4, warmup_epochs=4), 4)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (partial(ReduceLROnPlateau), "metrics"),
        (partial(CosineAnnealingLR, T_max=0), "by zero"),
        (partial(OneCycleLR, max_lr=1.0, total_steps=3), "total steps is 3"),
    ],
    ids=["it needs a loss", "no length", "shorter than the training"],
)
def test_schedules_that_cannot_be_planned(schedule: Any, reason: str) -> None:
    message = rf"^cannot plan the learning rate of 6 epochs: .*{reason}.*; expected a scheduler"
    with pytest.raises(InputError, match=message) as error:
        plan(schedule, 6)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "done", "expected"),
    [
        pytest.param(cosine(4), cosine(4), 2, rates(cosine(4))[2:], id="killed"),
        pytest.param(cosine(2), cosine(3), 2, [0.25], id="finished, one epoch more"),
        pytest.param(cosine(2), cosine(6), 2, [0.5, 0.5, 0.25, 0.0669873], id="many more"),
        pytest.param(cosine(8), cosine(4), 2, rates(cosine(4))[2:], id="killed, fewer epochs"),
        pytest.param(warmup(6), warmup(9), 2, rates(warmup(9))[2:], id="killed in the rise"),
        pytest.param(
            plan(partial(StepLR, step_size=2, gamma=0.5), 2),
            plan(partial(StepLR, step_size=2, gamma=0.5), 4), 2, [0.5, 0.5], id="steps",
        ),
        pytest.param(
            plan(partial(CosineAnnealingLR, T_max=2), 3),
            plan(partial(CosineAnnealingLR, T_max=2), 5), 3, [0.5, 0.5], id="it ended at 0",
        ),
        pytest.param(
            plan(partial(PolynomialLR, total_iters=2), 2),
            plan(partial(PolynomialLR, total_iters=2), 4), 2, [0.5, 0.5], id="it would go to 0",
        ),
        pytest.param(plan(None, 2), plan(None, 4), 2, [1.0, 1.0], id="constant"),
    ],
)  # fmt: skip
def test_more_epochs_neither_climb_again_nor_learn_nothing(before, after, done, expected) -> None:
    found = continued(after, before, done)
    assert found[:done] == before[:done]
    assert rates(found)[done:] == pytest.approx(expected)
    assert continued(after, found, done + 1) == found  # killed and resumed again
