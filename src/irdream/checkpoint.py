"""A recognizer for a task: a new one, or one loaded by any of the names a user may give it.

The jobs of a sweep share it: what this process has loaded is given out again while its files
are the same. Tasks leave a loaded recognizer as it was.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from irdream import runtime
from irdream.arguments import Names, Positive
from irdream.checkpoint_folder import load_recognizer, new_recognizer
from irdream.ensemble import as_one
from irdream.errors import InputError
from irdream.files import content_of, pitched
from irdream.instruments import CODES, find
from irdream.recognizer import Recognizer
from irdream.tracking import fetch_checkpoint

_log = logging.getLogger(__name__)


def load(
    *,
    path: Names,  # a folder, a name, runs:/ID/checkpoint, models:/NAME@ALIAS; or some
    device: str = "auto",  # see `runtime.choose_device`
    trust: Sequence[str] = (),  # packages that the checkpoint may name
    store: str | Path = "mlruns",  # the folder of the local tracking store
    server: str | None = None,  # the address of a tracking server, asked instead of `store`
) -> Recognizer:
    """Return a recognizer in eval mode, on its device; of several checkpoints an `Ensemble`.

    Names are those of `files.NAMES`. Raises InputError: see `load_recognizer`, `fetch_checkpoint`
    and `Ensemble`.
    """
    paths = [path] if isinstance(path, str) else path
    folders = [_folder(one, store, server) for one in paths]
    where = runtime.choose_device(device)
    return as_one([_loaded(one, where, tuple(trust), _content(one)) for one in folders])


def _folder(path: str, store: str | Path, server: str | None) -> str:
    """Return the folder of a checkpoint, fetched where it is elsewhere, or its name."""
    if not path.startswith(("runs:/", "models:/")):
        return path
    root, (address, semitones) = Path(store).expanduser().resolve(), pitched(path)
    folder = str(fetch_checkpoint(address, root=root, uri_server=server))
    return f"{folder}@{semitones:+g}" if semitones else folder


def _content(folder: str) -> str:
    where = Path(pitched(folder)[0]).expanduser()
    return content_of(where) if where.is_dir() else ""  # one that comes along, or nothing


@lru_cache(maxsize=4)  # a judge, and the recognizers that a sweep compares or that dream together
def _loaded(folder: str, device: torch.device, trust: tuple[str, ...], content: str) -> Recognizer:
    recognizer = load_recognizer(folder, device=device, trust=trust)
    _try(recognizer)
    return recognizer


def load_optional(
    *,
    path: Names | None,
    device: str = "auto",
    trust: Sequence[str] = (),
    store: str | Path = "mlruns",
    server: str | None = None,
) -> Recognizer | None:
    """Return what `load` does; None for no path."""
    if path is None:
        return None
    return load(path=path, device=device, trust=trust, store=store, server=server)


def new(
    *,
    frontend: Mapping[str, Any],
    model: Mapping[str, Any],
    labels: Sequence[str] = CODES,
    window_seconds: Positive = 1.0,
    fine_tune: str | None = None,
    device: str = "auto",
    trust: Sequence[str] = (),
    store: str | Path = "mlruns",
    server: str | None = None,
) -> Recognizer:
    """Return an untrained recognizer on its device; see `new_recognizer`.

    Parts of one's own are tried on a second of silence, which gives lazy weights their shapes.

    Args:
        fine_tune: a checkpoint to train further (see `load`): its network, front end and window
            in place of those given. Outputs for labels that it lacks start anew.

    Raises:
        InputError: when they fail, or do not fit each other; when `fine_tune` cannot be loaded, or
            is not trained in steps.
    """
    if fine_tune is not None:
        path, semitones = pitched(_folder(fine_tune, store, server))
        if semitones:
            raise InputError(
                f"train.fine_tune={fine_tune}: in training sounds keep their pitch; expected "
                f"{pitched(fine_tune)[0]}"
            )
        base = load_recognizer(path, trust=trust)
        recognizer = _further(base, labels, fine_tune, runtime.choose_device(device), trust)
    else:
        recognizer = new_recognizer(
            frontend=frontend,
            model=model,
            labels=labels,
            window_seconds=window_seconds,
            device=runtime.choose_device(device),
            trust=trust,
        )
    _try(recognizer)
    return recognizer


def _further(
    base: Recognizer, labels: Sequence[str], name: str, device: torch.device, trust: Sequence[str]
) -> Recognizer:
    """Return a recognizer of `labels` with the weights of another, without its calibration."""
    if hasattr(base.model, "fit"):
        raise InputError(
            f"train.fine_tune={name} is a {type(base.model).__name__}, which is fitted at once; "
            "expected a network"
        )
    model = {key: value for key, value in base.spec["model"].items() if key != "instruments"}
    build = partial(
        new_recognizer,
        frontend=base.spec["frontend"],
        model=model,
        window_seconds=base.window_seconds,
        trust=trust,
    )
    recognizer = build(labels=labels, device=device)
    recognizer.channel_axis = base.channel_axis
    known = [find(label, base.instruments) for label in labels]
    theirs, own = base.model.state_dict(), recognizer.model.state_dict()
    if known != list(base.instruments):
        more = map(str, range(len(base.instruments) + len(labels) + 1))
        longer = build(labels=[*more]).model.state_dict()
        rows = {i: base.instruments.index(label) for i, label in enumerate(known) if label}
        for key in [key for key in theirs if longer[key].shape != theirs[key].shape]:
            outputs = own[key].cpu().clone()
            outputs[[*rows]] = theirs[key][[*rows.values()]]
            theirs[key] = outputs
    recognizer.model.load_state_dict(theirs)
    recognizer.not_kept = {"fine_tune": name}
    return recognizer


def _is_ours(part: Mapping[str, Any]) -> bool:
    """Say whether all that is built comes with irdream."""
    inner = (value for value in part.values() if isinstance(value, Mapping))
    own = str(part.get("_target_", "irdream."))
    return own.startswith("irdream.") and all(map(_is_ours, inner))


@torch.no_grad()
def _try(recognizer: Recognizer) -> None:
    """Try the user's own parts on silence; raise an InputError, or log a warning."""
    if all(map(_is_ours, recognizer.spec.values())) or hasattr(recognizer.model, "fit"):
        return
    from irdream.dreaming.network import frozen
    from irdream.dreaming.network_checks import (
        doubt_of_chance,
        doubt_of_output,
        log_mel_of,
        logits_of,
    )

    samples = math.ceil(recognizer.window_seconds * recognizer.sample_rate_hz)
    silence = torch.zeros(1, samples, device=recognizer.device)
    with frozen(recognizer):
        logits_of(recognizer, recognizer.windows(log_mel_of(recognizer, silence))[:, 0])
    for doubt in (doubt_of_output(recognizer, silence), doubt_of_chance(recognizer, silence)):
        if doubt:
            _log.warning("%s", doubt)
