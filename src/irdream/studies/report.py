"""What an experiment found: averages with intervals, verdicts by the rules of its yaml, a page.

Intervals draw recordings and trainings, each on its own (`measures.bootstrap`). Differences are of
pairs of rows: the same data, excerpt, target, listener and seed, as far as both have these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from irdream.measures.bootstrap import Interval, mean_interval, share_interval
from irdream.paper.pages import provenance
from irdream.reports import pages
from irdream.reports.figures import plain, save_figure
from irdream.reports.tables import rows_of, save_table
from irdream.studies.runner import Runner

KEYS = ("seed", "data", "excerpt", "target", "listener", "size_db")  # of a row
COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
Tables = Mapping[str, pd.DataFrame]


def averages(rows: pd.DataFrame, by: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """Return the mean of each measure with its interval, for each group of rows."""
    names: Any
    found = []
    for names, group in rows.groupby(list(by), sort=False, dropna=False):
        for measure in measures:
            values = group[measure].to_numpy(float)
            row = [*names, measure, *_mean(group, values), np.count_nonzero(~np.isnan(values))]
            found.append(row)
    return pd.DataFrame(found, columns=[*by, "measure", *Interval._fields, "n"])


def _mean(rows: pd.DataFrame, values: np.ndarray) -> Interval:
    seeds = rows["seed"] if rows["seed"].notna().to_numpy().all() else None
    is_share = set(values[~np.isnan(values)]) <= {0.0, 1.0}
    return (share_interval if is_share else mean_interval)(values, rows["recording"], seeds)


def compared(
    rows: pd.DataFrame, measure: str, of: str, less: str | None = None, *, ratio: bool = False
) -> Interval:
    """Return the mean of a variant; of the pairs of two variants the mean difference.

    `ratio`: the geometric mean of the ratios instead of the differences.
    """
    one = rows_of(rows, variant=of)
    if less is None:
        return _mean(one, one[measure].to_numpy(float))
    other = rows_of(rows, variant=less)
    keys = [x for x in KEYS if x in rows and all(side[x].notna().all() for side in (one, other))]
    pairs = one.merge(other, on=keys, suffixes=("", "_less"))
    values = [pairs[name].to_numpy(float) for name in (measure, f"{measure}_less")]
    if not ratio:
        return mean_interval(values[0] - values[1], pairs["recording"], pairs["seed"])
    logs = np.log(values[0]) - np.log(values[1])
    return Interval(*map(math.exp, mean_interval(logs, pairs["recording"], pairs["seed"])))


def claim_of(code: str, rule: Mapping[str, Any], tables: Tables) -> pages.Claim:
    """Return a claim with its verdict: it holds where all intervals lie above a bar.

    In part where those of some data do, and not where none does; it is not tested where one has no
    bounds.

    Args:
        rule: `says`; `rows`, the name of a table; `where`, values of its columns; `measure`, `of`,
            `less`, `ratio` of `compared`; `above`, the bar.
    """
    rows = rows_of(tables[rule["rows"]], **rule.get("where", {}))
    how = {name: rule[name] for name in ("measure", "of", "less", "ratio") if name in rule}
    found = {
        data: compared(rows_of(rows, data=data), **how) for data in dict.fromkeys(rows["data"])
    }
    is_above = [one.low > rule["above"] for one in found.values()]
    verdict: pages.Verdict = "does not hold"
    if not found or any(math.isnan(one.low) for one in found.values()):
        verdict = "not tested"
    elif any(is_above):
        verdict = "holds" if all(is_above) else "holds in part"
    kind = "ratio" if rule.get("ratio") else "difference" if rule.get("less") else "mean"
    return pages.Claim(
        code=code,
        says=rule["says"],
        measured="; ".join(f"{data}: {one.text()}" for data, one in found.items()),
        verdict=verdict,
        why=f"Holds where the whole interval of the {kind} is above {rule['above']:g}, on all data",
    )


def points_figure(
    found: pd.DataFrame, *, x: str, line: str, row: str, column: str, labels: Sequence[str]
) -> Figure:
    """Draw estimates with intervals: a panel for each row and column, a line for each `line`.

    Args:
        found: see `averages`; numbers of `x` are drawn to scale, words side by side.
        labels: of the two axes.
    """
    rows, columns, lines = (list(dict.fromkeys(found[name])) for name in (row, column, line))
    size = (1.6 + 3.1 * len(columns), 0.9 + 2.5 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), len(columns), squeeze=False, sharey="row")
    for (i, j), ax in np.ndenumerate(panels):
        some = rows_of(found, **{row: rows[i], column: columns[j]})
        for k, name in enumerate(lines):
            words = list(dict.fromkeys(some[x]))
            _draw(ax, rows_of(some, **{line: name}), x, words, str(name), k, len(lines))
        ax.set_title(", ".join(filter(None, map(str, (rows[i], columns[j])))), fontsize=9)
        ax.set_xlabel(labels[0] if i == len(rows) - 1 else "", fontsize=9)
        ax.set_ylabel(labels[1] if j == 0 else "", fontsize=9)
        plain(ax)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, frameon=False, loc="outside right upper", title=line)
    return figure


def _draw(
    ax: Axes, some: pd.DataFrame, x: str, words: Sequence[Any], label: str, k: int, lines: int
) -> None:
    """Draw a line with its intervals, moved aside a little so that none hides another.

    `words` are the values along the axis, of all lines of a panel.
    """
    is_number = all(isinstance(word, int | float) for word in words)
    places = [float(v) if is_number else words.index(v) for v in some[x]]
    width = 0.03 * float(np.ptp(words)) if is_number else 0.15
    estimate, low, high = some[[*Interval._fields]].to_numpy(float).T
    ax.errorbar(
        np.array(places) + width * (k - (lines - 1) / 2) / max(1, lines - 1), estimate,
        np.nan_to_num(np.abs([estimate - low, high - estimate])), label=label,
        color=COLORS[k % len(COLORS)], marker="o", markersize=3.5, elinewidth=1.0,
        linewidth=1.2 if is_number else 0.0,
    )  # fmt: skip
    if not is_number:
        ax.set_xticks(range(len(words)), [str(word) for word in words], fontsize=8)
        ax.tick_params(axis="x", rotation=30)
        for text in ax.get_xticklabels():
            text.set(horizontalalignment="right", rotation_mode="anchor")


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """Return averages as a table for people: a column for each measure, with intervals."""
    by = [name for name in found if name not in ("measure", "n", *Interval._fields)]
    cells = []
    for measure, *interval in found[["measure", *Interval._fields]].itertuples(index=False):
        text = Interval(*interval).text(4 if measure == "p" else 2)
        cells.append(pages.NOTHING if math.isnan(interval[0]) else text)
    rows = found.assign(cell=cells)
    rows[by] = rows[by].astype(object).where(rows[by].notna(), pages.NOTHING)  # a pivot drops NaN
    wide = rows.pivot_table(index=by, columns="measure", values="cell", aggfunc="first", sort=False)
    return wide.reset_index()


def write(
    tables: Tables, question: Mapping[str, Any], runner: Runner, folders: Sequence[Path]
) -> pages.Page:
    """Write report.md, figure.png and a CSV for each table; in the first folder report.html, too.

    Args:
        tables: rows with `data`, `variant`, `seed`, `recording` and measures, by name.
        question: `title`; `about`, paragraphs; `claims` by code, see `claim_of`; `averages` by
            title, each with `rows`, `by` and `measures`; `figure`: `of`, titles of averages,
            `measures`, `caption`, and what `points_figure` takes.
    """
    found = {
        title: averages(tables[one["rows"]], one["by"], one["measures"])
        for title, one in question["averages"].items()
    }
    drawn = dict(question["figure"])
    titles, measures, caption = (drawn.pop(name) for name in ("of", "measures", "caption"))
    points = pd.concat([found[title] for title in titles], ignore_index=True).assign(all="")
    points = rows_of(points, measure=measures, **drawn.pop("where", {}))
    picture = folders[0] / "figure.png"
    save_figure(points_figure(points, **drawn), picture)
    section = pages.Section(
        title="Averages",
        paragraphs=["Means, with 95 % intervals over recordings and trainings."],
        tables=[pages.Table(title=title, frame=shown(one)) for title, one in found.items()],
        pictures=[pages.Picture(title="Figure", path=picture, caption=caption, alt=caption)],
    )
    about = {
        "Trained on": getattr(runner.dataset, "about", runner.dataset.name),
        "Dreamed": ", ".join(f"{len(batch.targets)} {batch.data}" for batch in runner.batches),
        "Judges": ", ".join(runner.judges) or "none",
        "Seeds": ", ".join(map(str, runner.seeds)),
    }
    page = pages.Page(
        title=question["title"],
        lead=question["about"],
        says="What is tested",
        claims=[claim_of(code, rule, tables) for code, rule in question["claims"].items()],
        sections=[section],
        provenance=provenance(runner.stopwatch.total(), runner.device, about),
    )
    pages.write_html(page, folders[0] / "report.html")
    for folder in folders:
        pages.write_markdown(page, folder / "report.md")
        for title, one in found.items():
            save_table(one, folder / f"{title.lower().replace(' ', '_')}.csv")
    return page
