"""Mistakes on the command line end in one line that names the nearest word."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from irdream import command
from irdream.errors import InputError

CONF = Path(__file__).parents[1] / "conf"


@pytest.fixture(autouse=True)
def _conf() -> Iterator[None]:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield


def answer(*overrides: str) -> str:
    """Return the line that these overrides end in."""
    with pytest.raises((InputError, HydraException)) as caught:
        command.check(compose("config", list(overrides)), typed=overrides)
    line = command.line(caught.value, conf=CONF)
    assert line is not None
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("task=drem", "unknown task 'drem'; expected one of doctor, dream, evaluate, paper"),
        ("objective=logitt", ", log_probability, logit, margin, masked, neuron, probability, smoo"),
        ("objective=logitt", "unknown objective 'logitt'; expected one of caricature, channel, d"),
        ("objective=logitt", "smooth; did you mean 'logit'?"),
        ("constraint=max_chang", "unknown constraint 'max_chang'; expected one of band_range, "),
        ("transform=jiter", "unknown transform 'jiter'; expected one of frequency_mask, "),
        ("dream.budget=1", "unknown key 'dream.budget'; did you mean 'dream.budget_db'"),
        ("dream.start_noise=x", "dream.start_noise: Value 'x' of type 'str' could not be convert"),
        ("target=flut", "unknown instrument 'flut'; expected one of cel (cello), cla (clarinet),"),
        ("dream.stepsize=1", "unknown key 'dream.stepsize'; did you mean 'dream.step_size'"),
        ("+dream.stepsize=1", "unknown key 'dream.stepsize'; did you mean 'dream.step_size'"),
        ("+tagret=flute", "unknown key 'tagret'; did you mean 'target'"),
        ("octaves=3", "unknown key 'octaves'; did you mean 'dream.octaves'?"),
        ("train.zzzzzz=3", "unknown key 'train.zzzzzz'; expected one of train.epochs, train.patie"),
        ("dream.steps=abc", "dream.steps: Value 'abc' of type 'str' could not be converted to Int"),
        ("dream.confidence=high", "dream.confidence: Value 'high' of type 'str' could not be conv"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_one_line(override, expected) -> None:
    assert expected in answer(override)


def test_what_a_yaml_names_must_be_trusted(tmp_path) -> None:
    config = compose("config")
    config.model._target_ = "os.system"
    with pytest.raises(
        InputError, match=r"model._target_=os.system is not trusted; .*trust=\[os\]"
    ):
        command.check(config)
    config.trust = ["os"]
    command.check(config)


def test_a_target_that_was_typed_is_trusted() -> None:
    typed = ["model._target_=my_package.nets.MyNet"]
    config = compose("config", typed)
    command.check(config, typed=typed)
    assert command.trusted(config, typed=typed) == ["my_package"]
    with pytest.raises(InputError, match=r"my_package\.nets\.MyNet is not trusted"):
        command.check(config)


def test_causes_are_looked_through() -> None:
    error = RuntimeError("building failed")
    error.__cause__ = InputError("too short")
    assert command.line(error, conf=CONF) == "error: too short"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "error: No space left on device '/data/x'; free some space and run again"),
        (errno.EACCES, "error: Permission denied '/data/x'; change its permissions, or choose"),
    ],
)
def test_errors_of_the_system_are_told_in_one_line(number, expected) -> None:
    line = command.line(OSError(number, "text", "/data/x"), conf=CONF)
    assert line is not None
    assert line.startswith(expected)


def test_a_defect_is_no_line() -> None:
    assert command.line(ZeroDivisionError("oops"), conf=CONF) is None


def test_an_unknown_argument_of_a_target_is_told() -> None:
    text = (
        "Error in call to target 'irdream.models.Han2016':\n"
        "TypeError(\"__init__() got an unexpected keyword argument 'instrumens'\")"
    )
    told = command.explain(HydraException(text), known=["model.instruments"])
    expected = "unknown key 'instrumens' of irdream.models.Han2016; did you mean 'instruments'?"
    assert told == expected


def test_a_job_names_its_run_by_what_was_swept() -> None:
    class Tracker:
        run_id = "7"

        def set_tags(self, tags) -> None:
            self.tags = tags

    job, tracker = command.Job(["seed=1", "dream.steps=0"], "out/1"), Tracker()
    job.open(tracker, {"irdream.sweep": "nightly"})

    assert job.run_id == "7"
    assert tracker.tags == {
        "irdream.sweep": "nightly",
        "irdream.overrides": "seed=1 dream.steps=0",
        "irdream.folder": "out/1",
        "mlflow.runName": "dream.steps=0 seed=1",
    }
    job = command.Job(["tracker.run_name=mine"], "out/1")
    job.open(tracker, {})
    assert "mlflow.runName" not in tracker.tags
