"""Which excerpts are dreamed toward what, and how their dreams are compared."""

import logging
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from irdream.audio.stft import DB_PER_NATURAL
from irdream.datasets.base import Excerpt
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.instruments import CODES
from irdream.paper.excerpts import (
    ExcerptFindings,
    at_most,
    dream_excerpts,
    examples,
    first_of_each,
    own_and_other,
    wrong_pairs,
)
from irdream.paper.study import Found
from irdream.progress import Stopwatch
from irdream.sonification import StftGain


def excerpt(labels: str, i: int = 0) -> Excerpt:
    name = f"{labels}-{i}"
    return Excerpt(waveform=torch.zeros(4), labels=tuple(labels.split("+")), name=name)


def excerpts(*labels: str) -> list[Excerpt]:
    return [excerpt(text, i) for i, text in enumerate(labels)]


# The choice -------------------------------------------------------------------------------------


def test_own_and_another_stand_side_by_side() -> None:
    some = excerpts("cel", "flu+pia", "voi+cel+sax") * 7
    items = own_and_other(some, CODES, seed=3)

    assert [item.excerpt for item in items] == [i for i in range(len(some)) for _ in range(2)]
    assert [item.target for item in items[::2]] == [one.labels[0] for one in some]
    for item in items[1::2]:
        assert item.target not in some[item.excerpt].labels
    assert items == own_and_other(some, CODES, seed=3)


def test_own_and_another_of_other_labels() -> None:
    items = own_and_other(excerpts("kick", "snare"), ["kick", "snare"], seed=3)
    assert [item.target for item in items] == ["kick", "snare", "snare", "kick"]


def test_no_more_of_an_instrument_than_asked_for() -> None:
    some = excerpts("cel", "flu", "cel+pia", "flu", "cel", "pia+cel")
    names = [e.name for e in at_most(some, 2)]
    assert names == ["cel-0", "flu-1", "cel+pia-2", "flu-3", "pia+cel-5"]
    assert at_most([], 2) == []


def test_the_first_of_each_instrument_and_single_labels_before() -> None:
    some = excerpts("cel+pia", "flu", "cel", "flu", "cel", "cel+flu+pia")
    assert first_of_each(some, CODES, 1) == [1, 2]
    assert first_of_each(some, CODES, 2) == [1, 2, 3, 4]
    assert first_of_each(some, CODES, 3) == [0, 1, 2, 3, 4]
    assert first_of_each(some, CODES, 9) == list(range(6))
    assert first_of_each(some, ["flu"], 1) == [1]
    assert first_of_each(some, ["voi"], 1) == []


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        (["flu", "cel+sax", "cel", "sax", "sax"], [2, 3]),
        (["sax", "flu", "cel"], [0, 2]),
        (["flu", "cel", "pia"], [1]),
        (["flu", "sax"], [1]),
        (["flu", "pia", "voi"], [0, 1]),
        (["flu+pia", "flu", "pia+flu", "pia"], [1, 3]),
        (["flu", "flu"], [0]),
        (["flu"], [0]),
    ],
)
def test_the_examples_are_a_cello_and_a_saxophone_where_there_are(labels, chosen) -> None:
    some = excerpts(*labels)
    assert examples(some) == chosen
    assert set(examples(some)) <= set(first_of_each(some, CODES, 1))  # are in the smallest grid


# Pairs ------------------------------------------------------------------------------------------


def grid(of: list[tuple[int, str, list[float]]], original: list[float] | None = None) -> Found:
    """Return dreams of log-mels in dB; each is what was added to the original."""
    start = np.array([original or [0.0] * 4]) / DB_PER_NATURAL
    return Found(
        items=[Item(i, target) for i, target, _ in of],
        table=pd.DataFrame(),
        arrays={
            "original": [start for _ in of],
            "dream": [start + np.array([added]) / DB_PER_NATURAL for *_, added in of],
        },
    )


def test_pairs_by_hand() -> None:
    some = [
        Excerpt(waveform=torch.zeros(4), labels=("cel", "pia"), name="a", recording="tape"),
        excerpt("flu", 1),
    ]
    found = grid(
        [
            (0, "cel", [2.0, 0.0, 0.0, 0.0]),
            (0, "flu", [0.0, 4.0, 0.0, 0.0]),  # at right angles to own
            (0, "pia", [9.0, 9.0, 9.0, 9.0]),  # another label
            (0, "sax", [-2.0, 0.0, 0.0, 0.0]),  # opposed to own
            (0, "voi", [2.0, 1.0, 0.0, 0.0]),  # much as own
            (1, "flu", [0.0, 0.0, 0.0, 0.0]),
            (1, "cel", [0.0, 0.0, 0.0, 0.0]),
            (1, "voi", [1.0, 1.0, 1.0, 1.0]),
        ],
        original=[-50.0, -3.0, 0.0, 7.0],
    )
    expected = pd.DataFrame(
        [
            ("a", "tape", "cel", "flu", 5.0, 1.0, 4.0, 1.0, True),
            ("a", "tape", "cel", "sax", 4.0, 1.0, 1.0, 2.0, True),
            ("a", "tape", "cel", "voi", 0.25, 1.0, 1.25, 1 / 9, False),
            ("flu-1", "flu-1", "flu", "cel", 0.0, 0.0, 0.0, np.nan, False),
            ("flu-1", "flu-1", "flu", "voi", 1.0, 0.0, 1.0, 1.0, False),  # as far, not farther
        ],
        columns=[
            "excerpt", "recording", "own", "wrong", "mse_cw", "mse_oc", "mse_ow", "rho", "farther",
        ],
    )  # fmt: skip
    pd.testing.assert_frame_equal(wrong_pairs(found, some), expected, rtol=1e-9, atol=1e-9)


