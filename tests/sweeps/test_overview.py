import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irdream.sweeps import overview
from irdream.sweeps.job import record


def write_job(root: Path, job: int, words: str, /, **changed: Any) -> Path:
    place = root / str(job)
    place.mkdir(parents=True, exist_ok=True)
    found = {
        "number": job, "overrides": words.split(), "status": "finished", "seconds": 1.5,
        "metrics": {"dream/at_0.9": 1.0}, "error": None, "run_id": None, "folder": str(place),
    }  # fmt: skip
    write_record(root, job, json.dumps(found | changed).encode())
    return place


def write_record(root: Path, job: int, content: bytes) -> None:
    path = record(root, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def read(folder: Path, *overrides: str) -> overview.SweepResult:
    for number, words in enumerate(overrides):
        write_job(folder, number, words)
    return overview.read_sweep(folder)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"status": "done"}, "status='done'; expected one of finished, skipped, running elsewhe"),
        ({"metrics": None}, "metrics=None; expected dict"),
        ({"overrides": "seed=1"}, "overrides='seed=1'; expected list"),
        ({"metrics": {"a": "much"}}, "could not convert string to float: 'much'"),
        ({"metrics": {"a": []}}, "float() argument must be a string or a real number, not 'list'"),
        ({"status": "skipped", "folder": None}, "folder=None; expected str"),
        (b'{"number": 3,\n', "Expecting property name"),
        (b"[]", "list; expected an object"),
        (b"\xff\xff", "'utf-8' codec can't decode"),
        (b"", "Expecting value"),
    ],
)
def test_a_damaged_job_is_listed(tmp_path: Path, changed: dict[str, Any] | bytes, reason: str):
    write_job(tmp_path, 0, "seed=0")
    if isinstance(changed, bytes):
        write_record(tmp_path, 1, changed)
    else:
        write_job(tmp_path, 1, "seed=1", **changed)
    sweep = overview.read_sweep(tmp_path)
    assert [job.number for job in sweep.jobs] == [0]
    (line,) = sweep.damaged
    assert line.startswith(f"job 1: {reason}")
    assert "\n" not in line


def test_what_differs_was_swept_in_the_order_typed(tmp_path: Path):
    sweep = read(
        tmp_path,
        "task=dream dream.step_size=0.5 +dream.octaves=1 target=flute",
        "task=dream dream.step_size=0.50 +dream.octaves=2 target=cello",
    )
    assert sweep.swept == ["dream.octaves", "target"]  # 0.5 is 0.50
    assert sweep.shared == ["task=dream", "dream.step_size=0.5"]
    assert overview.values_of(sweep.jobs[0]) == {
        "task": "dream", "dream.step_size": 0.5, "dream.octaves": 1, "target": "flute",
    }  # fmt: skip


def test_values_stand_in_order(tmp_path: Path):
    words = [f"dream.confidence={value}" for value in ("0.9", "null", "10", "0.9", "2", "auto")]
    sweep = read(tmp_path, *words)
    assert sweep.values("dream.confidence") == [0.9, 2, 10, "null", "auto"]
    assert not sweep.is_numeric("dream.confidence")
    assert read(tmp_path / "b", "a=1", "a=1e-3").is_numeric("a")
    assert not read(tmp_path / "c", "a=1", "b=1").is_numeric("a")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-2", -2), ("0.25", 0.25), ("1e-3", 0.001), ("flute", "flute"), ("", ""),
        ("nan", "nan"), ("inf", "inf"), ("-inf", "-inf"), ("[1,2]", "[1,2]"), ("true", "true"),
    ],
)  # fmt: skip
def test_numbers_are_read_as_such(text: str, value: object):
    found = overview.parse_value(text)
    assert (found, type(found)) == (value, type(value))


@given(st.lists(st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from(["b", "a", "c"])))
def test_order_is_numbers_then_words(values: list[Any]):
    found = overview.ordered(values)
    numbers = [value for value in found if not isinstance(value, str)]
    assert numbers == sorted(set(value for value in values if not isinstance(value, str)))
    assert found[len(numbers) :] == list(dict.fromkeys(v for v in values if isinstance(v, str)))


