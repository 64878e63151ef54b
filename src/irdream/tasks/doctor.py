"""Find runs whose process is gone and close them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from irdream.tracking.doctor import close_dead

NAME = 32  # characters of a run's name that are shown
TOLD = {
    "dead": "its process is gone: closed as KILLED",
    "alive": "its process is at work: left alone",
    "elsewhere": "on another machine: left alone, run task=doctor there",
}


def doctor(
    *, store: str | Path, server: str | None = None, info: bool = False, **_: Any
) -> dict[str, float]:
    """Close the runs that are marked RUNNING by processes that died on this machine.

    Args:
        store: the folder of the local tracking store.
        server: the address of a tracking server, asked instead of `store`.
        info: only say where would be looked.

    Returns:
        `doctor/closed`, `doctor/alive`, `doctor/elsewhere`: how many runs there were.
    """
    where = server or Path(store).expanduser().absolute()
    print(
        f"doctor: looks in {where} for runs that are marked RUNNING, and closes the dead",
        flush=True,
    )
    if info:
        return {}
    found = close_dead(root=Path(store).expanduser(), uri=server)
    console = Console()
    if found:
        table = Table()
        for column in ("run", "id", "host", "process", ""):
            table.add_column(column)
        for run in found:
            name = run.name if len(run.name) <= NAME else f"{run.name[: NAME - 1]}…"
            table.add_row(Text(name), run.run_id[:8], run.host, run.pid, TOLD[run.state])
        console.print(table)
    else:
        console.print("no run is marked RUNNING")
    states = [run.state for run in found]
    return {
        "doctor/closed": float(states.count("dead")),
        "doctor/alive": float(states.count("alive")),
        "doctor/elsewhere": float(states.count("elsewhere")),
    }
