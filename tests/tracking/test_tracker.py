import logging
import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from irdream.errors import InputError
from irdream.tracking import MlflowTracker, NullTracker, flat
from irdream.tracking.store import Store, open_store
from irdream.tracking.tracker import BackgroundTracker


def stored(root: Path, tracker: MlflowTracker) -> Any:
    """Return the run as the store has it."""
    return open_store(root=root).client.get_run(tracker.run_id)


def history(root: Path, tracker: MlflowTracker, name: str) -> list[tuple[int, float]]:
    points = open_store(root=root).client.get_metric_history(tracker.run_id, name)
    return sorted((point.step, point.value) for point in points)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches of metrics that reach the store."""
    sizes: list[int] = []
    log = Store.log

    def counting(self: Store, run_id: str, **what: Any) -> None:
        if "points" in what:
            sizes.append(len(what["points"]))
        log(self, run_id, **what)

    monkeypatch.setattr(Store, "log", counting)
    return sizes


def test_a_run_keeps_what_it_was_given(root: Path, tmp_path: Path) -> None:
    with MlflowTracker(root=root, run_name="flute", tags={"seed": "7"}) as tracker:
        tracker.log_params({"dream": {"steps": 5, "octaves": [1, 2]}})
        tracker.log_metrics({"dream/at_0.9": 0.5, "dream/snr_db": 12.0}, step=1)
        tracker.log_metrics({"dream/at_0.9": 1.0}, step=2)
        tracker.set_tags({"seed": "8"})
    run = stored(root, tracker)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "flute")
    assert run.data.params == {"dream.steps": "5", "dream.octaves": "[1,2]"}
    assert run.data.metrics == {"dream/at_0.9": 1.0, "dream/snr_db": 12.0}
    assert history(root, tracker, "dream/at_0.9") == [(1, 0.5), (2, 1.0)]
    assert run.data.tags["seed"] == "8"
    assert {"irdream.version", "irdream.pid", "irdream.command"} <= set(run.data.tags)


def test_files_and_folders_are_copied_whole(root: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "recognizer.json").write_text("{}")
    (tmp_path / "dream.wav").write_bytes(b"RIFF")
    with MlflowTracker(root=root) as tracker:
        tracker.log_file(tmp_path / "dream.wav", "sounds/flute")
        tracker.log_file(tmp_path / "checkpoint")
        with pytest.raises(InputError, match=r"cannot keep nowhere\.png .* no such file"):
            tracker.log_file(Path("nowhere.png"))
    artifacts = root / "artifacts" / tracker.run_id / "artifacts"
    assert (artifacts / "sounds/flute/dream.wav").read_bytes() == b"RIFF"
    assert (artifacts / "checkpoint/recognizer.json").read_text() == "{}"


def test_metrics_wait_for_a_full_batch(root: Path, batches: list[int]) -> None:
    with MlflowTracker(root=root, flush_seconds=1000.0) as tracker:
        for step in range(999):
            tracker.log_metrics({"train/loss": 0.1}, step=step)
        assert batches == []
        tracker.log_metrics({"train/loss": 0.1, "val/loss": 0.2}, step=999)
        assert batches == [1000, 1]
        tracker.log_metrics({"train/loss": 0.1}, step=1000)
    assert batches == [1000, 1, 1]
    assert len(history(root, tracker, "train/loss")) == 1001


def test_metrics_wait_a_few_seconds_at_most(root, batches, monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with MlflowTracker(root=root, flush_seconds=3.0) as tracker:
        for now[0] in (101.0, 102.0, 103.5, 104.0, 106.0, 107.0):
            tracker.log_metrics({"train/loss": 0.1}, step=int(now[0]))
        assert batches == [3, 3]


def test_more_parameters_and_tags_than_a_batch_takes(root: Path) -> None:
    many = {f"p{number}": str(number) for number in range(250)}
    with MlflowTracker(root=root, tags=many) as tracker:
        tracker.log_params(many)
        tracker.set_tags({f"t{number}": "x" for number in range(250)})
    data = stored(root, tracker).data
    assert data.params == many
    assert len(data.tags) >= 500


def test_what_a_failure_interrupts_is_written_once_by_the_next_flush(root, monkeypatch) -> None:
    tracker = MlflowTracker(root=root, flush_seconds=1000.0)
    tracker.log_metrics({"dream/at_0.9": 1.0}, step=1)
    log = Store.log

    def interrupted(*arguments: Any, **what: Any) -> None:
        log(*arguments, **what)
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "log", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracker.flush()
    monkeypatch.undo()
    tracker.close()
    assert history(root, tracker, "dream/at_0.9") == [(1, 1.0)]


def test_numbers_of_any_kind_are_kept_and_infinity_becomes_nan(root: Path) -> None:
    numpy = pytest.importorskip("numpy")
    with MlflowTracker(root=root) as tracker:
        tracker.log_metrics({"a": math.nan, "b": math.inf, "c": -math.inf, "d": True})
        tracker.log_metrics({"e": numpy.float32(0.5)}, step=numpy.int64(3))
    metrics = stored(root, tracker).data.metrics
    assert [math.isnan(metrics[name]) for name in "abc"] == [True, True, True]
    assert (metrics["d"], metrics["e"]) == (1.0, 0.5)
    assert history(root, tracker, "e") == [(3, 0.5)]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("views[0]=a,b", "views_0__a_b"),
        ("f1: acoustic guitar", "f1_ acoustic guitar"),
        ("/eval//../f1/", "eval/f1"),
        ("..", "_"),
        (".../x", "x"),
    ],
)
def test_a_name_that_mlflow_refuses_is_changed(root: Path, name: str, kept: str) -> None:
    with MlflowTracker(root=root) as tracker:
        tracker.log_params({name: "value"})
        tracker.log_metrics({name: 1.0})
        tracker.set_tags({name: "value"})
    data = stored(root, tracker).data
    assert (data.params, data.metrics) == ({kept: "value"}, {kept: 1.0})
    assert data.tags[kept] == "value"


def test_long_texts_are_cut_and_long_names_stay_apart(root, capfd) -> None:
    with MlflowTracker(root=root) as tracker:
        tracker.log_params({"long": "y" * 7000, "k" * 300 + "1": "a", "k" * 300 + "2": "b"})
        tracker.set_tags({"long": "y" * 9000})
    data = stored(root, tracker).data
    assert data.params["long"] == "y" * 5997 + "..."
    assert data.tags["long"] == "y" * 4997 + "..."
    assert sorted(data.params.values())[:2] == ["a", "b"]
    assert capfd.readouterr().err == ""


def _wrapped(cause: Exception) -> Exception:
    """Return what Hydra raises where a part cannot be built."""
    error = RuntimeError("Error in call to target 'irdream.datasets.starts.FileStart'")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "note"),
    [
        (ZeroDivisionError("by zero"), "FAILED", "ZeroDivisionError: by zero"),
        (InputError("no such file"), "FAILED", "irdream.errors.InputError: no such file"),
        (_wrapped(InputError("no such file")), "FAILED", "irdream.errors.InputError: no such file"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
        (SystemExit(143), "KILLED", "SystemExit: 143"),
    ],
)
def test_a_run_that_breaks_off_says_so(root, error, status, note) -> None:
    tracker = MlflowTracker(root=root)
    tracker.log_metrics({"dream/at_0.9": 1.0})
    with pytest.raises(type(error)), tracker:
        raise error
    run = stored(root, tracker)
    assert run.info.status == status
    assert run.info.end_time is not None
    assert run.data.tags["irdream.error"] == note
    assert run.data.metrics == {"dream/at_0.9": 1.0}
    tracker.close("FINISHED")  # only the first close counts
    assert stored(root, tracker).info.status == status


def test_a_store_that_fails_hides_no_error_and_leaves_no_run_open(root, monkeypatch) -> None:
    def full(*arguments: Any, **what: Any) -> None:
        raise InputError("disk is full")

    broken, whole = MlflowTracker(root=root), MlflowTracker(root=root)
    for tracker in (broken, whole):
        tracker.log_metrics({"a": 1.0})
    monkeypatch.setattr(Store, "log", full)
    with pytest.raises(ZeroDivisionError), broken:
        _ = 1 / 0
    with pytest.raises(InputError, match="disk is full"):
        whole.close()
    monkeypatch.setattr(Store, "log_text", full)
    with pytest.raises(InputError, match="disk is full"):
        MlflowTracker(root=root)
    monkeypatch.undo()
    runs = open_store(root=root).find_runs()
    assert sorted(run.info.status for run in runs) == ["FAILED", "FAILED", "FINISHED"]


def test_nothing_is_written_beside_the_store_and_others_may_log(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here := tmp_path_factory.mktemp("here"))
    level = logging.getLogger().level
    with MlflowTracker(root=root) as tracker:
        tracker.log_metrics({"a": 1.0})
    assert list(here.iterdir()) == []
    assert logging.getLogger().level == level
    kept = root / "artifacts" / tracker.run_id / "artifacts" / "config" / "packages.txt"
    assert f"pytest=={pytest.__version__}" in kept.read_text().splitlines()


def test_the_data_of_a_run_is_an_input_of_it(root: Path) -> None:
    for _ in range(2):
        with MlflowTracker(root=root) as tracker:
            tracker.log_data("n" * 600, "0123456789abcdef", context="training")
            tracker.log_data("notes", "00ff", context="evaluation", source="/a/b", excerpts=18)
            tracker.log_data("notes", "00ff", context="evaluation", source="/a/b", excerpts=18)
    inputs = {put.dataset.digest: put for put in stored(root, tracker).inputs.dataset_inputs}
    assert set(inputs) == {"0123456789abcdef", "00ff"}
    data = inputs["00ff"].dataset
    assert (data.name, data.source, data.profile) == (
        "notes",
        '{"uri": "/a/b"}',
        '{"num_rows": 18}',
    )
    tags = [(tag.key, tag.value) for tag in inputs["00ff"].tags]
    assert tags == [("mlflow.data.context", "evaluation")]
    assert len(inputs["0123456789abcdef"].dataset.name) == 500


def test_two_processes_may_log_the_same_data_at_once(root, fails_first) -> None:
    with MlflowTracker(root=root) as tracker:
        failure = "UNIQUE constraint failed: datasets"
        fails_first(tracker._store.client, "log_inputs", failure, is_done=False)
        tracker.log_data("notes", "00ff", context="training")
    assert len(stored(root, tracker).inputs.dataset_inputs) == 1


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_the_machine_is_sampled_while_a_run_is_open(root, capfd) -> None:
    with MlflowTracker(root=root, system_seconds=0.05) as tracker:
        assert "SystemMetricsMonitor" in threads()
        while not history(root, tracker, "system/system_memory_usage_percentage"):
            time.sleep(0.05)
    assert "SystemMetricsMonitor" not in threads()
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/disk_usage_percentage",
        "system/network_receive_megabytes",
    } <= set(stored(root, tracker).data.metrics)
    points = history(root, tracker, "system/system_memory_usage_percentage")
    assert [step for step, _ in points] == list(range(len(points)))
    assert all(0 < value <= 100 for _, value in points)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_a_bad_interval_opens_no_run(root: Path, seconds: float) -> None:
    with pytest.raises(
        InputError, match=r"tracker\.system_seconds=.*; expected more than 0, or nu"
    ):
        MlflowTracker(root=root, system_seconds=seconds)
    assert open_store(root=root).client.get_experiment_by_name("irdream") is None


INTERRUPTED = """
import signal, sys, time
from pathlib import Path
from irdream.tracking import MlflowTracker
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
tracker = MlflowTracker(root=Path(sys.argv[1]), flush_seconds=1000.0, system_seconds=0.05)
tracker.log_metrics({"dream/at_0.9": 0.5}, step=1)
while not tracker._store.client.get_run(tracker.run_id).data.metrics:
    time.sleep(0.05)
