"""The pages of the reproduction: the report and its tables, what is published, a listening test.

Intervals are 95 % by bootstrap over recordings (`irdream.measures.bootstrap`).
The test is Clark's ABX (J. Audio Eng. Soc. 30(5), 1982): X is A or B, and the listener says which.
The browser draws; nothing that it shows, no name and no length depends on it.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.stats import binom

from irdream import __version__
from irdream.files import replacing
from irdream.fingerprint import fingerprint_of
from irdream.measures.bootstrap import Interval, mean_interval, median_interval, share_interval
from irdream.measures.table import UNCHANGED_DB
from irdream.paper.study import Study
from irdream.recognizer import Recognizer
from irdream.reports import pages
from irdream.reports.tables import rows_of
from irdream.tracking.provenance import processor, run_tags

TITLE = "DeepDream applied to an instrument recognition CNN, reproduced"
NOT_STATED = (
    "The paper (C. Cochran and Y. Kim) does not state the layer, the step size, the number of "
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

    claims: Sequence[pages.Claim]
    sections: Sequence[pages.Section]
    metrics: Mapping[str, float]
    data: str


def page_of(chapters: Sequence[Chapter], study: Study, seconds: float) -> pages.Page:
    """Return the page of a study's chapters; `seconds` is how long it took."""
    data = "; ".join(one.data for one in chapters)
    claims = [claim for one in chapters for claim in one.claims]
    return pages.Page(
        title=TITLE,
        lead=[
            f"Data: {data}. Nothing here is a result on IRMAS unless the data say so.",
            NOT_STATED,
        ],
        claims=sorted(claims, key=lambda claim: claim.code),
        sections=[section for one in chapters for section in one.sections],
        provenance=provenance(
            seconds,
            study.recognizer.device,
            {
                "Data": data,
                "Checkpoint": _checkpoint(study.recognizer),
                "Second recognizer": "none" if study.second is None else _checkpoint(study.second),
                "Seed": str(study.seed),
            },
        ),
    )


def provenance(seconds: float, device: object, more: Mapping[str, str]) -> dict[str, str]:
    """Return what one needs to reproduce a page, with `more` facts of its own."""
    tags = run_tags()
    commit = tags.get("mlflow.source.git.commit", "unknown")[:12]
    changes = " with changes" * (tags.get("irdream.git_dirty") == "true")
    return {
        "Command": shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        "Date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        **more,
        "irdream": f"{__version__}, commit {commit}{changes}",
        "Machine": (
            f"{processor()}, {os.cpu_count()} cores, torch on {torch.get_num_threads()}, "
            f"{device}; {platform.system()}, "
            f"Python {platform.python_version()}, torch {torch.__version__}"
        ),
        "Time": f"{seconds / 60:.1f} min, less where parts of it were there already",
    }


def _checkpoint(recognizer: Recognizer) -> str:
    """Name a recognizer by its model, its card and a hash of its weights."""
    data = recognizer.card.get("data", {})
    trained = f", trained on {data['training_excerpts']} excerpts of {data['name']}" if data else ""
    weights = fingerprint_of(dict(recognizer.model.state_dict()))[:12]
    return f"{type(recognizer.model).__name__}, weights {weights}{trained}"


