"""Score a recognizer on one part of a data set, as Han et al. (2016) did on IRMAS.

Every excerpt is heard in windows that overlap by half; S1 and S2 make one row of scores of
them; a threshold that was chosen on other excerpts makes labels of it. Tables and figures
name the data set, since a score on rendered music says little about recordings.

Files in `output_dir`: scores.csv (a row per instrument), summary.csv (ours and the published
systems), predictions.csv (a row per excerpt), confusion.csv, scores.png, confusion.png.
Nearly all of the time goes into the network's forward passes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from irdream.datasets.base import (
    DataSet,
    Excerpts,
    PartName,
    announce,
    common_folder,
    fingerprint,
    multi_hot,
)
from irdream.datasets.split import split_by_recording
from irdream.errors import InputError
from irdream.evaluation.figures import save_figure
from irdream.evaluation.recognition import (
    AGGREGATIONS,
    Array,
    Flags,
    Report,
    aggregate,
    check_aggregation,
    choose_threshold,
)
from irdream.evaluation.recognition_figures import confusion_figure, scores_figure
from irdream.evaluation.tables import (
    confusion_table,
    instrument_table,
    prediction_table,
    save_table,
    summary_table,
)
from irdream.evaluation.window_scores import window_scores
from irdream.progress import track
from irdream.recognizer import Recognizer
from irdream.stopwatch import Stopwatch
from irdream.tracking import Tracker

logger = logging.getLogger(__name__)


def evaluate(
    *,
    recognizer: Recognizer,
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    part: PartName = "test",
    threshold: str | float = "checkpoint",
    aggregation: str = "s1",
    batch_windows: int = 128,
    validation_share: float = 0.15,
    seed: int = 0,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Score `recognizer` on a part of `dataset`, write tables and figures, print the scores.

    Excerpts that cannot be read are skipped and listed at the end; those without labels are
    predicted but not scored.

    Args:
        recognizer: in eval mode.
        dataset: its labels must be among the recognizer's instruments.
        tracker: gets the metrics and the files.
        output_dir: where the files are written.
        part: "test" or "training".
        threshold: "checkpoint": the recognizer's own, or as "validation" when it has none;
            "validation": the best on the validation split of the training part; a number:
            this one, for `aggregation` alone.
        aggregation: "s1" or "s2", what the headline scores use.
        batch_windows: the most windows in one forward pass.
        validation_share: share of the training part that a threshold is chosen on.
        seed: which validation split.
        stopwatch: counts where the time goes.

    Returns:
        `eval/micro_f1`, `eval/macro_f1`, `eval/top1` and more, see `Report.metrics`;
        `eval/skipped`: the number of excerpts that could not be read.

    Raises:
        InputError: an argument out of range; an empty or wholly unreadable part; no labels;
            labels that the recognizer does not know.
    """
    stopwatch = stopwatch or Stopwatch()
    announce(dataset)
    report, unread, skipped = score(
        recognizer=recognizer,
        dataset=dataset,
        part=part,
        threshold=threshold,
        aggregation=aggregation,
        batch_windows=batch_windows,
        validation_share=validation_share,
        seed=seed,
        stopwatch=stopwatch,
    )
    metrics = report.metrics() | {"eval/skipped": float(unread)}
    tracker.log_metrics(metrics)
    files = dataset.part(part, sample_rate_hz=recognizer.sample_rate_hz).files
    tracker.log_data(
        dataset.name,
        fingerprint(files),
        context="evaluation",
        source=common_folder(files),
        excerpts=len(files),
    )
    with stopwatch("tables and figures"):
        paths = write_report(report, output_dir)
    for path in paths:
        tracker.log_file(path, "evaluation")
    _print(report)
    _list_skipped(skipped)
    return metrics


