"""Dreams, or attributions, as one HTML file: what happened, and a player to hear and see each.

A run's page and a sweep's gallery are made here. Sounds are FLAC, each once, as text that the page
reads when it plays or draws it, so that a page of 40 MB opens in a second. Spectrograms are drawn
in the browser, of the very sounds that it plays; the difference is played as dream minus original.

All sounds of a dream are played at one loudness, -23 LUFS (EBU R 128) by ITU-R BS.1770, or lower
where a peak would exceed -1 dB of full scale: of two sounds the louder one seems the better one.
"""

from __future__ import annotations

import functools
import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile
import torch
from markupsafe import Markup

from irdream import instruments
from irdream.datasets.base import counted
from irdream.errors import InputError
from irdream.measures.dreams import loudness_lufs
from irdream.measures.table import ATTRIBUTION, MEASURES, Measure
from irdream.reports import pages
from irdream.reports.dream_table import has_target, how_to_read, result
from irdream.reports.tables import CURVES, curves_of

MAX_DREAMS = 500
MAX_CHARACTERS = 40_000_000  # of all sounds
LOUDNESS_LUFS, PEAK_DB = -23.0, -1.0  # at which sounds are played, and that none exceeds
MOST_BARS = 8  # instruments of a network
PROBABILITIES = "probabilities.csv"  # of a run: file, network, label, original, dream
COLUMNS = ("label", "original", "dream")
NO_LUFS = "since ITU-R BS.1770 has no value for less than 0.4 s, or below 8 kHz"


class Kind(NamedTuple):
    """What a page is of, in which words; of the voices the last is the second less the first."""

    noun: str
    voices: tuple[str, str, str]
    panel: str  # the title of the last spectrogram, whose colors end at:
    scale: tuple[str, str]
    way: str  # of the sounds that are ordered
    networks: Mapping[str, str]


