"""The command line without Hydra: what can be configured, and one line for each mistake.

`check` merges a composed configuration into the dataclasses below, so that wrong keys and types
are refused wherever they come from, also after `+key=`; ranges are checked where a value is
used. `line` turns errors into one line with the nearest word. Library code never sees a
configuration: main.py turns it into plain arguments.

Nothing heavy is imported here, so that a typo is answered at once.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from irdream.errors import InputError, nearest

_SYSTEM = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space and run again",
    errno.EACCES: "change its permissions, or choose another folder",
    errno.EPERM: "change its permissions, or choose another folder",
    errno.EROFS: "choose another folder",
}
HEADLINES = (  # of a sweep's jobs; the first one there is orders the comparison
    "dream/success",
    "dream/success_wav",
    "dream/rmse_db",
    "dream/snr_db",
    "eval/micro_f1",
    "eval/macro_f1",
    "eval/top1",
    "val/loss",
    "val/top1",
)
TRUSTED = ("irdream.", "torch.optim.", "torch.nn.", "functools.partial")


@dataclass
class DreamSettings:
    """How to dream; see `irdream.dreaming.ascent.Ascent`."""

    step_size: Any = 0.25  # in the parametrization's unit; or a list, dreamed in one batch
    steps: int = 100  # at most, in each octave
    octaves: int = 1
    octave_ratio: list[float] = field(default_factory=lambda: [1.4, 1.4])  # mel bands, frames
    jitter_frames: int = 0
    start_noise: float = 0.0  # RMS of noise on the start, in step sizes
    consistency_every: int = 0  # steps after which a spectrogram is made one that a sound has
    confidence: float | None = 0.9  # of the target, where a dream stops; null: never
    patience: int | None = None  # steps without a better iterate; null: any
    keep: str = "best"  # of the iterates; or last
    budget_db: Any = None  # RMSE of the change; or a list, dreamed in one batch
    variations: int = 1  # of each dream
    count: int = 11  # excerpts or noises
    figures: int = 24  # at most
    slice_windows: int | None = None  # windows in one forward pass; null: by the device
    mixed_precision: bool = False  # bfloat16 on CUDA


@dataclass
class TrainSettings:
    """How to train; see `irdream.tasks.train.train`."""

    epochs: int = 20
    patience: int = 5
    batch_size: int = 128
    random_start: bool = True
    validation_share: float = 0.15
    mixed_precision: bool = True
    resume: str | None = None


@dataclass
class EvaluateSettings:
    """How to evaluate; see `irdream.tasks.evaluate.evaluate`."""

    part: str = "test"
    threshold: Any = "checkpoint"
    aggregation: str = "s1"
    batch_windows: int = 128
    validation_share: float = 0.15


@dataclass
class PaperSettings:
    """How to reproduce the paper; see `irdream.tasks.paper.paper`."""

    parts: list[str] = field(default_factory=lambda: ["excerpts", "noise"])
    per_instrument: int = 10
    grid_per_instrument: int = 2
    steps: int = 20
    seconds: float = 3.0
    noises: int = 6
    noise_steps: int = 20
    permutations: int = 2000
    griffin_lim_iterations: int = 64
    second: str | None = "second"
    visqol: bool = False
    publish: str | None = None


@dataclass
class SweepSettings:
    """What a multirun does; see `irdream.sweep`."""

    force: bool = False  # true: run jobs that finished before, too
    stop_on_failure: bool = False


@dataclass
class Settings:
    """All keys of the configuration; groups hold what conf/<group>/<choice>.yaml says."""

    task: dict[str, Any]
    target: Any
    checkpoint: str
    trust: list[str]
    seed: int
    device: str
    threads: int | None
    cache_dir: str | None
    store: str
    server: str | None
    debug: bool
    dataset: dict[str, Any]
    frontend: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None
    augmentation: dict[str, Any] | None
    objective: dict[str, Any]
    parametrization: dict[str, Any]
    transform: dict[str, Any] | None
    constraint: Any
    start: dict[str, Any]
    sonification: dict[str, Any] | None
    tracker: dict[str, Any]
    dream: DreamSettings = field(default_factory=DreamSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    paper: PaperSettings = field(default_factory=PaperSettings)
    sweep: SweepSettings = field(default_factory=SweepSettings)


@dataclass
class Job:
    """One run of a task, as the command line sees it.

    Attributes:
        overrides: what was typed.
        output_dir: the folder of its files.
        number: in its sweep.
        metrics: what the task returned.
        error: one line, where it failed.
        status: running, finished, skipped (it had finished before), pruned (a search stopped it),
            failed or killed.
        seconds: how long it took.
        phases: of it, by name.
        run_id: of its run in the tracking store.
        tracker: while it runs.
        found_in: the folder of the files of a job that was skipped.
    """

    overrides: Sequence[str]
    output_dir: str
    number: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    status: str = "running"
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    tracker: Any = None
    found_in: str = ""

    @property
    def folder(self) -> Path:
        """Return the folder for the run's files."""
        return Path(self.output_dir)

    def open(self, tracker: Any, tags: Mapping[str, str]) -> None:
        """Remember the tracker; name its run by what was typed, and tag it."""
        self.tracker, self.run_id = tracker, tracker.run_id
        typed = " ".join(reversed(self.overrides))  # what is swept stands last, and is read first
        named = any(word.startswith("tracker.run_name=") for word in self.overrides)
        name = {} if named else {"mlflow.runName": typed or "defaults"}
        told = {"irdream.overrides": " ".join(self.overrides), "irdream.folder": self.output_dir}
        tracker.set_tags({**told, **name, **tags})


