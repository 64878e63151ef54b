"""A sweep is told from its jobs' files."""

from pathlib import Path

import pytest

from irdream.sweeps import sweep
from irdream.sweeps.job import Job


def test_jobs_are_read_back_in_their_order(tmp_path: Path) -> None:
    folder = str(tmp_path)
    jobs = [
        Job(["a=1", "b=2"], "out/x", number=10, status="finished", seconds=2.0),
        Job(["a=1", "b=3"], "out/2", number=2, status="failed", error="error: no"),
        Job(["a=1", "b=4"], "out/3", number=3),
        Job(["a=1", "b=5"], "out/4", number=4, status="skipped", found_in="old/4"),
    ]
    jobs[0].metrics = {"dream/at_0.9": 0.5}
    for job in jobs:
        job.sweep = job.sweep_folder = folder
        job.write()
    read, damaged = sweep.read_jobs(tmp_path, sweep=folder)
    assert damaged == []

    assert [job.number for job in read] == [2, 3, 4, 10]
    assert [job.status for job in read] == ["failed", "killed", "skipped", "finished"]
    assert [str(job.files) for job in read] == ["out/2", "out/3", "old/4", "out/x"]
    assert sweep.read_jobs(tmp_path, sweep="of another")[0][1].status == "running elsewhere"

    lines = sweep.table(read).splitlines()
    assert lines[0] == "sweep: 4 jobs, 1 finished, 1 skipped, 1 failed, 1 killed"
    assert lines[2].split() == ["2", "b=3", "failed", "0.0", "-", "error:", "no"]
    assert lines[5].split() == ["10", "b=2", "finished", "2.0", "0.5"]


def test_the_jobs_of_earlier_sweeps_are_forgotten(tmp_path: Path) -> None:
    for number in range(3):
        Job([], f"out/{number}", number, sweep_folder=str(tmp_path), status="finished").write()
    assert len(sweep.read_jobs(tmp_path)[0]) == 3
    sweep.forget_jobs(tmp_path)
    assert sweep.read_jobs(tmp_path) == ([], [])


def test_a_sweep_without_jobs_says_so() -> None:
    assert sweep.table([]) == "sweep: no job was started"


@pytest.mark.parametrize(
    ("status", "words", "parent", "said"),
    [
        (
            "finished",
            [],
            "7",
            "finished jobs are kept in {}; type the same line again, and they ar",
        ),
        ("finished", ["sweep.force=true"], "7", "finished jobs are kept in {}"),
        ("finished", [], None, "finished jobs are kept in {}"),
        ("killed", [], "7", "no job was finished"),
    ],
)
def test_a_sweep_that_is_interrupted_says_what_is_kept(
    status, words, parent, said, tmp_path, monkeypatch
) -> None:
    ended = []

    def end(*, killed: bool) -> None:
        ended.append(killed)
        sweep.ending.jobs = [Job([], str(tmp_path), status=status)]

    open_one = sweep.Sweep("nightly", str(tmp_path), parent=parent, words=words)
    monkeypatch.setattr(sweep, "current", lambda: open_one)
    monkeypatch.setattr(sweep, "end", end)
    monkeypatch.setattr(sweep, "ending", sweep.Ending(is_open=True))
    assert sweep.interrupt().startswith(said.format(tmp_path))
    assert ended == [True]


def test_where_no_sweep_is_open_none_is_interrupted() -> None:
    assert sweep.interrupt() == ""
