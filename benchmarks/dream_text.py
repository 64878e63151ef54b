"""The report of `python -m benchmarks.dream` as a short text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Lines = list[str]
NAMES, WIDTH = 20, 30  # of columns


def text(report: dict[str, Any]) -> str:
    """Return the tables of the parts that were measured."""
    about = report["machine"]
    lines = [
        f"irdream {about['irdream']}, torch {about['torch']}, {about['device']}, "
        f"{about['processor']}, {about['threads']} threads, {report['date'][:10]}",
        f"median of {report['settings']['rounds']} rounds (least-most)",
    ]
    for part, form in _FORMS.items():
        if part in report:
            lines += ["", *form(report[part])]
    if report["skipped"]:
        lines += ["", "left out"]
        lines += [f"  {name}: {reason}" for name, reason in report["skipped"].items()]
    return "\n".join(lines) + "\n"


def _speed(part: dict[str, Any]) -> Lines:
    by_items = part["items"]
    lines = ["speed: item-steps/s by items in a batch, and the ratio to irdream"]
    lines.append(" " * (NAMES + 2) + "".join(f"{items:>{WIDTH}}" for items in by_items))
    names = dict.fromkeys(n for row in by_items.values() for n in row["item_steps_per_second"])
    for name in names:
        cells = [
            _cell(row["item_steps_per_second"][name]) + _ratio(row, name)
            if name in row["item_steps_per_second"]
            else ""
            for row in by_items.values()
        ]
        lines.append(f"  {name:{NAMES}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells))
    return lines


def _overhead(part: dict[str, Any]) -> Lines:
    lines = [
        f"overhead: ms a step beyond the passes of a near-empty network "
        f"({part['network_ms']['median']:.3g} ms), {part['items']} items"
    ]
    for name, row in part["overhead_ms"].items():
        lines.append(f"  {name:{NAMES}}{_cell(row):>{WIDTH}}{_ratio(part, name)}")
    return lines


def _dropping(part: dict[str, Any]) -> Lines:
    lines = [
        f"dropping: seconds until {part['dreams']} dreams are finished, "
        f"{part['reached']:.0%} reached"
    ]
    for name, row in part["seconds"].items():
        lines.append(
            f"  {name:{NAMES}}{_cell(row):>{WIDTH}}  {part['item_steps'][name]} item-steps"
        )
    return [*lines, f"  {'kept / dropped':{NAMES}}{_cell(part['kept / dropped']):>{WIDTH}}"]


def _flops(part: dict[str, Any]) -> Lines:
    lines = [f"flops: GFLOP/s, and the share of the matrix product's, {part['items']} items"]
    for name, row in part["gflop_per_second"].items():
        share = part["ratio_to_matrix_product"].get(name)
        lines.append(
            f"  {name:{NAMES}}{_cell(row):>{WIDTH}}" + (f" {share['median']:.2f}" if share else "")
        )
    return lines


def _frontier(part: dict[str, Any]) -> Lines:
    lines = [
        f"frontier: {part['dreams']} dreams, {part['steps_at_most']} steps at most",
        f"  {'':{NAMES}}{'item-steps':>12}{'median steps':>14}{'median RMSE dB':>16}{'reached':>9}",
    ]
    for name, row in part["rules"].items():
        lines.append(
            f"  {name:{NAMES}}{row['item_steps']:>12}{row['median_steps']:>14.0f}"
            f"{row['rmse_db_quartiles'][1]:>16.3f}{row['reached']:>9.0%}"
        )
    return lines


_FORMS: dict[str, Callable[[dict[str, Any]], Lines]] = {
    "speed": _speed,
    "overhead": _overhead,
    "dropping": _dropping,
    "flops": _flops,
    "frontier": _frontier,
}


def _cell(row: dict[str, Any]) -> str:
    return f"{row['median']:.4g} ({row['least']:.4g}-{row['most']:.4g})"


def _ratio(part: dict[str, Any], name: str) -> str:
    row = part["ratio_to_irdream"][name]
    return f" {row['median']:.2f}" if row else ""
