"""A sweep's dreams as one HTML file: pictures and sounds in a grid over the swept values.

Any two of the swept values are rows and columns, others are chosen by selects and sliders; a
list of all dreams is sorted by a measure. Pictures become WebP of 1000 pixels (30 to 45 kB),
sounds FLAC. Each stands in the file once, as text that the page reads when it is looked at or
played, so that a page of 40 MB opens in a second.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image
from markupsafe import Markup

from irdream import instruments
from irdream.errors import InputError, nearest
from irdream.measures.table import MEASURES
from irdream.reports import pages
from irdream.sweeps.job import Job
from irdream.sweeps.overview import Axis, Sweep, dream_axes, dream_table, values_of

LABELS = {each.name: each.heading for each in MEASURES}
PICTURE_PIXELS = 1000


@dataclass(kw_only=True)
class Store:
    """Pictures and sounds as texts, each once, until they are too long together.

    Attributes:
        max_characters: that all texts may have.
        files: what is kept, in the order of its numbers.
        kept: how many of each kind.
        omitted: SHA-256 of files that did not fit, by kind.
        unread: how many are missing or damaged, by kind.
    """

    max_characters: float
    files: list[pages.Image | pages.Recording] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    omitted: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    unread: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    numbers: dict[bytes, int] = field(default_factory=dict)

    def add(self, kind: str, path: Path, load: Callable[[Path], Any]) -> int | None:
        """Return the number of a file; None when it is not kept."""
        try:
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest in self.numbers:
                return self.numbers[digest]
            if self.omitted[kind]:  # a tail is left out, not whatever is long
                self.omitted[kind].add(digest)
                return None
            file = load(path)
        except (OSError, ValueError, SyntaxError):  # the last one is Pillow's, for a bad PNG
            self.unread[kind] += 1
            return None
        if self.characters + len(file.uri) > self.max_characters:
            self.omitted[kind].add(digest)
            return None
        self.kept[kind] += 1
        self.characters += len(file.uri)
        self.files.append(file)
        return self.numbers.setdefault(digest, len(self.files) - 1)


def write_gallery(
    sweep: Sweep,
    path: str | Path,
    *,
    metrics: Sequence[str] | None = None,
    max_items: int = 500,
    max_megabytes: float = 40.0,
    title: str = "",
) -> None:
    """Write the dreams of a sweep as one HTML file that needs no other.

    Where they are too many, each job keeps its first ones; where the file would be too large,
    sounds are left out from the end, and pictures after them. The page says so.

    Args:
        sweep: with its jobs; dreams.csv, sounds/ and spectrograms/ are read from their folders.
        path: of the HTML file.
        metrics: columns of dreams.csv that are shown and can be sorted by; None: those of
            `dream_measures` that say something of these dreams.
        max_items: dreams at most.
        max_megabytes: of pictures and sounds at most.
        title: of the page; "": by the sweep's folder.

    Raises:
        InputError: when no job left a dream, a metric is no column of dreams.csv, or
            `max_items` is below 1.
        OSError: from the system (no such folder, no permission, full disk).
    """
    dreams = dream_table(sweep)
    if metrics is None:
        named = [each.name for each in MEASURES if each.in_gallery and each.name in dreams]
        metrics = [name for name in named if dreams[name].notna().to_numpy().any()]
    _check(sweep, dreams, metrics, max_items)
    chosen = _choose(dreams, max_items)
    axes = dream_axes(sweep, chosen)
    store = Store(max_characters=1e6 * max_megabytes)
    entries = _dream_entries(sweep, chosen, axes, metrics, store)
    entries += _job_entries(sweep, dreams, chosen, axes)
    given = {
        "swept": sum(axis.name in sweep.swept for axis in axes),
        "axes": [_shown_axis(axis) for axis in axes],
        "measures": [LABELS.get(name, name) for name in metrics],
        "entries": entries,
    }
    text = pages.render_html(
        "gallery.html.j2",
        scripts=["gallery.js"],
        title=title or f"Sweep {sweep.folder.resolve().name}",
        given=given,
        shared=sweep.shared,
        notes=_notes(sweep, dreams, chosen, store),
        texts=[Markup(file.uri) for file in store.files],
    )
    pages.write_text(text, path)


def load_small_picture(path: Path) -> pages.Image:
    """Read a PNG and return it as WebP, 1000 pixels wide at most.

    Raises:
        OSError: when it is missing or no picture.
    """
    with PIL.Image.open(path) as opened:
        picture = opened.convert("RGB")
    if picture.width > PICTURE_PIXELS:
        height = max(1, round(picture.height * PICTURE_PIXELS / picture.width))
        picture = picture.resize((PICTURE_PIXELS, height), PIL.Image.Resampling.LANCZOS)
    webp = io.BytesIO()
    picture.save(webp, "WEBP", quality=60, method=2)  # 4, the default: twice the time, 6 % less
    uri = f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"
    return pages.Image(uri=uri, width=picture.width, height=picture.height)


def _check(sweep: Sweep, dreams: pd.DataFrame, metrics: Sequence[str], max_items: int) -> None:
    if not len(dreams):
        raise InputError(
            f"sweep={str(sweep.folder)!r} has no dreams.csv with rows; expected one in the folder "
            "of a job; task=dream writes it"
        )
    known = [str(name) for name in dreams.columns]
    for name in metrics:
        if name not in known:
            raise InputError(
                f"metrics={name!r}; expected a column of dreams.csv{nearest(name, known)}"
            )
    if max_items < 1:
        raise InputError(f"max_items={max_items}; expected at least 1")


def _choose(dreams: pd.DataFrame, max_items: int) -> pd.DataFrame:
    """Return the first dreams of each job, as many of each, the first ones of all jobs first."""
    of_each = max(1, max_items // dreams["number"].nunique())
    rank = dreams.groupby("number").cumcount()
    return dreams.loc[rank[rank < of_each].sort_values(kind="stable").index].head(max_items)


def _shown_axis(axis: Axis) -> dict[str, Any]:
    is_numeric = not any(isinstance(value, str) for value in axis.values)
    texts = [f"{v:.10g}" if not isinstance(v, str) else v for v in axis.values]
    if axis.name.startswith("target"):
        texts = [instruments.NAMES.get(text, text) for text in texts]
    return {"name": axis.name, "values": texts, "isNumeric": is_numeric}


def _dream_entries(
    sweep: Sweep,
    dreams: pd.DataFrame,
    axes: Sequence[Axis],
    metrics: Sequence[str],
    store: Store,
) -> list[dict[str, Any]]:
    """Return what the page knows of each dream; pictures enter the store before sounds."""
    folders = {job.number: job.files for job in sweep.jobs}
    rows = dreams.to_dict("records")
    entries: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        picture = folders[row["number"]] / "spectrograms" / f"{row['file']}.png"
        number = store.add("pictures", picture, load_small_picture)
        image = None if number is None else store.files[number]
        entries.append(
            {
                "number": row["number"],
                "at": [axis.place(axis.of_dreams[i]) for axis in axes],
                "title": _title(row),
                "values": [_number(row[name]) for name in metrics],
                "picture": number,
                "size": [image.width, image.height] if isinstance(image, pages.Image) else None,
            }
        )
    for entry, row in zip(entries, rows, strict=True):
        for kind in ("dream", "original"):
            sound = folders[row["number"]] / "sounds" / f"{row['file']}-{kind}.wav"
            entry[kind] = store.add("sounds", sound, pages.load_sound)
    return entries


def _title(row: dict[str, Any]) -> str:
    """Return the excerpt's name and its target; without one, what the dream is taken for."""
    if isinstance(target := row["target"], str):
        return f"{row['name']} → {instruments.NAMES.get(target, target)}"
    prediction = str(row.get("prediction_wav", "?"))
    return f"{row['name']} (predicted: {instruments.NAMES.get(prediction, prediction)})"


