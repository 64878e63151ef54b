"""What a search found: a table, a command to run again, and optimization_results.yaml."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from irdream.files import replacing

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hydra_plugins.irdream._optuna_study import Search

FILE = "optimization_results.yaml"


def results(search: Search) -> dict[str, Any]:
    """Return name, storage, objectives, counts, and the best: one, or the Pareto front."""
    states = [_state(trial) for trial in search.study.get_trials(deepcopy=False)]
    return {
        "name": search.place.name,
        "storage": search.place.shown,
        "objectives": dict(search.objectives),
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "best": [_found(search, trial) for trial in best_trials(search)],
    }


def best_trials(search: Search) -> list[FrozenTrial]:
    """Return the first of the best trials; of several objectives all that no other beats.

    Of trials with the same values of all parameters the first counts.
    """
    if not search.complete():
        return []
    if len(search.objectives) == 1:
        return [search.study.best_trial]
    front = sorted(search.study.best_trials, key=lambda trial: -trial.number)
    distinct = {tuple(trial.params.items()): trial for trial in front}
    return sorted(distinct.values(), key=lambda trial: trial.number)


def write_results(search: Search, folder: Path) -> Path:
    """Write the results to a file in this folder; return its path."""
    path = folder / FILE
    text = yaml.safe_dump(results(search), sort_keys=False, allow_unicode=True, width=1000)
    assert isinstance(text, str)
    with replacing(path) as file:
        file.write(text.encode())
    return path


def show_results(search: Search, path: Path) -> None:
    """Print the results."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = results(search)
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("trial", justify="right")
    for name in search.objectives:
        table.add_column(escape(name), justify="right")
    table.add_column("overrides", overflow="fold")
    for best in found["best"]:
        values = [f"{value:.4g}" for value in best["values"].values()]
        own = shlex.join(best["searched"])
        table.add_row(str(best["trial"]), *values, escape(own))
    console = Console(highlight=False)
    console.print(table)
    counts = ", ".join(f"{count} {state}" for state, count in found["trials"].items())
    console.print(escape(f"study {search.place.name}: {counts}; {path}"), soft_wrap=True)
    for best in found["best"][:1]:
        console.print(escape(f"again: {_again(best, len(found['best']))}"), soft_wrap=True)


def _again(best: dict[str, Any], count: int) -> str:
    if count == 1:
        return best["command"]
    fixed = [word for word in best["overrides"] if word not in best["searched"]]
    return f"{shlex.join(['python', sys.argv[0], *fixed])} and the overrides of a row"


def _state(trial: FrozenTrial) -> str:
    if trial.user_attrs.get("abandoned"):
        return "interrupted"
    return {"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower())


def _found(search: Search, trial: FrozenTrial) -> dict[str, Any]:
    overrides = list(trial.user_attrs["overrides"])
    fixed = set(search.study.user_attrs["fixed"]) | set(search.space.fixed)
    return {
        "trial": trial.number,
        "values": dict(zip(search.objectives, trial.values, strict=True)),
        "searched": [word for word in overrides if word not in fixed],
        "overrides": overrides,
        "command": shlex.join(["python", sys.argv[0], *overrides]),
        "folder": trial.user_attrs.get("folder"),
    }
