"""Reproduce Cochran and Kim: dream excerpts and noise, measure, and say which claims hold.

Files in `output_dir`: excerpts/ and noise/ (see `irdream.paper.report`), report.html
(self-contained), and report.md, which links to their figures and sounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Len

from irdream.arguments import Count, Positive, checked
from irdream.datasets.base import DataSet, Labelled, announce, counted, part_words
from irdream.errors import InputError
from irdream.instruments import in_words
from irdream.measures.scoring import listed_part
from irdream.paper.excerpts import dream_excerpts
from irdream.paper.noise import dream_noise
from irdream.paper.pages import page_of, write_published
from irdream.paper.report import report_excerpts, report_noise
from irdream.paper.study import Study
from irdream.progress import Stopwatch
from irdream.reports.pages import print_claims, write_html, write_markdown
from irdream.tasks.common import log_results
from irdream.tracking import Tracker


@checked
def paper(
    *,
    study: Study,
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    parts: Literal["excerpts", "noise"]
    | Annotated[Sequence[Literal["excerpts", "noise"]], Len(1)] = ("excerpts", "noise"),
    per_instrument: Count = 10,
    grid_per_instrument: Count = 2,
    steps: Count = 20,
    seconds: Positive = 3.0,
    noises: Annotated[int, Ge(2)] = 6,
    noise_steps: Count = 20,
    permutations: Annotated[int, Ge(20)] = 2000,
    publish: str | Path | None = None,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Run the experiments, or resume them, and write the report; for the keys see conf/config.yaml.

    Returns `paper/...`, the numbers behind the claims, and `paper/claims_<verdict>`, how many there
    are. Raises InputError for an unknown part, a number out of range, nothing to dream on, or
    excerpts shorter than the recognizer's window.
    """
    stopwatch, recognizer = stopwatch or Stopwatch(), study.recognizer
    _check(study, seconds)
    dataset = Labelled(dataset, recognizer.instruments, recognizer.sample_rate_hz)
    chosen = list(dict.fromkeys([parts] if isinstance(parts, str) else parts))
    plans = []
    if "excerpts" in chosen:
        files = listed_part(dataset, "test", recognizer)
        where = part_words(files, "test", dataset, recognizer.sample_rate_hz)
        plans.append(
            f"at most {per_instrument} excerpts of each instrument (of {where}) in "
            f"{counted(len(study.ascents), 'way')}, {grid_per_instrument} of each toward all "
            f"instruments, {counted(steps, 'step')}"
        )
    if "noise" in chosen:
        plans.append(f"{noises} noises of each color, {counted(noise_steps, 'step')}")
    print(f"paper: {'; '.join(plans)}; {recognizer.where}", flush=True)
    if info:
        return {}
    if study.cache_dir is None:
        study = replace(study, cache_dir=output_dir / "stages")
    chapters = []
    if "excerpts" in chosen:
        announce(dataset)
        excerpts = dream_excerpts(
            study, dataset, per_instrument=per_instrument, grid_per_instrument=grid_per_instrument,
            steps=steps, seconds=seconds, stopwatch=stopwatch,
        )  # fmt: skip
        with stopwatch("tables and figures"):
            chapters.append(report_excerpts(excerpts, recognizer, output_dir / "excerpts"))
    if "noise" in chosen:
        noise = dream_noise(
            study, count=noises, steps=noise_steps, permutations=permutations, stopwatch=stopwatch
        )
        with stopwatch("tables and figures"):
            chapters.append(report_noise(noise, recognizer, output_dir / "noise"))
    page = page_of(chapters, study, stopwatch.total())
    with stopwatch("tables and figures"):
        write_html(page, output_dir / "report.html")
        write_markdown(page, output_dir / "report.md")
        if publish is not None:
            write_published(page, output_dir, Path(publish).expanduser())
    metrics = {name: value for one in chapters for name, value in one.metrics.items()}
    for verdict, count in page.tally.items():
        metrics[f"paper/claims_{verdict.replace(' ', '_')}"] = float(count)
    with stopwatch("tracking"):
        log_results(tracker, metrics, output_dir, ("report.html", "report.md", *chosen))
    print_claims(page, output_dir / "report.html")
    return metrics


def _check(study: Study, seconds: float) -> None:
    """Raise InputError for a second recognizer of other labels, or too short excerpts."""
    recognizer, second = study.recognizer, study.second
    if second is not None and second.instruments != recognizer.instruments:
        raise InputError(
            f"paper.second is a checkpoint for {in_words(second.instruments)}; expected one "
            "for the labels of checkpoint, or paper.second=null"
        )
    if seconds < recognizer.window_seconds:
        least = f"{recognizer.window_seconds:g}, the length of the recognizer's window"
        raise InputError(f"paper.seconds={seconds:g}; expected at least {least}")