def test_the_table_has_a_row_a_job(tmp_path: Path):
    write_job(tmp_path, 0, "task=dream a=0.5", metrics={"dream/rmse_db": 2.0, "dream/at_0.9": 1})
    write_job(tmp_path, 1, "task=dream a=x", status="failed", metrics={}, error="error: bad a")
    metrics = {"dream/rmse_db": None, "val/loss": 3.0}
    write_job(tmp_path, 2, "task=dream", status="running", metrics=metrics, seconds=None)
    found = overview.table(overview.read_sweep(tmp_path))
    columns = ["dream/rmse_db", "dream/at_0.9", "val/loss"]
    assert list(found.columns) == ["number", "status", "seconds", "a", *columns, "error"]
    assert found["number"].tolist() == [0, 1, 2]
    assert found["status"].tolist() == ["finished", "failed", "killed"]
    assert found["a"].tolist()[:2] == [0.5, "x"]
    assert found["a"].isna().tolist() == [False, False, True]
    assert found["seconds"].tolist()[:2] == [1.5, 1.5]
    assert found["seconds"].isna().tolist() == [False, False, True]
    assert found[columns].isna().to_numpy().tolist() == [
        [False, False, True], [True, True, True], [True, True, False],
    ]  # fmt: skip
    assert found["error"].tolist()[1] == "error: bad a"


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([{"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 2.0}], "b"),  # a does not vary
        ([{"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 2.0}], "a"),
        ([{"b": 1.0}, {"b": 1.0}], "b"),  # all there is
        ([{"a": math.nan, "b": 1.0}, {"b": 1.0}], "b"),
        ([{"a": 1.0}, {"b": 1.0}], "a"),
        ([{"c": 1.0}, {"c": 2.0}], None),
    ],
)
def test_the_metric_that_tells_jobs_apart(tmp_path: Path, metrics, expected: str | None):
    for number, values in enumerate(metrics):
        write_job(tmp_path, number, f"seed={number}", metrics=values)
    assert overview.main_metric(overview.read_sweep(tmp_path).jobs, ["a", "b"]) == expected


def test_dreams_of_all_jobs_stand_in_one_table(tmp_path: Path):
    head = "name,target,on_top,rmse_db,file\n"
    contents = [
        head + "007,flu,True,1.5,007-to-flu\nNA,flu,False,,NA-to-flu\n",
        None,
        head,
        "name,count\na,1\n",
        'name,target,file\n"a,flu,f\n',
        head + "x,flu,True,2.5,x-to-flu\n",
    ]
    for number, content in enumerate(contents):
        place = write_job(tmp_path, number, f"seed={number}")
        if content is not None:
            (place / "dreams.csv").write_text(content)
    found = overview.dream_table(overview.read_sweep(tmp_path))
    assert found["number"].tolist() == [0, 0, 5]
    assert found["name"].tolist() == ["007", "NA", "x"]  # names are not taken for values
    assert found["file"].tolist() == ["007-to-flu", "NA-to-flu", "x-to-flu"]
    assert found["on_top"].tolist() == [True, False, True]
    assert found["rmse_db"].tolist() == pytest.approx([1.5, math.nan, 2.5], nan_ok=True)


def test_a_sweep_of_attributions_has_a_table_of_methods(tmp_path: Path) -> None:
    for job, method in enumerate(("lrp", "mask")):
        metrics = {"attribute/faithfulness": 0.5, "attribute/sanity": 0.1 + job}
        place = write_job(tmp_path, job, f"task=attribute attribution={method}", metrics=metrics)
        found = {"name": "a", "target": "flu", "file": "a-to-flu", "faithfulness": 0.05 + job / 10}
        found |= dict.fromkeys(("probability", "probability_rest", "energy_share"), 0.5)
        found |= {"probability_relevant": 0.6}
        rows = [found | {"map": kind} for kind in (method.upper(), "random", "edges")]
        pd.DataFrame(rows).to_csv(place / "attributions.csv", index=False)
    names = [path.name for path in overview.write_overview(tmp_path, "methods")]
    assert {"methods.csv", "methods.md", "gallery.html"} <= set(names)
    lines = (tmp_path / "overview" / "methods.md").read_text().splitlines()
    assert lines[2].startswith("| `lrp` | 1 | 0.50 | 0.60 |")
    assert lines[2].endswith("| 0.05 | 0.50 | 0.10 | passes |")
    assert lines[3].endswith("| 0.15 | 0.50 | 1.10 | **fails** |")
    assert [line.split("`")[1] for line in lines[4:]] == ["random (control)", "edges (control)"]
    page = (tmp_path / "overview" / "gallery.html").read_text()
    assert '<th scope="row">faithfulness</th><td>0.05</td><td>0.15</td>' in page
    assert "2 jobs, 0 failed; 2 maps." in page
