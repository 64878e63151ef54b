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
from irdream.models import Transfer
from irdream.training.schedules import (
    Averaging,
    Plan,
    averaging,
    continued,
    planned,
    warmup_cosine,
)


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


# Averages of weights


def model(value: float) -> nn.Module:
    made = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(made[0].weight, value)  # type: ignore[arg-type]
    return made


def weight(network: nn.Module | None) -> float:
    assert network is not None
    return network[0].weight.item()  # type: ignore[index, union-attr]


def test_an_exponential_mean_forgets_where_it_began() -> None:
    average = Averaging(0.5)
    trained = model(0.0)
    average.begin(trained)
    assert average.network is None
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(trained[0].weight, value)  # type: ignore[index]
        average.after_step(trained)
    first = 1.0  # the first weights are taken whole
    second = first + (1 - 2 / 11) * (2.0 - first)
    assert weight(average.network) == pytest.approx(second + (1 - 3 / 12) * (3.0 - second))
    average.after_epoch(trained, 1, 4, iter([]))  # of swa alone
    assert weight(average.network) != 3.0


def test_swa_is_the_mean_of_the_last_epochs_with_statistics_of_its_own() -> None:
    average = Averaging("swa", start=0.5)
    trained = model(0.0)
    average.begin(trained)
    for epoch, value in enumerate((9.0, 9.0, 1.0, 3.0), start=1):
        nn.init.constant_(trained[0].weight, value)  # type: ignore[index]
        average.after_step(trained)
        windows = [torch.tensor([[0.0], [1.0], [2.0]])] if epoch == 4 else [torch.ones(2, 1)]
        average.after_epoch(trained, epoch, 4, windows)
        assert (average.network is None) == (epoch <= 2)
    assert weight(average.network) == 2.0
    norm = average.network[1]  # type: ignore[index]
    assert norm.running_mean.item() == pytest.approx(2.0)
    assert norm.running_var.item() == pytest.approx(4.0)
    assert not norm.training


def test_statistics_of_what_is_frozen_are_kept_by_swa() -> None:
    """Those behind them are collected of what the frozen part gives."""
    frozen = nn.BatchNorm1d(3)
    nn.init.constant_(frozen.running_mean, 4.0)  # type: ignore[arg-type]
    nn.init.constant_(frozen.running_var, 9.0)  # type: ignore[arg-type]
    trained = Transfer(embedding=frozen, features=3)
    trained.head = nn.Sequential(nn.BatchNorm1d(3, momentum=0.2), nn.Linear(3, 11))
    expected = {name: value.clone() for name, value in frozen.state_dict().items()}
    average = Averaging("swa", start=0.0)
    average.begin(trained)
    windows = [torch.full((2, 3, 5), level) for level in (7.0, 10.0)]
    average.after_epoch(trained, 1, 1, windows)
    network = average.network
    assert isinstance(network, Transfer)
    for name, value in network.embedding.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    behind = network.get_submodule("head.0")
    assert isinstance(behind, nn.BatchNorm1d)
    assert behind.running_mean is not None
    assert behind.running_mean.tolist() == pytest.approx([1.5] * 3, abs=1e-4)  # 1 and 2
    assert behind.momentum == 0.2
    assert not any(part.training for part in network.modules())


def test_swa_that_has_begun_takes_in_every_epoch_though_more_are_asked_for() -> None:
    average = Averaging("swa", start=0.5)
    average.begin(model(0.0))
    for epoch, epochs, value in ((1, 2, 9.0), (2, 2, 1.0), (3, 20, 3.0)):
        average.after_epoch(model(value), epoch, epochs, [])
    assert weight(average.network) == 2.0


@pytest.mark.parametrize(
    ("rule", "start", "message"),
    [
        ("ema", 0.5, "rule=ema; expected swa, or a number between 0 and 1"),
        (1.0, 0.5, "rule=1.0; expected swa, or a number between 0 and 1"),
        ("swa", 1.5, "start=1.5; expected a number from 0 to 1"),
    ],
)
def test_bad_averages(rule, start, message) -> None:
    with pytest.raises(InputError, match=message):
        averaging(rule, start)
    assert averaging(None) is None
