"""The largest change of a bin."""

from __future__ import annotations

import math

import pytest
import torch

from irdream.dreaming.constraints import MaxChange
from irdream.errors import InputError

DB = 20.0 / math.log(10.0)


@pytest.mark.parametrize("kind", ["log_mel", "gain", "band_gain"])
@pytest.mark.parametrize("samples", [65, 4000])
def test_no_bin_changes_by_more(project, ear, kind, samples) -> None:
    held, origin = project(MaxChange(db=3.0), kind, samples=samples)
    change_db = (held - origin["signal"]) * DB
    asked_db = (ear.changed(origin, 2) - origin["signal"]) * DB

    assert change_db.abs().max() <= 3.0
    torch.testing.assert_close(change_db, asked_db.clamp(-3.0, 3.0))


@pytest.mark.parametrize("db", [0.0, -1.0, math.nan])
def test_a_change_of_nothing_is_refused(db) -> None:
    with pytest.raises(InputError, match=r"constraint\.db=.*; expected a number above 0"):
        MaxChange(db=db)


def test_a_bin_outside_has_no_gradient(ear) -> None:
    origin = ear.origin("log_mel", ear.sounds(1, 900, seed=1))
    signal = (origin["signal"] + 1.0).requires_grad_()
    (gradient,) = torch.autograd.grad(MaxChange(db=3.0)(signal, origin).sum(), signal)
    assert not gradient.any()
