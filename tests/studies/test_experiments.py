"""Each experiment on tiny networks, judged by the rules of its yaml; and nothing is done twice."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from irdream.studies import audibility, close_the_loop, patterns, robust_dreams, structure
from irdream.studies.report import write

CONF = Path(__file__).parents[2] / "conf" / "experiment"
SMALL: dict[str, Any] = {
    "robust_dreams": {"epsilons_db": [0.0, 1.0], "sizes_db": [2.0, 4.0, 8.0], "ramp_epochs": 1},
    "structure": {"networks": {"as it is": {}, "mean over all": {"over_all": "mean"}}},
    "close_the_loop": {"copies": 4, "rounds": 1, "epochs": 1},
    "audibility": {"gains_db": [4.0], "ratios_db": [40.0], "harmonics_db": [4.0]},
    "patterns": {"noises": 2, "permutations": 20},
}
FUNCTIONS = {
    "robust_dreams": robust_dreams.robust_dreams,
    "structure": structure.structure,
    "close_the_loop": close_the_loop.close_the_loop,
    "audibility": audibility.audibility,
    "patterns": patterns.patterns,
}


def experiment_of(name: str) -> tuple[partial[Any], dict[str, Any]]:
    """Return the function of an experiment in small, and its question."""
    task = yaml.safe_load((CONF / f"{name}.yaml").read_text())["task"]
    given = {key: x for key, x in task["experiment"].items() if not key.startswith("_")}
    return partial(FUNCTIONS[name], **given | SMALL[name]), task["question"]


def refused(**arguments: object) -> dict[str, float]:
    raise AssertionError("it is done again")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_rule_gets_a_verdict_and_nothing_is_done_twice(
    name, runner, tmp_path, monkeypatch
) -> None:
    run, question = experiment_of(name)
    first = run(runner(name))
    page = write(first, question, runner(name), [tmp_path / "run", tmp_path / "published"])
    assert [claim.code for claim in page.claims] == list(question["claims"])
    assert {claim.verdict for claim in page.claims} - {"not tested"}
    assert (tmp_path / "published" / "report_files" / "figure.png").stat().st_size < 200_000
    assert "report.html" not in {path.name for path in (tmp_path / "published").iterdir()}
    again = runner(name)
    monkeypatch.setattr("irdream.dreaming.ascent.Ascent.run", refused)
    second = run(runner(name, train=partial(refused, **again.train.keywords)))
    for key, table in first.items():
        pd.testing.assert_frame_equal(table, second[key])


def test_controls_are_of_the_sizes_that_were_asked_for_and_judged_alone(runner) -> None:
    table = runner("any").controls([2.0, 4.0])
    by_size = table[table["variant"] == "random"].groupby("size_db")["snr_db"].mean()
    assert by_size[2.0] > by_size[4.0]  # the larger, the lower the ratio
    undreamed = table[table["variant"] == "undreamed"]
    assert undreamed[["snr_db", "size_db"]].isna().all(axis=None)
    assert table["judged"].all()
    assert len(table) == 6 * 3


def test_copies_to_train_on_have_labels_and_recordings_of_their_originals(runner) -> None:
    one = runner("close_the_loop")
    first = one.trained(robust_dreams.robust(0, "fgsm", 1), 0)
    found, mean_db = close_the_loop.changed(one, first, 4)
    files = found["dreams"].part("training", sample_rate_hz=8000).files
    own, copies = files[:18], files[18:]
    assert len(copies) == 4
    assert mean_db > 0
    originals = {file.name: file for file in own}
    for copy in copies:
        original = originals[copy.name.removesuffix(" changed")]
        assert (copy.labels, copy.recording) == (original.labels, original.recording)
        assert copy.path.read_bytes() != original.path.read_bytes()
    assert len(found["noise"].part("test", sample_rate_hz=8000).files) == 6
