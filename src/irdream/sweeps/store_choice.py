"""Where the runs go, a folder or an address: as typed, or else as MLflow's variables say.

Nothing heavy is imported here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from omegaconf import DictConfig, open_dict

from irdream.errors import InputError

FOLDER, EXPERIMENT = "mlruns", "irdream"  # where nothing is said
_ADDRESS = re.compile(r"[a-z][\w+.\-]+:.*|databricks", re.IGNORECASE)  # C:\runs is none
_PASSWORD = re.compile(r"//[^/@]+@")
_NOT_OBEYED = {
    "MLFLOW_RUN_ID": "each run is a new one",
    "MLFLOW_EXPERIMENT_ID": "type tracker.experiment=NAME, or set MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_REGISTRY_URI": "checkpoints are registered where the runs are",
}


def choose_store(config: DictConfig, typed: Sequence[str], of_sweep: Any = None) -> None:
    """Make the server of an address that was given as the store; obey MLflow's variables.

    What is obeyed, and what is not, is told; a job's run goes where its sweep's do, also on a
    machine with other variables.

    Args:
        config: as composed; `store`, `server` and `tracker.experiment` are changed.
        typed: the overrides on the command line, which win over variables.
        of_sweep: the sweep of a job, see `irdream.sweeps.sweep`.

    Raises:
        InputError: two addresses, or one of files on another machine.
    """
    told = _choose(config, typed)
    if of_sweep is None:
        print(*told, sep="\n", end="\n" if told else "", file=sys.stderr, flush=True)
    elif of_sweep.parent:
        with open_dict(config):
            config.store, config.server = of_sweep.root, of_sweep.server
            if config.tracker.experiment == EXPERIMENT:
                config.tracker.experiment = of_sweep.experiment


def _choose(config: DictConfig, typed: Sequence[str]) -> list[str]:
    """Do so for a run or a sweep; return the lines to be told."""
    keys = {word.lstrip("+").partition("=")[0] for word in typed}
    told = []
    uri, name = (os.environ.get(f"MLFLOW_{what}") for what in ("TRACKING_URI", "EXPERIMENT_NAME"))
    with open_dict(config):
        is_free = (config.store, config.server) == (FOLDER, None)
        if uri and is_free and not keys & {"store", "server"}:
            config.store = uri
            told.append(f"MLFLOW_TRACKING_URI: the tracking store is {_PASSWORD.sub('//', uri)}")
        config.store, config.server = _settled(str(config.store), config.server)
        if "experiment" not in config.tracker:
            return told
        if name and config.tracker.experiment == EXPERIMENT and "tracker.experiment" not in keys:
            config.tracker.experiment = name
            told.append(f"MLFLOW_EXPERIMENT_NAME: the experiment is {name}")
    ignored = [variable for variable in _NOT_OBEYED if os.environ.get(variable)]
    return told + [f"{variable} is not obeyed: {_NOT_OBEYED[variable]}" for variable in ignored]


def _settled(store: str, server: str | None) -> tuple[str, str | None]:
    """Return the folder, and the server if there is one."""
    if _ADDRESS.fullmatch(store) and not os.path.isdir(store):
        if server:
            raise InputError(
                f"store={store} and server={server} are two addresses; expected one of them"
            )
        store, server = FOLDER, store
    if not server or not server.startswith("file:"):
        return store, server or None
    address = urlsplit(server)
    if address.netloc not in ("", "localhost"):
        raise InputError(f"store={server}; expected the path of a folder, or file:///FOLDER")
    return url2pathname(address.path), None