def _number(value: Any) -> bool | float | str | None:
    """Return what JSON can hold: a flag, a finite number, a word for infinity, or nothing."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else "∞" if value > 0 else "−∞"


def _job_entries(
    sweep: Sweep, dreams: pd.DataFrame, chosen: pd.DataFrame, axes: Sequence[Axis]
) -> list[dict[str, Any]]:
    """Return what the page says in the place of jobs that have no dream on it."""
    shown, dreamed = set(chosen["number"]), set(dreams["number"])
    swept = set(sweep.swept)
    return [
        {
            "number": job.number,
            "at": [a.place(values_of(job).get(a.name)) if a.name in swept else None for a in axes],
            "text": "left out" if job.number in dreamed else _what_happened(job),
            "hasFailed": job.status == "failed",
        }
        for job in sweep.jobs
        if job.number not in shown
    ]


def _what_happened(job: Job) -> str:
    if job.status == "failed":
        return f"failed: {(job.error or 'no reason given').removeprefix('error: ')}"
    return "not finished" if job.status == "killed" else "no dreams"


def _notes(sweep: Sweep, dreams: pd.DataFrame, chosen: pd.DataFrame, store: Store) -> list[str]:
    """Return a line on what the page holds, and one each on what it lacks."""
    failed = sum(job.status == "failed" for job in sweep.jobs)
    notes = [f"{len(sweep.jobs)} jobs, {failed} failed; {len(chosen)} dreams."]
    flags = chosen["unchanged"].tolist() if "unchanged" in chosen else []
    if unchanged := sum(flag is True for flag in flags):
        notes.append(f"{unchanged} of the dreams changed nothing.")
    if len(chosen) < len(dreams):
        notes.append(
            f"Left out: {len(dreams) - len(chosen)} of {len(dreams)} dreams; "
            "each job's first ones are shown."
        )
    left_out = [
        f"{kind} ({len(files)} of {len(files) + store.kept[kind]})"
        for kind, files in store.omitted.items()
        if files
    ]
    if left_out:
        megabytes = f"{store.max_characters / 1e6:g} MB"
        notes.append(f"Left out, to keep this page below {megabytes}: {', '.join(left_out)}.")
    if store.unread:
        unread = [f"{kind} ({number})" for kind, number in store.unread.items()]
        notes.append(f"Missing or damaged: {', '.join(unread)}.")
    return notes + [f"Not read: {line}." for line in sweep.damaged]
