"""What `task=paper` would do: how many dreams of which kind, measured on one batch of each.

The dreams that stop once they are heard take far fewer steps than they may: the time is a bound.
Stages that are kept from an earlier run count as done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from irdream.datasets.base import Excerpt
from irdream.datasets.starts import ExcerptStart, NoiseStart
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.tasks.info.measuring import Laps, no_trace, timed, warm_up
from irdream.tasks.info.untouched import Sample, Untouched
from irdream.tasks.info.words import Plan, counted, heard_by, line, time_line
from irdream.tasks.paper import run
from irdream.tasks.paper.excerpts import GRID_WAYS, at_most, first_of_each, own_and_other
from irdream.tasks.paper.noise import ASCENTS, COLORS, WAYS
from irdream.tasks.paper.stages import Stages
from irdream.tasks.paper.study import BATCH, Study
from irdream.tasks.paper.trial import Trial
from irdream.tasks.scoring import score

TRIED = 2  # dreams of each kind
KINDS = ("recognition", "dreams of excerpts", "dreams of noise")
_NUMBERS = (
    "per_instrument", "grid_per_instrument", "steps", "seconds", "noises", "noise_steps",
    "permutations",
)  # fmt: skip
_SCORED: dict[str, Any] = {
    "part": "test", "threshold": "checkpoint", "aggregation": "s1", "batch_windows": 128,
    "validation_share": 0.15,
}  # fmt: skip


@dataclass(frozen=True)
class _Job:
    """Dreams that are made alike.

    Attributes:
        kind: one of `KINDS`.
        ascent: its name.
        what: is dreamed, in words.
        trial: how.
        excerpts: what the items' numbers mean.
        items: one dream each.
        colors: how often there are so many.
    """

    kind: str
    ascent: str
    what: str
    trial: Trial
    excerpts: Sequence[Excerpt]
    items: Sequence[Item]
    colors: int = 1

    @property
    def whole(self) -> int:
        return self.colors * len(self.items)

    def left(self, study: Study) -> int:
        """Return how many dreams are not kept yet."""
        if study.cache_dir is None:
            return self.whole
        folder = Stages(Path(study.cache_dir) / "paper", self.trial).folder
        return max(0, self.whole - BATCH * len(list(folder.glob("*.safetensors"))))

    def seconds(self) -> float:
        """Return what a dream takes at most, measured on a few with a few steps."""
        clock, laps, items = timed(self.trial.ascent, steps=2), Laps(), self.items[:TRIED]
        with laps("all"):
            replace(self.trial, ascent=clock)(self.excerpts, items)
        steps = self.trial.ascent.steps - len(clock.times)
        return (laps.seconds["all"] + steps * clock.step_seconds) / len(items)


def plan_paper(given: Mapping[str, Any]) -> Plan:
    """Return the plan of `irdream.tasks.paper.paper` with these arguments.

    Raises:
        InputError: as the task.
    """
    study: Study = given["study"]
    parts = _parts(given)
    dataset = Untouched(given["dataset"])
    with no_trace():
        warm_up(study.recognizer)
        jobs = _excerpt_jobs(given, dataset) if "excerpts" in parts else []
        jobs += _noise_jobs(given) if "noise" in parts else []
        seconds = {kind: 0.0 for kind in KINDS}
        for job in jobs:
            if left := job.left(study):
                seconds[job.kind] += left * job.seconds()
        if "excerpts" in parts:
            seconds["recognition"] = _recognition_seconds(study, dataset)
    seconds = {**dataset.times, **seconds}
    lines = [
        line("paper", f"{', '.join(parts)}: {counted(sum(job.whole for job in jobs), 'dream')}"),
        *dataset.lines,
        *(_kind_line(kind, [job for job in jobs if job.kind == kind]) for kind in KINDS[1:3]),
        heard_by(study.recognizer) + ("" if study.second is None else ", and a second one"),
        line("sound", f"{', '.join(study.sonifications)}; each with two controls"),
        *_kept_line(study, jobs),
        time_line(seconds, ", besides the report"),
        line("writes", "report.html, report.md, " + ", ".join(f"{part}/" for part in parts)),
    ]
    return Plan(tuple(text for text in lines if text), sum(seconds.values()))


def _parts(given: Mapping[str, Any]) -> list[str]:
    """Return what is asked for, and refuse what the task refuses."""
    parts = [given["parts"]] if isinstance(given["parts"], str) else list(given["parts"])
    if not parts or not set(parts) <= set(run.PARTS):
        raise InputError(f"paper.parts={parts}; expected some of {', '.join(run.PARTS)}")
    numbers = {name: given[name] for name in _NUMBERS}
    run._check(given["study"].recognizer.window_seconds, **numbers)
    return parts


# Dreams --------------------------------------------------------------------------------------


def _excerpt_jobs(given: Mapping[str, Any], dataset: Untouched) -> list[_Job]:
    """Return the dreams of excerpts: until heard in every way, and toward all targets."""
    study: Study = given["study"]
    recognizer, each = study.recognizer, given["per_instrument"]
    start = ExcerptStart(
        dataset=dataset,
        count=each * len(recognizer.instruments),
        seconds=given["seconds"],
        seed=study.seed,
    )
    found, bad = start.excerpts(
        sample_rate_hz=recognizer.sample_rate_hz, min_seconds=recognizer.window_seconds
    )
    if not found:
        raise InputError(f"nothing to dream on: {bad[0]}")
    excerpts = at_most(found, each)
    items = own_and_other(excerpts, study.seed)
    jobs = [
        _Job(KINDS[1], name, "until heard", study.trial(name), excerpts, items)
        for name in study.ascents
    ]
    chosen = first_of_each(excerpts, recognizer.instruments, given["grid_per_instrument"])
    items = [Item(i, target) for i in chosen for target in recognizer.instruments]
    trial = study.trial("log_mel", ways=GRID_WAYS, steps=given["steps"])
    return [*jobs, _Job(KINDS[1], "log_mel", "toward all targets", trial, excerpts, items)]


def _noise_jobs(given: Mapping[str, Any]) -> list[_Job]:
    """Return the dreams of noise, of all colors at once."""
    study: Study = given["study"]
    seconds, targets = study.recognizer.window_seconds, study.recognizer.instruments
    start = NoiseStart(count=given["noises"], seconds=seconds, seed=study.seed)
    noises, _ = start.excerpts(sample_rate_hz=study.recognizer.sample_rate_hz, min_seconds=seconds)
    items = [Item(i, target) for i in range(len(noises)) for target in targets]
    return [
        _Job(
            KINDS[2],
            name,
            f"from {' and '.join(COLORS)} noise toward all targets",
            study.trial(name, ways=WAYS, steps=given["noise_steps"]),
            noises,
            items,
            colors=len(COLORS),
        )
        for name in ASCENTS
        if name in study.ascents
    ]


def _recognition_seconds(study: Study, dataset: Untouched) -> float:
    """Return what scoring the test part takes, from a few of its excerpts."""
    rate_hz = study.recognizer.sample_rate_hz
    whole = len(dataset.part("test", sample_rate_hz=rate_hz))
    seconds = 0.0
    for recognizer in (study.recognizer, study.second):
        if recognizer is None:
            continue
        warm_up(recognizer)
        sample, laps = Sample(dataset), Laps()
        score(recognizer=recognizer, dataset=sample, seed=study.seed, stopwatch=laps, **_SCORED)
        few = len(sample.part("test", sample_rate_hz=rate_hz))
        seconds += sum(laps.of("listening")) * whole / few / sample.share
    return seconds


# Words ---------------------------------------------------------------------------------------


def _kind_line(kind: str, jobs: Sequence[_Job]) -> str:
    """Return what is dreamed of one kind; ascents that differ in nothing else stand together."""
    groups: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    for job in jobs:
        ascent = job.trial.ascent
        steps = f"{'' if ascent.confidence is None else 'at most '}{counted(ascent.steps, 'step')}"
        groups[job.whole, job.what, steps].append(job.ascent)
    told = [
        f"{counted(count, 'dream')} of {' and of '.join(ascents)} {what}, {steps}"
        for (count, what, steps), ascents in groups.items()
    ]
    return line(kind.split()[-1], "; ".join(told)) if told else ""


def _kept_line(study: Study, jobs: Sequence[_Job]) -> list[str]:
    kept = sum(job.whole - job.left(study) for job in jobs)
    return [line("kept", f"{counted(kept, 'dream')} in {study.cache_dir}/paper")] if kept else []
