from pathlib import Path

import pytest

from irdream.training.loop import Progress
from irdream.training.resume import Resumed


@pytest.mark.parametrize(
    ("then", "now", "is_same"),
    [
        ("irdream.training.averaging.Averaging", "irdream.training.schedules.Averaging", True),
        ("irdream.training.losses.Loss", "irdream.training.losses.Robust", False),
        ("mine.Net", "irdream.models.Net", False),
        ("mine.Net", "yours.Net", False),
        ("0", "0.0", True),
    ],
)
def test_a_class_of_ours_is_the_same_wherever_it_stands(then: str, now: str, is_same: bool) -> None:
    resumed = Resumed(Path("run"), {"settings": {"model": then}}, Progress())
    assert resumed._agrees("model", {"model": now}) == is_same
