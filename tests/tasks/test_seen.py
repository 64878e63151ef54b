"""Scores on what a checkpoint was trained on are marked wherever they are told."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile

from irdream.checkpoint_folder import load_recognizer
from irdream.datasets.folder import Folder
from irdream.datasets.identity import contents, seen
from irdream.measures.scoring import validation_of
from irdream.recognizer import Recognizer
from irdream.tasks.compare import compare
from irdream.tasks.evaluate import evaluate
from irdream.tracking import NullTracker
from tests.tasks.loudness import scored_by
from tests.tiny import Notebook

RATE_HZ = 1000
OLD_CARD = {"data": {"name": "notes"}, "split": {"by": "recording", "validation_share": 0.34}}


@pytest.fixture
def trained(run: Callable[..., Any], tmp_path: Path) -> Recognizer:
    """Trained on 12 notes, validated on 6."""
    run("trained", epochs=2)
    return load_recognizer(tmp_path / "trained" / "checkpoint", trust=["my_package"])


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, float]]:
    monkeypatch.setattr(
        "irdream.reports.recognition.save_figure", lambda figure, path: path.touch()
    )

    def score(recognizer: Recognizer, root: Path, **settings: Any) -> dict[str, float]:
        name = settings.pop("name", "notes")
        return evaluate(
            recognizer=recognizer, dataset=Folder(root=root, name=name),
            output_dir=tmp_path / "scores",
            **scored_by({"tracker": NullTracker(), **settings}),
        )  # fmt: skip

    return score


def copied(sounds: Path, to: Path, takes: range = range(6)) -> Path:
    """Copy some notes of each instrument, under other names."""
    for code in ("cel", "flu", "voi"):
        (to / code).mkdir(parents=True)
        for take in takes:
            shutil.copy(sounds / code / f"{code}{take}.wav", to / code / f"note {take}.wav")
    return to


def edit(path: Path, to: Path, gain: float = 0.5) -> None:
    sound, rate_hz = soundfile.read(path)
    soundfile.write(to, gain * sound, rate_hz)


def test_every_place_that_tells_a_score_tells_what_was_trained_on(
    trained, sounds, score, tmp_path, capsys
) -> None:
    tracker = Notebook()
    metrics = score(trained, sounds, part="training", tracker=tracker)
    assert (metrics["eval/trained_on"], metrics["eval/validated_on"]) == (12, 6)
    told = (
        "no test: the checkpoint was trained on 12 of these 18 excerpts, and its epoch and "
        "thresholds were chosen on 6"
    )
    assert told in capsys.readouterr().out
    assert tracker.tags == {"irdream.doubts": told}
    table = pd.read_csv(tmp_path / "scores" / "summary.csv")
    assert told in table.loc[0, "note"]
    assert table.loc[0, "data"] == "notes, training part, 12 of 18 trained on"
    uses = pd.read_csv(tmp_path / "scores" / "predictions.csv", keep_default_na=False)["seen_in"]
    assert uses.value_counts().to_dict() == {"training": 12, "validation": 6}


def test_they_are_known_in_part_in_other_folders_and_under_other_names(
    trained: Recognizer, sounds: Path, score: Callable[..., dict[str, float]], tmp_path: Path
) -> None:
    some = copied(sounds, tmp_path / "some", range(3))
    edit(sounds / "cel" / "cel0.wav", some / "cel" / "new.wav")
    metrics = score(trained, some, name="another")
    assert metrics["eval/trained_on"] + metrics["eval/validated_on"] == 9
    assert metrics["eval/excerpts"] == 10


def test_what_was_not_trained_on_is_not_marked(trained, sounds, score, tmp_path, capsys) -> None:
    root = copied(sounds, tmp_path / "new" / "training")
    for code in ("cel", "flu"):
        note = root.parent / "test" / code / "note.wav"
        note.parent.mkdir(parents=True)
        edit(sounds / code / f"{code}0.wav", note)
    tracker = Notebook()
    metrics = score(trained, root.parent, tracker=tracker)
    assert (metrics["eval/trained_on"], metrics["eval/validated_on"]) == (0, 0)
    assert "eval/no_test_part" not in metrics
    assert tracker.tags == {}
    assert "no test" not in capsys.readouterr().out


def test_one_folder_for_both_parts_is_no_test_part(
    trained, sounds, score, capsys, caplog, tmp_path
) -> None:
    trained.card = {}
    (sounds / "cel" / "link.wav").symlink_to(sounds / "gone.wav")
    metrics = score(trained, sounds, part="test")
    assert metrics["eval/no_test_part"] == 1
    assert "evaluate: 19 excerpts, all of 'notes', which has no test part, on" in (
        capsys.readouterr().out
    )
    assert "'notes' has no test part: scored are the excerpts for training" in caplog.text
    table = pd.read_csv(tmp_path / "scores" / "summary.csv")
    assert table.loc[0, "data"] == "notes, all excerpts, for it has no test part"


@pytest.mark.parametrize(
    ("card", "name", "part", "doubted"),
    [
        (OLD_CARD, "notes", "training", True),
        (OLD_CARD, "notes", "test", True),  # for there is no test part
        (OLD_CARD, "others", "training", False),
        ({}, "notes", "training", False),
        ({"data": "of a stranger"}, "notes", "training", False),
    ],
    ids=["training", "one folder", "another name", "no card", "another card"],
)
def test_a_card_that_does_not_tell_the_excerpts(
    trained, sounds, score, card, name, part, doubted, capsys
) -> None:
    trained.card = card
    metrics = score(trained, sounds, name=name, part=part)
    told = "perhaps no test: the checkpoint was trained on data called 'notes', and its card does"
    assert (told in capsys.readouterr().out) == doubted
    assert "eval/trained_on" not in metrics


def test_a_threshold_that_was_chosen_on_scored_excerpts_is_told(
    trained, sounds, score, capsys
) -> None:
    score(trained, sounds, threshold="validation")
    assert "no test: the threshold was chosen on 6 of these excerpts" in capsys.readouterr().out


def test_the_validation_part_is_found_by_its_sounds(trained, sounds, tmp_path) -> None:
    root = copied(sounds, tmp_path / "elsewhere", range(1, 6))
    edit(sounds / "cel" / "cel0.wav", root / "cel" / "new.wav")
    excerpts = Folder(root=root).part("training", sample_rate_hz=RATE_HZ)
    chosen = validation_of(excerpts, trained, "another", 0.9, 7)
    assert set(seen(trained.card, chosen.files)) == {"validation"}
    kept = [use for use in seen(trained.card, excerpts.files) if use == "validation"]
    assert len(chosen.files) == len(kept) > 0


def test_p_values_of_what_was_trained_on_are_not_to_be_trusted(
    trained, run, sounds, tmp_path, capsys
) -> None:
    other_data = tmp_path / "other"
    for path in copied(sounds, other_data).rglob("*.wav"):
        edit(path, path, 0.5)
    run("other_run", epochs=1, dataset=Folder(root=other_data))
    other = load_recognizer(tmp_path / "other_run" / "checkpoint", trust=["my_package"])
    given = {"names": ("A", "B"), "permutations": 20, "part": "training"}
    settings = scored_by(given)
    capsys.readouterr()

    tracker = Notebook()
    metrics = compare(
        recognizer=trained, other=other, dataset=Folder(root=sounds, name="notes"),
        tracker=tracker, output_dir=tmp_path / "compared", **settings,
    )  # fmt: skip
    assert (metrics["compare/trained_on"], metrics["compare/trained_on_other"]) == (12, 0)
    printed = capsys.readouterr().out.splitlines()
    p_values = [line for line in printed if "p = " in line]
    assert len(p_values) == 5
    assert all(line.endswith(" (not to be trusted, see below)") for line in p_values)
    told = "A: no test: the checkpoint was trained on 12 of these 18 excerpts, and its epoch and th"
    assert printed[-1].startswith(told)
    assert tracker.tags["irdream.doubts"].startswith(told)
    assert pd.read_csv(tmp_path / "compared" / "comparison.csv")["note"].str.startswith(told).all()

    third = tmp_path / "third"
    for path in copied(sounds, third).rglob("*.wav"):
        edit(path, path, 0.7)
    metrics = compare(
        recognizer=trained, other=other, dataset=Folder(root=third, name="notes"),
        tracker=NullTracker(), output_dir=tmp_path / "fair", **settings,
    )  # fmt: skip
    assert metrics["compare/trained_on"] == 0
    assert "not to be trusted" not in capsys.readouterr().out


def test_unknown_folders_are_told_where_labels_count(
    trained, sounds, score, tmp_path, caplog
) -> None:
    root = copied(sounds, tmp_path / "some")
    shutil.copytree(root / "cel", root / "drums" / "one")
    shutil.copytree(root / "flu", root / "drums" / "two")
    shutil.copy(root / "cel" / "note 0.wav", root / "loose.wav")
    score(trained, root)
    for told in (
        "the recognizer does not know drums: 12 of 31 files in the test part of 'notes' have no ot",
        "predicted, but not scored: 1 of 19 files have no label: 1 in 'some'; labels are",
    ):
        assert caplog.text.count(told) == 1


def test_contents_are_of_files_that_can_be_read(sounds: Path, tmp_path: Path) -> None:
    root = copied(sounds, tmp_path / "some", range(2))
    files = Folder(root=root).part("test", sample_rate_hz=RATE_HZ).files
    one = contents(files)
    assert len(set(one)) == 6
    assert {len(content) for content in one} == {8}
    files[0].path.unlink()
    assert contents(files) == ["", *one[1:]]
    assert seen({"data": {"training_contents": one[0], "validation_contents": ""}}, files[:1]) == (
        "",
    )
