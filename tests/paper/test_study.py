"""A study: batches, their order, what is kept of them, and resuming after it was killed."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from irdream.datasets.base import Excerpt
from irdream.dreaming.constraints import BandRange
from irdream.dreaming.objectives import Logit
from irdream.dreaming.parametrizations import Waveform
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.paper import study as module
from irdream.paper.study import Found, Study, kept
from irdream.processes import Interrupted
from irdream.recognizer import Recognizer
from irdream.sonification import GriffinLim
from irdream.sonification import StftGain as Gain
from tests.tiny import my_net, tiny_ascent

BATCH = 3


class Sonification:
    """Remembers the lengths of what it was given, and can be made to fail."""

    def __init__(self) -> None:
        self._batches: list[tuple[int, int]] = []
        self._fails: BaseException | None = None
        self._fails_at = 0

    def __call__(self, **given: Any) -> Tensor:
        if self._fails and len(self._batches) >= self._fails_at:
            raise self._fails
        if not torch.equal(given["dream"], given["original"]):  # undreamed ones come in fewer
            self._batches.append(tuple(given["waveform"].shape))
        return Gain()(**given)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", BATCH)


@pytest.fixture
def recognizer(my_package: ModuleType) -> Recognizer:
    return my_net(my_package, window_seconds=0.5)


@pytest.fixture
def way() -> Sonification:
    return Sonification()


@pytest.fixture
def study(recognizer: Recognizer, way: Sonification, tmp_path: Path) -> Study:
    return Study(
        recognizer=recognizer,
        second=None,
        ascents={"log_mel": ascent(), "waveform": ascent(Waveform())},
        sonifications={"gain": way},
        cache_dir=tmp_path / "cache",
    )


ascent = partial(tiny_ascent, steps=2, confidence=0.9)


def excerpts() -> list[Excerpt]:
    """Return noises of two lengths, in turns."""
    noise = 0.1 * torch.randn(4, 5000, generator=torch.Generator().manual_seed(0))
    return [
        Excerpt(waveform=noise[i, : 5000 - 600 * (i % 2)], labels=("cel",), name=f"noise {i}")
        for i in range(4)
    ]


ITEMS = [Item(i, target) for target in ("cel", "flu", "sax") for i in range(4)]


def run(study: Study, items: Sequence[Item] = ITEMS, **changes: Any) -> Found:
    settings: dict[str, Any] = {"description": "dreams", "excerpts": excerpts()}
    settings |= {"ascent": "log_mel", **changes}
    return study.run(items=items, **settings)


def only_dreams(item: Item, kind: str) -> bool:
    return kind == "dream"


def sounds(found: Found) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for one in found.sounds for path in one.glob("*")}


def assert_same(one: Found, other: Found) -> None:
    assert one.items == other.items
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert sounds(one) == sounds(other)
    assert set(one.arrays) == set(other.arrays)
    for name, arrays in one.arrays.items():
        for found, expected in zip(arrays, other.arrays[name], strict=True):
            np.testing.assert_array_equal(found, expected)


# What is kept in a file ---------------------------------------------------------------------


TABLE = pd.DataFrame(
    {
        "name": ["ü/\n名", ""], "yes": [True, False], "whole": [3, 2**60],
        "third": [1 / 3, math.nan], "far": [-math.inf, 5e-324],
    }
)  # fmt: skip
ARRAYS = {
    "float": np.array([[1.5, math.nan, -math.inf]], np.float32),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "none of it": np.empty((0, 4)),
}


def never() -> Any:
    pytest.fail("it is there")


def test_what_is_kept_comes_back_as_it_was(tmp_path) -> None:
    path = tmp_path / "a" / "one.safetensors"
    for make in (lambda: (TABLE, ARRAYS), never):
        table, arrays = kept(path, make)
        pd.testing.assert_frame_equal(table, TABLE, check_exact=True)
        assert set(arrays) == set(ARRAYS)
        for name, values in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], values, strict=True)
    kept(path.with_name("other.safetensors"), lambda: (TABLE.iloc[:1], {"x": np.ones(1)}))
    assert len(kept(path, never)[0]) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole.replace(b'\\"name\\"', b"'name'..."),
        lambda whole: whole.replace(b'"table"', b'"cable"'),
    ],
    ids=["empty", "half", "json", "key"],
)
def test_what_is_damaged_is_made_anew_and_said_to_be(tmp_path, caplog, damage) -> None:
    path = tmp_path / "one.safetensors"
    kept(path, lambda: (TABLE, ARRAYS))
    path.write_bytes(damage(path.read_bytes()))

    again = (pd.DataFrame({"x": [1]}), {"x": np.zeros(2)})
    for _ in range(2):
        table, arrays = kept(path, lambda: again)
        assert (table["x"].tolist(), arrays["x"].tolist()) == ([1], [0, 0])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{path} is damaged" in caplog.text
    assert "is made anew" in caplog.text


# How to dream -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ascents": {}}, r"^task.study.ascents has none; add 'log_mel'$"),
        ({"ascents": {"wave": ascent()}}, r"^task.study.ascents has wave; add 'log_mel'$"),
        ({"sonifications": {}}, r"^task.study.sonifications has none; add 'gain'$"),
        (
            {"sonifications": {"a": Gain(), "b": Gain()}},
            r"^task.study.sonifications has a, b; add 'gain'$",
        ),
        (
            {"ascents": {"log_mel": ascent(confidence=None)}},
            r"^dream.confidence=None; expected a number between 0 and 1$",
        ),
    ],
)
def test_a_study_that_cannot_be_made_is_refused(study, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        replace(study, **changes)


# Batches and their order --------------------------------------------------------------------


def test_batches_are_small_and_of_one_length_and_in_one_order(study, recognizer, way) -> None:
    found = run(study)

    # Dream and random change of six items of each length, three at a time.
    assert way._batches == [(3, 5000)] * 4 + [(3, 4400)] * 4
    assert sorted(map(str, found.items)) == sorted(map(str, ITEMS))
    asked = [(f"noise {item.excerpt}", item.target) for item in found.items]
    for kind in ("dream", "undreamed", "random"):
        rows = found.table[found.table["kind"] == kind]
        assert list(zip(rows["excerpt"], rows["target"], strict=True)) == asked
    dreams = found.table[found.table["kind"] == "dream"]
    for i, item in enumerate(found.items):
        log_mel = recognizer.log_mel(excerpts()[item.excerpt].waveform[None])[0]
        np.testing.assert_allclose(found.arrays["original"][i], log_mel, atol=1e-4)
        target, row = recognizer.instruments.index(item.target), dreams.iloc[i]
        assert row["target_probability"] == pytest.approx(found.arrays["after"][i][target])
        assert row["before"] == pytest.approx(found.arrays["before"][i][target])
        change_db = 20 / np.log(10) * (found.arrays["dream"][i] - found.arrays["original"][i])
        assert row["rmse_db"] == pytest.approx(np.sqrt(np.mean(change_db**2)), rel=1e-4)
    one_length = run(study, [Item(0, "cel"), Item(2, "cel")])
    assert one_length.of("original").shape == (2, 12, 25)


def test_batches_do_not_change_what_is_found(study, monkeypatch, tmp_path) -> None:
    parted = run(study)
    monkeypatch.setattr(module, "BATCH", 100)
    whole = run(replace(study, cache_dir=tmp_path / "other"))
    assert parted.items == whole.items
    keys = ["excerpt", "target", "way", "kind"]
    one, other = (found.table.sort_values(keys, ignore_index=True) for found in (parted, whole))
    pd.testing.assert_frame_equal(one, other, rtol=1e-2, atol=1e-3)


# Resuming -----------------------------------------------------------------------------------


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger=module.__name__)

    def messages() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if record.name == module.__name__]
        caplog.clear()
        return lines

    return messages


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_a_killed_study_resumes_where_it_was(study, way, said, tmp_path, stop) -> None:
    def keep(item: Item, kind: str) -> bool:
        return item.target == "sax"

    whole = run(replace(study, cache_dir=tmp_path / "whole"), keep=keep)
    way._batches.clear()
    assert said() == ["dreams: 12 dreams"]

    way._fails, way._fails_at = stop, 5  # at the random change of the third batch
    with pytest.raises((Interrupted, RuntimeError)) as caught:
        run(study, keep=keep)
    if isinstance(stop, KeyboardInterrupt):
        again = f"type the same line with cache_dir={study.cache_dir}"
        assert str(caught.value) == f"finished batches of dreams are kept; to resume {again}"
    assert way._batches == [(3, 5000)] * 4 + [(3, 4400)]
    assert said() == ["dreams: 12 dreams"]

    way._fails = None
    for missing, done in (([(3, 4400)] * 4, 2), ([], 4)):
        way._batches.clear()
        resumed = run(study, keep=keep)
        assert way._batches == missing
        assert said() == [f"dreams: 12 dreams, {done} batches done"]
        assert_same(whole, resumed)
    assert len(sounds(whole)) == 16


def test_more_items_dream_only_what_is_new(study, way) -> None:
    run(study, ITEMS[:8])
    way._batches.clear()
    run(study)
    # The first batch of each length is there; the second has become another one.
    assert way._batches == [(3, 5000)] * 2 + [(3, 4400)] * 2


def louder(excerpt: Excerpt) -> Excerpt:
    return replace(excerpt, waveform=1.01 * excerpt.waveform)


def with_ascent(study: Study, **changes: Any) -> dict[str, Any]:
    return {"study": replace(study, ascents={"log_mel": ascent(**changes)})}


def nudged(study: Study) -> dict[str, Any]:
    """Change a weight of the network by as little as there is."""
    with torch.no_grad():
        weight = next(study.recognizer.parameters()).view(-1)
        weight[-1] = torch.nextafter(weight[-1], torch.tensor(math.inf))
    return {"study": replace(study)}


@pytest.mark.parametrize(
    "change",
    [
        lambda study: {"study": replace(study, seed=1)},
        lambda study: {"study": replace(study, second=study.recognizer)},
        nudged,
        lambda study: with_ascent(study, step_size=0.5),
        lambda study: with_ascent(study, objective=Logit()),
        lambda study: with_ascent(study, constraint=BandRange(least_db=-80.0)),
        lambda study: {"steps": 2},
        lambda study: {"excerpts": [louder(excerpt) for excerpt in excerpts()]},
        lambda study: {"excerpts": [replace(e, name=f"{e.name}!") for e in excerpts()]},
        lambda study: {"excerpts": [replace(e, labels=("flu",)) for e in excerpts()]},
        lambda study: {"excerpts": [replace(e, recording="one") for e in excerpts()]},
        lambda study: {"items": [replace(item, target="pia") for item in ITEMS[:2]]},
        lambda study: {"keep": lambda item, kind: kind == "random"},
    ],
    ids=[
        "seed", "second", "weight", "step", "objective", "constraint", "steps", "sound", "name",
        "labels", "recording", "target", "kept",
    ],
)  # fmt: skip
def test_what_is_asked_otherwise_is_dreamed_anew(study, way, change) -> None:
    run(study, ITEMS[:2])
    way._batches.clear()
    changes = {"items": ITEMS[:2], **change(study)}
    run(changes.pop("study", study), **changes)
    assert way._batches == [(1, 5000)] * 2 + [(1, 4400)] * 2


def test_other_ways_to_sound_are_dreamed_anew(study, tmp_path) -> None:
    some = {"gain": Gain()}
    for ways in (
        some,
        some | {"griffin_lim": GriffinLim(iterations=1)},
        some | {"griffin_lim": GriffinLim(iterations=2)},
        some | {"griffin_lim": GriffinLim(iterations=2, momentum=0.0)},
    ):
        run(replace(study, sonifications=ways), ITEMS[:1])
    assert len(list((tmp_path / "cache" / "paper").iterdir())) == 4


def test_what_use_leaves_in_the_parts_of_a_study_is_not_their_setting(study, way) -> None:
    run(study, ITEMS[:1])
    run(study, ITEMS[:2])  # by what has been used
    way._batches.clear()
    again = replace(study, sonifications={"gain": Sonification()})  # as a new process begins
    run(again, ITEMS[:2])
    assert way._batches == []
    assert again.sonifications["gain"]._batches == []  # type: ignore[attr-defined]
