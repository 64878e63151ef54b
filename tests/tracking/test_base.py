from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from irdream.errors import InputError
from irdream.tracking import MlflowTracker, NullTracker, Tracker, flat


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


def test_flat_keeps_the_type_of_a_mapping_in_a_list_in_insertion_order() -> None:
    assert flat({"z": 1, "a": {"y": 2, "b": 3}}) == {"z": "1", "a.y": "2", "a.b": "3"}
    assert list(flat({"z": 1, "a": {"y": 2}})) == ["z", "a.y"]


def test_the_null_tracker_does_all_of_it_without_importing_mlflow(
    child_environment: dict[str, str],
) -> None:
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


def test_the_null_tracker_hides_no_exception() -> None:
    with pytest.raises(ZeroDivisionError), NullTracker():
        _ = 1 / 0


def test_the_null_tracker_registers_nothing() -> None:
    with pytest.raises(InputError, match=r"cannot register a checkpoint as 'net': .* not kept"):
        NullTracker().register("net")


def test_both_are_trackers(root: Path) -> None:
    trackers: list[Tracker] = [NullTracker(), MlflowTracker(root=root)]
    for tracker in trackers:
        with tracker as same:
            assert same is tracker
