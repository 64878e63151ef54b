"""Tables, maps and the page of what a recognizer listened to."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
from numpy.typing import NDArray
from rich import box
from rich.markup import escape
from rich.table import Table

from irdream import instruments
from irdream.attribution.sanity import PASSED_BELOW
from irdream.datasets.base import counted
from irdream.measures.bootstrap import Interval, mean_interval, share_interval
from irdream.measures.table import ATTRIBUTION
from irdream.reports.dream_page import (
    MAPS,
    MAX_DREAMS,
    PageDream,
    known_measures,
    line_of,
    write_page,
)
from irdream.reports.tables import ROWS_SHOWN, rows_of, wide_console

Array = NDArray[np.floating]
CONTROLS = ("random", "edges")
OF_P = ("increase", "drop", "gain", "faithfulness")  # which follow from what is printed beside them
LOWEST_HZ, MAP_ROWS = 50.0, 144  # of spectrograms on pages
HOW_TO_READ = {  # by measure
    "probability": "probability of the target in the WAV",
    "probability_relevant": "in the WAV of what the mask lets through",
    "probability_rest": "in the WAV of the rest",
    "increase": "1 where p relevant exceeds p",
    "drop": "share of p that is lost in p relevant",
    "gain": "share of 1 - p that is gained there; says little where p is near 1",
    "faithfulness": "p less p rest",
    "insertion": "area under p over the share heard, most relevant first",
    "deletion": "area under p over the share silenced, likewise",
    "sparsity": "Gini index of the map: 0 even, 1 a single bin",
    "energy_share": "share of the energy that the mask lets through",
    "change_share": "share of the energy of a dream's change that it lets through",
    "judge_whole": "share where a second network, the judge, names the target in the whole WAV",
    "judge_agrees": "share where it does so in what the mask lets through",
}
OF_CONTROLS = "random and edges are masks of equal area: better than both?"
OF_SANITY = f"correlation with maps of shuffled weights: below {PASSED_BELOW} passes"


def summary(means: pd.DataFrame) -> dict[str, float]:
    """Return `attribute/<measure>` of the rows of `methods_table`: a method's, each control's."""
    own, *controls = means.to_dict("records")
    metrics = {"attribute/count": float(own["excerpts"])}
    for each in (each.name for each in ATTRIBUTION if each.name in means):
        for place, row in {"": own, **dict(zip(CONTROLS, controls, strict=True))}.items():
            metrics |= {f"attribute/{place}/{each}".replace("//", "/"): row[each]}
    if "sanity" in own:
        metrics["attribute/sanity"] = own["sanity"]
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def write_map(path: Path, relevance: Array, centers_hz: Array, sample_rate_hz: int) -> None:
    """Write relevance as a PNG to be laid over a page's spectrogram: red for, blue against.

    Its rows are even in mel from 50 Hz to half the sample rate, as templates/spectrogram.js has
    them; its opacity is the square root of the magnitude over the 99th percentile of it.
    """
    mels, ends = (
        2595 * np.log10(1 + np.asarray(hz, float) / 700)
        for hz in (centers_hz, (LOWEST_HZ, sample_rate_hz / 2))
    )
    rows = ends[1] - (np.arange(MAP_ROWS) + 0.5) / MAP_ROWS * (ends[1] - ends[0])  # from the top
    values = np.stack([np.interp(rows, mels, column) for column in relevance.T], axis=1)
    shares = np.abs(values) / (float(np.quantile(np.abs(relevance), 0.99)) or 1.0)
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where(values[..., None] > 0, (0xE0, 0x20, 0x10), (0x10, 0x60, 0xE0))
    pixels[..., 3] = 16 * np.round(14 * np.sqrt(shares.clip(max=1)))
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def write_attributions_page(
    table: pd.DataFrame, folder: Path, *, means: pd.DataFrame, command: Sequence[str]
) -> None:
    """Write index.html into a run's folder, of attributions.csv, its means, the words typed."""
    own = of_methods(table)
    method, shown = str(own["map"].iloc[0]), own.head(MAX_DREAMS)
    p = means.filter(regex="^probability(_relevant|_rest)?$").map("{:.2f}".format)
    line = functools.partial(line_of, command)
    again = [("The same again", line())]
    again += [("By a mask that is found by ascent", line(attribution="mask"))]
    again += [("All methods, side by side", line("-m", attribution="glob(*)"))]
    write_page(
        folder / "index.html",
        [PageDream(folder=folder, row=row) for row in shown.to_dict("records")],
        title=f"{counted(len(own), 'map')} of what was listened to, by {method}",
        measures=known_measures(own),
        kind=MAPS,
        lead=[
            f"The class that is explained has a probability of {p.iat[0, 0]}, of {p.iat[0, 1]} in "
            f"the relevant part alone and of {p.iat[0, 2]} in the rest. In a random part of the "
            f"same size it is {p.iat[1, 1]}, in its rest {p.iat[1, 2]}."
        ],
        notes=[f"Left out: {len(own) - len(shown)} maps."] if len(own) > len(shown) else [],
        commands=again if command else [],
        means=means_rows(means),
    )