print(tracker.run_id, flush=True)
time.sleep(60)
"""


def test_a_process_that_ends_without_closing_closes_as_killed(root, child_environment) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(root)]
    with subprocess.Popen(
        command, env=child_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)
    assert (process.returncode, said) == (143, ("", ""))
    run = open_store(root=root).client.get_run(run_id)
    assert (run.info.status, run.data.metrics["dream/at_0.9"]) == ("KILLED", 0.5)
    assert "system/cpu_utilization_percentage" in run.data.metrics


UNWRITABLE = """
import sys
from pathlib import Path
from irdream.errors import InputError
from irdream.tracking import MlflowTracker
tracker = MlflowTracker(root=Path(sys.argv[1]))
def full(*arguments):
    raise InputError("disk is full")
tracker._store.end_run = full
"""


def test_a_run_that_cannot_be_closed_at_exit_says_so_in_a_line(root, child_environment) -> None:
    command = [sys.executable, "-c", UNWRITABLE, str(root)]
    done = subprocess.run(command, env=child_environment, capture_output=True, text=True)
    assert done.stderr == "error: disk is full\n"


# Without a store ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({"seed": 1}, {"seed": "1"}, id="plain"),
        pytest.param({"dream": {"jitter": {"frames": 4}}}, {"dream.jitter.frames": "4"}, id="deep"),
        pytest.param({"octaves": [1, 0.5, "a"]}, {"octaves": '[1,0.5,"a"]'}, id="list"),
        pytest.param({"tags": {"b", "a"}}, {"tags": '["a","b"]'}, id="set"),
        pytest.param({"a": True, "b": None}, {"a": "true", "b": "null"}, id="yaml words"),
        pytest.param({"views": [{"shift": Path("x")}]}, {"views": '[{"shift":"x"}]'}, id="nested"),
        pytest.param({"empty": {}}, {"empty": "{}"}, id="empty mapping stays"),
        pytest.param(
            {"rate": 1e-3, "name": "Flöte"}, {"rate": "0.001", "name": "Flöte"}, id="text"
        ),
        pytest.param({"a.b": "[1,2]"}, {"a.b": "[1,2]"}, id="flat already"),
    ],
)
def test_flat_names_every_setting_once(config: dict[str, object], expected: dict[str, str]) -> None:
    assert flat(config) == expected
    assert list(flat({"z": 1, "a": {"y": 2}})) == ["z", "a.y"]


def test_the_null_tracker_does_all_of_it_without_importing_mlflow(child_environment) -> None:
    script = """
