import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import train
from irdream import runtime


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leave the memory settings of the tests' own process alone."""
    asked: list[str] = []
    monkeypatch.setattr(runtime, "keep_memory", lambda: asked.append("keep memory"))
    return asked


def test_two_batches(tmp_path: Path, memory: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "results" / "speed.json"
    arguments = ["--rounds", "2", "--batches", "2", "--batch-size", "3", "--device", "cpu"]
    report = train.main([*arguments, "--threads", "1", "--output", str(output)])
    assert json.loads(output.read_text()) == report
    assert memory == ["keep memory"]
    assert report["settings"] == {"rounds": 2, "batches": 2, "batch_size": 3, "model": "han2016_bn"}
    assert report["machine"]["threads"] == 1
    assert report["machine"]["torch"] == torch.__version__
    speeds = report["windows_per_second"]
    for row in (*speeds.values(), report["ratio"]):
        assert 0 < row["least"] <= row["median"] <= row["most"]
        assert len(row["rounds"]) == 2
    ratio = speeds["irdream"]["rounds"][0] / speeds["bare"]["rounds"][0]
    assert report["ratio"]["rounds"][0] == pytest.approx(ratio, rel=2e-3)
    printed = capsys.readouterr().out
    assert f"written: {output}" in printed


def test_both_train_on_as_many_windows(tmp_path: Path) -> None:
    device = torch.device("cpu")
    recognizer = train._recognizer("han2016_bn", device)
    packed = train._packed(3, recognizer)
    labels = torch.eye(11)[:3]
    sizes: dict[str, list[int]] = {"ours": [], "bare": []}
    contenders = {
        "ours": train._ours(recognizer, packed, labels, 4, tmp_path),
        "bare": train._bare(recognizer, packed, labels, 4),
    }
    for name, contender in contenders.items():

        def note(model: nn.Module, args: tuple[torch.Tensor], name: str = name) -> None:
            if model.training:
                sizes[name].append(len(args[0]))

        hook = recognizer.model.register_forward_pre_hook(note)
        contender()
        hook.remove()
    assert sizes == {"ours": [4, 2], "bare": [4, 2]}
