import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks import irmas_sized, prepare, scale, train
from benchmarks.stages import Stage, run_module
from irdream import runtime
from irdream.datasets.irmas import OFFICIAL_TRAINING, Irmas
from irdream.instruments import CODES


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write noise, render nothing, and leave the memory settings of the tests alone."""
    noise = np.random.default_rng(0).uniform(-1, 1, 44_100).astype(np.float32)
    sounds = {(code,): [noise] for code in CODES} | {("cel", "flu"): [noise]}
    monkeypatch.setattr(irmas_sized, "_sounds", lambda rendered, part: sounds)
    monkeypatch.setattr(runtime, "keep_memory", lambda: None)


def test_a_small_tree_is_like_that_of_irmas(tmp_path: Path, quick: None) -> None:
    irmas_sized.make(tmp_path / "irmas", excerpts=110, test_excerpts=13)
    tree = Irmas(root=tmp_path / "irmas", official_counts=False)
    training, test = (tree.part(name, sample_rate_hz=22_050).files for name in ("training", "test"))
    counts = [sum(file.labels == (code,) for file in training) for code in CODES]
    assert sum(counts) == pytest.approx(110, abs=6)
    assert counts[CODES.index("voi")] > counts[CODES.index("cel")] >= 4
    assert len({file.recording for file in training}) >= 2 * len(CODES)
    assert "byte" in tree.summary()
    assert " 0 byte-equal pairs" in tree.summary()
    assert test[11].labels == ("cel", "flu")
    assert len(test) == 13
    info = soundfile.info(training[0].path)
    assert (info.samplerate, info.channels, info.subtype) == (44_100, 2, "PCM_16")
    assert info.frames == 132_299
    assert all(5 <= soundfile.info(file.path).duration <= 20 for file in test)


def test_the_whole_has_the_counts_of_irmas() -> None:
    names = list(irmas_sized._training_names(irmas_sized.TRAINING_EXCERPTS))
    assert len(set(names)) == 6705
    assert [sum(code == c for c, _ in names) for code in CODES] == list(OFFICIAL_TRAINING.values())
    assert irmas_sized.TEST_EXCERPTS == 2874


def test_preparing_is_timed(
    tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    irmas_sized.make(tmp_path / "irmas", excerpts=1, test_excerpts=1)
    words = [str(tmp_path / "irmas"), str(tmp_path / "cache"), "--workers", "2", "--threads", "1"]
    taken = prepare.main([*words, "--device", "cpu"])
    told = json.loads(capsys.readouterr().out)
    assert told == {"seconds": round(taken, 3), "excerpts": 44}
    assert len(list((tmp_path / "cache" / "log_mels").iterdir())) == 1


def test_a_stage_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.stages.ROOT", tmp_path)
    (tmp_path / "work.py").write_text(
        "import time\nheld = bytearray(10**8)\ntime.sleep(0.5)\nprint('so')\nprint('{\"a\": 1}')\n"
    )
    stage = run_module(["work"])
    assert stage.told == {"a": 1}
    assert stage.seconds > 0.5
    assert 100 < stage.megabytes < 200
    assert stage.mapped_megabytes >= stage.megabytes
    (tmp_path / "work.py").write_text("import sys\nsys.exit('no such thing')")
    with pytest.raises(SystemExit, match="no such thing"):
        run_module(["work"])


def test_figures_are_told_beside_others(tmp_path: Path, quick: None) -> None:
    irmas_sized.make(tmp_path / "irmas", excerpts=1, test_excerpts=2)
    tree = Irmas(root=tmp_path / "irmas", official_counts=False)
    told: dict[str, Any] = {name: {"phases": {"training": 4.0}} for name in scale.AUGMENTATIONS}
    made = {f"train {name}": Stage(9.0, 300.0, 400.0, of) for name, of in told.items()}
    made["prepare 1"] = Stage(9.0, 300.0, 400.0, {"seconds": 8.0})
    made["prepare 2"] = Stage(6.0, 305.0, 400.0, {"seconds": 5.0})
    made["evaluate"] = Stage(9.0, 300.0, 400.0, {"phases": {"predicting": 0.5}})
    few = {name: Stage(megabytes=290.0) for name in made}
    bare: Any = SimpleNamespace(
        recognizer=train._recognizer("han2016_bn", runtime.choose_device("cpu")),
        speeds={"train": [20.0, 30.0], "listen": [100.0]},
    )
    report = scale.figures({"few": few, "all": made}, tree, bare, threads=2)

    assert report["bare_windows_per_second"] == {"train": 25.0, "listen": 100.0}
    rows = report["stages"]
    assert rows["prepare 2"]["of_one_thread"] == 0.625
    megabytes = 44 * 66_150 * 4 / 1e6
    assert rows["prepare 2"]["memory_of_audio"] == round((305 - 290) / megabytes, 4)
    trained = rows["train waveform"]
    assert trained["windows"] in range(3 * 30, 3 * 44, 3)  # three of each excerpt
    assert trained["windows_per_second"] == round(trained["windows"] / 4, 1)
    assert trained["of_bare"] == round(trained["windows"] / 4 / 25, 3)
    assert rows["evaluate"]["windows"] >= 2 * 9


@pytest.mark.slow
def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    monkeypatch.setattr(scale, "FEW", (44, 2))
    words = ["--excerpts", "60", "--test-excerpts", "4", "--bare-batches", "1", "--threads", "1"]
    output = tmp_path / "scale.json"
    report = scale.main([*words, "--device", "cpu", "--output", str(output)])
    assert json.loads(output.read_text()) == report
    assert set(report["stages"]) == {
        "prepare 1", "train spectrogram", "train waveform", "evaluate"
    }  # fmt: skip
    for row in report["stages"].values():
        assert row["seconds"] > row["working_seconds"] > 0
        assert row["megabytes_with_mapped_files"] >= row["megabytes"] > 100