def score(
    *,
    recognizer: Recognizer,
    dataset: DataSet,
    part: PartName,
    threshold: str | float,
    aggregation: str,
    batch_windows: int,
    validation_share: float,
    seed: int,
    stopwatch: Stopwatch,
) -> tuple[Report, int, list[str]]:
    """Return the scores, how many excerpts of the part could not be read, and all such reasons.

    Arguments and errors as of `evaluate`.
    """
    check_aggregation(aggregation)
    if batch_windows < 1:
        raise InputError(f"evaluate.batch_windows={batch_windows} is too small; expected 1 or more")
    with stopwatch("finding excerpts"):
        excerpts = _part(dataset, part, recognizer)
    thresholds, skipped = _given_thresholds(threshold, recognizer, aggregation), []
    if not thresholds:
        training = _part(dataset, "training", recognizer)
        _, validation = split_by_recording(
            training.files, validation_share=validation_share, seed=seed
        )
        with stopwatch("listening"):
            heard = _hear(recognizer, training.subset(validation), batch_windows, dataset.name)
        thresholds = heard.best_thresholds()
        skipped += heard.skipped
    with stopwatch("listening"):
        heard = _hear(recognizer, excerpts, batch_windows, dataset.name)
    report = Report(
        dataset=f"{dataset.name}, {part} part",
        instruments=recognizer.instruments,
        names=tuple(heard.names),
        truth=heard.truth,
        scores={by: heard.scores(by) for by in AGGREGATIONS},
        thresholds=thresholds,
        aggregation=aggregation,
    )
    return report, len(heard.skipped), skipped + heard.skipped


def _part(dataset: DataSet, part: PartName, recognizer: Recognizer) -> Excerpts:
    """Return a part whose labels the recognizer knows, some of its excerpts labelled."""
    if part not in ("training", "test"):
        raise InputError(f"evaluate.part={part!r} is unknown; expected 'test' or 'training'")
    excerpts = dataset.part(part, sample_rate_hz=recognizer.sample_rate_hz)
    where = f"the {part} part of {dataset.name!r}"
    if not excerpts.files:
        remedy = (
            "try evaluate.part=training"
            if part == "test"
            else "give a number: evaluate.threshold=0.5"
        )
        raise InputError(f"{where} is empty; {remedy}")
    labels = {label for file in excerpts.files for label in file.labels}
    if not labels:
        raise InputError(
            f"no excerpt in {where} has a label to score against; "
            "label them, by the names of subfolders or by a CSV"
        )
    if unknown := sorted(labels - set(recognizer.instruments)):
        raise InputError(
            f"labels in {where} that the checkpoint does not know: {', '.join(unknown)}; "
            f"expected some of {', '.join(recognizer.instruments)}"
        )
    return excerpts


def _given_thresholds(
    threshold: str | float, recognizer: Recognizer, aggregation: str
) -> dict[str, float]:
    """Return the thresholds by aggregation that need not be chosen; empty: choose them."""
    if threshold == "validation":
        return {}
    if threshold == "checkpoint":
        known = {by: x for by, x in recognizer.thresholds.items() if by in AGGREGATIONS}
        if aggregation in known:
            return known
        logger.info("the checkpoint has no threshold: choosing one on the validation split")
        return {}
    if not isinstance(threshold, float | int) or not 0 <= threshold <= 1:
        raise InputError(
            f"evaluate.threshold={threshold!r} is no threshold; "
            "expected 'checkpoint', 'validation' or a number from 0 to 1"
        )
    return {aggregation: float(threshold)}


@dataclass
class _Heard:
    """The window scores of the excerpts that could be read, and why others could not."""

    instruments: tuple[str, ...]
    names: list[str] = field(default_factory=list)
    labels: list[tuple[str, ...]] = field(default_factory=list)
    windows: list[Array] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def truth(self) -> Flags:
        return multi_hot(self.labels, self.instruments).numpy() > 0

    def scores(self, aggregation: str) -> Array:
        return aggregate(self.windows, aggregation)

    def best_thresholds(self) -> dict[str, float]:
        labelled = self.truth.any(axis=1)
        return {
            by: choose_threshold(self.scores(by)[labelled], self.truth[labelled])[0]
            for by in AGGREGATIONS
        }


