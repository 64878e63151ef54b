"""Many processes, one MLflow server on PostgreSQL, and both restarted under way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run

import irdream
from irdream.tracking import MlflowTracker, fetch_checkpoint
from irdream.tracking.store import Store, open_store
from tests.cluster.conftest import Postgres, Server
from tests.tiny import write_tone

pytestmark = pytest.mark.slow

MAIN = Path(__file__).parents[2] / "main.py"
SHIPPED = Path(irdream.__file__).parent / "checkpoints" / "shipped"
WRITERS = 8
WAIT_SECONDS = 300.0

# Logs until the file `stop` is there, and keeps a list of its own of what it has logged.
WRITER = """
import json, math, os, random, sys, time
from pathlib import Path
from irdream.tracking import MlflowTracker
address, folder, experiment, number = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
here = folder / number
here.mkdir()
random.seed(number)
wrote = {"points": [], "params": {}, "tags": {}, "files": []}
tracker = MlflowTracker(
    root=folder, experiment=experiment, run_name=number, uri=address, flush_seconds=0.3
)
with tracker:
    step = 0
    while step < 300 or not (folder / "stop").exists():
        point = {"train/loss": random.random(), "val/f1": step / 7, "same": 1.0}
        if step % 50 == 0:
            point["odd"] = math.nan
        tracker.log_metrics(point, step=step)
        wrote["points"] += [[name, step, repr(value)] for name, value in point.items()]
        if step % 10 == 0:
            tracker.log_params({f"p{step}": step})
            tracker.set_tags({f"t{step}": f"{number} {step}", "last": str(step)})
            wrote["params"][f"p{step}"] = str(step)
            wrote["tags"] |= {f"t{step}": f"{number} {step}", "last": str(step)}
        if step % 25 == 0:
            path = here / f"sound {step}.wav"
            path.write_bytes(random.randbytes(random.choice([0, 1000, 300_000, 3_000_000])))
            tracker.log_file(path, "sounds/ä")
            wrote["files"].append([path.name, f"sounds/ä/{path.name}"])
        (here / "step").write_text(str(step))
        step += 1
        time.sleep(0.02)
    (here / "folder" / "deep").mkdir(parents=True)
    for name in ("folder/a.json", "folder/deep/b.bin"):
        (here / name).write_bytes(random.randbytes(200_000))
        wrote["files"].append([name, name])
    tracker.log_file(here / "folder")
(here / "wrote.json").write_text(json.dumps({"run_id": tracker.run_id, **wrote}))
"""

# Opens and ends runs until the file `stop` is there.
OPENER = """
import sys
from pathlib import Path
from irdream.tracking import MlflowTracker
address, folder, experiment, number = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
(folder / number).mkdir()
runs = []
while len(runs) < 20 or not (folder / "stop").exists():
    with MlflowTracker(root=folder, experiment=experiment, uri=address) as tracker:
        tracker.log_metrics({"a": 1.0})
    runs.append(tracker.run_id)
    (folder / number / "step").write_text(str(len(runs)))
(folder / number / "runs").write_text(" ".join(runs))
"""


class Crowd:
    """Eight processes that write until they are told to stop."""

    def __init__(self, script: str, server: Server, folder: Path, experiment: str) -> None:
        self.folder = folder
        source = str(Path(irdream.__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
        self._processes = []
        for number in map(str, range(WRITERS)):
            words = [sys.executable, "-c", script, server.address, str(folder), experiment, number]
            with (folder / f"{number}.said").open("wb") as said:
                self._processes.append(
                    subprocess.Popen(words, env=environment, stdout=said, stderr=said)
                )

    def advance(self, steps: int) -> None:
        """Wait until each has done so many more steps."""
        goals = [step + steps for step in self._steps()]
        wait_until(
            lambda: all(step >= goal for step, goal in zip(self._steps(), goals, strict=True)),
            self._fail_if_one_died,
        )

    def finish(self) -> None:
        """Let them stop; none may have failed or said more than that it waits."""
        (self.folder / "stop").touch()
        codes = [process.wait(timeout=WAIT_SECONDS) for process in self._processes]
        said = [self._said(number) for number in range(WRITERS)]
        assert codes == [0] * WRITERS, said
        lines = {line for text in said for line in text.splitlines()}
        assert all("does not answer; waiting for it" in line for line in lines), lines

    def kill(self) -> None:
        """End what is left of them."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _steps(self) -> list[int]:
        files = [self.folder / str(k) / "step" for k in range(WRITERS)]
        return [int(file.read_text() or 0) if file.exists() else 0 for file in files]

    def _fail_if_one_died(self) -> None:
        for number, process in enumerate(self._processes):
            if process.poll() is not None:
                pytest.fail(self._said(number))

    def _said(self, number: int) -> str:
        return (self.folder / f"{number}.said").read_text()


def wait_until(is_so: Callable[[], bool], check: Callable[[], None] = lambda: None) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while not is_so():
        check()
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.fixture
def crowd(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Crowd]:
    crowd = Crowd(request.param, server, tmp_path, request.node.name)
    yield crowd
    crowd.kill()


