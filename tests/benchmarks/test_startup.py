import json
from pathlib import Path

import pytest

from benchmarks import startup


@pytest.mark.slow
def test_the_first_step_is_timed_beside_import_torch(tmp_path: Path) -> None:
    output = tmp_path / "startup.json"
    words = ["task=dream", "target=sax", "start=noise", "start.count=1", "dream.figures=0"]
    report = startup.main(["--rounds", "1", "--output", str(output), *words])
    assert json.loads(output.read_text()) == report
    assert report["ratio"]["import torch"]["median"] == 1
    assert report["ratio"]["tracker=none"]["median"] > 1


def test_a_process_that_ends_before_its_first_step_is_told() -> None:
    with pytest.raises(SystemExit, match="ended before its first step"):
        startup._seconds("print('no step')", "task=dream")
