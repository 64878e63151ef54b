from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.training.hearing import Hearing
from irdream.training.losses import Loss
from irdream.training.robust import DB_PER_UNIT, Method, Robust, perturb, robust


class Net(nn.Module):
    """Batch norm and dropout, which show in which mode it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.out = nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 11)
        self.modes: list[bool] = []
        self.largest: list[float] = []

    def forward(self, log_mel: Tensor) -> Tensor:
        self.modes.append(self.training)
        self.largest.append(log_mel.detach().abs().max().item())
        return self.out(self.drop(self.norm(log_mel.mean(2))))


@pytest.fixture
def hearing() -> Hearing:
    torch.manual_seed(0)
    return Hearing(Recognizer(frontend=HanLogMel(n_mels=12), model=Net()).train())


WINDOWS = torch.zeros(6, 12, 5)
LABELS = torch.eye(11)[:6]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def back(hearing: Hearing, made: Robust, windows: Tensor = WINDOWS) -> list[Tensor]:
    """Do what the loop does, without steps of an optimizer."""
    losses = []
    for loss in made.losses(hearing, windows, LABELS[: len(windows)], generator()):
        loss.backward()
        losses.append(loss.detach())
    return losses


@pytest.mark.parametrize(
    ("method", "seeking", "stepping"),
    [("fgsm", 1, 1), ("pgd", 4, 1), ("free", 0, 4), ("trades", 5, 2)],
)
def test_passes_of_a_step_and_their_modes(hearing, method, seeking, stepping) -> None:
    """Changes are sought as the network listens; weights are stepped in training mode."""
    before = hearing.recognizer.model.norm.running_mean.clone()
    losses = back(hearing, Robust(method, epsilon_db=DB_PER_UNIT * 0.5))
    assert hearing.recognizer.model.modes == [False] * seeking + [True] * stepping
    assert len(losses) == (4 if method == "free" else 1)
    assert hearing.recognizer.training
    assert max(hearing.recognizer.model.largest) == pytest.approx(0.5)  # epsilon, in natural units
    counted = hearing.recognizer.model.norm.num_batches_tracked
    assert counted == stepping
    assert not torch.equal(before, hearing.recognizer.model.norm.running_mean)


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("kind", ["categorical", "binary"])
def test_a_misleading_batch_costs_more_than_a_random_one(hearing, method, kind) -> None:
    hearing.terms = Loss(kind)
    hearing.recognizer.output = "sigmoid" if kind == "binary" else "softmax"
    hearing.recognizer.model.drop.p = 0.0
    [*_, loss] = back(hearing, Robust(method, epsilon_db=3.0))
    noise = (torch.rand(WINDOWS.shape, generator=generator()) * 2 - 1) * 3.0 / DB_PER_UNIT
    with torch.no_grad():
        random = hearing.loss(hearing.logits(WINDOWS + noise), LABELS)
        clean = hearing.loss(hearing.logits(WINDOWS), LABELS)
    assert loss > max(random, clean)


def test_one_step_is_the_sign_of_the_gradient(hearing) -> None:
    def objective(windows: Tensor) -> Tensor:
        return (windows * torch.linspace(-1, 1, 12)[:, None]).sum()

    start = torch.zeros_like(WINDOWS)
    changed = perturb(objective, WINDOWS, start=start, epsilon=0.2, step=0.15, steps=1)
    expected = 0.15 * torch.linspace(-1, 1, 12).sign()
    assert torch.equal(changed[0, :, 0], expected)
    far = perturb(objective, WINDOWS, start=start, epsilon=0.2, step=0.15, steps=3)
    torch.testing.assert_close(far[0, :, 0], 0.2 * expected.sign())
    none = perturb(objective, WINDOWS, start=start + 9, epsilon=0.2, step=0.15, steps=0)
    assert none.max().item() == pytest.approx(0.2)


def test_the_change_grows_over_the_first_epochs() -> None:
    made, sizes_db = Robust("fgsm", epsilon_db=2.0, ramp_epochs=4), []
    for epoch in range(1, 7):
        made.begin_epoch(epoch)
        sizes_db.append(made.epsilon * DB_PER_UNIT)
    assert sizes_db == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    at_once = Robust("fgsm", epsilon_db=2.0, ramp_epochs=0)
    at_once.begin_epoch(1)
    assert at_once.epsilon * DB_PER_UNIT == pytest.approx(2.0)
    assert math.exp(1 / DB_PER_UNIT) == pytest.approx(10 ** (1 / 20))


def test_free_goes_on_with_its_change_also_over_a_smaller_batch(hearing) -> None:
    made = Robust("free", epsilon_db=1.0, steps=2)
    made.begin_epoch(1)
    back(hearing, made)
    first = made._change
    assert first is not None
    back(hearing, made, WINDOWS[:2])
    second = made._change
    assert second is not None
    assert torch.equal(second[2:], first[2:])
    assert not torch.equal(second[:2], first[:2])
    made.begin_epoch(2)
    assert made._change is None  # each epoch follows from its seed


def test_the_same_generator_gives_the_same_losses(hearing) -> None:
    for method in get_args(Method):
        runs = []
        for _ in range(2):
            torch.manual_seed(3)
            runs.append(back(hearing, Robust(method)))
        assert runs[0] == runs[1]


def test_no_method_is_no_robust_training() -> None:
    assert robust(None, epsilon_db=1.0) is None
    made = robust("pgd", steps=7)
    assert made is not None
    assert made.steps == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "pgdd"}, "train.robust=pgdd; expected fgsm, free, pgd, trades or null"),
        ({"epsilon_db": 0.0}, "train.robust_db=0.0; expected a number above 0"),
        ({"weight": math.nan}, "train.robust_weight=nan; expected a number above 0"),
        ({"steps": 0}, "train.robust_steps=0; expected 1 or more"),
        ({"ramp_epochs": -1}, "train.robust_ramp_epochs=-1; expected 0 or more"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Robust(**{"method": "fgsm", **settings})
