"""What `task=prepare` would render, fetch or count, from what a data set tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from irdream.datasets.base import PartName
from irdream.datasets.download import ARCHIVES, is_complete
from irdream.datasets.irmas import SOURCE, Irmas
from irdream.datasets.soundfont import SoundFont
from irdream.errors import InputError
from irdream.tasks.info.untouched import Untouched
from irdream.tasks.info.words import Plan, counted, line, named, time_line

PARTS: tuple[PartName, PartName] = ("training", "test")


def plan_prepare(given: Mapping[str, Any]) -> Plan:
    """Return the plan of `irdream.tasks.prepare.prepare` with these arguments.

    Raises:
        InputError: as the task, where nothing has to be fetched first.
    """
    dataset, rate_hz = given["dataset"], given["sample_rate_hz"]
    writes = line("writes", "excerpts.csv")
    if isinstance(dataset, Irmas) and dataset.download:
        missing = _missing(dataset)
        if missing:
            fetched = f"fetches {', '.join(missing)} ({SOURCE}) into {dataset.root}"
            lines = (line("prepare", f"{dataset.name}: {fetched}"), writes)
            return Plan(lines, None)
    if not isinstance(dataset, Irmas | SoundFont) and hasattr(dataset, "prepare"):
        what = f"{dataset.name}: {named(dataset)}.prepare(), then its excerpts are counted"
        return Plan((line("prepare", what), writes), None)
    untouched = Untouched(dataset)
    counts = [len(untouched.part(part, sample_rate_hz=rate_hz)) for part in PARTS]
    about = "about " if untouched.unrendered else ""
    found = f"{about}{counted(counts[0], 'training excerpt')} and {counts[1]} for the test"
    lines = [line("prepare", f"{dataset.name}: counts {found}")]
    if untouched.unrendered:
        fonts = ", ".join(Path(font).stem for font in untouched.dataset.fonts)
        lines += [*untouched.lines, line("", f"by {fonts}, below {untouched.dataset.base}")]
    seconds = untouched.times
    return Plan((*lines, time_line(seconds, at_most=False), writes), sum(seconds.values()))


def _missing(dataset: Irmas) -> list[str]:
    """Return the archives whose sounds are not all there."""
    if dataset.root is None:
        raise InputError(f"dataset.root is not set; name the folder for {SOURCE}")
    return [archive.name for archive in ARCHIVES if not is_complete(dataset.root, archive)]