def check(config: DictConfig, *, typed: Sequence[str] = ()) -> None:
    """Check keys and types, the target's words, and that nothing unknown would be called.

    Args:
        config: as composed.
        typed: the overrides on the command line; a `_target_` among them is trusted.

    Raises:
        InputError: one line on the first mistake.
    """
    from irdream.dreaming.targets import parse_targets

    schema = OmegaConf.structured(Settings)
    try:
        OmegaConf.merge(schema, config)
    except OmegaConfBaseException as error:
        raise InputError(explain(error, known=_keys(schema))) from error
    parse_targets(OmegaConf.to_container(config)["target"])  # type: ignore[index,call-overload]
    allowed = (*TRUSTED, *(f"{package}." for package in trusted(config, typed=typed)))
    for key, target in _targets(OmegaConf.to_container(config), ""):  # type: ignore[arg-type]
        if not target.startswith(tuple(allowed)):
            raise InputError(
                f"{key}={target} is not trusted; expected something in irdream, torch.optim or "
                f"torch.nn; to allow it add trust=[{target.split('.')[0]}]"
            )


def trusted(config: DictConfig, *, typed: Sequence[str] = ()) -> list[str]:
    """Return the packages that the user trusts: `trust=[...]`, and of targets that were typed."""
    targets = [re.fullmatch(r"\+*[\w.@/]+\._target_=([\w.]+)", word) for word in typed]
    packages = [str(package) for package in config.get("trust") or ()]
    packages += [target[1].split(".")[0] for target in targets if target]
    return list(dict.fromkeys(packages))


def line(error: Exception, *, conf: Path) -> str | None:
    """Return what to tell the user of an error, in one line; None for a defect of irdream."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return f"error: {cause}"
        if isinstance(cause, OSError) and cause.errno in _SYSTEM:
            where = f" {str(cause.filename)!r}" if cause.filename else ""
            return f"error: {os.strerror(cause.errno)}{where}; {_SYSTEM[cause.errno]}"
        cause = cause.__cause__ or cause.__context__
    if type(error).__module__.startswith(("hydra.", "omegaconf.")):
        return f"error: {explain(error, known=known_keys(conf))}"
    return None


def explain(error: Exception, *, known: Iterable[str] = ()) -> str:
    """Return an error of Hydra or OmegaConf as one line, with the nearest known word."""
    text = str(error)
    if match := re.search(r"Could not find '([\w@]+)/([^']+)'", text):
        listed = text.partition("Available options")[2].partition("Config search path")[0]
        options = [line.strip() for line in listed.splitlines()[1:] if line.strip()]
        near = nearest(match[2], options)
        return f"unknown {match[1]} {match[2]!r}; expected one of {', '.join(options)}{near}"
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match[1].split("@")[0].lstrip("+~")
        return _unknown_key(key, known)
    if match := re.search(r"unexpected keyword argument '(\w+)'", text):
        target = re.search(r"call to target '([\w.]+)'", text)
        near = nearest(match[1], [key.rpartition(".")[2] for key in known])
        return f"unknown key {match[1]!r}{f' of {target[1]}' if target else ''}{near}"
    if isinstance(error, ConfigKeyError) and (match := re.search(r"full_key: (\S+)", text)):
        return _unknown_key(match[1], known)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if match := re.search(r"full_key: (\S+)", text):
        return f"{match[1]}: {lines[0]}"
    return " ".join(lines[:3])


def known_keys(folder: Path) -> list[str]:
    """Return the keys that conf/ defines, for suggestions: its groups, and every yaml's keys."""
    keys = list(_keys(OmegaConf.structured(Settings)))
    for path in sorted(folder.glob("*/*.yaml")):
        group = path.parent.name
        keys.append(group)
        keys += [f"{group}.{key}" for key in OmegaConf.load(path) if isinstance(key, str)]
    return list(dict.fromkeys(keys))


def _unknown_key(key: str, known: Iterable[str]) -> str:
    known = list(known)
    last = key.rpartition(".")[2]
    elsewhere = [k for k in known if k.rpartition(".")[2] == last]
    if elsewhere:  # the right word in another place, such as steps for dream.steps
        return f"unknown key {key!r}; did you mean {' or '.join(map(repr, elsewhere[:3]))}?"
    if near := nearest(key, known):
        return f"unknown key {key!r}{near}"
    section = key.rpartition(".")[0]
    there = [k for k in known if k.rpartition(".")[0] == section]
    expected = f"; expected one of {', '.join(there)}" if there else ""
    return f"unknown key {key!r}{expected}"


def _keys(schema: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in schema:
        if not isinstance(key, str):
            continue
        yield f"{prefix}{key}"
        node = None if OmegaConf.is_missing(schema, key) else schema[key]
        if isinstance(node, DictConfig):
            yield from _keys(node, f"{prefix}{key}.")


def _targets(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of every `_target_` in a plain configuration."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                yield f"{path}_target_", str(value)
            yield from _targets(value, f"{path}{key}.")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _targets(value, f"{path}{i}.")
