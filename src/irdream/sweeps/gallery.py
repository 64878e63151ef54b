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
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image
from markupsafe import Markup

from irdream import instruments
from irdream.measures.table import MEASURES
from irdream.reports import pages
from irdream.sweeps.job import Job
from irdream.sweeps.overview import Axis, Sweep, dream_axes, dream_table, values_of

MAX_DREAMS = 500
MAX_CHARACTERS = 40_000_000  # of all pictures and sounds
PICTURE_PIXELS = 1000


class Files:
    """Pictures and sounds as texts, each once, until they are too long together.

    Attributes:
        texts: what is kept, in the order of its numbers.
        kept: how many of each kind.
        omitted: SHA-256 of files that did not fit, by kind.
        unread: how many are missing or damaged, by kind.
    """

    def __init__(self) -> None:
        self.texts: list[pages.Image | pages.Recording] = []
        self.kept: Counter[str] = Counter()
        self.omitted: defaultdict[str, set[bytes]] = defaultdict(set)
        self.unread: Counter[str] = Counter()
        self._characters = 0
        self._numbers: dict[bytes, int] = {}

    def add(self, kind: str, path: Path, load: Callable[[Path], Any]) -> int | None:
        """Return the number of a file; None when it is not kept."""
        try:
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest in self._numbers:
                return self._numbers[digest]
            file = None if self.omitted[kind] else load(path)  # a tail is left out
        except (OSError, ValueError, SyntaxError):  # the last one is Pillow's, for a bad PNG
            self.unread[kind] += 1
            return None
        if file is None or self._characters + len(file.uri) > MAX_CHARACTERS:
            self.omitted[kind].add(digest)
            return None
        self.kept[kind] += 1
        self._characters += len(file.uri)
        self.texts.append(file)
        return self._numbers.setdefault(digest, len(self.texts) - 1)


def write_gallery(sweep: Sweep, path: Path, *, title: str) -> None:
    """Write the dreams of a sweep as one HTML file that needs no other; none where it has none.

    Where they are too many, each job keeps its first ones; where the file would be too large,
    sounds are left out from the end, and pictures after them. The page says so.

    Args:
        sweep: with its jobs; dreams.csv, sounds/ and spectrograms/ are read from their folders.
        path: of the HTML file.
        title: of the page.

    Raises:
        OSError: from the system (no such folder, no permission, full disk).
    """
    dreams = dream_table(sweep)
    if not len(dreams):
        return
    named = [each for each in MEASURES if each.in_gallery and each.name in dreams]
    measures = [each for each in named if dreams[each.name].notna().to_numpy().any()]
    of_each = max(1, MAX_DREAMS // dreams["number"].nunique())
    rank = dreams.groupby("number").cumcount()  # the first dreams of all jobs first
    chosen = dreams.loc[rank[rank < of_each].sort_values(kind="stable").index].head(MAX_DREAMS)
    axes, files = dream_axes(sweep, chosen), Files()
    entries = _dream_entries(sweep, chosen, axes, [each.name for each in measures], files)
    given = {
        "swept": sum(axis.name in sweep.swept for axis in axes),
        "axes": [_shown_axis(axis) for axis in axes],
        "measures": [each.heading for each in measures],
        "entries": entries + _job_entries(sweep, dreams, chosen, axes),
    }
    text = pages.render_html(
        "gallery.html.j2",
        scripts=["gallery.js"],
        title=title,
        given=given,
        shared=sweep.shared,
        notes=_notes(sweep, dreams, chosen, files),
        texts=[Markup(file.uri) for file in files.texts],
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


def _shown_axis(axis: Axis) -> dict[str, Any]:
    is_numeric = not any(isinstance(value, str) for value in axis.values)
    texts = [value if isinstance(value, str) else f"{value:.10g}" for value in axis.values]
    if axis.name.startswith("target"):
        texts = [instruments.name(text) for text in texts]
    return {"name": axis.name, "values": texts, "isNumeric": is_numeric}


def _dream_entries(
    sweep: Sweep, dreams: pd.DataFrame, axes: Sequence[Axis], measures: list[str], files: Files
) -> list[dict[str, Any]]:
    """Return what the page knows of each dream; pictures enter the files before sounds."""
    folders = {job.number: job.files for job in sweep.jobs}
    rows = dreams.to_dict("records")
    entries: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        picture = folders[row["number"]] / "spectrograms" / f"{row['file']}.png"
        number = files.add("pictures", picture, load_small_picture)
        image: Any = None if number is None else files.texts[number]
        entries.append(
            {
                "number": row["number"],
                "at": [axis.place(axis.of_dreams[i]) for axis in axes],
                "title": _title(row),
                "values": [_number(row[name]) for name in measures],
                "picture": number,
                "size": image and [image.width, image.height],
            }
        )
    for entry, row in zip(entries, rows, strict=True):
        for kind in ("dream", "original"):
            sound = folders[row["number"]] / "sounds" / f"{row['file']}-{kind}.wav"
            entry[kind] = files.add("sounds", sound, pages.load_sound)
    return entries


def _title(row: dict[str, Any]) -> str:
    """Return the excerpt's name and its target; without one, the dream's prediction."""
    if isinstance(target := row["target"], str):
        return f"{row['name']} → {instruments.name(target)}"
    prediction = str(row.get("prediction_wav", "?"))
    return f"{row['name']} (predicted: {instruments.name(prediction)})"


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


def _notes(sweep: Sweep, dreams: pd.DataFrame, chosen: pd.DataFrame, files: Files) -> list[str]:
    """Return a line on what the page holds, and one each on what it lacks."""
    failed = sum(job.status == "failed" for job in sweep.jobs)
    notes = [f"{len(sweep.jobs)} jobs, {failed} failed; {len(chosen)} dreams."]
    flags = chosen["unchanged"].tolist() if "unchanged" in chosen else []
    if unchanged := sum(flag is True for flag in flags):
        notes.append(f"{unchanged} of the dreams changed nothing.")
    if lost := len(dreams) - len(chosen):
        notes.append(f"Left out: {lost} of {len(dreams)} dreams; each job's first ones are shown.")
    left_out = [
        f"{kind} ({len(found)} of {len(found) + files.kept[kind]})"
        for kind, found in files.omitted.items()
        if found
    ]
    if left_out:
        megabytes = f"{MAX_CHARACTERS / 1e6:g} MB"
        notes.append(f"Left out, to keep this page below {megabytes}: {', '.join(left_out)}.")
    if files.unread:
        unread = [f"{kind} ({number})" for kind, number in files.unread.items()]
        notes.append(f"Missing or damaged: {', '.join(unread)}.")
    return notes + [f"Not read: {line}." for line in sweep.damaged]
