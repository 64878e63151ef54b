"""The tables of OpenMIC-2018: who was heard by the crowd, and which clips are for the test.

    openmic-2018-aggregated-labels.csv      sample_key,instrument,relevance,num_responses
    partitions/split01_train.csv, _test     one sample key a line, no header

An instrument that was not asked about has no row, which is what `Y_mask` says in
openmic-2018.npz. The CSV is read, not the .npz, which holds 200 MB of features beside the
labels, and sample keys that numpy may have pickled. Where a pair has two rows, the last one
counts, as in the .npz.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from irdream.datasets.base import PartName
from irdream.errors import InputError
from irdream.instruments import CODES

LABELS_CSV = "openmic-2018-aggregated-labels.csv"
# train01.txt is what the data set's own description calls it.
SPLITS: dict[PartName, tuple[str, str]] = {
    "training": ("split01_train.csv", "train01.txt"),
    "test": ("split01_test.csv", "test01.txt"),
}
CODE_OF: dict[str, str] = {
    "cello": "cel",
    "clarinet": "cla",
    "flute": "flu",
    "organ": "org",
    "piano": "pia",
    "saxophone": "sax",
    "trumpet": "tru",
    "violin": "vio",
    "voice": "voi",
}
OTHERS = (  # guitar: acoustic or electric, nobody was asked
    *("accordion", "banjo", "bass", "cymbals", "drums", "guitar", "mallet_percussion"),
    *("mandolin", "synthesizer", "trombone", "ukulele"),
)
Row = tuple[int, dict[str, str]]  # its line in the file, its cells by column


def find_tree(root: Path) -> Path | None:
    """Return the folder with the labels: `root`, or one at most two levels below it."""
    for pattern in (LABELS_CSV, f"*/{LABELS_CSV}", f"*/*/{LABELS_CSV}"):
        for path in sorted(root.glob(pattern)):
            return path.parent
    return None


def read_table(path: Path) -> tuple[list[str], list[Row]]:
    """Read a table with a header; cells are separated by commas, semicolons or tabs.

    Returns:
        The names of the columns and the rows; cells that a row lacks are empty.

    Raises:
        InputError: when it cannot be read, or is no table.
    """
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, restkey="", restval="")
    try:
        reader.fieldnames = [column.strip() for column in reader.fieldnames or ()]
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InputError(f"{str(path)!r} line {reader.line_num + 1}: {error}; mend it") from None
    return list(reader.fieldnames), rows


def read_text(path: Path) -> str:
    """Read a file as UTF-8.

    Raises:
        InputError: when it cannot be read, or is none.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}; check it") from None


def read_labels(
    path: Path, codes: Mapping[str, str], *, relevance: float
) -> dict[str, tuple[str, ...]]:
    """Read the labels of each sample key, the surest first; none where no label is ours.

    Args:
        path: the table of aggregated labels.
        codes: which of OpenMIC's instruments are labels, and what they are called here.
        relevance: from which an instrument counts as heard, in 0..1.

    Raises:
        InputError: when a column is missing, or a relevance is no number.
    """
    columns, rows = read_table(path)
    expected = ("sample_key", "instrument", "relevance")
    if missing := [name for name in expected if name not in columns]:
        found = ", ".join(columns) or "nothing"
        raise InputError(f"{str(path)!r} has no {missing[0]}; found {found}; unpack it again")
    heard: dict[str, dict[str, float]] = {}
    for line, row in rows:
        clip = heard.setdefault(row["sample_key"].strip(), {})
        try:
            clip[row["instrument"].strip()] = float(row["relevance"])
        except ValueError:
            wrong = f"relevance {row['relevance']!r} is no number"
            raise InputError(f"{str(path)!r} line {line}: {wrong}; unpack it again") from None
    return {key: _surest_first(clip, codes, relevance) for key, clip in heard.items()}


def _surest_first(
    clip: Mapping[str, float], codes: Mapping[str, str], relevance: float
) -> tuple[str, ...]:
    sure = {codes[name]: x for name, x in clip.items() if name in codes and x >= relevance}
    return tuple(sorted(sure, key=lambda code: (-sure[code], CODES.index(code))))


def read_splits(tree: Path) -> dict[PartName, list[str]]:
    """Read the sample keys of both parts.

    Raises:
        InputError: when a file is missing or empty, or a clip is in both.
    """
    splits: dict[PartName, list[str]] = {
        part: _read_split(tree / "partitions", names) for part, names in SPLITS.items()
    }
    if both := sorted(set(splits["training"]) & set(splits["test"])):
        where = f"in both split files of {str(tree / 'partitions')!r}"
        raise InputError(f"{len(both)} clips are {where}, such as {both[0]}; unpack them again")
    return splits


def _read_split(folder: Path, names: tuple[str, str]) -> list[str]:
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"no {names[0]} in {str(folder)!r}; unpack the archive again")
    cells = [line.split(",")[0].strip(' \t"') for line in read_text(path).splitlines()]
    keys = list(dict.fromkeys(cell for cell in cells if cell not in ("", "sample_key")))
    if not keys:
        raise InputError(f"{str(path)!r} names no clip; expected one sample key a line")
    return keys
