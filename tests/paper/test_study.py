"""A study: batches, their order, and going on after it was killed."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel, Maco, StftGain, Waveform
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.interrupts import Interrupted
from irdream.paper import study as module
from irdream.paper.study import Found, Study
from irdream.recognizer import Recognizer
from irdream.sonification import StftGain as Gain

RATE_HZ = 8000
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
    torch.manual_seed(0)
    frontend = HanLogMel(sample_rate_hz=RATE_HZ, n_fft=256, hop_samples=200, n_mels=12)
    model = my_package.MyNet()
    return Recognizer(frontend=frontend, model=model, window_seconds=0.5).eval()


@pytest.fixture
def heard() -> Sonification:
    return Sonification()


@pytest.fixture
def study(recognizer: Recognizer, heard: Sonification, tmp_path: Path) -> Study:
    return Study(
        recognizer=recognizer,
        second=None,
        ascents={"log_mel": ascent(), "waveform": ascent(Waveform())},
        sonifications={"gain": heard},
        cache_dir=tmp_path / "cache",
    )


def ascent(parametrization: Any = None, **changes: Any) -> Ascent:
    return Ascent(
        parametrization=parametrization or LogMel(),
        objective=LogProbability(),
        optimizer=NormalizedAscent(),
        **{"steps": 2, "step_size": 1.0, "confidence": 0.9, **changes},
    )


def excerpts() -> list[Excerpt]:
    """Return noises of two lengths, in turns."""
    noise = 0.1 * torch.randn(4, 5000, generator=torch.Generator().manual_seed(0))
    return [
        Excerpt(waveform=noise[i, : 5000 - 600 * (i % 2)], labels=("cel",), name=f"noise {i}")
        for i in range(4)
    ]


ITEMS = [Item(i, target) for target in ("cel", "flu", "sax") for i in range(4)]


def run(study: Study, items: Sequence[Item] = ITEMS, **changes: Any) -> Found:
    settings: dict[str, Any] = {"description": "until heard", "excerpts": excerpts()}
    settings |= {"trial": study.trial("log_mel"), **changes}
    return study.run(items=items, **settings)


def kept(found: Found) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for one in found.sounds for path in one.glob("*")}


def assert_same(one: Found, other: Found) -> None:
    assert one.items == other.items
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert kept(one) == kept(other)
    assert set(one.planes) == set(other.planes)
    for name, planes in one.planes.items():
        for found, expected in zip(planes, other.planes[name], strict=True):
            np.testing.assert_array_equal(found, expected)


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
        (
            {"with_visqol": True},
            r"^paper.visqol=true, and ViSQOL is not installed; run pip install 'irdream\[visqol",
        ),
    ],
)
def test_a_study_that_cannot_be_made_is_refused(study, monkeypatch, changes, message) -> None:
    monkeypatch.setitem(sys.modules, "visqol", None)
    with pytest.raises(InputError, match=message):
        replace(study, **changes)


def test_visqol_that_is_there_can_be_asked(study, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "visqol", SimpleNamespace(VisqolApi=object))
    assert replace(study, with_visqol=True).trial("log_mel").with_visqol


def test_a_trial_has_what_the_study_has(study) -> None:
    study = replace(study, seed=5, second=study.recognizer)
    trial = study.trial("log_mel")
    assert trial.ascent is study.ascents["log_mel"]
    assert (trial.recognizer, trial.second) == (study.recognizer, study.recognizer)
    assert (trial.seed, trial.with_visqol) == (5, False)
    fixed = study.trial("log_mel", steps=7).ascent
    assert (fixed.steps, fixed.confidence, fixed.patience) == (7, None, None)


@pytest.mark.parametrize(
    ("parametrization", "is_sound"),
    [(LogMel(), False), (StftGain(), True), (Waveform(), True), (Maco(of=LogMel()), False)],
)
def test_what_is_sound_needs_no_way_to_it(study, parametrization, is_sound) -> None:
    ways = {"gain": Gain(), "other": Gain(), "third": Gain()}
    ascents = {"log_mel": ascent(), "mine": ascent(parametrization)}
    study = replace(study, ascents=ascents, sonifications=ways)
    if is_sound:
        assert study.trial("mine").ways == {"mine": None}
        assert study.trial("mine", ways=["gain"]).ways == {"mine": None}
    else:
        assert study.trial("mine").ways == ways
        assert study.trial("mine", ways=["third"]).ways == {"third": ways["third"]}


# Batches and their order --------------------------------------------------------------------


def test_batches_are_small_and_of_one_length(study, heard) -> None:
    run(study)
    # Dream and random change of six items of each length, three at a time.
    assert heard._batches == [(3, 5000)] * 4 + [(3, 4400)] * 4


def test_items_table_and_planes_are_in_one_order(study, recognizer) -> None:
    found = run(study)

    assert sorted(map(str, found.items)) == sorted(map(str, ITEMS))
    asked = [(f"noise {item.excerpt}", item.target) for item in found.items]
    for kind in ("dream", "undreamed", "random"):
        rows = found.table[found.table["kind"] == kind]
        assert list(zip(rows["excerpt"], rows["target"], strict=True)) == asked
    dreams = found.table[found.table["kind"] == "dream"]
    for i, item in enumerate(found.items):
        log_mel = recognizer.log_mel(excerpts()[item.excerpt].waveform[None])[0]
        np.testing.assert_allclose(found.planes["original"][i], log_mel, atol=1e-4)
        target = recognizer.instruments.index(item.target)
        row = dreams.iloc[i]
        assert row["target_probability"] == pytest.approx(found.planes["after"][i][target])
        assert row["before"] == pytest.approx(found.planes["before"][i][target])
        change_db = 20 / np.log(10) * (found.planes["dream"][i] - found.planes["original"][i])
        assert row["rmse_db"] == pytest.approx(np.sqrt(np.mean(change_db**2)), rel=1e-4)


def test_planes_of_one_length_are_one_array(study) -> None:
    found = run(study, [Item(0, "cel"), Item(2, "cel")])
    assert found.of("original").shape == (2, 12, 25)
    assert found.of("after").shape == (2, 11)
    np.testing.assert_array_equal(found.of("dream")[1], found.planes["dream"][1])


def test_batches_do_not_change_what_is_found(study, monkeypatch, tmp_path) -> None:
    parted = run(study)
    monkeypatch.setattr(module, "BATCH", 100)
    whole = run(replace(study, cache_dir=tmp_path / "other"))
    assert parted.items == whole.items
    keys = ["excerpt", "target", "way", "kind"]
    one, other = (found.table.sort_values(keys, ignore_index=True) for found in (parted, whole))
    pd.testing.assert_frame_equal(one, other, rtol=1e-2, atol=1e-3)


def test_nothing_to_dream_is_nothing_found(study) -> None:
    found = run(study, [])
    assert (found.items, len(found.table), found.planes) == ([], 0, {})


def test_what_is_kept_can_be_copied(study, tmp_path) -> None:
    def keep(item: Item, kind: str) -> bool:
        return item.excerpt == 0 and kind == "dream"

    found = run(study, keep=keep)
    run(study, [Item(0, "tru")], keep=keep)  # of another run, in the same folder
    found.copy_sounds(tmp_path / "sounds" / "here")

    names = [
        f"noise_0-to-{target}-gain-{kind}.wav"
        for target in ("cel", "flu", "sax")
        for kind in ("dream", "original")
    ]
    assert sorted(path.name for path in (tmp_path / "sounds" / "here").iterdir()) == names


def test_other_sounds_of_the_same_name_do_not_change_what_was_kept(study, tmp_path) -> None:
    def keep(item: Item, kind: str) -> bool:
        return kind == "dream"

    before = kept(run(study, ITEMS[:1], keep=keep))
    others = [louder(excerpts()[1]), *excerpts()[1:]]
    others[0] = replace(others[0], name=excerpts()[0].name)
    other = run(study, ITEMS[:1], excerpts=others, keep=keep)
    assert kept(other).keys() == before.keys()
    assert kept(other) != before
    assert kept(run(study, ITEMS[:1], keep=keep)) == before


def test_names_that_agree_are_told_apart_in_every_batch(study, monkeypatch) -> None:
    monkeypatch.setattr(module, "BATCH", 1)
    alike = [replace(one, name=f"{'x' * 90} {i % 2}") for i, one in enumerate(excerpts()[::2])]
    items = [Item(i, "sax") for i in range(2)]
    run(study, items[:1], excerpts=alike[:1], keep=lambda item, kind: True)
    found = run(study, items, excerpts=alike, keep=lambda item, kind: True)
    assert len(set(found.table["file"])) == 2
    assert {name.partition("-to-")[0] for name in kept(found)} == {
        file.partition("-to-")[0] for file in found.table["file"]
    }


# Going on -----------------------------------------------------------------------------------


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger=module.__name__)

    def messages() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if record.name == module.__name__]
        caplog.clear()
        return lines

    return messages


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_a_killed_study_goes_on_where_it_was(study, heard, said, tmp_path, stop) -> None:
    def keep(item: Item, kind: str) -> bool:
        return item.target == "sax"

    whole = run(replace(study, cache_dir=tmp_path / "whole"), keep=keep)
    heard._batches.clear()
    assert said() == ["until heard: 12 dreams"]

    heard._fails, heard._fails_at = stop, 5  # at the random change of the third batch
    with pytest.raises((Interrupted, RuntimeError)) as caught:
        run(study, keep=keep)
    if isinstance(stop, KeyboardInterrupt):
        again = f"type the same line with cache_dir={study.cache_dir}"
        assert str(caught.value) == f"finished batches of dreams are kept; to resume {again}"
    assert heard._batches == [(3, 5000)] * 4 + [(3, 4400)]
    assert said() == ["until heard: 12 dreams"]

    heard._fails = None
    heard._batches.clear()
    gone_on = run(study, keep=keep)
    assert heard._batches == [(3, 4400)] * 4  # what was missing
    assert said() == ["until heard: 12 dreams, 2 batches done"]

    heard._batches.clear()
    again = run(study, keep=keep)
    assert heard._batches == []
    assert said() == ["until heard: 12 dreams, 4 batches done"]

    assert_same(gone_on, again)
    assert_same(whole, gone_on)
    assert len(kept(whole)) == 16


def test_a_damaged_batch_is_dreamed_anew(study, heard, caplog) -> None:
    before = run(study)
    stage = before.sounds[1].parents[1] / f"{before.sounds[1].name}.safetensors"
    stage.write_bytes(stage.read_bytes()[:-7])
    heard._batches.clear()

    assert_same(run(study), before)
    assert len(heard._batches) == 2
    assert "is damaged" in caplog.text


def test_more_items_dream_only_what_is_new(study, heard) -> None:
    run(study, ITEMS[:8])
    heard._batches.clear()
    run(study)
    # The first batch of each length is there; the second has become another one.
    assert heard._batches == [(3, 5000)] * 2 + [(3, 4400)] * 2


def louder(excerpt: Excerpt) -> Excerpt:
    return replace(excerpt, waveform=1.01 * excerpt.waveform)


@pytest.mark.parametrize(
    "change",
    [
        lambda study: {"study": replace(study, seed=1)},
        lambda study: {"study": replace(study, ascents={"log_mel": ascent(step_size=0.5)})},
        lambda study: {"trial": study.trial("log_mel", steps=2)},
        lambda study: {"excerpts": [louder(excerpt) for excerpt in excerpts()]},
        lambda study: {"excerpts": [replace(e, name=f"{e.name}!") for e in excerpts()]},
        lambda study: {"excerpts": [replace(e, labels=("flu",)) for e in excerpts()]},
        lambda study: {"excerpts": [replace(e, recording="one") for e in excerpts()]},
        lambda study: {"items": [replace(item, target="pia") for item in ITEMS[:2]]},
        lambda study: {"keep": lambda item, kind: kind == "random"},
    ],
    ids=["seed", "step", "steps", "sound", "name", "labels", "recording", "target", "kept"],
)
def test_what_is_asked_otherwise_is_dreamed_anew(study, heard, change) -> None:
    run(study, ITEMS[:2])
    heard._batches.clear()
    changes = {"items": ITEMS[:2], **change(study)}
    run(changes.pop("study", study), **changes)
    assert heard._batches == [(1, 5000)] * 2 + [(1, 4400)] * 2


def test_code_of_ones_own_that_changed_is_run_anew(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def result(code: str) -> bytes:
        (tmp_path / "my_sound.py").write_text(
            "from irdream.sonification import StftGain\n\n\n"
            f"class Mine(StftGain):\n    def __call__(self, **given):\n        {code}\n"
        )
        sys.modules.pop("my_sound", None)
        importlib.invalidate_caches()
        study = Study(
            recognizer=recognizer,
            second=None,
            ascents={"log_mel": ascent()},
            sonifications={"gain": importlib.import_module("my_sound").Mine()},
            cache_dir=tmp_path / "cache",
        )
        found = run(study, ITEMS[:1], keep=lambda item, kind: kind == "dream")
        return next(data for name, data in kept(found).items() if "dream" in name)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("irdream.fingerprint._first_seen", {})
    as_it_is = result("return super().__call__(**given)")
    assert result("return 0.1 * super().__call__(**given)") != as_it_is
    del sys.modules["my_sound"]


def test_what_use_leaves_in_the_parts_of_a_study_is_not_their_setting(study, heard) -> None:
    run(study, ITEMS[:1])
    run(study, ITEMS[:2])  # by what has been used
    heard._batches.clear()
    again = replace(study, sonifications={"gain": Sonification()})  # as a new process begins
    run(again, ITEMS[:2])
    assert heard._batches == []
    assert again.sonifications["gain"]._batches == []  # type: ignore[attr-defined]


def test_names_that_are_no_utf_8_have_batches_of_their_own(study) -> None:
    odd = [replace(excerpts()[0], name=name) for name in ("\udcff", "\udcfe")]
    names = [
        module._batch_name(odd, [Item(i, "sax")], ["the same"], lambda item, kind: True)
        for i in (0, 1)
    ]
    assert names[0] != names[1]
