"""Tables as CSV files and in the terminal, and rows of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from irdream.files import replacing

CURVES = "curves.csv"  # of a run's maps: file, map, share, insertion, deletion

ROWS_SHOWN = 24  # of a table that is printed


def wide_console() -> Console:
    """Return a console as wide as the terminal, or of 160 characters where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def save_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV (UTF-8, six decimals), whole or not at all, or raise OSError."""
    text = table.to_csv(index=False, float_format="%.6f", lineterminator="\n")
    with replacing(path) as file:
        file.write(text.encode("utf-8", errors="surrogateescape"))


def rows_of(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows in which each named column has this value, or one of a list."""
    keep = np.ones(len(table), bool)
    for name, value in values.items():
        keep &= table[name].isin(value if isinstance(value, list) else [value]).to_numpy()
    return table.iloc[np.flatnonzero(keep)]


def mean_of(table: pd.DataFrame, name: str) -> float:
    return float(table[name].to_numpy(dtype=float).mean())


def curves_of(table: pd.DataFrame | None, file: str | None = None) -> list[list[Any]]:
    """Return of each map its name, shares, insertion and deletion, the mean of files or of one."""
    found: list[list[Any]] = []
    for name, rows in () if table is None else table.groupby("map", sort=False):
        rows = rows if file is None else rows_of(rows, file=file)
        if not len(shares := rows["share"].unique().tolist()):
            continue
        points = rows[["insertion", "deletion"]].to_numpy().reshape(-1, len(shares), 2)
        found.append([name, shares, *points.mean(axis=0).round(4).T.tolist()])
    return found
