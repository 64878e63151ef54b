"""A recognizer for a task: a new one, or one loaded by any of the names a user may give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from irdream import runtime
from irdream.recognizer import Recognizer, load_recognizer, new_recognizer
from irdream.tracking import fetch_checkpoint


def load(
    *,
    path: str,
    device: str = "auto",
    trust: Sequence[str] = (),
    store: str | Path = "mlruns",
    server: str | None = None,
) -> Recognizer:
    """Return a recognizer in eval mode, on its device.

    Args:
        path: a checkpoint's folder, `shipped`, `runs:/ID/checkpoint` or `models:/NAME@ALIAS`.
        device: see `runtime.choose_device`.
        trust: packages that the checkpoint may name.
        store: the folder of the local tracking store.
        server: the address of a tracking server, asked instead of `store`.

    Raises:
        InputError: see `load_recognizer` and `fetch_checkpoint`.
    """
    folder: str | Path = path
    if path.startswith(("runs:/", "models:/")):
        folder = fetch_checkpoint(path, root=Path(store), uri_server=server)
    return load_recognizer(folder, device=runtime.choose_device(device), trust=trust)


def load_optional(*, path: str | None, **settings: Any) -> Recognizer | None:
    """Return what `load` does; None for no path."""
    return None if path is None else load(path=path, **settings)


def new(
    *,
    frontend: Mapping[str, Any],
    model: Mapping[str, Any],
    device: str = "auto",
    trust: Sequence[str] = (),
) -> Recognizer:
    """Return an untrained recognizer on its device; see `new_recognizer`."""
    return new_recognizer(
        frontend=frontend, model=model, device=runtime.choose_device(device), trust=trust
    )
