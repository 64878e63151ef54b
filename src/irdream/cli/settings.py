"""What can be configured: the keys with their types and ranges.

What each key means, and what it is by default, stands in conf/config.yaml and nowhere else;
docs/configuration.md is made of both (`irdream.cli.reference`). The ranges are those of the
library, which checks its arguments too: here a mistake is found before anything is loaded.

Nothing heavy is imported here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from irdream.cli.schema import ANY, Key, Range


@dataclass
class DreamSettings:
    """How to dream; see `irdream.dreaming.ascent.Ascent`."""

    step_size: Annotated[float | list[float], Range(above=0)]
    steps: Annotated[int, Range(at_least=1)]
    octaves: Annotated[int, Range(at_least=1)]
    octave_ratio: Annotated[list[float], Range(at_least=1, length=2)]
    jitter_frames: Annotated[int, Range(at_least=0)]
    start_noise: Annotated[float, Range(at_least=0)]
    consistency_every: Annotated[int, Range(at_least=0)]
    confidence: Annotated[float | None, Range(above=0, below=1)]
    patience: Annotated[int | None, Range(at_least=1)]
    keep: Literal["best", "last"]
    budget_db: Annotated[float | list[float] | None, Range(above=0)]
    variations: Annotated[int, Range(at_least=1)]
    count: Annotated[int, Range(at_least=1)]
    figures: Annotated[int, Range(at_least=0)]
    slice_windows: Annotated[int | None, Range(at_least=1)]
    mixed_precision: bool


@dataclass
class TrainSettings:
    """How to train; see `irdream.tasks.train.train`."""

    epochs: Annotated[int, Range(at_least=1)]
    patience: Annotated[int, Range(at_least=1)]
    batch_size: Annotated[int, Range(at_least=1)]
    window_seconds: Annotated[float, Range(above=0)]
    random_start: bool
    validation_share: Annotated[float, Range(above=0, below=1)]
    mixed_precision: bool
    split: Literal["recording", "excerpt"]
    balanced: bool
    loss: Literal["categorical", "binary"]
    label_smoothing: Annotated[float, Range(at_least=0, at_most=0.99)]
    weight_averaging: Annotated[Literal["swa"] | float | None, Range(above=0, below=1)]
    averaging_start: Annotated[float, Range(at_least=0, at_most=1)]
    clip_norm: Annotated[float | None, Range(above=0)]
    robust: Literal["fgsm", "free", "pgd", "trades"] | None
    robust_db: Annotated[float, Range(above=0)]
    robust_steps: Annotated[int, Range(at_least=1)]
    robust_ramp_epochs: Annotated[int, Range(at_least=0)]
    robust_weight: Annotated[float, Range(above=0)]
    resume: str | None
    register: str | None
    alias: str
    test: bool


@dataclass
class EvaluateSettings:
    """How to evaluate; see `irdream.tasks.evaluate.evaluate`."""

    part: Literal["test", "training"]
    threshold: Annotated[Literal["checkpoint", "validation"] | float, Range(at_least=0, at_most=1)]
    aggregation: Literal["s1", "s2", "max", "network"]
    batch_windows: Annotated[int, Range(at_least=1)]
    validation_share: Annotated[float, Range(above=0, below=1)]
    robust_db: Annotated[list[float], Range(at_least=0, may_be_empty=True)]
    robust_steps: Annotated[int, Range(at_least=1)]
    robust_windows: Annotated[int, Range(at_least=1)]


@dataclass
class CompareSettings:
    """How to compare two checkpoints; see `irdream.tasks.compare.compare`."""

    other: str
    permutations: Annotated[int, Range(at_least=20)]


@dataclass
class PaperSettings:
    """How to reproduce the paper; see `irdream.tasks.paper.paper`."""

    parts: Literal["excerpts", "noise"] | list[Literal["excerpts", "noise"]]
    per_instrument: Annotated[int, Range(at_least=1)]
    grid_per_instrument: Annotated[int, Range(at_least=1)]
    steps: Annotated[int, Range(at_least=1)]
    seconds: Annotated[float, Range(above=0)]  # at least a window, whose length the checkpoint has
    noises: Annotated[int, Range(at_least=2)]
    noise_steps: Annotated[int, Range(at_least=1)]
    permutations: Annotated[int, Range(at_least=20)]
    griffin_lim_iterations: Annotated[int, Range(at_least=0)]
    second: str | None
    visqol: bool
    publish: str | None


@dataclass
class SweepSettings:
    """What a multirun does; see `irdream.sweeps.sweep`."""

    force: bool
    stop_on_failure: bool


Group = dict[str, Any]  # what conf/<group>/<choice>.yaml says


@dataclass
class Settings:
    """All keys of the configuration: single ones, groups, and sections."""

    target: str | list[str]
    checkpoint: str
    trust: Annotated[list[str], Range(may_be_empty=True)]
    seed: Annotated[int, Range(at_least=0, at_most=2**64 - 1)]
    device: Annotated[str | int, Range(at_least=0)]
    threads: Annotated[int | None, Range(at_least=1)]
    cache_dir: str | None
    store: str
    server: str | None
    debug: bool
    info: bool
    dream: DreamSettings
    train: TrainSettings
    evaluate: EvaluateSettings
    compare: CompareSettings
    paper: PaperSettings
    sweep: SweepSettings
    task: Group
    dataset: Group
    frontend: Group
    model: Group
    optimizer: Group
    scheduler: Group | None
    augmentation: Group | None
    objective: Group
    parametrization: Group
    transform: Group | None
    constraint: Group | list[Group] | None
    start: Group
    sonification: Group | None
    tracker: Group


@functools.cache
def keys() -> dict[str, Key]:
    """Return all keys by their names, sections left out."""
    return {key.name: key for key in _keys(Settings, "")}


@functools.cache
def sections() -> tuple[str, ...]:
    """Return the names of the sections."""
    return tuple(dict.fromkeys(key.section for key in keys().values() if key.section))


def _keys(section: type, prefix: str) -> Iterator[Key]:
    hints = get_type_hints(section, include_extras=True)
    for one in fields(section):
        hint, name = hints[one.name], f"{prefix}{one.name}"
        if is_dataclass(hint):
            yield from _keys(hint, f"{name}.")  # type: ignore[arg-type]
        elif get_origin(hint) is Annotated:
            yield Key(name, *get_args(hint))
        else:
            yield Key(name, hint, ANY)