def of_methods(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of attributions.csv but for the controls."""
    return rows_of(table, map=[one for one in table["map"].unique() if one not in CONTROLS])


def methods_table(runs: Mapping[str, pd.DataFrame], left: Mapping[str, float]) -> pd.DataFrame:
    """Return a row for each method, and for the controls of the first, with 95 % intervals.

    Args:
        runs: rows of attributions.csv by the name of the method.
        left: of the sanity check, by that name, where it was made.
    """
    maps = {name: of_methods(rows) for name, rows in runs.items()}
    first = next(iter(runs.values()))
    maps |= {f"{one} (control)": rows_of(first, map=one) for one in CONTROLS}
    rows = []
    for method, found in maps.items():
        recordings = found["name"].tolist()
        if "change_share" in found and found["change_share"].notna().to_numpy().any():
            recordings = [re.sub("-(original|dream)$", "", name) for name in recordings]
        row: dict[str, Any] = {"method": method, "excerpts": len(found)}
        for each in ATTRIBUTION:
            values = found[each.name].to_numpy(float) if each.name in found else np.array([np.nan])
            if not np.isnan(values).all():
                interval = share_interval if each.is_share else mean_interval
                names = (each.name, f"{each.name}_low", f"{each.name}_high")
                row |= dict(zip(names, interval(values, recordings), strict=True))
        if method in left:
            row |= {"sanity": left[method], "passes": left[method] < PASSED_BELOW}
        rows.append(row)
    return pd.DataFrame(rows)


def means_rows(table: pd.DataFrame) -> list[list[str]]:
    """Return `methods_table` turned into cells: a row a measure, a column a method, how to read."""
    rows = [["", *table["method"], "how to read"]]
    rows.append(["excerpts", *map(str, table["excerpts"]), OF_CONTROLS])
    for each in ATTRIBUTION:
        if each.name in table:
            bounds = table[[each.name, f"{each.name}_low", f"{each.name}_high"]].to_numpy(float)
            cells = [
                "" if np.isnan(one[0]) else Interval(*one).text().removesuffix(" (no interval)")
                for one in bounds
            ]
            better = f" ({each.better} is better)" if each.better else ""
            rows.append([each.heading, *cells, HOW_TO_READ[each.name] + better])
    if "sanity" in table:
        left = ["" if np.isnan(value) else f"{value:.2f}" for value in table["sanity"]]
        rows.append(["left when shuffled", *left, OF_SANITY])
        words = {True: "passes", False: "fails"}
        rows.append(["sanity check", *(words.get(one, "") for one in table["passes"]), ""])
    return rows


def methods_markdown(table: pd.DataFrame) -> str:
    """Return `methods_table` as Markdown, a row a method, means with their intervals."""
    heads, *lines = zip(*(row[:-1] for row in means_rows(table)), strict=True)
    lines = [
        [f"`{one}`", *("**fails**" if x == "fails" else x for x in cells)] for one, *cells in lines
    ]
    rows = [["method", *heads[1:]], ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def print_attributions(table: pd.DataFrame, means: pd.DataFrame) -> None:
    """Print the measures of each map of a method, and their means with how to read them."""
    own = of_methods(table)
    columns = [each for each in known_measures(own) if each.name not in OF_P]
    console = wide_console()
    heads = ["excerpt", "target", *(each.heading for each in columns)]
    rows = []
    for row in own.to_dict("records")[:ROWS_SHOWN]:
        values = [float(row[each.name]) for each in columns]
        cells = ["-" if np.isnan(x) else f"{x:z.2f}" for x in values]
        rows.append([str(row["name"]), instruments.name(row["target"]), *cells])
    for head, *lines in ([heads, *rows], means_rows(means)):
        shown = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        for cell in head:
            is_text = cell in ("", "excerpt", "how to read")
            shown.add_column(escape(cell), justify="left" if is_text else "right", overflow="fold")
        for line in lines:
            shown.add_row(*map(escape, line))
        console.print(shown)
    if len(own) > ROWS_SHOWN:
        console.print(f"{len(own) - ROWS_SHOWN} more in attributions.csv")
