"""What a training leaves: the best epoch's checkpoint, its thresholds and card, the history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from irdream import __version__
from irdream.datasets.identity import described, packed
from irdream.datasets.splits import Split
from irdream.measures.aggregation import AGGREGATIONS, aggregate, window_scores
from irdream.measures.recognition import choose_threshold
from irdream.recognizer import Recognizer, save_recognizer
from irdream.reports.tables import save_table
from irdream.tracking import Tracker
from irdream.training.data import TrainingData
from irdream.training.loop import Progress


def keep(recognizer: Recognizer, progress: Progress, output_dir: Path, tracker: Tracker) -> None:
    """Write `checkpoint/` and history.csv into `output_dir`, and log them."""
    save_recognizer(recognizer, output_dir / "checkpoint")
    history = pd.DataFrame(progress.history)
    history.insert(0, "epoch", range(1, len(history) + 1))
    save_table(history, output_dir / "history.csv")
    tracker.log_file(output_dir / "checkpoint")
    tracker.log_file(output_dir / "history.csv", "training")


def chosen_thresholds(recognizer: Recognizer, data: TrainingData) -> dict[str, float]:
    """Choose the thresholds of all aggregations on the validation part."""
    validation = data.validation_excerpts
    windows = (
        recognizer.windows(data.log_mels[i][None].to(recognizer.device))[0] for i in validation
    )
    scores = list(window_scores(recognizer, windows, batch_windows=128))
    truth = data.labels[validation].numpy() > 0
    return {by: choose_threshold(aggregate(scores, by), truth)[0] for by in AGGREGATIONS}


def validated(data: TrainingData) -> dict[str, str]:
    """Return what tells whether two trainings are validated on the same excerpts."""
    return {"the validation part": described(data.files[1])}


def card(
    recognizer: Recognizer,
    dataset_name: str,
    progress: Progress,
    data: TrainingData,
    split: Split,
    validation_share: float,
    seed: int,
) -> dict[str, Any]:
    """Return what a checkpoint tells of its training."""
    training, validation = data.files
    validation_figures = {
        name.removeprefix("val/"): round(value, 4)
        for name, value in progress.best.items()
        if name.startswith("val/")
    }
    return {
        "irdream": __version__,
        "torch": torch.__version__,
        "data": {
            "name": dataset_name,
            "training_excerpts": len(training),
            "validation_excerpts": len(validation),
            "training_contents": packed(training),
            "validation_contents": packed(validation),
        },
        "split": {"by": split, "validation_share": validation_share},
        "seed": seed,
        "device": str(recognizer.device),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "validation": validation_figures,
    }
