import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import contenders, dream, dream_goals, dream_speed, problems
from benchmarks.problems import LEAST, MOST, NearEmpty, Problem, Settings
from irdream import runtime
from irdream.errors import InputError
from irdream.recognizer import Recognizer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the memory settings and the threads of the tests' own process alone."""
    monkeypatch.setattr(runtime, "keep_memory", lambda: True)
    monkeypatch.setattr(runtime, "set_threads", lambda count: count or 1)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return problems.random_recognizer("han2016", CPU)


@pytest.fixture
def noise_for_excerpts(monkeypatch: pytest.MonkeyPatch, recognizer: Recognizer) -> None:
    def problem(settings: Settings) -> tuple[Problem, list[int]]:
        items = settings.dreams
        return problems.random_problem(recognizer, items), list(range(items))

    monkeypatch.setattr(dream_goals, "excerpt_problem", problem)


def dreamed(name: str, recognizer: Recognizer, steps: int) -> tuple[Problem, Tensor]:
    problem = problems.random_problem(recognizer, 3)
    runs, skipped = contenders.available([name], problem)
    if skipped:
        pytest.skip(skipped[name])
    return problem, runs[name](steps)


@pytest.mark.parametrize("name", contenders.CONTENDERS)
def test_a_contender_climbs_and_leaves_everything_as_it_was(
    name: str, recognizer: Recognizer
) -> None:
    before = problems.random_problem(recognizer, 3).start.clone()
    weights = [weight.clone() for weight in recognizer.parameters()]
    problem, after = dreamed(name, recognizer, 2)

    with torch.no_grad():
        scores = [problem.score(recognizer.model(log_mel)) for log_mel in (before, after)]
    assert (scores[1] > scores[0]).all()
    assert after.shape == before.shape
    assert LEAST - 0.1 < after.min() <= after.max() < MOST + 0.1
    torch.testing.assert_close(problem.start, before, rtol=0, atol=0)
    torch.testing.assert_close(list(recognizer.parameters()), weights, rtol=0, atol=0)
    assert all(weight.grad is None for weight in recognizer.parameters())
    assert not any(module._forward_hooks for module in recognizer.modules())


@pytest.mark.parametrize("name", ["irdream", "bare"])
def test_our_loops_do_what_the_plain_one_does(name: str, recognizer: Recognizer) -> None:
    _, expected = dreamed("plain", recognizer, 1)
    _, got = dreamed(name, recognizer, 1)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("broken", [False, True])
def test_a_contender_that_cannot_be_imported_is_left_out(
    broken: bool, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reason = "foolbox is not installed"
    if broken:
        (tmp_path / "foolbox.py").write_text("raise RuntimeError('operator does\\nnot exist')\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "foolbox", raising=False)
        reason = "foolbox cannot be imported: RuntimeError: operator does not exist"
    else:
        monkeypatch.setitem(sys.modules, "foolbox", None)
    problem = problems.random_problem(recognizer, 1)
    runs, skipped = contenders.available(["bare", "foolbox"], problem)
    assert list(runs) == ["bare"]
    assert {name: said.partition(";")[0] for name, said in skipped.items()} == {"foolbox": reason}


@pytest.mark.usefixtures("noise_for_excerpts")
def test_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "foolbox", None)
    output = tmp_path / "results" / "dream.json"
    names = ["irdream", "plain", "foolbox", "bare"]
    report = dream.main(
        ["--quick", "--device", "cpu", "--output", str(output), "--contenders", ",".join(names)]
    )
    assert json.loads(output.read_text()) == json.loads(json.dumps(report))
    ran = {"irdream", "plain", "bare"}
    assert report["skipped"].keys() >= {"foolbox"}
    for items in ("1", "3"):
        speed = report["speed"]["items"][items]
        assert speed["item_steps_per_second"].keys() == ran
        assert speed["ratio_to_irdream"]["irdream"]["rounds"] == [1.0]
        rates = speed["item_steps_per_second"]
        expected = rates["bare"]["median"] / rates["irdream"]["median"]
        assert speed["ratio_to_irdream"]["bare"]["median"] == pytest.approx(expected, rel=2e-3)
    assert report["overhead"]["overhead_ms"].keys() == ran
    assert report["dropping"]["seconds"].keys() == {"dropped", "kept"}
    assert report["flops"]["ratio_to_matrix_product"].keys() == {"irdream", "bare"}
    rules = report["frontier"]["rules"]
    assert {"margin step, 0.25 dB at most", "least change, 10 steps"} <= rules.keys()
    small, large = (rules[f"fixed {size} dB"]["rmse_db_quartiles"][1] for size in ("0.25", "1"))
    assert large > small > 0
    printed = capsys.readouterr().out
    assert output.with_suffix(".txt").read_text() in printed
    for part in dream.PARTS:
        assert f"\n{part}:\n" in printed
    assert re.search(r"foolbox: +foolbox is not installed", printed)


def test_a_part_without_excerpts_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(settings: Settings) -> Any:
        raise InputError("no font")

    monkeypatch.setattr(dream_goals, "excerpt_problem", none)
    output = tmp_path / "dream.json"
    arguments = ["--quick", "--parts", "dropping,flops", "--device", "cpu", "--contenders", "bare"]
    report = dream.main([*arguments, "--output", str(output)])
    assert report["skipped"] == {"dropping": "no font"}
    assert "flops" in report
    assert "dropping" not in report


def test_flops_are_those_of_matrices_and_of_the_inputs_gradient(recognizer: Recognizer) -> None:
    counted = dream_speed.count_flops(NearEmpty(), torch.zeros(1, 128, 43))
    assert counted == {"forward": 2 * 128 * 11, "backward": 2 * 128 * 11}
    counted = dream_speed.count_flops(recognizer.model, torch.zeros(1, 128, 43))
    assert counted["backward"] == counted["forward"]