def write_published(page: pages.Page, output_dir: Path, folder: Path) -> None:
    """Write a page without its sounds, and its small tables; large figures get 256 colors."""
    folder.mkdir(parents=True, exist_ok=True)
    silent = replace(page, sections=[replace(s, comparisons=()) for s in page.sections])
    pages.write_markdown(silent, folder / "README.md")
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
    """
    sounds = []
    for name, paths in pairs.items():
        original, dream = (pages.load_sound(path).uri for path in paths)
        sounds.append({"name": name, "original": original, "dream": dream})
    needed = int(binom.isf(LEVEL, trials, 0.5)) + 1  # more than trials where these are too few
    text = pages.render_html(
        "abx.html.j2",
        scripts=["abx_plan.js", "abx.js"],
        title="Can you hear the dream?",
        note=note,
        given={"pairs": sounds, "trials": trials, "level": LEVEL},
        needed=needed if needed <= trials else None,
        hears=HEARS,
        power=float(binom.sf(needed - 1, trials, 0.5 + HEARS / 2)),
    )
    pages.write_text(text, path)


# Tables ---------------------------------------------------------------------------------------

MEDIANS = (
    "realized_correlation", "snr_db", "segmental_snr_db", "db_x", "log_spectral_distance_db",
    "noise_to_mask_db", "masking_excess_db", "wav_target_probability", "wav_rmse_db", "rmse_db",
    "flatness", "voiced_share", "total_variation_db",
)  # fmt: skip
MEANS = ("masking_violation", "transfer_on_top", "transfer_wav_on_top", "wav_on_top")
OF_CHANGE = frozenset({"realized_correlation", "snr_db", "segmental_snr_db", "db_x"})


def _share_known(values: pd.Series) -> float:
    return float(values.notna().mean())


BEFORE_AFTER = {  # heading: column and aggregation
    "n": ("before", "size"),
    "top before": ("before_on_top", "mean"),
    "top": ("on_top", "mean"),
    "≥ 0.9": ("at_0.9", "mean"),
    "p before": ("before", "mean"),
    "p": ("target_probability", "mean"),
    "least p": ("target_probability", "min"),
    "steps": ("steps", "median"),
    "unchanged": ("unchanged", "sum"),
    "flipped": ("steps_to_flip", _share_known),
    "to flip": ("steps_to_flip", "median"),
    "reached 0.9": ("steps_to_0.9", _share_known),
    "to 0.9": ("steps_to_0.9", "median"),
    "RMSE dB": ("rmse_db", "mean"),
    "MSE dB²": ("mse_db2", "mean"),
    "max dB": ("max_abs_db", "mean"),
    "transfer": ("transfer_on_top", "mean"),
}
WAY_NAMES = {
    "gain": "gain, after",
    "mel_inversion": "mel inversion, after",
    "griffin_lim": "Griffin-Lim, after",
    "fast_griffin_lim": "fast Griffin-Lim, after",
    "stft_gain": "gain, in the loop",
    "waveform": "waveform, in the loop",
}
WAY_TABLES = {  # title: measures, each with heading and format
    "What is left of a dream in the sound": {
        "survival": ("survival", ".0%"), "wav_on_top": ("WAV on top", ".0%"),
        "wav_target_probability": ("p on WAV", ".2f"),
        "realized_correlation": ("realised r", ".2f"),
        "transfer_on_top": ("transfer", ".0%"), "transfer_wav_on_top": ("of WAV", ".0%"),
    },
    "How far the sound is from the original": {
        "rmse_db": ("RMSE dB", ".2f"), "wav_rmse_db": ("of WAV", ".2f"),
        "snr_db": ("SNR dB", ".1f"), "segmental_snr_db": ("segmental", ".1f"),
        "db_x": ("dB_x", ".1f"), "log_spectral_distance_db": ("LSD dB", ".1f"),
        "masking_violation": ("above mask", ".1%"), "noise_to_mask_db": ("NMR dB", ".1f"),
    },
    "What kind of sound it is": {
        "flatness": ("flatness", ".4f"), "voiced_share": ("voiced", ".0%"),
        "total_variation_db": ("TV dB", ".2f"),
    },
}  # fmt: skip
NOISE_TABLES = {
    "Dreamed noise and its controls": {
        "target_probability": ("p", ".2f"), "on_top": ("on top", ".0%"),
        "wav_on_top": ("WAV on top", ".0%"), "transfer_on_top": ("transfer", ".0%"),
        "rmse_db": ("RMSE dB", ".2f"), "realized_correlation": ("realised r", ".2f"),
        "snr_db": ("SNR dB", ".1f"),
    },
    "What kind of sound it is": {
        "masking_violation": ("above mask", ".1%"), "flatness": ("flatness", ".2f"),
        "voiced_share": ("voiced", ".0%"), "total_variation_db": ("TV dB", ".2f"),
    },
}  # fmt: skip


def summary_of(
    dreams: pd.DataFrame,
    by: Sequence[str],
    *,
    medians: Iterable[str] = MEDIANS,
    means: Iterable[str] = MEANS,
) -> pd.DataFrame:
    """Summarize dreams and their controls: a row for each group, each measure with bounds.

    `survival` is the share of the dreams at 0.9 on the spectrogram that are so on the WAV too; for
    a control, the share of all. `unchanged` counts the dreams that are as their originals were;
    what measures a change is of the others. `<measure>_undefined` counts values that are not
    finite. One of the columns `by`, of a group, is `kind`; measures that are not there are left
    out.
    """
    intervals = dict.fromkeys(medians, median_interval) | dict.fromkeys(means, mean_interval)
    rows = []
    for names, group in dreams.groupby(list(by), sort=False):
        row: dict[str, object] = dict(zip(by, names, strict=True))  # type: ignore[arg-type]
        changed, alive = group, group
        if row["kind"] == "dream":
            changed = group[group["rmse_db"] >= UNCHANGED_DB]
            alive = rows_of(group, **{"at_0.9": True})
        row |= {"dreams": len(group), "unchanged": len(group) - len(changed)}
        row |= _bounds("survival", share_interval(alive["wav_at_0.9"], alive["recording"]))
        for name, interval in intervals.items():
            if name not in group:
                continue
            some = changed if name in OF_CHANGE else group
            finite = some[np.isfinite(some[name].astype(float))]
            row |= _bounds(name, interval(finite[name].astype(float), finite["recording"]))
            if len(finite) < len(some):
                row[f"{name}_undefined"] = len(some) - len(finite)
        rows.append(row)
    return pd.DataFrame(rows)


def left_out(summary: pd.DataFrame, by: Sequence[str], headings: Mapping[str, str]) -> str:
    """Say of which dreams the measures of a summary are not; "" where they are of all."""
    notes = []
    for row in summary.to_dict("records"):
        where = ", ".join(str(row[name]) for name in by)
        if row["unchanged"] and not OF_CHANGE.isdisjoint(headings):
            notes.append(f"{where}: {row['unchanged']} of {row['dreams']} changed nothing")
        for name, heading in headings.items():
            count = row.get(f"{name}_undefined", np.nan)
            if 0 < count < row["dreams"]:
                notes.append(f"{where}: {heading} of {count:.0f} of {row['dreams']} is not defined")
    return f"Left out: {'; '.join(notes)}." if notes else ""


def page_tables(
    summary: pd.DataFrame,
    by: list[str],
    tables: Mapping[str, Mapping[str, tuple[str, str]]],
    caption: str = "",
) -> list[pages.Table]:
    """Return a summary's measures as tables of the page, each with heading and format."""
    made = []
    for title, measures in tables.items():
        shown = {name: about for name, about in measures.items() if name in summary}
        headings = {name: heading for name, (heading, _) in shown.items()}
        frame = summary.filter([*by, *shown]).rename(columns=headings)
        text, formats = (caption + left_out(summary, by, headings)).strip(), dict(shown.values())
        made.append(pages.Table(title=title, frame=frame, formats=formats, caption=text))
    return made


def before_after_table(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return confidence and accuracy before and after: a row for each `set` and `toward`.

    Steps are medians over the dreams that got there, whose shares are "flipped" and "reached 0.9".
    """
    if "transfer_on_top" not in dreams:
        dreams = dreams.assign(transfer_on_top=np.nan)
    dreams = dreams.assign(unchanged=dreams["rmse_db"] < UNCHANGED_DB)
    groups = dreams.groupby(["set", "toward"], sort=False)
    columns = {heading: groups[name].agg(how) for heading, (name, how) in BEFORE_AFTER.items()}
    return pd.DataFrame(columns).reset_index().rename(columns={"set": "dreams"})


def _bounds(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
