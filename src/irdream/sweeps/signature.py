"""When a job of a sweep is the same as one before: what its signature holds.

The configuration of its task, with the content of all that it names: files, folders, checkpoints,
code (`irdream.fingerprint`). A job that is skipped does not import torch.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from irdream.errors import InputError
from irdream.files import content_of, pitched, remember_in
from irdream.fingerprint import code_of, fingerprint_of

# What does not change what a job finds; left out wherever it stands.
NOT_SIGNED = {
    "device", "threads", "store", "server", "cache_dir", "debug", "tracker", "sweep", "info",
}  # fmt: skip
NO_INPUT = {"target", "publish"}  # words, and what is written


def signature(config: DictConfig) -> str:
    """Return a hash of all that decides what a job finds.

    That is what its task is given, the seed, the content of files, folders and checkpoints that are
    named there, the code of irdream, and of packages that are named or trusted.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return _signature({"task": plain["task"], "seed": plain["seed"]}, plain)


def signature_of_sweep(config: DictConfig) -> str:
    """Return the same of a sweep: of what was typed in any order, and the configuration around."""
    plain: Any = OmegaConf.to_container(config)
    typed = plain.pop("hydra")["overrides"]["task"]
    places = {"store": config.store, "server": config.server, "cache_dir": config.cache_dir}
    return _signature([_signed_words(typed), plain], plain | places)


def _signature(given: Any, config: Mapping[str, Any]) -> str:
    remember_in(config.get("cache_dir"))
    written = [config[name] for name in ("store", "cache_dir") if config.get(name)]
    packages = {"irdream", *(config.get("trust") or ())}

    def behind(word: str) -> str | None:
        """Return a hash of what a word names, where it names a file, a folder or a checkpoint."""
        word, semitones = pitched(word)
        path = os.path.expanduser(word)
        try:
            if word.startswith(("runs:/", "models:/")):
                from irdream.tracking import fetch_checkpoint

                path = fetch_checkpoint(
                    word, root=Path(config["store"]).expanduser(), uri_server=config["server"]
                )
            if word and os.path.exists(path):
                return content_of(path, written=written) + f"@{semitones:+g}" * bool(semitones)
        except InputError:
            pass  # the task says so
        except OSError:
            return secrets.token_hex()  # nobody knows
        if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", word):
            packages.add(word)
        return None

    return fingerprint_of([_signed(given, functools.cache(behind)), code_of(packages)])


def _signed(value: Any, behind: Callable[[str], str | None]) -> Any:
    """Return a configuration without what does not decide, files with their content."""
    if isinstance(value, Mapping):
        rendered = str(value.get("_target_")).endswith(".SoundFont")  # its root is a cache
        left_out = NOT_SIGNED | ({"root"} if rendered else set())
        return {
            key: item if key in NO_INPUT else _signed(item, behind)
            for key, item in value.items()
            if key not in left_out
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_signed(item, behind) for item in value]
    if isinstance(value, str) and (content := behind(value)):
        return [value, content]
    return value


def _signed_words(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides that decide something, in any order, each with its values."""
    found = []
    for word in sorted(overrides):
        key, _, values = word.lstrip("+~").partition("=")
        if key.split(".")[0] not in NOT_SIGNED:
            parts = [] if key in NO_INPUT else values.strip("[]").split(",")
            found.append([word, *(part.strip("'\"") for part in parts)])
    return found
