from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.tasks.robustness import robust_accuracy
from irdream.training.robust import DB_PER_UNIT


class Bands(nn.Module):
    """Says the loudest of the first 11 bands: how far it is ahead is what it stands."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel[:, :11].mean(2)


def recognizer() -> Recognizer:
    return Recognizer(frontend=HanLogMel(n_mels=12), model=Bands()).eval()


def windows(*ahead_db: float) -> tuple[Tensor, Tensor]:
    """Return windows whose label is so many dB ahead of all others."""
    log_mels = torch.zeros(len(ahead_db), 12, 4)
    log_mels[:, 3] = torch.tensor(ahead_db)[:, None] / DB_PER_UNIT
    return log_mels, torch.eye(11)[[3] * len(ahead_db)]


def test_a_window_stands_half_of_what_its_label_is_ahead() -> None:
    """The label may fall by epsilon and the next one rise by as much."""
    table = robust_accuracy(
        recognizer(), *windows(-1.0, 0.5, 1.5, 3.5, 9.0), epsilons_db=[1.0, 0.0, 0.5, 2.0], steps=10
    )
    assert table["epsilon_db"].tolist() == [0.0, 0.5, 1.0, 2.0]
    assert table["top1"].tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert table["windows"].tolist() == [5] * 4
    assert table["steps"].tolist() == [0, 10, 10, 10]
    assert table["error"].to_list()[0] == pytest.approx((0.8 * 0.2 / 5) ** 0.5)


def test_it_never_rises_and_does_not_depend_on_the_batch() -> None:
    heard, (log_mels, labels) = recognizer(), windows(*[0.4 * i for i in range(12)])
    tables = [
        robust_accuracy(heard, log_mels, labels, steps=3, starts=2, batch_windows=size)
        for size in (5, 128)
    ]
    assert tables[0]["top1"].tolist() == tables[1]["top1"].tolist()
    found = tables[0]["top1"].to_list()
    assert found == sorted(found, reverse=True)
    assert len(set(found)) > 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilons_db": []}, r"epsilons_db=\[\]; expected numbers, 0 or more"),
        ({"epsilons_db": [-1.0]}, r"epsilons_db=\[-1.0\]; expected numbers, 0 or more"),
        ({"steps": 0}, r"steps=0 is too small; expected 1 or more"),
        ({"starts": 0}, r"starts=0 is too small; expected 1 or more"),
        ({"windows": torch.zeros(0, 12, 4)}, "no windows to mislead; expected at least one"),
    ],
)
def test_what_cannot_be_measured(settings: dict[str, Any], message: str) -> None:
    log_mels, labels = windows(1.0)
    with pytest.raises(InputError, match=message):
        robust_accuracy(recognizer(), **{"windows": log_mels, "labels": labels, **settings})
