"""What a page about a reproduction holds: claims, tables, pictures and sounds to compare.

A model and nothing else. `irdream.reports.pages` writes it as HTML and as Markdown; all
text is plain text, in which no sign has a meaning to either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
from pandas.api import types

from irdream.errors import InputError, nearest

Verdict = Literal["holds", "holds in part", "does not hold", "not tested"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
NOTHING = "–"  # a cell without a value


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper and what became of it.

    Attributes:
        code: a short name that is the only one of its kind on a page, such as "C1".
        says: what the paper says.
        measured: what was measured, with its interval.
        verdict: one of `VERDICTS`.
        why: why so, and what it proves.

    Raises:
        InputError: when the verdict is none of them.
    """

    code: str
    says: str
    measured: str
    verdict: Verdict
    why: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            expected = ", ".join(VERDICTS)
            raise InputError(
                f"verdict={self.verdict!r}; expected one of {expected}"
                f"{nearest(self.verdict, VERDICTS)}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Rows with a title.

    Attributes:
        title, caption: above the rows, the one short and the other in sentences.
        frame: its columns in their order, without its index; names are shown as they are.
        digits: decimals of floats in columns that `formats` does not name.
        formats: column to a format specification of Python, such as ".3f" or ".0%".

    Raises:
        InputError: when `formats` names no column.
    """

    title: str
    frame: pd.DataFrame
    caption: str = ""
    digits: int = 2
    formats: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in self.columns:
                expected = ", ".join(self.columns)
                raise InputError(
                    f"formats={name!r} in table {self.title!r}; expected a column of {expected}"
                )

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns."""
        return [str(name) for name in self.frame.columns]

    @property
    def numeric(self) -> list[bool]:
        """Tell for each column whether it holds numbers and is set to the right."""
        return [_is_numeric(column) for _, column in self.frame.items()]

    @property
    def rows(self) -> list[list[str]]:
        """Return the cells as they are shown: "–" without a value, else in the column's format."""
        columns = [self._shown(str(name), column) for name, column in self.frame.items()]
        return [list(cells) for cells in zip(*columns, strict=True)]

    def _shown(self, name: str, column: pd.Series) -> list[str]:
        return [_cell(value, self.formats.get(name), self.digits) for value in column]


def _is_numeric(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def _cell(value: object, spec: str | None, digits: int) -> str:
    if types.is_scalar(value) and pd.isna(value) is True:
        return NOTHING
    if types.is_bool(value):
        return "yes" if value else "no"
    default = f".{digits}f" if types.is_float(value) else ""
    return format(value, default if spec is None else spec)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG file, its title and caption, and `alt`: what it shows, for those who cannot see it."""

    title: str
    path: Path
    caption: str
    alt: str


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A WAV file of 16 or 24 bit, what it is, and a note such as the recognizer's answer."""

    label: str
    path: Path
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Sounds that are to be played one after the other, and a PNG of their spectrograms."""

    title: str
    picture: Path | None
    sounds: Sequence[Sound]
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page, in this order."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    comparisons: Sequence[Comparison] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page, from its title to where its numbers come from.

    Attributes:
        title: of the whole page.
        lead: paragraphs below it.
        claims: rows of the first table.
        sections: the parts that follow.
        provenance: what to write down to get the same again, such as version, seed and date.

    Raises:
        InputError: when two claims have one code.
    """

    title: str
    lead: Sequence[str]
    claims: Sequence[Claim]
    sections: Sequence[Section]
    provenance: Mapping[str, str]

    def __post_init__(self) -> None:
        codes = [claim.code for claim in self.claims]
        for code in codes:
            if codes.count(code) > 1:
                raise InputError(f"code={code!r} names two claims; expected one; rename the other")

    @property
    def tally(self) -> dict[Verdict, int]:
        """Count the claims of each verdict that occurs, in the order of `VERDICTS`."""
        found = [claim.verdict for claim in self.claims]
        return {verdict: found.count(verdict) for verdict in VERDICTS if verdict in found}
