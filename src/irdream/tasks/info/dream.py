"""What `task=dream` would do: its items are planned as the task plans them, a few steps measured.

The task itself makes a dream or two of one step in a temporary folder, which tells what sounds,
figures and tables take in seconds and bytes; then some steps are taken on the first batch. All of
it is proportional to the seconds of sound; a long file is tried on its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.sonification import GriffinLim, StftGain
from irdream.tasks import dream as task
from irdream.tasks.dream_output import file_name
from irdream.tasks.dream_plan import DreamPlan, plan_dreams
from irdream.tasks.info.measuring import STEPS, Laps, no_trace, short, timed, warm_up
from irdream.tasks.info.untouched import without_writing
from irdream.tasks.info.words import Plan, counted, heard_by, line, named, size, time_line
from irdream.tracking import NullTracker

ASCENT_SECONDS = {"cpu": 40.0, "mps": 40.0}  # that some steps are taken on; else a whole batch
SOUND_SECONDS = 6.0  # of an excerpt that is tried
KINDS = {".wav": "WAV", ".png": "figure", ".csv": "table"}
TARGETS = {
    "all": "all 11 instruments",
    "correct": "their own instrument",
    "incorrect": "another instrument each",
}


@dataclass(frozen=True, kw_only=True)
class _Planned(DreamPlan):
    """All that would be dreamed; `tries_whole`: whether a long excerpt is not cut to be tried."""

    given: Mapping[str, Any]
    tries_whole: bool = False

    @property
    def recognizer(self) -> Recognizer:
        return self.given["recognizer"]

    def seconds(self, items: Sequence[Item] | None = None) -> float:
        """Return how much sound some items have, or all."""
        chosen = self.items if items is None else items
        samples = sum(len(self.excerpts[item.excerpt].waveform) for item in chosen)
        return samples / self.recognizer.sample_rate_hz

    def tried_seconds(self, limit: float) -> float:
        """Return how much of the first item is tried."""
        seconds = self.seconds(self.items[:1])
        return seconds if self.tries_whole else min(seconds, limit)

    def shortened(self, excerpt: Excerpt, limit: float) -> Excerpt:
        """Return as much of an excerpt as is tried."""
        longest = round(self.tried_seconds(limit) * self.recognizer.sample_rate_hz)
        return replace(excerpt, waveform=excerpt.waveform[:longest])


class _Given:
    """A start that gives what it was given."""

    def __init__(self, excerpts: Sequence[Excerpt], *, has_original: bool) -> None:
        self.given, self.has_original = list(excerpts), has_original

    def excerpts(self, **_: Any) -> tuple[list[Excerpt], list[str]]:
        return self.given, []


def plan_dream(given: Mapping[str, Any]) -> Plan:
    """Return the plan of `irdream.tasks.dream.dream` with these arguments.

    Raises:
        InputError: as the task.
    """
    start, dataset = without_writing(given["start"])
    planned = _planned({**given, "start": start})
    lines = [_first_line(planned)]
    lines += [] if dataset is None else dataset.lines
    if planned.bad:
        first = f"skips {counted(len(planned.bad), 'unreadable file')}: {planned.bad[0]}"
        lines.append(line("", first))
    lines += [heard_by(planned.recognizer), _ascent_line(planned), _sound_line(planned)]
    seconds, note, files = _measured(planned)
    if dataset is not None:
        seconds = {**dataset.times, **seconds}
    return Plan((*lines, time_line(seconds, note), files), sum(seconds.values()))


def _planned(given: Mapping[str, Any]) -> _Planned:
    """Plan the items as the task does."""
    names = ("recognizer", "start", "target", "ascent", "step_size", "budget_db", "variations")
    planned = plan_dreams(**{name: given[name] for name in names}, seed=given["seed"])
    return _Planned(**vars(planned), given=given)


# Measuring -----------------------------------------------------------------------------------


def _measured(planned: _Planned) -> tuple[dict[str, float], str, str]:
    """Return the seconds, a note of what was measured, and the line of the files.

    Raises:
        InputError: as the task.
    """
    try:
        with no_trace() as folder:
            warm_up(planned.recognizer)
            laps = _try(planned, folder)
            dreaming, note = _dreaming(planned)
            seconds = {"dreaming": dreaming, **_rest(planned, laps)}
            return seconds, note, _files(planned, folder)
    except InputError:  # perhaps of a constraint that means a place after the beginning
        if planned.tried_seconds(SOUND_SECONDS) == planned.seconds(planned.items[:1]):
            raise
        return _measured(replace(planned, tries_whole=True))


def _try(planned: _Planned, folder: Path) -> Laps:
    """Let the task make two dreams of the first item, or one where there is no more."""
    given, laps, first = planned.given, Laps(), planned.items[0]
    count = min(2, len(planned.items))
    excerpt = planned.shortened(planned.excerpts[first.excerpt], SOUND_SECONDS)
    task.dream(
        recognizer=planned.recognizer,
        start=_Given([excerpt], has_original=given["start"].has_original),
        target=first.target,
        ascent=short(planned.ascent),
        tracker=NullTracker(),
        output_dir=folder,
        sonification=given["sonification"],
        step_size=first.step_size,
        budget_db=first.budget_db,
        variations=count,
        figures=min(count, given["figures"]),
        seed=given["seed"],
        stopwatch=laps,
    )
    return laps


def _dreaming(planned: _Planned) -> tuple[float, str]:
    """Return what all steps take at most, from some on the first batch or a part of it."""
    clock, first = timed(planned.ascent), planned.items[0]
    limit = ASCENT_SECONDS.get(planned.recognizer.device.type, task.BATCH_SECONDS)
    each, samples = planned.tried_seconds(limit), len(planned.excerpts[first.excerpt].waveform)
    alike = [i for i in planned.items if len(planned.excerpts[i.excerpt].waveform) == samples]
    batch = alike[: max(1, int(limit / each))]
    excerpts = [planned.shortened(excerpt, limit) for excerpt in planned.excerpts]
    list(task._dream_all(planned.recognizer, clock, excerpts, batch, planned.given["seed"]))
    steps, tried = planned.ascent.steps * planned.ascent.octaves, each * len(batch)
    seconds = (clock.other_seconds + steps * clock.step_seconds) * planned.seconds() / tried
    step = f"{clock.step_seconds:.3f} s" if clock.step_seconds >= 1e-3 else "under 1 ms"
    early = "" if planned.ascent.confidence is None else "; dreams that stop early take less"
    return seconds, f" ({step} a step of {tried:.0f} s of sound, measured on {STEPS}{early})"


def _rest(planned: _Planned, laps: Laps) -> dict[str, float]:
    """Return the seconds of all sounds, figures and tables from those of two dreams."""
    sounds, (*drawn, tables) = laps.of("sound"), laps.of("figures")
    more = planned.seconds() / planned.tried_seconds(SOUND_SECONDS) - len(sounds)
    pictures = min(len(planned.items), planned.given["figures"]) - len(drawn)
    return {
        "sound": sum(sounds) + max(0.0, more) * sounds[-1],
        "figures": tables + sum(drawn) + (pictures * drawn[-1] if drawn else 0.0),
    }


def _files(planned: _Planned, folder: Path) -> str:
    """Return the line of the files, from those of the dreams that were tried."""
    dreams, tried = len(planned.items), min(2, len(planned.items))
    pictures = min(dreams, planned.given["figures"])
    sound = planned.seconds() / planned.tried_seconds(SOUND_SECONDS) / tried
    first = planned.items[0]
    prefix = file_name(planned.excerpts[first.excerpt].name, Item(0, first.target))
    counts, whole = dict.fromkeys(KINDS, 0.0), 0.0
    for path in folder.rglob("*.*"):
        count = size_factor = 1.0
        if path.name.startswith(prefix):  # one of each dream, or of each that is drawn
            is_sound = path.suffix == ".wav"
            count = dreams / tried if is_sound else pictures / min(tried, pictures)
            size_factor = sound if is_sound else count
        counts[path.suffix] = counts.get(path.suffix, 0.0) + count
        whole += size_factor * path.stat().st_size
    told = [counted(round(n), KINDS.get(suffix, suffix)) for suffix, n in counts.items() if n]
    return line("writes", f"{', '.join(told)}: about {size(whole)}")


# Words ---------------------------------------------------------------------------------------


def _first_line(planned: _Planned) -> str:
    items, ascent = planned.items, planned.ascent
    lengths = [len(e.waveform) / planned.recognizer.sample_rate_hz for e in planned.excerpts]
    least, most = min(lengths), max(lengths)
    long = f"{least:.1f} s" if most - least < 0.05 else f"{least:.1f} to {most:.1f} s"
    toward = TARGETS.get(planned.targets[0], ", ".join(planned.targets))
    several = {
        "step size": len({item.step_size for item in items}),
        "budget": len({item.budget_db for item in items}),
        "variation": planned.given["variations"],
    }
    each = "".join(f", {counted(n, thing)}" for thing, n in several.items() if n > 1)
    steps = f"at most {counted(ascent.steps * ascent.octaves, 'step')} each"
    what, dreams = counted(len(planned.excerpts), "excerpt"), counted(len(items), "dream")
    return line("dream", f"{what} of {long} toward {toward}{each}: {dreams}, {steps}")


def _ascent_line(planned: _Planned) -> str:
    ascent, given = planned.ascent, planned.given
    sizes = list(dict.fromkeys(item.step_size or ascent.step_size for item in planned.items))
    length = f"{', '.join(f'{one:g}' for one in sizes)} {ascent.parametrization.step_unit} a step"
    parts = [
        f"{named(ascent.parametrization)}, {named(ascent.optimizer)} {length}",
        f"objective {named(ascent.objective)}",
        counted(ascent.octaves, "octave"),
    ]
    if ascent.transform is not None or ascent.jitter_frames:
        views = [type(one).__name__ for one in _transforms(ascent)]
        views += [f"jitter of {ascent.jitter_frames} frames"] if ascent.jitter_frames else []
        parts.append(f"random views: {', '.join(views)}")
    if ascent.constraint:
        parts.append(f"constraint {named(ascent.constraint)}")
    if given["budget_db"] is not None:
        parts.append(f"budget {given['budget_db']} dB")
    stop = "takes all steps" if ascent.confidence is None else f"stops at {ascent.confidence:g}"
    patience = f", or after {ascent.patience} steps without gain" if ascent.patience else ""
    return line("ascent", f"{'; '.join(parts)}; {stop}{patience}")


def _transforms(ascent: Ascent) -> Sequence[Any]:
    if ascent.transform is None:
        return []
    return getattr(ascent.transform, "transforms", [ascent.transform])


def _sound_line(planned: _Planned) -> str:
    chosen = planned.given["sonification"]
    if planned.ascent.parametrization.acts_on == "sound":
        return line("sound", "the dream itself")
    if chosen is None:
        changed = (
            planned.given["start"].has_original and planned.ascent.parametrization.from_original
        )
        chosen = StftGain() if changed else GriffinLim()
    return line("sound", named(chosen))
