"""Losses and averages of weights: what a training can have switched on."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.models import Transfer
from irdream.recognizer import Recognizer
from irdream.training.losses import Loss
from irdream.training.schedules import Averaging, averaging

LOGITS = torch.tensor([[2.0, -1.0, 0.5, *[0.0] * 8], [0.0, 3.0, -2.0, *[1.0] * 8]])
LABELS = torch.tensor([[1.0, *[0.0] * 10], [0.8, 0.2, *[0.0] * 9]])


def recognizer(output: Any = "softmax") -> Recognizer:
    return Recognizer(frontend=HanLogMel(n_mels=12), model=nn.Identity(), output=output)


# Losses


def test_label_smoothing_is_torchs() -> None:
    loss = Loss("categorical", 0.1)
    expected = F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1, reduction="none")
    smooth = loss(recognizer(), LOGITS, LABELS, smooth=True).sum(1)
    torch.testing.assert_close(smooth, expected)
    plain = F.cross_entropy(LOGITS, LABELS, reduction="none")
    torch.testing.assert_close(loss(recognizer(), LOGITS, LABELS).sum(1), plain)  # validation


def test_binary_takes_all_that_has_a_share_as_present() -> None:
    heard, loss = recognizer("sigmoid"), Loss("binary", 0.2)
    loss.check(heard)
    p = LOGITS.sigmoid()
    present = (LABELS > 0).float()
    expected = -(present * p.log() + (1 - present) * (1 - p).log())
    torch.testing.assert_close(loss(heard, LOGITS, LABELS), expected)
    smooth = -((present * 0.8 + 0.1) * p.log() + (0.9 - present * 0.8) * (1 - p).log())
    torch.testing.assert_close(loss(heard, LOGITS, LABELS, smooth=True), smooth)


def test_a_binary_loss_needs_sigmoids() -> None:
    Loss().check(recognizer())
    message = r"train.loss=binary needs sigmoids, and Identity has a softmax; give model.output=sig"
    with pytest.raises(InputError, match=message):
        Loss("binary").check(recognizer())


@pytest.mark.parametrize("kind", ["categorical", "binary"])
def test_a_divergence_is_zero_from_itself_and_above_elsewhere(kind) -> None:
    heard, loss, other = recognizer(), Loss(kind), LOGITS.flip(1)
    assert loss.divergence(heard, LOGITS, LOGITS).abs().max() < 1e-6
    apart = loss.divergence(heard, LOGITS, other).sum(1)
    assert (apart > 0.1).all()
    if kind == "categorical":
        ours = F.kl_div(other.log_softmax(1), LOGITS.softmax(1), reduction="none").sum(1)
        torch.testing.assert_close(apart, ours)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "hinge"}, "kind=hinge; expected categorical or binary"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0; expected a number from 0 to 0.99"),
    ],
)
def test_bad_losses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Loss(**settings)


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
