"""What `task=evaluate` would do: it is done on a few excerpts of each label, in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irdream.datasets.base import Excerpts, PartName
from irdream.recognizer import Recognizer
from irdream.tasks import evaluate as task
from irdream.tasks.excerpt_scores import part_of, validation_of
from irdream.tasks.info.measuring import Laps, no_trace, warm_up
from irdream.tasks.info.untouched import Sample, Untouched
from irdream.tasks.info.words import Plan, counted, heard_by, line, time_line
from irdream.tasks.robustness import check_robustness
from irdream.tracking import NullTracker

AGGREGATIONS = {
    "s1": "mean of the windows",
    "s2": "sum of the windows over its largest",
    "max": "sum of maxima over four windows, over its largest",
    "network": "whole excerpts, heard at once",
}
_SETTINGS = ("part", "threshold", "aggregation", "batch_windows", "validation_share", "seed")
_ROBUST = ("robust_db", "robust_steps", "robust_windows")
FILES = (
    "scores.csv, summary.csv, predictions.csv, confusion.csv, scores.png, confusion.png, "
    "aggregations.csv, instruments.csv, groups.csv, intervals.csv, calibration.csv, "
    "reliability.csv, reliability.png"
)

ROBUST_FILES = ", robustness.csv, robustness.png"


def plan_evaluate(given: Mapping[str, Any]) -> Plan:
    """Return the plan of `irdream.tasks.evaluate.evaluate` with these arguments.

    Raises:
        InputError: as the task.
    """
    recognizer, dataset = given["recognizer"], Untouched(given["dataset"])
    excerpts = part_of(dataset, given["part"], recognizer)
    check_robustness(recognizer, excerpts, *(given[name] for name in _ROBUST))
    counts, seconds = _measured(given, dataset)
    what = f"{counted(counts[-1], 'excerpt')}, the {given['part']} part of {dataset.name}"
    lines = [
        line("evaluate", what),
        *dataset.lines,
        heard_by(recognizer),
        line("labels", f"{_aggregation(given)}; {_threshold(given, recognizer, counts)}"),
        *_misled(given),
        time_line(seconds, at_most=False),
        line("writes", FILES + (ROBUST_FILES if given["robust_db"] else "")),
    ]
    return Plan(tuple(lines), sum(seconds.values()))


def _measured(given: Mapping[str, Any], dataset: Untouched) -> tuple[list[int], dict[str, float]]:
    """Let the task score a few excerpts; return how many are heard in all, and the seconds."""
    recognizer, sample, laps = given["recognizer"], Sample(dataset), Laps()
    with no_trace() as folder:
        warm_up(recognizer)
        task.evaluate(
            recognizer=recognizer,
            dataset=sample,
            tracker=NullTracker(),
            output_dir=folder,
            stopwatch=laps,
            **{name: given[name] for name in _SETTINGS},
        )
    chooses = len(laps.of("listening")) > 1  # of the excerpts that the threshold is chosen on, too
    counts = _counts(given, dataset, recognizer, chooses=chooses)
    tried = _counts(given, sample, recognizer, chooses=chooses)
    listening = sum(
        seconds * count / few
        for seconds, count, few in zip(laps.of("listening"), counts, tried, strict=True)
    )
    return counts, {
        **dataset.times,
        "listening": listening / sample.share,
        "tables and figures": sum(laps.of("tables and figures")),
    }


def _counts(
    given: Mapping[str, Any], dataset: Untouched | Sample, recognizer: Recognizer, *, chooses: bool
) -> list[int]:
    """Return how many excerpts are heard: for the threshold, where it is chosen, and to score."""

    def part(name: PartName) -> Excerpts:
        return dataset.part(name, sample_rate_hz=recognizer.sample_rate_hz)

    scored = [len(part(given["part"]))]
    if not chooses:
        return scored
    drawn = (given["validation_share"], given["seed"])
    return [len(validation_of(part("training"), recognizer, dataset.name, *drawn)), *scored]


def _misled(given: Mapping[str, Any]) -> list[str]:
    if not given["robust_db"]:
        return []
    sizes = ", ".join(f"{size_db:g}" for size_db in given["robust_db"])
    what = f"at most {counted(given['robust_windows'], 'window')} by up to {sizes} dB"
    return [line("misleads", f"{what}, {given['robust_steps']} steps each; the time is without it")]


def _aggregation(given: Mapping[str, Any]) -> str:
    return f"{given['aggregation'].upper()} ({AGGREGATIONS[given['aggregation']]})"


def _threshold(given: Mapping[str, Any], recognizer: Recognizer, counts: list[int]) -> str:
    if len(counts) > 1:
        return f"threshold chosen on {counted(counts[0], 'excerpt')} of the training part"
    if given["threshold"] == "checkpoint":
        return f"the checkpoint's threshold, {recognizer.thresholds[given['aggregation']]:.2f}"
    return f"threshold {given['threshold']:.2f}"