def restart_all(server: Server, postgres: Postgres, crowd: Crowd, *, steps: int) -> None:
    """Restart the server and its database in the worst and in the usual way, under load."""
    crowd.advance(steps)
    for sign in (signal.SIGKILL, signal.SIGTERM):
        server.stop(sign)
        time.sleep(6.0)
        server.start()
        crowd.advance(steps)
    for mode in ("immediate", "fast"):
        postgres.stop(mode)
        time.sleep(6.0)
        postgres.start()
        crowd.advance(steps)


@pytest.mark.parametrize("crowd", [WRITER], indirect=True, ids=["writers"])
def test_restarts_lose_nothing_and_double_nothing(
    server: Server, postgres: Postgres, crowd: Crowd, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    restart_all(server, postgres, crowd, steps=40)
    crowd.finish()

    store = open_store(root=tmp_path, uri=server.address)
    runs = {run.info.run_id: run for run in all_runs(store, request.node.name)}
    assert len(runs) == WRITERS
    for number in range(WRITERS):
        wrote = json.loads((tmp_path / str(number) / "wrote.json").read_text())
        run = runs[wrote["run_id"]]
        assert (run.info.status, run.info.run_name) == ("FINISHED", str(number))
        assert run.data.params == wrote["params"]
        assert wrote["tags"].items() <= run.data.tags.items()
        assert points(store, run) == sorted(map(tuple, wrote["points"]))
        kept = Path(
            download_artifacts(
                run_id=run.info.run_id,
                dst_path=str(tmp_path / "kept" / str(number)),
                tracking_uri=server.address,
            )
        )
        for name, there in wrote["files"]:
            assert (kept / there).read_bytes() == (tmp_path / str(number) / name).read_bytes()
        names = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
        assert names - {"config/packages.txt"} == {there for _, there in wrote["files"]}


@pytest.mark.parametrize("crowd", [OPENER], indirect=True, ids=["openers"])
def test_a_run_that_is_opened_during_a_restart_is_there_once(
    server: Server, postgres: Postgres, crowd: Crowd, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    restart_all(server, postgres, crowd, steps=3)
    crowd.finish()

    runs = all_runs(open_store(root=tmp_path, uri=server.address), request.node.name)
    known = [
        run_id
        for k in range(WRITERS)
        for run_id in (tmp_path / str(k) / "runs").read_text().split()
    ]
    assert sorted(run.info.run_id for run in runs) == sorted(known)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_checkpoint_comes_back_from_the_server_and_dreams(server: Server, tmp_path: Path) -> None:
    with MlflowTracker(root=tmp_path, uri=server.address) as tracker:
        tracker.log_file(SHIPPED, "nets")
        champion = tracker.register("net", path="nets/shipped")
    assert champion == "models:/net@champion"
    for uri in (f"runs:/{tracker.run_id}/nets/shipped", champion):
        folder = fetch_checkpoint(uri, root=tmp_path, uri_server=server.address)
        assert contents(folder) == contents(SHIPPED)

    write_tone(tmp_path / "tone.wav", seconds=1.0)
    done = subprocess.run(
        [*command(server), "dream.steps=2", f"checkpoint={champion}"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "mlruns").exists()


def test_a_sweep_outlives_a_restart_of_its_server(server: Server, tmp_path: Path) -> None:
    write_tone(tmp_path / "tone.wav", seconds=1.0)
    words = ["dream.steps=2", "dream.octaves=1,2,3,4", "tracker.experiment=sweep"]
    sweep = subprocess.Popen(
        [*command(server), *words, "-m"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: any(tmp_path.glob("outputs/*/*-sweep/1")) or sweep.poll() is not None)
    server.stop()
    time.sleep(6.0)
    server.start()
    said = sweep.communicate(timeout=WAIT_SECONDS)
    assert sweep.returncode == 0, said
    assert "sweep: 4 jobs, 4 finished" in said[0]

    store = open_store(root=tmp_path, uri=server.address)
    runs = all_runs(store, "sweep")
    (parent,) = [run for run in runs if run.data.tags.get("irdream.kind") == "sweep"]
    jobs = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert (len(runs), len(jobs)) == (5, 4)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.params["dream.octaves"] for run in jobs} == {"1", "2", "3", "4"}
    assert {"jobs.csv", "gallery.html"} <= artifacts(store, parent)
    for job in jobs:
        (folder,) = tmp_path.glob(f"outputs/*/*-sweep/{int(job.data.params['dream.octaves']) - 1}")
        assert {"dreams.csv", "sounds"} <= artifacts(store, job)
        kept = download_artifacts(
            run_id=job.info.run_id, artifact_path="sounds", tracking_uri=server.address,
            dst_path=str(tmp_path / "kept" / job.info.run_id),
        )  # fmt: skip
        assert contents(Path(kept)) == contents(folder / "sounds")


def command(server: Server) -> list[str]:
    """Return the command of a cheap dream that is tracked by the server."""
    return [
        sys.executable, str(MAIN), "task=dream", "target=sax", "start=file",
        "start.path=tone.wav", "dream.figures=0", f"server={server.address}",
    ]  # fmt: skip


def all_runs(store: Store, experiment: str) -> list[Run]:
    return list(store.client.search_runs([store.experiment(experiment)], max_results=10_000))


def points(store: Store, run: Run) -> list[tuple[Any, ...]]:
    histories = [store.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
    return sorted((one.key, one.step, repr(one.value)) for history in histories for one in history)


def artifacts(store: Store, run: Run) -> set[str]:
    return {file.path for file in store.client.list_artifacts(run.info.run_id)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
