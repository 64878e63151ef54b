import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sweep


def job(tracker: str, seconds: float, **phases: float) -> dict[str, Any]:
    return {"overrides": ["seed=0", f"tracker={tracker}"], "seconds": seconds, "phases": phases}


def test_the_first_of_each_kind_does_not_count() -> None:
    jobs = [
        job("none", 60.0, dreaming=1.0),
        job("mlflow", 60.0, dreaming=1.0, tracking=30.0),
        job("none", 8.0, dreaming=6.0, figures=1.0),
        job("mlflow", 10.0, dreaming=6.0, figures=2.0, sound=1.0, tracking=0.5),
        job("none", 4.0, dreaming=3.0),
        job("mlflow", 6.0, dreaming=4.0, tracking=1.2),
    ]
    found = sweep.measure(jobs)

    assert found["jobs"] == 6
    assert found["overhead_seconds"]["rounds"] == [0.5, 0.8]
    assert found["tracking_share"]["rounds"] == [0.05, 0.2]
    assert found["ratio"]["rounds"] == [1.25, 1.5]
    assert found["phases"]["figures"]["rounds"] == [2.0, 0.0]


@pytest.mark.slow
def test_a_real_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "sweep.json"
    words = ["task=dream", "target=sax", "start=noise", "start.count=1", "dream.steps=2"]
    report = sweep.main(["--rounds", "1", "--threads", "1", "--output", str(output), *words])

    assert json.loads(output.read_text()) == report
    assert report["jobs"] == 4
    assert 0 < report["tracking_share"]["median"] < 1
    assert 0 < report["phases"]["dreaming"]["median"] < report["seconds"]["mlflow"]["median"]
    assert "tracking_share:" in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="unknown instrument 'flut'"):
        sweep.main(["--output", str(tmp_path / "sweep.json"), "task=dream", "target=flut"])