DREAMS = Kind(
    "dream", ("original", "dream", "difference"), "Change", ("−20", "+20 dB"), "On the way",
    {"recognizer": "What dreamed it, one network or several as one",
     "judge": "The judge, which had no part in it"},
)  # fmt: skip
MAPS = Kind(
    "map", ("original", "relevant", "rest"), "Map", ("against", "for"), "Layer by layer",
    {"recognizer": "The recognizer: original → relevant part", "judge": "The judge, likewise"},
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PageDream:
    """One dream, or map, of a page; files of its run are read where they are there."""

    folder: Path  # of its run: `sounds/`, `steps/` and more
    row: Mapping[str, Any]  # of the run's dreams.csv or attributions.csv
    place: Mapping[str, Any] = field(default_factory=dict)  # what a sweep's page knows more


class Sounds:
    """Sounds as texts, each once, until they are too long together."""

    def __init__(self) -> None:
        self.texts: list[pages.Recording] = []  # in the order of their numbers
        self.omitted: set[bytes] = set()  # SHA-256 of files that did not fit
        self.unread = 0  # missing or damaged
        self._characters = 0
        self._numbers: dict[bytes, int] = {}

    def add(self, path: Path) -> int | None:
        """Return the number of a file; None when it is not kept."""
        try:
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest in self._numbers:
                return self._numbers[digest]
            sound = None if self.omitted else pages.load_sound(path)  # a tail is left out
        except (OSError, InputError):
            self.unread += 1
            return None
        if sound is None or self._characters + len(sound.uri) > MAX_CHARACTERS:
            self.omitted.add(digest)
            return None
        self._characters += len(sound.uri)
        self.texts.append(sound)
        return self._numbers.setdefault(digest, len(self.texts) - 1)

    def notes(self) -> list[str]:
        """Say which sounds are not kept."""
        notes, omitted = [], len(self.omitted)
        if omitted:
            counts = f"sounds ({omitted} of {omitted + len(self.texts)})"
            size = f"{MAX_CHARACTERS / 1e6:g} MB"
            notes.append(f"Left out, to keep this page below {size}: {counts}.")
        if self.unread:
            notes.append(f"Missing or damaged: sounds ({self.unread}).")
        return notes


def write_page(
    path: Path,
    dreams: Sequence[PageDream],
    *,
    title: str,
    measures: Sequence[Measure],
    kind: Kind = DREAMS,
    lead: Sequence[str] = (),
    notes: Sequence[str] = (),
    commands: Sequence[tuple[str, str]] = (),
    legend: str = "",
    means: Sequence[Sequence[str]] = (),
    shared: Sequence[str] = (),
    sweep: Mapping[str, Any] | None = None,
    others: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write dreams, at least one, as one HTML file that needs no other.

    Where the file would be too large, sounds are left out from the end; the page says so.

    Args:
        measures: that are shown of each dream, columns of its row; `legend` says what they mean.
        lead, notes: sentences below the title, and smaller ones.
        commands: what each is for, and what to type.
        means: rows of a table; the first one heads it.
        shared: words that all jobs of a sweep have in common.
        sweep: `axes` and `swept` of a sweep's page; None: a run's.
        others: entries of jobs without dreams.
    """
    sounds, folders = Sounds(), {dream.folder for dream in dreams}
    tables = {folder: _table(folder / PROBABILITIES) for folder in folders}
    curves = {folder: _table(folder / CURVES) if kind is MAPS else None for folder in folders}
    voices = [_main_voices(dream, sounds, kind) for dream in dreams]
    for dream, found in zip(dreams, voices, strict=True):  # these are left out first
        found += _more_voices(dream, sounds) if len(found) > 1 else []
    entries = [
        {
            **dream.place,
            "title": _title(dream.row),
            "values": [_number(dream.row.get(each.name)) for each in measures],
            "isOwn": dream.row["target"] in str(dream.row.get("labels")).split(";"),
            "networks": _networks(dream.row, tables[dream.folder], kind.networks),
            **_of_map(dream, curves[dream.folder]),
            **_levelled(found, sounds),
        }
        for dream, found in zip(dreams, voices, strict=True)
    ]
    judged = [each for each in measures if each.needs == "judge" and not each.is_share]
    given = {
        "isSweep": sweep is not None, "axes": [], "swept": 0, **(sweep or {}),
        "voices": kind.voices,
        "curves": [] if sweep else curves_of(curves[dreams[0].folder]),
        "measures": [each.heading for each in measures],
        "order": (judged or list(measures))[0].heading if measures else "",
        "entries": [*entries, *others],
    }  # fmt: skip
    text = pages.render_html(
        "dream_page.html.j2",
        scripts=["spectrogram.js", "player.js", "dream_page.js"],
        title=title,
        lead=lead,
        notes=[*notes, *sounds.notes()],
        commands=commands,
        legend=legend,
        means=means,
        shared=shared,
        given=given,
        kind=kind,
        texts=[Markup(sound.uri) for sound in sounds.texts],
    )
    pages.write_text(text, path)


def known_measures(table: pd.DataFrame, *, shares: bool = True) -> list[Measure]:
    """Return the measures to show on a page: those with values, with or without yes-or-no ones."""
    needless = "no target" if has_target(table) else "target"
    return [
        each
        for each in (ATTRIBUTION if "map" in table else MEASURES)
        if each.in_gallery
        if each.needs != needless and (shares or not each.is_share)
        if each.name in table and table[each.name].notna().to_numpy().any()
    ]


def write_run_page(
    table: pd.DataFrame, folder: Path, *, labels: Sequence[str], command: Sequence[str] = ()
) -> None:
    """Write index.html into a run's folder: its dreams, first those the judge is surest of.

    `labels` are those that the recognizer knows; with the words of the `command` that was typed the
    page says how to repeat it.
    """
    measures = known_measures(table, shares=False)
    by = next((m.name for m in measures if m.needs == "judge"), "target_probability_wav")
    ordered = table.sort_values(by, ascending=False, kind="stable") if has_target(table) else table
    rows = ordered.head(MAX_DREAMS).to_dict("records")
    targets = list(dict.fromkeys(table["target"].dropna().tolist()))
    toward = instruments.name(targets[0]) if len(targets) == 1 else f"{len(targets)} instruments"
    lost = len(table) - len(rows)
    write_page(
        folder / "index.html",
        [PageDream(folder=folder, row=row) for row in rows],
        title=counted(len(table), "dream") + (f" toward {toward}" if len(targets) else ""),
        measures=measures,
        lead=[f"{result(table)}."],
        notes=[f"Left out: {lost} of {len(table)} dreams, the last of this order."] if lost else [],
        commands=_commands(command, targets, labels) if command else [],
        legend=how_to_read(table),
    )


def line_of(words: Sequence[str], *flags: str, **changed: str) -> str:
    """Return the command line of the typed words, with some keys and flags changed."""
    keys = [word.lstrip("+").partition("=")[0] for word in words]
    of_groups = tuple(f"{key}." for key in changed if "." not in key)  # what another one lacks
    both = zip(words, keys, strict=True)
    kept = [w for w, key in both if key not in changed and not key.startswith(of_groups)]
    new = [f"{k}={v}" for k, v in changed.items()]
    return shlex.join(["python", "main.py", *flags, *kept, *new])


def _commands(
    words: Sequence[str], targets: Sequence[str], labels: Sequence[str]
) -> list[tuple[str, str]]:
    """Return the commands that repeat a run, or vary its strength or its target."""
    line = functools.partial(line_of, words)
    found = [("The same again", line())]
    if len(targets):
        found.append(("Quieter", line(**{"dream.strength": "quiet"})))
        found.append(("Stronger", line(**{"dream.strength": "strong"})))
        other = [label for label in labels if label not in targets][-2:]
        found += [(f"Toward {instruments.name(x)}", line(target=x)) for x in other[:1]]
    return found


class _Voice(NamedTuple):
    """One of a dream's sounds: its name, its number among the sounds, its steps, its samples."""

    name: str
    file: int | None  # None: the difference
    steps: int | None
    samples: np.ndarray
    told: str | None = None  # in place of the steps


def _main_voices(dream: PageDream, sounds: Sounds, kind: Kind) -> list[_Voice]:
    """Return original, dream and difference; without the original, the dream alone."""
    first, main, third = kind.voices
    taken: Any = dream.row.get("steps")
    found = {}
    for name, steps in ((main, None if pd.isna(taken) else int(taken)), (first, 0)):
        path = dream.folder / "sounds" / f"{dream.row['file']}-{name}.wav"
        if (number := sounds.add(path)) is not None:
            found[name] = _Voice(name, number, steps, soundfile.read(path)[0])
    if len(found) < 2:
        return [found[main]] if main in found else []
    before, after = found[first], found[main]
    if before.samples.shape != after.samples.shape:
        return [before, after]
    return [before, after, _Voice(third, None, None, after.samples - before.samples)]


def _more_voices(dream: PageDream, sounds: Sounds) -> list[_Voice]:
    """Return the kept sounds of the steps on the way, or of the layers of a map."""
    name = str(dream.row["file"])
    paths = dream.folder.glob(f"steps/*/{name}.wav")
    steps = sorted((int(path.parent.name), path) for path in paths if path.parent.name.isdigit())
    layers = enumerate(sorted(dream.folder.glob(f"layers/{name}/*.wav")), start=1)
    found: list[tuple[int, Path, str, str | None]] = [(n, p, f"after {n}", None) for n, p in steps]
    found += [(n, path, path.stem, path.stem.partition("-")[2]) for n, path in layers]
    return [
        _Voice(title, number, n, soundfile.read(path)[0], told)
        for n, path, title, told in found
        if (number := sounds.add(path)) is not None
    ]


def _of_map(dream: PageDream, curves: pd.DataFrame | None) -> dict[str, Any]:
    """Return the entries of a map: its picture, its figure if there is one, and a sentence."""
    name, row = dream.row["file"], dream.row
    if "map" not in row:
        return {}
    said = (
        f"{row['map']}. Probability of {instruments.name(row['target'])}: "
        f"{row['probability']:.2f} in the whole, {row['probability_relevant']:.2f} in the "
        f"relevant part, which has {row['energy_share']:.0%} of the energy, "
        f"{row['probability_rest']:.2f} in the rest."
    )
    paths = {"map": f"maps/{name}.png", "picture": f"spectrograms/{name}-evidence.png"}
    return {"said": said, "curves": curves_of(curves, name)} | {
        part: pages.load_picture(dream.folder / path).uri
        for part, path in paths.items()
        if (dream.folder / path).is_file()
    }


def _levelled(voices: Sequence[_Voice], sounds: Sounds) -> dict[str, Any]:
    """Return the voices of a dream with the gains at which they are equally loud."""
    if not voices:
        return {"voices": [], "rate": 0, "trouble": "Its sound is not on this page."}
    rate_hz = sounds.texts[voices[0].file or 0].sample_rate_hz
    levels, is_lufs = _levels([voice.samples for voice in voices], rate_hz)
    peaks = [20 * math.log10(max(float(np.abs(v.samples).max()), 1e-9)) for v in voices]
    room = [level - peak + PEAK_DB for level, peak in zip(levels, peaks, strict=True)]
    at = min([LOUDNESS_LUFS, *filter(math.isfinite, room)])
    may_exceed = any(voice.name == DREAMS.voices[-1] for voice in voices)
    softer = ", but for a difference that exceeds full scale, whose file is softer" * may_exceed
    unit, by = ("LUFS", "ITU-R BS.1770-4") if is_lufs else ("dB", f"RMS, {NO_LUFS}")
    return {
        "voices": [
            {
                "name": voice.name, "file": voice.file, "steps": voice.steps, "told": voice.told,
                "level": _number(level) if math.isfinite(level) else None,
                "peak": peak, "gain": at - level if math.isfinite(level) else 0.0,
            }
            for voice, level, peak in zip(voices, levels, peaks, strict=True)
        ],
        "rate": rate_hz,
        "unit": unit,
        "levelNote": f"Levels are those of the files{softer}. All are played at {at:.1f} {unit} "
        f"({by}), so that the louder one does not seem the better one.",
    }  # fmt: skip


def _levels(sounds: Sequence[np.ndarray], rate_hz: int) -> tuple[list[float], bool]:
    """Return the loudness of each sound, and whether it is in LUFS; else it is the RMS in dB."""
    waveforms = [torch.from_numpy(np.atleast_2d(x.T)) for x in sounds]  # (channels, samples)
    levels = [loudness_lufs(one, sample_rate_hz=rate_hz) for one in waveforms]
    is_lufs = not any(bool(one.isnan().any()) for one in levels)
    if not is_lufs:
        levels = [10 * one.square().mean(dim=1).log10() for one in waveforms]
    powers = [(10 ** (one / 10)).mean() for one in levels]  # channels add up, here to their mean
    return [float(10 * power.log10()) for power in powers], is_lufs


def _table(path: Path) -> pd.DataFrame | None:
    """Read a CSV of a run; return None where it is missing or damaged."""
    kinds: Any = {"file": str, "network": str, "label": str}
    try:
        return pd.read_csv(path, dtype=kinds, keep_default_na=False)
    except (OSError, ValueError):  # pandas' errors are ValueErrors
        return None


def _networks(
    row: Mapping[str, Any], table: pd.DataFrame | None, networks: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return for each network its most probable instruments, before and after; the target first."""
    if table is None:
        return []
    found = []
    for name, title in networks.items():
        rows = table[(table["file"] == row["file"]) & (table["network"] == name)]
        values = [list(each) for each in zip(*(rows[c].tolist() for c in COLUMNS), strict=True)]
        target = instruments.find(row["target"], rows["label"].tolist())
        values.sort(key=lambda each: (each[0] != target, -max(each[1:])))
        shown = [[instruments.name(x), x == target, *p] for x, *p in values[:MOST_BARS]]
        found += [{"name": title, "rows": shown, "more": len(values) - len(shown)}] if shown else []
    return found


def _title(row: Mapping[str, Any]) -> str:
    """Return the excerpt's name and its target; without one, the dream's prediction."""
    name = str(row["name"])
    if isinstance(labels := row.get("labels"), str) and labels:
        name += f" ({', '.join(map(instruments.name, labels.split(';')))})"
    if isinstance(target := row["target"], str):
        return f"{name} → {instruments.name(target)}"
    prediction = str(row.get("prediction_wav", "?"))
    return f"{name} (predicted: {instruments.name(prediction)})"


def _number(value: Any) -> bool | float | str | None:
    """Return a value that JSON can hold: a flag, a finite number, "∞", "−∞" or None."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else "∞" if value > 0 else "−∞"
