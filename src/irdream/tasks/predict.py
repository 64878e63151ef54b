"""Say what a recognizer predicts of sound files.

Files in `output_dir`: predictions.csv (a row a file, with the probability of each class) and, over
time, `over_time/NAME.png`. A file's probability is the mean over its windows.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from rich.table import Table
from rich.text import Text

from irdream import instruments
from irdream.arguments import Count, checked
from irdream.datasets.base import warn_skipped
from irdream.datasets.starts import Start
from irdream.files import distinct_names
from irdream.progress import Stopwatch, track
from irdream.recognizer import Recognizer
from irdream.reports.figures import over_time_figure, save_figure
from irdream.reports.tables import save_table, wide_console
from irdream.tasks.common import log_results, read_start
from irdream.tracking import Tracker

ROWS_SHOWN = 50


@checked
def predict(
    *,
    recognizer: Recognizer,
    start: Start,
    tracker: Tracker,
    output_dir: Path,
    top: Count = 3,
    over_time: bool = False,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Predict each file of `start`; conf/config.yaml explains the keys.

    Returns `predict/files`; `predict/skipped`, how many could not be read. Raises InputError where
    none can be.
    """
    stopwatch = stopwatch or Stopwatch()
    name, labels = getattr(start, "name", "the start"), recognizer.instruments
    print(f"predict: {name}, {len(labels)} classes, {recognizer.where}", flush=True)
    if info:
        return {}
    with stopwatch("reading audio"):
        excerpts, bad = read_start(start, recognizer, "predict", none="no sound files")
    rows: list[dict[str, object]] = []
    table = Table("file", "most probable")
    names = distinct_names([excerpt.name for excerpt in excerpts])
    pairs = zip(names, excerpts, strict=True)
    for file, excerpt in track(pairs, "predicting", total=len(excerpts)):
        with stopwatch("predicting"), torch.no_grad():
            mean = recognizer(excerpt.waveform[None])[0].cpu()
        best = [(labels[i], float(mean[i])) for i in mean.argsort(descending=True)]
        words = [f"{instruments.name(label)} {share:.2f}" for label, share in best[:top]]
        if len(rows) < ROWS_SHOWN:
            table.add_row(Text(excerpt.name), Text(", ".join(words)))
        probabilities = dict(zip(labels, mean.tolist(), strict=True))
        rows.append({"name": excerpt.name, "prediction": best[0][0], **probabilities})
        if over_time:
            with stopwatch("figures"), torch.no_grad():
                windows = recognizer.window_probabilities(excerpt.waveform[None])[0].cpu()
                seconds = len(excerpt.waveform) / recognizer.sample_rate_hz
                figure = over_time_figure(windows.numpy(), labels, seconds, title=excerpt.name)
                save_figure(figure, output_dir / "over_time" / f"{file}.png")
    save_table(pd.DataFrame(rows), output_dir / "predictions.csv")
    console = wide_console()
    console.print(table)
    if len(rows) > ROWS_SHOWN:
        console.print(f"{len(rows) - ROWS_SHOWN} more files in predictions.csv")
    warn_skipped(bad)
    metrics = {"predict/files": float(len(rows)), "predict/skipped": float(len(bad))}
    log_results(tracker, metrics, output_dir, ("predictions.csv", "over_time"))
    return metrics
