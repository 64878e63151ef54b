"""Noises toward every instrument: order, residuals, distances, and steps without a stop."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from irdream.dreaming.targets import Item
from irdream.instruments import CODES
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.paper.noise import (
    PLACES,
    NoiseFindings,
    _distances,
    _first_noise,
    by_noise,
    dream_noise,
    residuals,
)
from irdream.paper.study import Found
from irdream.reports.tables import rows_of
from irdream.stopwatch import Stopwatch


def found(**planes: list[np.ndarray]) -> Found:
    """Return dreams whose planes are given in dB."""
    natural = {
        name.replace("_", "-"): [plane / DB_PER_NATURAL for plane in values]
        for name, values in planes.items()
    }
    return Found(items=[], table=pd.DataFrame(), planes=natural, sounds=[])


def plane(*values: float) -> np.ndarray:
    """Return a log-mel of two bands and two frames."""
    return np.array(values, float).reshape(2, 2)


def test_one_noise_after_the_other_each_toward_all_targets() -> None:
    values = np.arange(6 * 4).reshape(6, 2, 2)
    ordered = by_noise(values, 2)
    assert ordered.shape == (2, 3, 2, 2)
    for noise, target in itertools.product(range(2), range(3)):
        assert (ordered[noise, target] == values[3 * noise + target]).all()


def test_residuals_are_dream_minus_noise_in_decibels() -> None:
    noises = [plane(-9, -8, -7, -6)] * 2 + [plane(0, 10, 20, 30)] * 2
    added = [plane(1, 2, 3, 4), plane(0, 0, 0, 0), plane(-1, 0, 1, 0), plane(6, 6, 6, 6)]
    dreams = [noise + change for noise, change in zip(noises, added, strict=True)]

    left = residuals(found(original=noises, dream=dreams), 2)

    assert left.shape == (2, 2, 2, 2)
    np.testing.assert_allclose(left.reshape(4, 2, 2), added, atol=1e-12)


def test_distances_by_hand() -> None:
    """Two noises toward two targets; the means over the frames decide the profile."""
    first, second = plane(0, 0, 0, 0), plane(4, 0, 0, 0)
    heard = [plane(2, 2, 0, 0), plane(2, -2, 0, 0), plane(4, 0, 0, 0), plane(0, 4, 0, 0)]
    table = _distances(
        found(original=[first, first, second, second], wav_gain=heard, dream=[first * 99] * 4), 2
    )

    half = np.sqrt(2)  # of the profiles (2, 0) and (0, 0): the root of (4 + 0) / 2
    expected = [
        ("dream and its noise", half, half),
        ("dream and its noise", half, 0.0),
        ("two targets, one noise", 2.0, half),
        ("dream and its noise", 0.0, 0.0),
        ("dream and its noise", np.sqrt(8), 0.0),
        ("two targets, one noise", np.sqrt(8), 0.0),
        ("two noises", 2.0, half),
        ("one target, two noises", half, 0.0),
        ("one target, two noises", np.sqrt(10), half),
    ]
    assert table["pair"].tolist() == [pair for pair, *_ in expected]
    assert table["rmse_db"].tolist() == pytest.approx([rmse for _, rmse, _ in expected])
    assert table["profile_db"].tolist() == pytest.approx([profile for *_, profile in expected])


def test_identical_sounds_have_no_distance() -> None:
    same = [plane(1, 2, 3, 4)] * 6
    table = _distances(found(original=same, wav_gain=same), 3)
    assert not table[["rmse_db", "profile_db"]].to_numpy().any()


def test_which_pairs_are_compared() -> None:
    random = np.random.default_rng(0).normal(size=(2, 12, 2, 2))
    counts = _distances(found(original=list(random[0]), wav_gain=list(random[1])), 3)["pair"]
    assert counts.value_counts().to_dict() == {
        "dream and its noise": 3 * 4,
        "two targets, one noise": 3 * 6,
        "one target, two noises": 3 * 4,
        "two noises": 3,
    }


def test_sounds_are_kept_of_the_first_noise() -> None:
    kinds = ("dream", "undreamed", "random")
    kept = [(i, kind) for i in range(3) for kind in kinds if _first_noise(Item(i, "cel"), kind)]
    assert kept == [(0, "dream")]


# The whole --------------------------------------------------------------------------------------


@pytest.fixture
def dream(study):
    def dream(**changes) -> NoiseFindings:
        settings = {"count": 2, "steps": 3, "permutations": 19}
        small = study(second=None, dreamed=changes.pop("dreamed", ("log_mel",)))
        return dream_noise(small, stopwatch=Stopwatch(), **settings | changes)

    return dream


def test_every_noise_meets_every_target_and_takes_all_steps(dream) -> None:
    result = dream(dreamed=("log_mel", "stft_gain", "waveform"), steps=5)

    table = result.table[result.table["kind"] == "dream"]
    assert (table["steps"] == 5).all()
    assert (table["steps_to_0.9"] < 5).any()  # some were heard before, and went on
    assert set(result.found) == set(itertools.product(("white", "pink"), ("log_mel", "stft_gain")))
    for (color, ascent), dreams in result.found.items():
        rows = table[(table["color"] == color) & (table["ascent"] == ascent)]
        assert rows["excerpt"].tolist() == [f"{color}-{i}" for i in range(2) for _ in CODES]
        assert rows["target"].tolist() == list(CODES) * 2
        assert [(item.excerpt, item.target) for item in dreams.items] == list(
            itertools.product(range(2), CODES)
        )
        originals = by_noise(dreams.of("original"), 2)
        assert (originals == originals[:, :1]).all()
        assert not np.allclose(originals[0], originals[1])
    assert set(result.patterns) == set(
        itertools.product(("white", "pink"), ("log_mel", "stft_gain"), PLACES)
    )
    assert {len(noises) for noises in result.noises.values()} == {2}
    assert result.steps == 5
    assert result.regions["white"].shape == (11, 12, 1)


def test_the_last_iterate_is_taken_also_where_it_is_not_the_best(study) -> None:
    small = study(second=None, dreamed=("log_mel",))
    hasty = replace(small.ascents["log_mel"], step_size=30.0)
    result = dream_noise(
        replace(small, ascents={"log_mel": hasty}), count=2, steps=4, permutations=19,
        stopwatch=Stopwatch(),
    )  # fmt: skip
    table = rows_of(result.table, kind="dream")
    assert set(table["steps"]) == {4}
    assert min(table["target_probability"]) < 0.9


def test_what_is_done_is_not_dreamed_again(dream, tmp_path) -> None:
    def stages() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}

    first = dream()
    assert set(first.found) == {("white", "log_mel"), ("pink", "log_mel")}
    assert set(first.table["way"]) == {"gain"}
    kept = stages()
    again = dream()

    assert stages() == kept != {}
    pd.testing.assert_frame_equal(first.table, again.table)
    pd.testing.assert_frame_equal(first.distances, again.distances)
    assert first.patterns == again.patterns
