"""The words in which a task says what it will do, before it does it.

Every task prints one line, and with `info` stops after it. What the line needs is listed, not
decoded and not rendered.
"""

from __future__ import annotations

from collections.abc import Sequence

from irdream.datasets.base import DataSet, ExcerptFile, PartName
from irdream.datasets.seen import has_no_test


def counted(count: int, thing: str) -> str:
    """Return `1 excerpt`, `6705 excerpts`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def part_words(
    files: Sequence[ExcerptFile], part: PartName, dataset: DataSet, sample_rate_hz: int
) -> str:
    """Return `110 excerpts, the test part of 'soundfont'`."""
    where = f"the {part} part of {dataset.name!r}"
    if part == "test" and has_no_test(dataset, files, sample_rate_hz):
        where = f"all of {dataset.name!r}, which has no test part"
    return f"{counted(len(files), 'excerpt')}, {where}"
