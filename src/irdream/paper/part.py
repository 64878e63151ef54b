"""What an experiment has to say: claims and sections of a page, metrics; and where it came from."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from irdream import __version__
from irdream.fingerprint import fingerprint_of
from irdream.recognizer import Recognizer
from irdream.reports.figures import save_figure
from irdream.reports.pages import Claim, Picture, Section
from irdream.tracking.provenance import processor, run_tags


@dataclass(frozen=True, kw_only=True)
class Part:
    """One experiment's share of the report.

    Attributes:
        claims: rows of the first table.
        sections: what they rest on.
        metrics: for the tracker.
        data: what was dreamed on, in words.
    """

    claims: Sequence[Claim]
    sections: Sequence[Section]
    metrics: Mapping[str, float]
    data: str


def draw(figure: Figure, path: Path, *, title: str, caption: str, alt: str) -> Picture:
    """Save a figure and return it as a picture of a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
    return Picture(title=title, path=path, caption=caption, alt=alt)


def axes(recognizer: Recognizer) -> dict[str, Any]:
    """Return how a figure draws the axes of a log-mel: the seconds of a frame, the bands' Hz."""
    return {
        "hop_seconds": recognizer.hop_samples / recognizer.sample_rate_hz,
        "mel_frequencies_hz": recognizer.mel_centers_hz().numpy(),
    }


def provenance(
    recognizer: Recognizer, second: Recognizer | None, *, data: str, seed: int, seconds: float
) -> dict[str, str]:
    """Return what to write down to get the same again."""
    tags = run_tags()
    commit = tags.get("mlflow.source.git.commit", "unknown")
    changed = tags.get("irdream.git_dirty") == "true"
    return {
        "Command": shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        "Date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "Data": data,
        "Checkpoint": _checkpoint(recognizer),
        "Second recognizer": "none" if second is None else _checkpoint(second),
        "Seed": str(seed),
        "irdream": f"{__version__}, commit {commit[:12]}{' with changes' if changed else ''}",
        "Machine": (
            f"{processor()}, {os.cpu_count()} cores, torch on {torch.get_num_threads()}, "
            f"{recognizer.device}; {platform.system()}, Python {platform.python_version()}, "
            f"torch {torch.__version__}"
        ),
        "Time": f"{seconds / 60:.1f} min, less where parts were there already",
    }


def _checkpoint(recognizer: Recognizer) -> str:
    """Name a recognizer by its model, its card and a hash of its weights."""
    data = recognizer.card.get("data", {})
    trained = f", trained on {data['training_excerpts']} excerpts of {data['name']}" if data else ""
    weights = fingerprint_of(dict(recognizer.model.state_dict()))[:12]
    return f"{type(recognizer.model).__name__}, weights {weights}{trained}"
