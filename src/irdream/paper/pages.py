"""The pages of the reproduction: the report, what is published of it, and a listening test.

The test is Clark's ABX (J. Audio Eng. Soc. 30(5), 1982): X is A or B, and the listener says which.
The browser draws; nothing that it shows, no name and no length depends on it.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import torch
from PIL import Image
from scipy.stats import binom

from irdream import __version__
from irdream.files import replacing
from irdream.fingerprint import fingerprint_of
from irdream.paper.study import Study
from irdream.recognizer import Recognizer
from irdream.reports.pages import (
    Claim,
    Page,
    Section,
    load_sound,
    render_html,
    write_markdown,
    write_text,
)
from irdream.tracking.provenance import processor, run_tags

TITLE = "DeepDream applied to an instrument recognition CNN, reproduced"
NOT_STATED = (
    "The paper (A. Cochran and Y. Kim) does not state the layer, the step size, the number of "
    "steps, octaves, the log floor, or whether the output is a softmax. Here log p of the target "
    "is raised by steps of fixed size along its gradient; all of it can be changed on the command "
    "line, and the claims are to be read with that in mind."
)
LARGE_PICTURE_BYTES, LARGE_TABLE_BYTES = 300_000, 100_000  # too large to be published as they are
LEVEL = 0.05  # a session with at most this p counts as a difference that was heard
HEARS = 0.4  # share of the trials, of the listener who says what a null result is worth


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One experiment's share of the report; `data` says what was dreamed on."""

    claims: Sequence[Claim]
    sections: Sequence[Section]
    metrics: Mapping[str, float]
    data: str


def page_of(chapters: Sequence[Chapter], study: Study, seconds: float) -> Page:
    """Put the chapters of a study together; it has taken so many seconds."""
    data = "; ".join(one.data for one in chapters)
    claims = [claim for one in chapters for claim in one.claims]
    tags = run_tags()
    commit = tags.get("mlflow.source.git.commit", "unknown")[:12]
    changes = " with changes" * (tags.get("irdream.git_dirty") == "true")
    return Page(
        title=TITLE,
        lead=[
            f"Data: {data}. Nothing here is a result on IRMAS unless the data say so.",
            NOT_STATED,
        ],
        claims=sorted(claims, key=lambda claim: claim.code),
        sections=[section for one in chapters for section in one.sections],
        provenance={
            "Command": shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
            "Date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "Data": data,
            "Checkpoint": _checkpoint(study.recognizer),
            "Second recognizer": "none" if study.second is None else _checkpoint(study.second),
            "Seed": str(study.seed),
            "irdream": f"{__version__}, commit {commit}{changes}",
            "Machine": (
                f"{processor()}, {os.cpu_count()} cores, torch on {torch.get_num_threads()}, "
                f"{study.recognizer.device}; {platform.system()}, "
                f"Python {platform.python_version()}, torch {torch.__version__}"
            ),
            "Time": f"{seconds / 60:.1f} min, less where batches were there already",
        },
    )


def _checkpoint(recognizer: Recognizer) -> str:
    """Name a recognizer by its model, its card and a hash of its weights."""
    data = recognizer.card.get("data", {})
    trained = f", trained on {data['training_excerpts']} excerpts of {data['name']}" if data else ""
    weights = fingerprint_of(dict(recognizer.model.state_dict()))[:12]
    return f"{type(recognizer.model).__name__}, weights {weights}{trained}"


def write_published(page: Page, output_dir: Path, folder: Path) -> None:
    """Write a page without its sounds, and its small tables; large figures get 256 colors."""
    folder.mkdir(parents=True, exist_ok=True)
    silent = replace(page, sections=[replace(s, comparisons=()) for s in page.sections])
    write_markdown(silent, folder / "README.md")
    for picture in (folder / "README_files").glob("*.png"):
        if picture.stat().st_size > LARGE_PICTURE_BYTES:
            with Image.open(picture) as image:
                small = image.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE)
            with replacing(picture) as file:
                small.save(file, format="PNG", optimize=True)
    for path in output_dir.glob("*/*.csv"):
        if path.stat().st_size < LARGE_TABLE_BYTES:
            shutil.copy(path, folder / path.name)


def write_abx(
    pairs: Mapping[str, tuple[Path, Path]], path: Path, *, trials: int = 16, note: str = ""
) -> None:
    """Write a blinded listening test as one HTML file that needs no other.

    Args:
        pairs: by a name that may be read, the WAVs of original and dream, of one scale and length.
        trials: of a session, each pair equally often; 12 right of 16 have p = 0.038.
        note: a paragraph for the listener.

    Raises:
        InputError: when a sound is no WAV of 16 or 24 bit.
    """
    sounds = [
        {"name": name, "original": load_sound(original).uri, "dream": load_sound(dream).uri}
        for name, (original, dream) in pairs.items()
    ]
    needed = int(binom.isf(LEVEL, trials, 0.5)) + 1  # more than trials where these are too few
    text = render_html(
        "abx.html.j2",
        scripts=["abx_plan.js", "abx.js"],
        title="Can you hear the dream?",
        note=note,
        given={"pairs": sounds, "trials": trials, "level": LEVEL},
        needed=needed if needed <= trials else None,
        hears=HEARS,
        power=float(binom.sf(needed - 1, trials, 0.5 + HEARS / 2)),
    )
    write_text(text, path)
