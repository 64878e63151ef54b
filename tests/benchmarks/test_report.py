import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import dream, report, train
from irdream import runtime


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> Callable[[], float]:
        def work() -> float:
            order.append(name)
            return float(len(order))

        return work

    values = report.take_turns({n: contender(n) for n in ("irdream", "bare")}, rounds=3)
    assert order == ["irdream", "bare", "bare", "irdream", "irdream", "bare"]
    assert values == {"irdream": [1.0, 4.0, 5.0], "bare": [2.0, 3.0, 6.0]}


def test_a_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    row = report.ratio([1.0, 6.0, 8.0], [2.0, 2.0, 4.0])
    assert row == {"median": 2.0, "least": 0.5, "most": 3.0, "rounds": [0.5, 3.0, 2.0]}


def test_a_report_is_written_as_json_and_as_text(tmp_path: Path, capsys) -> None:
    heading = report.heading(torch.device("cpu"), 3)
    assert (heading["machine"]["threads"], heading["machine"]["device"]) == (3, "cpu")
    told = heading | {"speed": {"bare": report.summary([1.0, 4.0, 2.0])}, "words": ["a"]}
    report.write(told, tmp_path / "new" / "report.json")
    assert json.loads((tmp_path / "new" / "report.json").read_text()) == told
    text = (tmp_path / "new" / "report.txt").read_text()
    assert text in capsys.readouterr().out
    assert re.search(r"^speed:\n  bare: +2 \(1 to 4\)\nwords: +\['a'\]$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("benchmark", "arguments", "message"),
    [
        (dream, ["--rounds", "0"], "0 is too small; expected 1 or more"),
        (dream, ["--batches", "11,0"], "0 is too small; expected 1 or more"),
        (dream, ["--parts", "sped"], "'sped' is unknown; expected speed, overhead"),
        (dream, ["--contenders", "bare,captum"], "'captum' is unknown; expected irdream, plain"),
        (train, ["--model", "han2017"], "invalid choice: 'han2017'"),
    ],
)
def test_wrong_options(benchmark, arguments, message: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(runtime, "keep_memory", lambda: None)
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(arguments)
    assert message in capsys.readouterr().err
