"""What a task may ask of a tracker; one that keeps nothing, one of MLflow, one opened aside."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import math
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from irdream.errors import InputError
from irdream.tracking.provenance import packages, run_tags
from irdream.tracking.store import Point, check_names, open_store, register

if TYPE_CHECKING:
    from typing_extensions import Self

Status = Literal["FINISHED", "FAILED", "KILLED"]
PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "irdream.sweep"

_BEGINS_AFTER_SECONDS = 2.0  # when a first step has been made, since an import slows it down
_TURN_SECONDS = 1e-4  # that an import may keep the interpreter from the steps beside it
_POINTS_PER_BATCH = 1000
_PARAM_CHARACTERS, _TAG_CHARACTERS, _DATA_NAME_CHARACTERS = 6000, 5000, 500
_KEY_CHARACTERS = _NAME_CHARACTERS = 250  # SQLite would take longer names, PostgreSQL refuses them


class Tracker:
    """One run's notebook: parameters, metrics over steps, files, tags. This one keeps nothing.

    Metrics may be held back and written later. As a context manager, a run which fails or is
    interrupted says so. `run_id` is the store's name for it; None where nothing is kept.
    """

    run_id: str | None = None

    def log_params(self, params: Mapping[str, object]) -> None:
        """Keep settings; nested mappings are made flat (see `flat`)."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep numbers, each under its name, at this step."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file, or of a folder, below `folder`."""

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file of this path."""

    def log_data(
        self, name: str, digest: str, *, context: str, source: str = "", excerpts: int | None = None
    ) -> None:
        """Keep which sounds went into the run, and what for: "training", "evaluation", "start".

        `digest` is equal for equal sounds, see `irdream.datasets.identity.fingerprint`.
        """

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Keep words to find the run by; a tag that is set again is replaced."""

    def register(self, name: str, *, alias: str = "champion", path: str = "checkpoint") -> str:
        """Give a checkpoint that was kept with `log_file` a name; return its address.

        Raises InputError when there is no such checkpoint, no registry, or a name is none.
        """
        raise InputError(
            f"cannot register a checkpoint as {name!r}: this run is not kept; expected a tracker "
            "with a store: leave tracker=none out"
        )

    def flush(self) -> None:
        """Write the metrics that were held back."""

    def close(self, status: Status = "FINISHED") -> None:
        """Write what was held back and end the run; only the first call counts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close as FINISHED, as FAILED after an exception, as KILLED after an interrupt."""
        self.close()


class NullTracker(Tracker):
    """Keeps nothing; for `tracker=none`, tests and notebooks."""


class MlflowTracker(Tracker):
    """One run in an MLflow store, closed at the end of a `with` block, or as KILLED at exit.

    Metrics are written in batches of up to 1000, every few seconds and at the end, since a call
    costs 5 to 25 ms on SQLite and such a batch 150; what waits is lost only to kill -9 and power
    cuts. For one thread; in a forked child it does nothing at exit. Every method raises InputError
    when the store cannot be opened or written.

    Args:
        root: the folder of the local store (`mlflow.db`, `artifacts/`).
        run_name: MLflow invents one when none is given.
        tags: more tags; they win over those of `run_tags`.
        flush_seconds: how long metrics may wait to be written.
        uri: the address of a tracking server, used in place of `root`.
        system_seconds: between MLflow's samples of the machine (`system/...`); None: none.
    """

    run_id: str

    def __init__(
        self,
        *,
        root: Path,
        experiment: str = "irdream",
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        flush_seconds: float = 3.0,
        uri: str | None = None,
        system_seconds: float | None = None,
    ) -> None:
        if system_seconds is not None and not system_seconds > 0:
            raise InputError(
                f"tracker.system_seconds={system_seconds:g}; "
                "expected more than 0, or null for no figures"
            )
        self.flush_seconds = flush_seconds
        self._points: list[Point] = []
        self._flushed_at = time.monotonic()
        self._pid = os.getpid()
        self._monitor: Any = None
        self._store = open_store(root=root, uri=uri)
        experiment_id = self._store.experiment(experiment)
        every_tag = _tags(run_tags() | dict(tags or {}))
        name = run_name and _cut(run_name, _NAME_CHARACTERS)
        self.run_id = self._store.start_run(experiment_id, name, every_tag)
        self._is_open = True
        atexit.register(self._close_at_exit)
        try:
            self.log_text(packages(), "config/packages.txt")
            if system_seconds is not None:
                self._sample(system_seconds)
        except BaseException:
            self.close("FAILED")
            raise

    def _sample(self, seconds: Any) -> None:
        """Let MLflow sample the machine; it takes fractions of seconds, too."""
        with contextlib.suppress(Exception):  # no figure is worth a run
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            uri = self._store.client.tracking_uri
            monitor = SystemMetricsMonitor(self.run_id, seconds, tracking_uri=uri)
            monitor.start()
            self._monitor = monitor

    def log_params(self, params: Mapping[str, object]) -> None:
        """Keep settings, flat; a text over 6000 characters is cut (keep the config as a file)."""
        texts = {_key(k): _cut(v, _PARAM_CHARACTERS) for k, v in flat(params).items()}
        self._store.log(self.run_id, params=texts)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep numbers; an infinity is kept as NaN, MLflow would make it 1.8e308."""
        now = int(time.time() * 1000)
        for name, value in metrics.items():
            finite = float(value) if math.isfinite(value) else math.nan
            self._points.append(Point(_key(name), finite, now, int(step)))
        waited = time.monotonic() - self._flushed_at
        if len(self._points) >= _POINTS_PER_BATCH or waited >= self.flush_seconds:
            self.flush()

    def log_file(self, path: Path, folder: str = "") -> None:
        path = Path(path)
        if not path.exists():
            raise InputError(f"cannot keep {path} with the run: there is no such file")
        self._store.log_file(self.run_id, path, folder)

    def log_text(self, text: str, path: str) -> None:
        self._store.log_text(self.run_id, text, path)

    def log_data(
        self, name: str, digest: str, *, context: str, source: str = "", excerpts: int | None = None
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
        self._store.again(self._store.client.log_inputs, self.run_id, datasets=inputs)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a text over 5000 characters is cut."""
        self._store.log(self.run_id, tags=_tags(tags))

    def register(self, name: str, *, alias: str = "champion", path: str = "checkpoint") -> str:
        check_names(name, alias)
        return register(self._store, self.run_id, name=name, path=path, alias=alias)

    def flush(self) -> None:
        """Write the metrics that wait; what an error or a signal interrupts is written again."""
        while self._points:
            batch = self._points[:_POINTS_PER_BATCH]
            self._store.log(self.run_id, points=batch)
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
            self._store.end_run(self.run_id, status)
            self._is_open = False
            atexit.unregister(self._close_at_exit)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the run; the error that ends it becomes a tag."""
        if error is None:
            return self.close("FINISHED")
        chain = [error]
        while (cause := chain[-1].__cause__) is not None:
            chain.append(cause)
        said = next((one for one in chain if isinstance(one, InputError)), error)  # Hydra wraps it
        with contextlib.suppress(Exception):  # the first error is the one to be read
            self.set_tags({"irdream.error": traceback.format_exception_only(said)[-1].strip()})
        with contextlib.suppress(Exception):
            self.close("FAILED" if isinstance(error, Exception) else "KILLED")
        return None

    def _close_at_exit(self) -> None:
        if os.getpid() == self._pid:
            try:
                self.close("KILLED")
            except InputError as error:
                print(f"error: {error}", file=sys.stderr)


class BackgroundTracker:
    """Opens a tracker, by `opened`, in a thread of its own; see `Tracker` for its methods.

    What is asked before it is open is done once it is, in that order. Files are waited for, since
    they may change, and so are `register`, `flush` and the end. Any method may raise what opening
    it or an earlier call raised.
    """

    def __init__(self, opened: Callable[[], Tracker]) -> None:
        self._needed = threading.Event()
        self._thread = ThreadPoolExecutor(1, "tracker")
        self._opened = self._last = self._thread.submit(self._open, opened)

    def _open(self, opened: Callable[[], Tracker]) -> Any:
        self._needed.wait(_BEGINS_AFTER_SECONDS)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_TURN_SECONDS)
        try:
            return opened()
        finally:
            sys.setswitchinterval(interval)

    def _now(self) -> Any:
        """Wait until it is open and has done all that it was asked."""
        self._needed.set()
        self._last.result()
        return self._opened.result()

    def _later(self, name: str, *given: Any, **named: Any) -> None:
        def call(after: Future[Any]) -> None:
            after.result()
            getattr(self._opened.result(), name)(*given, **named)

        if self._last.done():
            call(self._last)
        else:
            self._last = self._thread.submit(call, self._last)

    @property
    def run_id(self) -> str | None:
        """The store's name for this run; None where it could not be opened or asked."""
        self._needed.set()
        return None if self._last.exception() else self._opened.result().run_id

    def __getattr__(self, name: str) -> Any:
        if name in ("log_params", "log_metrics", "log_text", "log_data", "set_tags"):
            return partial(self._later, name)
        return getattr(self._now(), name)

    def __enter__(self) -> Tracker:
        return self  # type: ignore[return-value]

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or self.run_id is not None:
            self._now().__exit__(kind, error, trace)


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    longest = {"mlflow.runName": _NAME_CHARACTERS}
    return {_key(k): _cut(str(v), longest.get(k, _TAG_CHARACTERS)) for k, v in tags.items()}


def _key(name: str) -> str:
    """Return a name that MLflow takes: `transforms[0]=x` is `transforms_0__x`."""
    parts = re.sub(r"[^/\w.\- ]", "_", name).split("/")
    key = "/".join(part for part in parts if part.strip(".")).lstrip(".") or "_"
    if len(key) <= _KEY_CHARACTERS:
        return key
    return f"{key[: _KEY_CHARACTERS - 9]}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def flat(config: Mapping[str, object]) -> dict[str, str]:
    """Return nested settings as one level of text: `{"dream": {"steps": 5}}` is `dream.steps: 5`.

    Lists, and mappings inside them, become compact JSON; an empty mapping stays, as `{}`.
    """
    found: dict[str, str] = {}
    for key, value in config.items():
        value = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        if isinstance(value, Mapping) and value:
            found |= {f"{key}.{inner}": text for inner, text in flat(value).items()}
        elif value is None or isinstance(value, bool | list | tuple | Mapping):
            text = json.dumps(value, separators=(",", ":"), default=str, ensure_ascii=False)
            found[key] = text
        else:
            found[key] = str(value)
    return found