def _hear(
    recognizer: Recognizer, excerpts: Excerpts, batch_windows: int, dataset_name: str
) -> _Heard:
    heard = _Heard(recognizer.instruments)
    windows = _windows(recognizer, excerpts, heard)
    heard.windows.extend(window_scores(recognizer, windows, batch_windows=batch_windows))
    if not any(heard.labels):
        reason = f"; the first: {heard.skipped[0]}" if heard.skipped else ""
        raise InputError(
            f"none of {len(excerpts)} excerpts of {dataset_name!r} is readable and labelled{reason}"
        )
    return heard


def _windows(recognizer: Recognizer, excerpts: Excerpts, heard: _Heard) -> Iterator[Tensor]:
    """Yield the windows of each excerpt that can be read, (windows, n_mels, window_frames)."""
    for i in track(range(len(excerpts)), "listening", total=len(excerpts)):
        name = excerpts.files[i].name
        try:
            excerpt = excerpts[i]
            log_mel = recognizer.log_mel(excerpt.waveform[None].to(recognizer.device))
            windows = recognizer.windows(log_mel)[0]
        except InputError as error:
            heard.skipped.append(f"{name}: {error}")
            continue
        heard.names.append(name)
        heard.labels.append(excerpt.labels)
        yield windows


def write_report(report: Report, output_dir: Path) -> list[Path]:
    """Write tables and figures, see the module; return their paths."""
    tables = {
        "scores": instrument_table(report),
        "summary": summary_table(report),
        "predictions": prediction_table(report),
        "confusion": confusion_table(report),
    }
    figures = {"scores": scores_figure(report), "confusion": confusion_figure(report)}
    output_dir.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables.items():
        paths.append(output_dir / f"{name}.csv")
        save_table(table, paths[-1])
    for name, figure in figures.items():
        paths.append(output_dir / f"{name}.png")
        save_figure(figure, paths[-1])
    return paths


def _print(report: Report) -> None:
    table = Table(title=Text(report.dataset))
    table.add_column("instrument")
    for column in ("precision", "recall", "F1", "labels"):
        table.add_column(column, justify="right")
    for row in instrument_table(report).to_dict("records"):
        values = _numbers(row["precision"], row["recall"], row["f1"])
        table.add_row(row["name"], *(values if row["labels"] else "---"), str(row["labels"]))
    table.add_section()
    averages = report.averages[report.aggregation]
    for kind in ("micro", "macro"):
        values = [averages[f"{kind}_{measure}"] for measure in ("precision", "recall", "f1")]
        table.add_row(f"{kind} average", *_numbers(*values), str(int(report.scored_truth.sum())))
    console = Console()
    console.print(table)
    console.print(Text(_verdict(report)), soft_wrap=True)


def _numbers(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]


def _verdict(report: Report) -> str:
    threshold = report.thresholds[report.aggregation]
    oracle = report.averages["oracle"]
    lines = [
        f"{report.aggregation.upper()}, threshold {threshold:.2f}; micro F1 with the oracle "
        f"threshold {oracle['threshold']:.2f}: {oracle['micro_f1']:.3f}",
    ]
    if not math.isnan(report.top1):
        lines.append(f"top-1 on excerpts with one label: {report.top1:.3f}")
    if not report.is_irmas_test:
        lines.append("not the IRMAS test set: not comparable with published scores")
    return "\n".join(lines)


def _list_skipped(skipped: list[str]) -> None:
    if skipped:
        reasons = "\n".join(f"  {reason}" for reason in dict.fromkeys(skipped))
        logger.warning("skipped %d unreadable excerpts:\n%s", len(skipped), reasons)
