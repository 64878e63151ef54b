"""The task: what it says, refuses, writes and logs; the experiments are in tests/studies."""

from functools import partial
from typing import Any

import pandas as pd
import pytest

from irdream.datasets.folder import Folder
from irdream.errors import InputError
from irdream.tasks.study import study
from irdream.tracking import NullTracker

QUESTION = {
    "title": "Which is more?",
    "about": ["A and b."],
    "claims": {
        "Q1": {"says": "b", "rows": "all", "measure": "x", "of": "b", "less": "a", "above": 0.0}
    },
    "averages": {"All of it": {"rows": "all", "by": ["data", "variant"], "measures": ["x"]}},
    "figure": {
        "of": ["All of it"], "measures": ["x"], "x": "variant", "line": "data", "row": "measure",
        "column": "all", "labels": ["", "x"], "caption": "x",
    },
}  # fmt: skip


class Kept(NullTracker):
    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.files: list[str] = []

    def log_metrics(self, metrics, step=0) -> None:
        self.metrics |= metrics

    def log_file(self, path, folder="") -> None:
        self.files.append(path.name)


def counting(runner: Any) -> dict[str, pd.DataFrame]:
    """Find twice as much for b on what was dreamed."""
    rows = [
        {"data": batch.data, "variant": v, "seed": s, "recording": str(i), "x": x}
        for batch in runner.batches for v, x in (("a", 1.0), ("b", 2.0)) for s in runner.seeds
        for i in range(3)
    ]  # fmt: skip
    return {"all": pd.DataFrame(rows)}


def arguments(runner: Any, **changes: Any) -> dict[str, Any]:
    given = {
        "experiment": counting, "question": QUESTION, "network": runner.network,
        "train": runner.train, "load": runner.load, "dataset": runner.dataset,
        "tracker": Kept(), "seeds": [0, 1], "seconds": 0.6, "judges": ["any"],
    }  # fmt: skip
    return given | changes


def test_it_writes_a_page_of_rendered_and_recorded_sounds(runner, tones, tmp_path, capsys) -> None:
    given = arguments(runner("any"), recorded=tones / "test", publish=tmp_path / "published")
    metrics = study(**given, output_dir=tmp_path / "run")
    assert metrics == given["tracker"].metrics == {"study/Q1": 1.0}
    names = {"report.html", "report.md", "figure.png", "all_of_it.csv"}
    assert {path.name for path in (tmp_path / "run").iterdir()} >= names
    assert set(given["tracker"].files) == names
    said = " ".join(capsys.readouterr().out.split())
    assert "study: counting, 2 seeds, dreams of folder and recorded sounds, judged by any" in said
    found = pd.read_csv(tmp_path / "published" / "all_of_it.csv")
    assert list(found["data"]) == ["folder", "folder", "recorded", "recorded"]
    page = (tmp_path / "published" / "report.md").read_text()
    assert "| Claim | What is tested |" in page
    assert "recorded: 1.00 (1.00 to 1.00)" in page


def test_it_says_what_it_would_do_and_refuses_to_do_nothing(runner, tmp_path, capsys) -> None:
    given = arguments(runner("any"), load=partial(print, "loaded"))
    assert study(**given, output_dir=tmp_path, info=True) == {}
    assert capsys.readouterr().out.startswith("study: counting")
    with pytest.raises(InputError, match="task=study has no experiment; expected one: experiment="):
        study(**arguments(runner("any"), experiment=None), output_dir=tmp_path)


def training(runner: Any) -> dict[str, pd.DataFrame]:
    raise AssertionError("a network would be trained")


def test_what_cannot_be_dreamed_is_refused_before_networks_are_trained(
    runner, tones, tmp_path
) -> None:
    (tmp_path / "drums").mkdir()
    (tmp_path / "drums" / "kick").symlink_to(tones / "test" / "cel")
    for changes, message in (
        ({"recorded": tmp_path / "drums"}, "labels in the test part of 'folder' that the recogni"),
        ({"recorded": tones / "test", "seconds": 60.0}, "no labelled folder excerpt of 60 s; exp"),
        ({"dataset": Folder(root=tmp_path / "none")}, "no sound file below"),
    ):
        (tmp_path / "none").mkdir(exist_ok=True)
        given = arguments(runner("any"), experiment=training, **changes)
        with pytest.raises(InputError, match=message):
            study(**given, output_dir=tmp_path / "run")
