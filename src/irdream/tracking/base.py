"""What a task may ask of a tracker, the tracker that keeps nothing, and flat parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

from irdream.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker(Protocol):
    """One run's notebook: parameters, metrics over steps, files, tags.

    Metrics may be held back and written later; `flush` writes them now. Use it as a context
    manager, so that a run which fails or is interrupted says so.
    """

    @property
    def run_id(self) -> str | None:
        """The store's name for this run; None where nothing is kept."""
        ...

    def log_params(self, params: Mapping[str, object]) -> None:
        """Keep settings; nested mappings are made flat (see `flat`)."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep numbers, each under its name, at this step."""
        ...

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file, or of a folder, below `folder`."""
        ...

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file of this path."""
        ...

    def log_data(
        self,
        name: str,
        digest: str,
        *,
        context: str,
        source: str = "",
        excerpts: int | None = None,
    ) -> None:
        """Keep which sounds went into the run.

        Args:
            name: of the data set.
            digest: equal for equal sounds, see `irdream.datasets.identity.fingerprint`; at most 36
                characters.
            context: what for: "training", "validation", "evaluation", "start".
            source: where they came from.
            excerpts: how many.
        """
        ...

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Keep words to find the run by; a tag that is set again is replaced."""
        ...

    def register(self, name: str, *, alias: str = "champion", path: str = "checkpoint") -> str:
        """Give a checkpoint that was kept with `log_file` a name; return its address.

        Args:
            name: in the registry; one that is there already gets a new version.
            alias: a word that is made to point to this version.
            path: of the checkpoint in the run.

        Raises:
            InputError: when there is no such checkpoint, no registry, or a name is none.
        """
        ...

    def flush(self) -> None:
        """Write what was held back."""
        ...

    def close(self, status: Status = "FINISHED") -> None:
        """Write what was held back and end the run; only the first call counts."""
        ...

    def __enter__(self) -> Self:
        """Return the tracker itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close as FINISHED, as FAILED after an exception, as KILLED after an interrupt."""
        ...


class NullTracker:
    """Keeps nothing; for `tracker=none`, tests and notebooks."""

    run_id: str | None = None

    def log_params(self, params: Mapping[str, object]) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Do nothing."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Do nothing."""

    def log_text(self, text: str, path: str) -> None:
        """Do nothing."""

    def log_data(
        self,
        name: str,
        digest: str,
        *,
        context: str,
        source: str = "",
        excerpts: int | None = None,
    ) -> None:
        """Do nothing."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Do nothing."""

    def register(self, name: str, *, alias: str = "champion", path: str = "checkpoint") -> str:
        """Refuse, since nothing was kept."""
        raise InputError(
            f"cannot register a checkpoint as {name!r}: this run is not kept; expected a tracker "
            "with a store: leave tracker=none out"
        )

    def flush(self) -> None:
        """Do nothing."""

    def close(self, status: Status = "FINISHED") -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


def flat(config: Mapping[str, object]) -> dict[str, str]:
    """Return nested settings as one level of text: `{"dream": {"steps": 5}}` is `dream.steps: 5`.

    Lists, and mappings inside them, become compact JSON (`[0.5,1]`); true, false and null are
    written as in YAML; an empty mapping stays, as `{}`. A flat mapping of text is left as it is.
    """
    return dict(_flat_items(config, ""))


def _flat_items(config: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat_items(value, f"{name}.")
        else:
            yield name, _text(value)


def _text(value: object) -> str:
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if value is None or isinstance(value, bool | list | tuple | Mapping):
        return json.dumps(value, separators=(",", ":"), default=str, ensure_ascii=False)
    return str(value)
