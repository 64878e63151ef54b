"""Find runs whose process is gone and close them.

A process that is killed at once (kill -9, a power cut) cannot end its run. What it wrote when it
opened the run tells later that it is gone, see `irdream.processes`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from irdream import processes
from irdream.errors import InputError
from irdream.tracking.mlflow_setup import DATABASE, exists
from irdream.tracking.provenance import opened_by
from irdream.tracking.store import open_store

NAME = 32  # characters of a run's name that are shown
FOUND = {
    "dead": "its process is gone: closed as KILLED",
    "alive": "its process is at work: left alone",
    "elsewhere": "on another machine: left alone, run task=doctor there",
}


def doctor(
    *, store: str | Path, server: str | None = None, info: bool = False, **_: Any
) -> dict[str, float]:
    """Close the runs that are marked RUNNING by processes that died on this machine.

    Returns how many runs there were: `doctor/closed`, `doctor/alive`, `doctor/elsewhere`. Raises
    InputError where there is no store.
    """
    root = Path(store).expanduser()
    where = server or root.absolute()
    print(f"doctor: looks in {where} for runs that are marked RUNNING, and closes the dead")
    if info:
        return {}
    if not server and not exists(root / DATABASE):
        raise InputError(
            f"store={store} has no tracking store; expected a folder with {DATABASE}, as mlruns"
        )
    opened = open_store(root=root, uri=server)
    table = Table("run", "id", "host", "process", "")
    states = []
    for run in opened.find_runs(status="RUNNING"):
        mark, since = opened_by(run)
        state = processes.state(mark, since)
        if state == "dead":
            opened.end_run(run.info.run_id, "KILLED")
        states.append(state)
        name = str(run.info.run_name)
        shown = Text(name if len(name) <= NAME else f"{name[: NAME - 1]}…")
        host, pid = mark["host"] or "unknown", mark["pid"] or "?"
        table.add_row(shown, run.info.run_id[:8], host, pid, FOUND[state])
    Console().print(table if states else "no run is marked RUNNING")
    names = {"closed": "dead", "alive": "alive", "elsewhere": "elsewhere"}
    return {f"doctor/{name}": float(states.count(state)) for name, state in names.items()}