import sys
from pathlib import Path
from irdream.tracking import NullTracker
with NullTracker() as tracker:
    tracker.log_params({"a": {"b": 1}})
    tracker.log_metrics({"dream/at_0.9": 1.0}, step=3)
    tracker.log_file(Path("nowhere.png"), "pictures")
    tracker.log_data("notes", "0123456789abcdef", context="training")
    tracker.set_tags({"a": "b"})
    tracker.flush()
    tracker.close("FAILED")
    assert tracker.run_id is None
heavy = {"mlflow", "pandas", "torch", "sqlalchemy", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True, env=child_environment)


def test_the_null_tracker_registers_nothing() -> None:
    with pytest.raises(InputError, match=r"cannot register a checkpoint as 'net': .* not kept"):
        NullTracker().register("net")


# A tracker that is opened beside the work


class Noted(NullTracker):
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.run_id = "7"

    def log_metrics(self, metrics: Any, step: int = 0) -> None:
        self.asked.append(metrics)

    def set_tags(self, tags: Any) -> None:
        if "bad" in tags:
            raise InputError("no such tag")
        self.asked.append(tags)

    def log_file(self, path: Any, folder: str = "") -> None:
        self.asked.append(path)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.asked.append(kind)


def test_what_is_asked_before_it_is_open_is_done_in_order_and_files_are_waited_for() -> None:
    noted, may_open = Noted(), threading.Event()

    def opened() -> Any:
        may_open.wait()
        return noted

    with BackgroundTracker(opened) as tracker:
        tracker.log_metrics({"a": 1.0})
        tracker.set_tags({"b": "c"})
        assert noted.asked == []
        may_open.set()
        tracker.log_file("a.csv")  # type: ignore[arg-type]
        assert noted.asked == [{"a": 1.0}, {"b": "c"}, "a.csv"]
        tracker.log_metrics({"d": 2.0})
        assert noted.asked[-1] == {"d": 2.0}
        assert tracker.run_id == "7"
    assert noted.asked[-1] is None


def test_an_error_ends_the_run_that_it_belongs_to() -> None:
    tracker = BackgroundTracker(Noted)
    tracker.set_tags({"bad": "tag"})
    with pytest.raises(InputError, match="no such tag"):
        tracker.flush()


def test_where_it_cannot_be_opened_the_first_error_is_the_one_to_be_read() -> None:
    def opened() -> Any:
        raise InputError("no store")

    tracker = BackgroundTracker(opened)
    assert tracker.run_id is None
    with pytest.raises(InputError, match="no store"):
        tracker.log_metrics({})
    with pytest.raises(RuntimeError, match="first"), BackgroundTracker(opened):
        raise RuntimeError("first")
    with pytest.raises(InputError, match="no store"), BackgroundTracker(opened):
        pass


def test_a_run_that_fails_before_it_is_open_is_closed_as_failed() -> None:
    noted = Noted()
    with pytest.raises(RuntimeError, match="oops"), BackgroundTracker(lambda: noted):
        raise RuntimeError("oops")
    assert noted.asked == [RuntimeError]
