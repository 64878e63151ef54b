"""A folder that is used again holds, keeps and lists the files of one run."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from irdream.errors import InputError
from irdream.sweeps.job import FILE, Job, OutputFolder
from tests.tiny import Notebook


def run(folder: Path, *files: str) -> list[str]:
    """Write files, keep them as tasks do, and return what was kept."""
    output, tracker = OutputFolder(folder, key="hydra.run.dir"), Notebook()
    output.claim()
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for top in dict.fromkeys(name.split("/")[0] for name in files):
        output.watching(tracker).log_file(folder / top)
    output.release()
    return tracker.files


def files_in(folder: Path) -> set[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not path.as_posix().startswith(".irdream")}


def test_a_second_run_keeps_and_leaves_its_own_files_only(tmp_path: Path) -> None:
    run(tmp_path, "dreams.csv", "scores.csv", "sounds/a.wav")
    assert run(tmp_path, "dreams.csv", "sounds/c.wav") == ["dreams.csv", "sounds/c.wav"]
    assert files_in(tmp_path) == {"dreams.csv", "sounds/c.wav"}
    run(tmp_path, "scores.csv")
    assert not (tmp_path / "sounds").exists()


def test_files_of_a_user_stay_and_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "mine.wav").write_text("mine")
    assert run(tmp_path, "a.csv", "sounds/a.wav") == ["a.csv", "sounds/a.wav"]
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "a.csv").write_text("written over by hand")
    os.utime(tmp_path / "a.csv", ns=(1, 1))
    run(tmp_path, "sounds/c.wav")
    assert files_in(tmp_path) == {"a.csv", "notes.txt", "sounds/mine.wav", "sounds/c.wav"}


def test_a_run_that_wrote_nothing_removes_nothing(tmp_path: Path) -> None:
    run(tmp_path, "dreams.csv")
    assert run(tmp_path) == []
    assert files_in(tmp_path) == {"dreams.csv"}
    run(tmp_path, "scores.csv")
    assert files_in(tmp_path) == {"scores.csv"}


def test_what_a_training_left_is_not_removed(tmp_path: Path) -> None:
    trained = ("checkpoint/weights.safetensors", "history.csv")
    run(tmp_path, *trained)
    run(tmp_path, "dreams.csv")
    run(tmp_path, "scores.csv")
    assert files_in(tmp_path) == {*trained, "scores.csv"}


def test_a_list_that_is_damaged_removes_nothing(tmp_path: Path) -> None:
    run(tmp_path, "dreams.csv")
    (tmp_path / ".irdream" / "run.json").write_text("{")
    run(tmp_path, "scores.csv")
    assert files_in(tmp_path) == {"dreams.csv", "scores.csv"}


def test_two_runs_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    first, second = Job([], str(tmp_path)), Job([], str(tmp_path), sweep="monday")
    first.claim()
    with pytest.raises(InputError, match=r"^hydra.sweep.subdir: another run writes to '.*'; choo"):
        second.claim()
    with pytest.raises(InputError, match="another run writes to"):
        OutputFolder(tmp_path, key="hydra.run.dir").check()
    first.status = "finished"
    first.release()
    OutputFolder(tmp_path, key="hydra.run.dir").check()
    second.claim()
    second.release()
    assert json.loads((tmp_path / FILE).read_text())["status"] == "finished"


def test_what_a_run_told_is_overwritten_once_another_has_files(tmp_path: Path) -> None:
    def run(job: Job, *files: str) -> str:
        output = job.claim()
        for name in files:
            (tmp_path / name).write_text(name)
            output.watching(Notebook()).log_file(tmp_path / name)
        job.release()
        return json.loads((tmp_path / FILE).read_text())["run_id"]

    assert run(Job([], str(tmp_path), run_id="first"), "dreams.csv") == "first"
    assert run(Job([], str(tmp_path), run_id="refused")) == "first"
    assert run(Job([], str(tmp_path), run_id="second"), "dreams.csv") == "second"


def test_two_jobs_of_a_sweep_do_not_share_a_folder(tmp_path: Path) -> None:
    def job(number: int, sweep: str = "monday") -> Job:
        return Job([], str(tmp_path / "same"), number, sweep=sweep, sweep_folder=str(tmp_path))

    def run(job: Job) -> None:
        job.claim()
        job.release()

    run(job(0))
    with pytest.raises(InputError, match=r"^hydra.sweep.subdir gives two jobs the folder '.*same"):
        run(job(1))
    run(job(0))
    run(job(1, "tuesday"))


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch, caplog) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert run(tmp_path, "dreams.csv") == ["dreams.csv"]
    assert "a file system without locks" in caplog.text
