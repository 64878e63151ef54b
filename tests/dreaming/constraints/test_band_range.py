"""Ranges of bands: numbers, lists, files, and what is wrong with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from irdream.dreaming.constraints import BandRange
from irdream.errors import InputError

DB = 20.0 / math.log(10.0)


def test_one_range_for_all_bands(project) -> None:
    held, _ = project(BandRange(least_db=-40.0, most_db=-10.0), "log_mel")
    assert (held * DB).min().item() == pytest.approx(-40.0)
    assert (held * DB).max().item() == pytest.approx(-10.0)


@pytest.mark.parametrize("from_file", [False, True])
def test_a_range_for_each_band(project, ear, tmp_path, from_file) -> None:
    least, most = np.linspace(-60, -30, 12), np.linspace(-20, -10, 12)
    np.save(tmp_path / "ranges.npy", np.stack([least, most]))
    constraint = (
        BandRange(path=tmp_path / "ranges.npy")
        if from_file
        else BandRange(least_db=least.tolist(), most_db=most.tolist())
    )

    held, origin = project(constraint, "log_mel", size=2.0)

    asked = ear.changed(origin, 2, 2.0)
    low, high = (torch.from_numpy(limit / DB)[:, None] for limit in (least, most))
    torch.testing.assert_close(held, torch.maximum(torch.minimum(asked, high), low))
    assert (held >= low).all()
    assert (held <= high).all()


def test_one_number_may_meet_a_list(project) -> None:
    held, _ = project(BandRange(least_db=-60.0, most_db=[-30.0] * 12), "log_mel")
    assert (held * DB).max().item() == pytest.approx(-30.0)


def test_of_a_gain_it_is_the_gain(project) -> None:
    held, _ = project(BandRange(least_db=-6.0, most_db=3.0), "gain")
    assert (held * DB).min().item() == pytest.approx(-6.0)
    assert (held * DB).max().item() == pytest.approx(3.0)


def test_a_list_of_another_length_than_bands_is_refused(project) -> None:
    with pytest.raises(InputError, match=r"has 3 numbers; expected 12, one for each band of the"):
        project(BandRange(least_db=[-1.0, -2.0, -3.0], most_db=[1.0, 2.0, 3.0]), "log_mel")


def test_a_file_of_another_length_is_named(project, tmp_path) -> None:
    np.save(tmp_path / "ranges.npy", np.array([[0.0] * 5, [1.0] * 5]))
    with pytest.raises(InputError, match=r"constraint\.path='.*ranges\.npy' has 5 numbers; expect"):
        project(BandRange(path=tmp_path / "ranges.npy"), "log_mel")


def test_lists_of_two_lengths_are_refused() -> None:
    with pytest.raises(InputError, match=r"least_db has 2 numbers and most_db 3; expected as many"):
        BandRange(least_db=[-1.0, -2.0], most_db=[1.0, 2.0, 3.0])


@pytest.mark.parametrize("least_db", [20.0, math.nan])
def test_a_range_that_is_none_is_refused(least_db) -> None:
    with pytest.raises(InputError, match=r"(20|nan) to 20 in band 0; expected the least below"):
        BandRange(least_db=least_db, most_db=20.0)


def test_the_band_whose_range_is_none_is_named() -> None:
    with pytest.raises(InputError, match=r"least_db, most_db: 3 to 2 in band 1; expected the"):
        BandRange(least_db=[0.0, 3.0, 0.0], most_db=2.0)


def test_a_file_that_cannot_be_read_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"constraint\.path=.*cannot be read .*; expected a \.npy"):
        BandRange(path=tmp_path / "none.npy")
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(InputError, match=r"text\.npy' cannot be read"):
        BandRange(path=tmp_path / "text.npy")


def test_a_file_of_another_shape_is_refused(tmp_path) -> None:
    np.save(tmp_path / "ranges.npy", np.zeros((12, 2)))
    with pytest.raises(InputError, match=r"holds \(12, 2\); expected \(2, n_mels\)"):
        BandRange(path=tmp_path / "ranges.npy")
