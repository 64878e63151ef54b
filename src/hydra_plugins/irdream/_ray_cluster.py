"""Ray is started here, or a cluster is joined: quietly, and with one line on what is wrong."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
from types import ModuleType

from hydra_plugins.irdream._ray_job import first_line
from hydra_plugins.irdream._ray_settings import Settings
from irdream.errors import InputError

STORE_BYTES = (
    2**27
)  # of Ray's object store, which jobs hardly use; Ray would take 30% of the memory
REACH_SECONDS = 5.0  # for a cluster to answer; Ray itself would try for minutes
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",  # a line that two jobs print is printed twice
}


def load_ray() -> ModuleType:
    """Import Ray.

    Raises:
        InputError: when it is missing.
    """
    quiet = {**ENVIRONMENT, **({} if sys.stdout.isatty() else {"RAY_COLOR_PREFIX": "0"})}
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.exceptions")
    except ImportError as error:
        raise InputError(
            "hydra/launcher=ray needs the package ray; pip install 'irdream[ray]'"
        ) from error
    return ray


def connect(ray: ModuleType, settings: Settings) -> None:
    """Start Ray on this machine or join a cluster, unless this process has done so.

    Raises:
        InputError: when that fails.
    """
    if ray.is_initialized():
        return
    words = {"logging_level": "error", **settings.init}
    if settings.address is None:
        own = {"address": "local", "include_dashboard": False, "object_store_memory": STORE_BYTES}
        words = {**own, **words}
    else:
        _check_reachable(settings.address)
        words["address"] = settings.address
    of_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**words)
    except Exception as error:
        raise InputError(_reason(error, settings)) from error
    finally:  # ray.init puts its own handler in the place of main.py's
        if threading.current_thread() is threading.main_thread() and of_sigterm is not None:
            signal.signal(signal.SIGTERM, of_sigterm)


def has_room(ray: ModuleType, settings: Settings) -> bool:
    """Say whether some machine is large enough for a job.

    Raises:
        InputError: when none is and none can come, since Ray was started here.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": settings.num_cpus, "GPU": settings.num_gpus}
    if any(all(has.get(k, 0) >= v for k, v in wanted.items()) for has in machines):
        return True
    if settings.address is None:
        has = machines[0] if machines else {}
        raise InputError(
            f"hydra.launcher: a job needs num_cpus={settings.num_cpus:g} and "
            f"num_gpus={settings.num_gpus:g}; expected at most what this machine has: "
            f"{has.get('CPU', 0):g} and {has.get('GPU', 0):g}"
        )
    return False


def _check_reachable(address: str) -> None:
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"hydra.launcher.address={address}; nothing answers there ({error}); "
            "start a cluster: ray start --head"
        ) from error


def _reason(error: Exception, settings: Settings) -> str:
    text = first_line(error) or type(error).__name__
    if settings.address is None:
        return f"hydra/launcher=ray: Ray cannot be started here: {text}"
    token = "" if settings.address == "auto" else "; where it asks for a token, RAY_AUTH_MODE=token"
    return f"hydra.launcher.address={settings.address}; the cluster cannot be joined: {text}{token}"
