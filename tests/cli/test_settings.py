"""The schema allows what the library takes, and refuses what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from irdream import runtime
from irdream.cli import settings
from irdream.datasets.base import ExcerptFile
from irdream.datasets.splits import split_excerpts
from irdream.datasets.starts import NoiseStart
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.constraints import with_consistency
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel
from irdream.dreaming.transforms import with_jitter
from irdream.errors import InputError
from irdream.measures import scoring
from irdream.measures.comparison import check_permutations
from irdream.measures.recognition import check_aggregation
from irdream.tasks import paper
from irdream.tasks.dream_plan import _several
from irdream.training.batches import WindowBatches
from irdream.training.loop import Fit


def ascent(name: str, value: Any) -> None:
    Ascent(
        parametrization=LogMel(),
        objective=lambda heard, targets: heard.logits,
        optimizer=NormalizedAscent(),
        **{name: value},
    )


def fit(name: str, value: Any) -> None:
    others: dict[str, Any] = dict.fromkeys(
        ("recognizer", "optimizer", "plan", "training", "validation", "augment", "random_start",
         "seed", "folder")
    )  # fmt: skip
    Fit(**{"epochs": 1, "patience": 1, **others, name: value})


def split(name: str, value: Any) -> None:
    files: Any = [
        ExcerptFile(path=None, labels=("flu",), name=str(i), recording=str(i))  # type: ignore[arg-type]
        for i in range(4)
    ]
    split_excerpts(files, "recording", validation_share=value, seed=0)


def batches(name: str, value: Any) -> None:
    try:
        WindowBatches(
            log_mels=None,  # type: ignore[arg-type]
            excerpts=[],
            labels=torch.zeros(0),
            window_frames=1,
            batch_size=value,
        )
    except InputError as error:
        if "batch_size" in str(error):
            raise


def threshold(name: str, value: Any) -> None:
    recognizer: Any = type("Recognizer", (), {"thresholds": {}})()
    scoring._given_thresholds(value, recognizer, "s1")


def start(name: str, value: Any) -> None:
    if name == "seed":
        NoiseStart(seed=value)
        runtime.set_seed(value)
    else:
        NoiseStart(count=value)


BEYOND = math.nextafter
LIBRARY = [  # key, where it goes, values that are allowed, values that are not
    ("dream.step_size", lambda n, v: _several(n, v), [1e-9, [0.1, 2]], [0, -1, [], [1, 0]]),
    ("dream.step_size", ascent, [1e-9], [0.0]),
    ("dream.budget_db", lambda n, v: _several(n, v), [1e-9, [0.1, 2], None], [0, [], [1, 0]]),
    ("dream.steps", ascent, [1], [0]),
    ("dream.octaves", ascent, [1], [0]),
    ("dream.octave_ratio", ascent, [[1, 1], [1.4, 2.0]], [[0.9, 1], [1.4], [1.0, 1.0, 1.0]]),
    ("dream.jitter_frames", lambda n, v: with_jitter(None, v), [0], [-1]),
    ("dream.start_noise", ascent, [0], [-1e-9]),
    ("dream.consistency_every", lambda n, v: with_consistency(None, v), [0], [-1]),
    ("dream.confidence", ascent, [BEYOND(0, 1), BEYOND(1, 0), None], [0.0, 1.0]),
    ("dream.patience", ascent, [1, None], [0]),
    ("dream.keep", ascent, ["best", "last"], ["bst"]),
    ("dream.count", start, [1], [0]),
    ("seed", start, [0, 2**64 - 1], [-1]),
    ("threads", lambda n, v: runtime.set_threads(v), [1], [0]),
    ("train.epochs", fit, [1], [0]),
    ("train.patience", fit, [1], [0]),
    ("train.batch_size", batches, [1], [0]),
    ("train.validation_share", split, [1e-9, BEYOND(1, 0)], [0.0, 1.0]),
    ("evaluate.validation_share", split, [1e-9, BEYOND(1, 0)], [0.0, 1.0]),
    ("evaluate.threshold", threshold, [0, 1, 0.5, "checkpoint", "validation"], ["best", -0.1, 1.1]),
    ("evaluate.aggregation", lambda n, v: check_aggregation(v), ["s1", "s2", "max"], ["s3"]),
    ("compare.permutations", lambda n, v: check_permutations(v), [20], [19, 0]),
    *(
        (f"paper.{name}", lambda n, v: paper._check(1.0, **{n: v}), [least], [least - 1])
        for name, least in {
            "per_instrument": 1, "grid_per_instrument": 1, "steps": 1, "noises": 2,
            "noise_steps": 1, "permutations": paper.LEAST_PERMUTATIONS,
        }.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "use", "fine", "bad"), LIBRARY)
def test_ranges_are_those_of_the_library(name, use, fine, bad) -> None:
    key, last = settings.keys()[name], name.rpartition(".")[2]
    threads = torch.get_num_threads()
    for value in fine:
        assert key.allows(value), value
        use(last, value)
    torch.set_num_threads(threads)
    for value in bad:
        assert not key.allows(value), value
        with pytest.raises(InputError):
            use(last, value)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("dream.octaves", -3, "dream.octaves=-3; expected at least 1"),
        ("dream.octaves", "abc", "dream.octaves=abc; expected a whole number, at least 1"),
        ("dream.octaves", "3", "dream.octaves='3'; expected a whole number, at least 1"),
        ("dream.octaves", 1.0, "dream.octaves=1.0; expected a whole number, at least 1"),
        ("dream.octaves", True, "dream.octaves=true; expected a whole number, at least 1"),
        ("dream.octaves", None, "dream.octaves=null; expected a whole number, at least 1"),
        ("dream.patience", 0, "dream.patience=0; expected at least 1, or null"),
        ("dream.confidence", 1.5, "dream.confidence=1.5; expected a number between 0 and 1, or n"),
        ("dream.step_size", math.nan, "=nan; expected a number above 0, or a list of numbers"),
        ("dream.step_size", math.inf, "=inf; expected a number above 0, or a list of numbers"),
        ("dream.step_size", [0.5, -1.0], "dream.step_size=[0.5,-1.0]; expected a number above 0"),
        ("dream.octave_ratio", [1.4], "=[1.4]; expected a list of 2 numbers, at least 1"),
        ("dream.keep", True, "dream.keep=true; expected best or last"),
        ("evaluate.robust_db", [-1.0], "=[-1.0]; expected a list of numbers, at least 0"),
        ("sweep.force", 1, "sweep.force=1; expected true or false"),
        ("evaluate.threshold", 2, "expected checkpoint or validation, or a number from 0 to 1"),
        ("paper.parts", ["excerpts", "nois"], "expected excerpts or noise, or a list, some of exc"),
        ("trust", "a", "trust=a; expected a list of texts"),
        ("target", None, "target=null; expected text, or a list of texts"),
        ("objective", "layer", "objective=layer; expected a choice of the group, see conf/obj"),
        ("transform", {"a": None}, "transform={a:null}; expected a choice of the group, see con"),
    ],
)
def test_a_problem_names_key_value_and_what_was_expected(name, value, problem) -> None:
    key = settings.keys()[name]
    assert problem in key.problem(value)
    assert key.allows(value) == (name == "transform")


def test_lists_may_be_empty_where_that_means_something() -> None:
    assert settings.keys()["trust"].allows([])
    assert not settings.keys()["paper.parts"].allows([])


def test_groups_are_told_from_sections_and_keys() -> None:
    groups = [name for name, key in settings.keys().items() if key.is_group]
    assert groups[:3] == ["task", "dataset", "frontend"]
    assert settings.sections() == ("dream", "train", "evaluate", "compare", "paper", "sweep")
    assert settings.keys()["scheduler"].expected() == (
        "a choice of the group, see conf/scheduler, or null"
    )
