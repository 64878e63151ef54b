"""Budgets of the whole change."""

from __future__ import annotations

import math

import pytest
import torch

from irdream.dreaming.constraints import RmseBudget, SnrFloor
from irdream.errors import InputError

DB = 20.0 / math.log(10.0)


def rmse_db(signal, origin):
    return (signal - origin["signal"]).square().mean(dim=(1, 2)).sqrt() * DB


def snr_db(signal, origin):
    noise = (signal - origin["waveform"]).square().sum(dim=1)
    return 10 * (origin["waveform"].square().sum(dim=1) / noise).log10()


@pytest.mark.parametrize("kind", ["log_mel", "gain", "band_gain"])
def test_the_rmse_is_the_budget_and_the_change_keeps_its_direction(project, ear, kind) -> None:
    held, origin = project(RmseBudget(db=2.0), kind)
    change, asked = held - origin["signal"], ear.changed(origin, 2) - origin["signal"]

    torch.testing.assert_close(rmse_db(held, origin), torch.full((2,), 2.0, dtype=torch.float64))
    cosine = torch.cosine_similarity(change.flatten(1), asked.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(2, dtype=torch.float64))


def test_a_smaller_change_is_left_bit_for_bit(ear, project) -> None:
    held, origin = project(RmseBudget(db=2.0), "log_mel", size=0.01)
    assert torch.equal(held, ear.changed(origin, 2, 0.01))
    held, origin = project(SnrFloor(db=10.0), "sound", size=0.01)
    assert torch.equal(held, ear.changed(origin, 2, 0.01))


def test_each_item_can_have_a_budget_of_its_own(ear) -> None:
    origin = ear.origin("log_mel", ear.sounds(4, 2000, seed=1))
    origin["rmse_budget_db"] = torch.tensor([0.5, 3.0, 1e9, 0.0], dtype=torch.float64)
    signal = ear.changed(origin, 2).requires_grad_()

    held = RmseBudget(db=1.0)(signal, origin)
    (gradient,) = torch.autograd.grad(held.sum(), signal)

    asked = rmse_db(signal, origin)[2].item()
    assert rmse_db(held, origin).tolist() == pytest.approx([0.5, 3.0, asked, 0.0], abs=2e-6)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("floor_db", [-5.0, 0.0, 40.0])
def test_the_snr_is_the_floor(project, floor_db) -> None:
    held, origin = project(SnrFloor(db=floor_db), "sound", size=10.0)
    expected = torch.full((2,), floor_db, dtype=torch.float64)
    torch.testing.assert_close(snr_db(held, origin), expected)


def test_in_silence_nothing_changes_that_could_be_written(ear) -> None:
    origin = ear.prepared(SnrFloor(db=30.0), "sound", torch.zeros(1, 900, dtype=torch.float64))
    held = SnrFloor(db=30.0)(ear.changed(origin, 1), origin)
    assert held.abs().max() < 2**-18


@pytest.mark.parametrize("db", [0.0, -2.0])
def test_a_budget_of_nothing_is_refused(db) -> None:
    with pytest.raises(InputError, match=r"constraint\.db=.*; expected a number above 0"):
        RmseBudget(db=db)
