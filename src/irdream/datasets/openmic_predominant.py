"""Labels of predominant instruments for clips of OpenMIC-2018, from a table of the user's.

OpenPIR (Cochran, Lee and Kim; CC BY 4.0) labels 1228 of the clips. Its columns are found by
their names, in any case:

    sample_key, key, id, filename ...       the clip; of a path its file's name
    predominant, labels, instrument ...     several labels in a cell, or in several rows
    flute, pia, acoustic_guitar ...         otherwise a column an instrument, with 0 and 1
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from irdream.datasets.openmic_labels import OTHERS, Row, read_table
from irdream.errors import InputError
from irdream.instruments import parse

_KEYS = (
    *("sample_key", "openmic_key", "key", "openmic_id", "sample_id", "clip_id", "id"),
    *("filename", "file_name", "file", "clip", "audio", "path"),
)
_LABELS = (
    *("predominant_instruments", "predominant_instrument", "predominant_labels"),
    *("predominant_label", "predominant", "irmas_labels", "irmas_label"),
    *("labels", "label", "instruments", "instrument"),
)
_SAMPLE_KEY = re.compile(r"\d+_\d+")
_NOTHING = ("", "nan", "none")
_YES, _NO = ("1", "1.0", "true", "yes"), ("", "0", "0.0", "false", "no")


def read_predominant(path: Path, codes: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Read the labels of each sample key; none where no instrument of ours is predominant.

    Args:
        path: the table.
        codes: what OpenMIC's instruments are called here; those it lacks are no labels.

    Raises:
        InputError: when its columns or a cell cannot be understood.
    """
    columns, rows = read_table(path)
    by_name = {_normal(column): column for column in columns}
    key = _key_column([by_name[name] for name in _KEYS if name in by_name], rows)
    label = next((by_name[name] for name in _LABELS if name in by_name), None)
    wide = {} if label else _instrument_columns(columns, codes)
    if key is None or not (label or wide):
        raise InputError(
            f"{str(path)!r} has the columns {', '.join(columns) or 'none'}; expected sample_key, "
            "and either predominant or a column for each instrument, such as flute; rename them"
        )
    labels: dict[str, tuple[str, ...]] = {}
    for line, row in rows:
        try:
            found = _named(row[label], codes) if label else _marked(row, wide)
        except InputError as error:
            raise InputError(f"{str(path)!r} line {line}: {error}") from None
        clip = _stem(row[key])
        labels[clip] = tuple(dict.fromkeys((*labels.get(clip, ()), *found)))
    return labels


def _normal(column: str) -> str:
    return re.sub(r"[\s-]+", "_", column.strip().lower())


def _key_column(columns: Sequence[str], rows: Sequence[Row]) -> str | None:
    """Return the first that looks like sample keys, otherwise the first."""
    for column in columns:
        if rows and _SAMPLE_KEY.fullmatch(_stem(rows[0][1][column])):
            return column
    return next(iter(columns), None)


def _stem(cell: str) -> str:
    return PureWindowsPath(cell.strip()).stem  # which splits at both slashes


def _instrument_columns(columns: Sequence[str], codes: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that are called like an instrument, and its code."""
    found: dict[str, str] = {}
    for column in columns:
        try:
            code = _code(column, codes)
        except InputError:
            continue
        if code:
            found[column] = code
    return found


def _code(word: str, codes: Mapping[str, str]) -> str | None:
    """Return an instrument's code; None for one that is OpenMIC's alone."""
    name = _normal(word)
    if name in OTHERS:
        return codes.get(name)
    return codes.get(name) or parse(word)


def _named(cell: str, codes: Mapping[str, str]) -> list[str]:
    """Read `flute;voice`, `flute, voice` and `['flute', 'voice']`."""
    words = [word.strip(" []()'\"") for word in re.split(r"[;,|/]", cell)]
    return [c for word in words if word.lower() not in _NOTHING and (c := _code(word, codes))]


def _marked(row: Mapping[str, str], wide: Mapping[str, str]) -> list[str]:
    """Return the codes whose columns have a 1."""
    found = []
    for column, code in wide.items():
        cell = row[column].strip().lower()
        if cell not in (*_YES, *_NO):
            raise InputError(f"{column} is {row[column]!r}; expected 0 or 1")
        found += [code] if cell in _YES else []
    return found
