"""A run in MLflow.

Metrics are gathered and written in batches of up to 1000, every few seconds and at the end: a
call to MLflow costs 5 to 25 ms on SQLite, a batch of 1000 about 150. What is kept back is lost
only to kill -9 and to power cuts. What the machine does meanwhile is MLflow's own to sample and
to write, in a thread: `system/...`, which the UI shows under "System metrics".

Not for several threads at once; in a forked child the tracker does nothing at exit.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import math
import os
import re
import time
import traceback
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from irdream.errors import InputError
from irdream.tracking.base import Status, flat
from irdream.tracking.checkpoints import again, check_names, register
from irdream.tracking.provenance import packages, run_tags
from irdream.tracking.store import Point, open_store

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
    from typing_extensions import Self

PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "irdream.sweep"
ERROR_TAG = "irdream.error"
NAME_TAG = "mlflow.runName"

_POINTS_PER_BATCH = 1000
_PAIRS_PER_BATCH = 100
_PARAM_CHARACTERS = 6000
_TAG_CHARACTERS = 5000
_DATA_NAME_CHARACTERS = 500
_KEY_CHARACTERS = 250
_NAME_CHARACTERS = 250  # SQLite would take more, PostgreSQL refuses it
_NOT_IN_KEYS = re.compile(r"[^/\w.\- ]")


class MlflowTracker:
    """One run in an MLflow store; see `Tracker` for what the methods promise.

    The run is opened here, tagged with its provenance (`run_tags`), and closed by `close`, at the
    end of a `with` block, or as KILLED when the interpreter exits. `config/packages.txt` says
    what was installed.

    Args:
        root: the folder of the local store (`mlflow.db`, `artifacts/`).
        experiment: MLflow's word for a group of runs.
        run_name: MLflow invents one when none is given.
        tags: more tags; they win over those of `run_tags`.
        flush_seconds: how long metrics may wait to be written.
        uri: the address of a tracking server, used in place of `root`.
        parent_run_id: the run that this one stands below, see `open_sweep`.
        sweep: the sweep's name, the tag that `share_view` looks for.
        system_seconds: between two samples of processor, memory, disk, network and NVIDIA's
            cards; None: none. A run that is shorter has none.

    Raises:
        InputError: here and in every method, when the store cannot be opened or written.
    """

    def __init__(
        self,
        *,
        root: Path,
        experiment: str = "irdream",
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        flush_seconds: float = 3.0,
        uri: str | None = None,
        parent_run_id: str | None = None,
        sweep: str | None = None,
        system_seconds: float | None = None,
    ) -> None:
        self.flush_seconds = flush_seconds
        self._points: list[Point] = []
        self._flushed_at = time.monotonic()
        self._is_open = False
        if system_seconds is not None and not system_seconds > 0:
            raise InputError(
                f"tracker.system_seconds={system_seconds:g}; "
                "expected more than 0, or null for no figures"
            )
        self._monitor: SystemMetricsMonitor | None = None
        self._pid = os.getpid()
        self._store = open_store(root=root, uri=uri)
        self.experiment_id = self._store.experiment(experiment)
        family = {PARENT_TAG: parent_run_id, SWEEP_TAG: sweep}
        every_tag = run_tags() | dict(tags or {}) | {k: v for k, v in family.items() if v}
        name = run_name and _cut(run_name, _NAME_CHARACTERS)
        self._run_id = self._store.start_run(self.experiment_id, name, _tags(every_tag))
        self._is_open = True
        atexit.register(self._close_at_exit)
        try:
            self._begin(system_seconds)
        except BaseException:
            self.close("FAILED")
            raise

    def _begin(self, system_seconds: float | None) -> None:
        self.log_text(packages(), "config/packages.txt")
        if system_seconds is not None:
            with contextlib.suppress(Exception):  # no figure is worth a run
                from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

                uri = self._store.client.tracking_uri
                every: Any = system_seconds  # fractions too
                monitor = SystemMetricsMonitor(self._run_id, every, tracking_uri=uri)
                monitor.start()
                self._monitor = monitor

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        return self._run_id

    def log_params(self, params: Mapping[str, object]) -> None:
        """Keep settings, flat; a text over 6000 characters is cut (keep the config as a file)."""
        pairs = [(_key(k), _cut(v, _PARAM_CHARACTERS)) for k, v in flat(params).items()]
        for batch in _batches(pairs):
            self._store.log(self._run_id, params=batch)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep numbers; an infinity is kept as NaN, MLflow would make it 1.8e308."""
        now = int(time.time() * 1000)
        for name, value in metrics.items():
            self._points.append(Point(_key(name), _finite_or_nan(float(value)), now, int(step)))
        waited = time.monotonic() - self._flushed_at
        if len(self._points) >= _POINTS_PER_BATCH or waited >= self.flush_seconds:
            self.flush()

    def log_file(self, path: Path, folder: str = "") -> None:
        """Copy a file or a folder to the run's artifacts, below `folder`.

        Raises:
            InputError: when there is no such file, or the store cannot be written.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"cannot keep {path} with the run: there is no such file")
        self._store.log_file(self._run_id, path, folder)

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file of this path among the run's artifacts."""
        self._store.log_text(self._run_id, text, path)

    def log_data(
        self,
        name: str,
        digest: str,
        *,
        context: str,
        source: str = "",
        excerpts: int | None = None,
    ) -> None:
        """Keep which sounds went into the run; MLflow shows them in its column "Dataset".

        Of an experiment's runs with one name and digest MLflow keeps the first one's source.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=_cut(name, _DATA_NAME_CHARACTERS),
            digest=digest,
            source_type="local",
            source=json.dumps({"uri": source}),
            profile=json.dumps({} if excerpts is None else {"num_rows": excerpts}),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])]
        again(self._store, self._store.client.log_inputs, self._run_id, datasets=inputs)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a text over 5000 characters is cut."""
        for batch in _batches(list(_tags(tags).items())):
            self._store.log(self._run_id, tags=batch)

    def register(self, name: str, *, alias: str = "champion", path: str = "checkpoint") -> str:
        """Name the checkpoint that this run keeps; see `register_checkpoint`."""
        check_names(name, alias)
        return register(self._store, self._run_id, name=name, path=path, alias=alias)

    def flush(self) -> None:
        """Write the metrics that wait; what an error or a signal interrupts is written again."""
        while self._points:
            batch = self._points[:_POINTS_PER_BATCH]
            self._store.log(self._run_id, points=batch)
            del self._points[: len(batch)]
        self._flushed_at = time.monotonic()

    def close(self, status: Status = "FINISHED") -> None:
        """Write what waits and end the run; a second call does nothing."""
        if not self._is_open:
            return
        try:
            if self._monitor is not None:
                self._monitor.finish()
            self.flush()
        finally:
            self._store.end_run(self._run_id, status)
            self._is_open = False
            atexit.unregister(self._close_at_exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return self.close("FINISHED")
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        with contextlib.suppress(Exception):  # the first error is the one to be read
            self.set_tags({ERROR_TAG: traceback.format_exception_only(error)[-1].strip()})
        with contextlib.suppress(Exception):
            self.close(status)
        return None

    def _close_at_exit(self) -> None:
        if os.getpid() == self._pid:
            self.close("KILLED")


def _batches(pairs: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    rest = iter(pairs)
    return list(iter(lambda: list(islice(rest, _PAIRS_PER_BATCH)), []))


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    longest = {NAME_TAG: _NAME_CHARACTERS}
    return {
        _key(key): _cut(str(value), longest.get(key, _TAG_CHARACTERS))
        for key, value in tags.items()
    }


def _key(name: str) -> str:
    """Return a name that MLflow takes: `transforms[0]=x` is `transforms_0__x`."""
    parts = _NOT_IN_KEYS.sub("_", name).split("/")
    key = "/".join(part for part in parts if part.strip(".")).lstrip(".") or "_"
    if len(key) <= _KEY_CHARACTERS:
        return key
    return f"{key[: _KEY_CHARACTERS - 9]}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def _finite_or_nan(value: float) -> float:
    return value if math.isfinite(value) else math.nan