# The whole --------------------------------------------------------------------------------------


@pytest.fixture
def dream(study, undrawn) -> Callable[..., ExcerptFindings]:
    def dream(dataset, **changes) -> ExcerptFindings:
        settings = {"per_instrument": 1, "grid_per_instrument": 1, "steps": 2, "seconds": 0.5}
        small = study(
            dreamed=("log_mel",), sonifications={"gain": StftGain()},
            second=changes.pop("second", None),
        )  # fmt: skip
        return dream_excerpts(small, dataset, stopwatch=Stopwatch(), **settings | changes)

    return dream


def test_until_confident_and_all_targets(dream, music) -> None:
    found = dream(music("flu+pia", "cel", "cel"), per_instrument=2, steps=3)

    assert (found.data, found.second, found.steps) == ("tones of a test", None, 3)
    assert sorted(e.name for e in found.excerpts) == ["cel-1", "cel-2", "flu+pia-0"]
    dreams = found.table[(found.table["kind"] == "dream") & (found.table["way"] == "gain")]
    assert dreams["toward"].tolist() == ["own", "other"] * 3
    assert (dreams["ascent"] == "log_mel").all()
    assert (dreams["target_probability"] >= 0.9).all()
    assert (dreams["steps"] == dreams["steps_to_0.9"]).all()  # stopped as soon as confident
    targets = [(item.excerpt, item.target) for item in found.grid.items]
    assert len(targets) == len(set(targets)) == 22
    fixed = found.grid.table[found.grid.table["kind"] == "dream"]
    assert (fixed["steps"] == 3).all()
    assert set(found.grid.table["way"]) == {"gain"}
    assert len(found.pairs) == 10 + 9


def test_sounds_are_kept_of_one_excerpt_an_instrument(dream, music, tmp_path) -> None:
    found = dream(music("cel+pia", "cel", "flu", "flu"), per_instrument=2)
    found.until_confident["log_mel"].copy_sounds(tmp_path / "sounds")
    first = [found.excerpts[i].name for i in first_of_each(found.excerpts, ["cel", "flu"], 1)]
    kept = sorted(path.stem for path in (tmp_path / "sounds").iterdir())
    assert {name.partition("-to-")[0] for name in kept} == set(first)
    assert [name.rpartition("-")[2] for name in kept] == ["dream", "original", "undreamed"] * 2
    for name in first:  # of its dream toward the other instrument
        assert not [one for one in kept if one.startswith(f"{name}-to-{name[:3]}")]


def test_excerpts_shorter_than_asked_for_are_dreamed_whole(dream, music) -> None:
    found = dream(music("cel", "0.7 s flu"), seconds=0.9)
    frames = {
        found.excerpts[item.excerpt].name: log_mel.shape[-1]
        for item, log_mel in zip(found.grid.items, found.grid.arrays["dream"], strict=True)
    }
    assert frames["cel-0"] > frames["flu-1"]
    lengths = {e.name: len(e.waveform) for e in found.excerpts}
    assert lengths == {"cel-0": 7200, "flu-1": 5600}


def test_what_cannot_be_read_is_listed_once(dream, music, study, caplog) -> None:
    found = dream(music("cel", "broken flu", "0.2 s pia"), second=study().second)

    assert [e.name for e in found.excerpts] == ["cel-0"]
    assert found.second is not None
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.startswith("skipped 2 excerpts:\n")
    assert "flu-1: 'flu.wav' is cut off" in warning
    assert "pia-2: " in warning


def test_nothing_that_was_chosen_can_be_read(dream, music, monkeypatch) -> None:
    """The only excerpt that can be read is not among those that are chosen."""
    monkeypatch.setattr("irdream.datasets.starts.evenly", lambda files, *, count, seed: [1])
    with pytest.raises(InputError, match=r"^nothing to dream on: 'flu.wav' is cut off; copy it"):
        dream(music("cel", "broken flu"))


def test_a_data_set_without_labels_ends_in_one_line(dream, music) -> None:
    with pytest.raises(InputError, match=r"no excerpt in the test part of 'music' has a label"):
        dream(music("unlabelled", "unlabelled"))
    with pytest.raises(InputError, match=r"^excerpt 'unlabelled-1' has no label[^\n]*$"):
        dream(music("cel", "unlabelled"))
