"""Every yaml under conf/ composes, and what it names can be built."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from irdream.cli import command

CONF = Path(__file__).parents[1] / "conf"
YAMLS = sorted(path for path in CONF.glob("**/*.yaml") if path.parent != CONF)


def choices(*groups: str) -> list[tuple[str, str]]:
    """Return the group and the name of each yaml below these folders of conf/."""
    paths = [path.relative_to(CONF).with_suffix("") for path in YAMLS]
    return [(path.parent.as_posix(), path.name) for path in paths if path.parts[0] in groups]


TASKS = [name for _, name in choices("task")]
CHOICES = choices(
    *{path.relative_to(CONF).parts[0] for path in YAMLS} - {"task", "experiment", "hydra"}
)
NEEDED = {"folder": ["dataset.root=."], "file": ["start.path=."]}


@pytest.fixture(autouse=True)
def _conf() -> Iterator[None]:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_can_be_built(group, choice, tmp_path) -> None:
    config = compose(
        "config", [f"{group}={choice}", f"store={tmp_path}/mlruns", *NEEDED.get(choice, [])]
    )
    command.check(config)
    built = instantiate(config[group], _convert_="all")
    if hasattr(built, "close"):
        built.close()


@pytest.mark.parametrize(
    ("package", "parts"),
    [
        ("irdream.dreaming.constraints", {"Consistency", "Constraint", "Constraints"}),
        ("irdream.dreaming.objectives", {"Custom", "ForwardOutput", "Objective"}),
        ("irdream.dreaming.parametrizations", {"Additive", "Parametrization"}),
        ("irdream.dreaming.transforms", {"Transform"}),
        ("irdream.models", set()),
        ("irdream.sonification", set()),
    ],
)
def test_every_variant_has_a_yaml(package, parts) -> None:
    exported = vars(import_module(package))
    variants = {name for name in exported["__all__"] if isinstance(exported[name], type)} - parts
    yamls = "".join(path.read_text() for path in CONF.glob("*/*.yaml"))
    named = set(re.findall(rf"_target_: {re.escape(package)}\.(\w+)$", yamls, re.MULTILINE))
    assert named >= variants


@pytest.mark.parametrize("task", TASKS)
def test_every_task_can_be_built_from_the_defaults(task, tmp_path) -> None:
    words = [f"task={task}", f"dataset.root={tmp_path}", "device=cpu"]
    words += [f"start.path={tmp_path}"] if task == "predict" else []
    config = compose("config", words)
    command.check(config)
    built = instantiate(config.task, _convert_="all")
    assert built.func.__name__ == task


@pytest.mark.parametrize(("group", "experiment"), choices("experiment"))
def test_every_experiment_can_be_built(group, experiment, tmp_path) -> None:
    sign = "" if group == "experiment" else "+"  # of a folder below it one is added
    of_notes = experiment in ("shipped", "second", "shipped_robust", "musicnn")
    root = "dataset.datasets.notes.root" if of_notes else "dataset.root"
    config = compose("config", [f"{sign}{group}={experiment}", f"{root}={tmp_path}"])
    command.check(config)
    assert callable(instantiate(config.task, _convert_="all"))


@pytest.mark.parametrize(("group", "choice"), choices("hydra"))
def test_every_choice_of_hydras_own_composes(group, choice) -> None:
    if choice == "ray_cluster":
        pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    below = ["hydra/sweeper=optuna"] if group == "hydra/sweeper/sampler" else []
    config = compose("config", [*below, f"{group}={choice}"], return_hydra_config=True)
    assert config.hydra.runtime.choices[group] == choice
    assert {"_target_", "version"} & set(OmegaConf.select(config, group.replace("/", ".")))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_opens_with_its_command(path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("python main.py" in line for line in comments[:4])


def test_a_task_brings_its_own_optimizer_and_the_command_line_wins() -> None:
    assert "NormalizedAscent" in compose("config", ["task=dream"]).optimizer._target_
    assert "AdamW" in compose("config", ["task=train"]).optimizer._target_
    assert "SGD" in compose("config", ["task=train", "optimizer=sgd"]).optimizer._target_


def test_what_is_typed_reaches_the_papers_dreams_and_the_test_of_a_training() -> None:
    ascents = compose("config", ["task=paper", "dream.octaves=3"]).task.study.ascents
    assert [one.octaves for one in ascents.values()] == [3, 3, 3]
    words = ["task=train", "evaluate.aggregation=s2", "evaluate.robust_steps=3"]
    task = compose("config", words).task
    assert (task.test_scoring.aggregation, task.test_robust_steps) == ("s2", 3)


def test_the_weights_of_a_mixture_are_typed_as_its_yaml_says() -> None:
    config = compose("config", ["dataset=mixture", "dataset.weights={notes:2}"])
    assert instantiate(config.dataset, _convert_="all").weights == {"notes": 2}


def test_help_fits_a_terminal_of_80_by_43() -> None:
    shown = subprocess.run(
        [sys.executable, str(CONF.parent / "main.py"), "--help"], capture_output=True, text=True
    )
    lines = shown.stdout.splitlines()
    assert sum(max(1, math.ceil(len(line) / 80)) for line in lines) <= 43
    for words in (
        "task=dream target=flute", "info=true", "-m task=dream", "task: attribute, ",
        "parametrization: fourier, ", "constraint: band_range, ",
    ):  # fmt: skip
        assert words in shown.stdout
    for task in TASKS:
        assert re.search(rf"^  {task}  +\w", shown.stdout, re.MULTILINE)
