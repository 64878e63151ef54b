"""What is swept is checked before a sweep begins: each value once, not each combination.

Hydra would find a wrong key when it composes the jobs, after the parent run was opened, and a
value out of range in its job.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf, open_dict

from irdream.cli import command
from irdream.sweeps.job import same_folder

MOST = 100  # jobs that are composed, 0.1 s each
_INSIDE = 1e-9  # of an interval: its ends themselves need not be allowed


def check_sweep(config: DictConfig, loader: ConfigLoader | None = None) -> None:
    """Compose and check jobs in which each value that is swept stands once.

    Args:
        config: of the multirun as a whole.
        loader: None: of the program that runs.

    Raises:
        InputError: on the first mistake, or where two jobs would have one folder; and what Hydra
            and OmegaConf raise.
    """
    loader = loader or GlobalHydra.instance().config_loader()
    typed = [str(word) for word in config.hydra.overrides.task]
    params = OmegaConf.to_container(config.hydra.sweeper).get("params") or {}  # type: ignore[union-attr]
    folders: set[str] = set()
    for number, words in enumerate(itertools.islice(probes(_lines(params) + typed, loader), MOST)):
        job = loader.load_sweep_config(config, words)
        command.prepare(job, words)
        command.check(job)
        if (folder := _folder(job, number)) in folders:
            raise same_folder(folder)
        folders.add(folder)


def _folder(config: DictConfig, number: int) -> str:
    """Return what would be called the job of this number, below the sweep's folder."""
    with open_dict(config):
        config.hydra.job.num, config.hydra.job.id = number, str(number)
    known = HydraConfig.instance()
    before = known.cfg
    try:
        known.set_config(config)
        return os.path.normpath(str(config.hydra.sweep.subdir))
    finally:
        known.cfg = before


def probes(words: Sequence[str], loader: ConfigLoader | None = None) -> Iterator[list[str]]:
    """Yield the overrides of jobs in which each value stands once, other keys at their first."""
    values: dict[str, list[str]] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        values[override.get_key_element()] = _values(override)
    first = {key: choices[0] for key, choices in values.items() if choices}
    yield list(first.values())
    for key, choices in values.items():
        for choice in choices[1:]:
            yield list({**first, key: choice}.values())


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    key, sweep = override.get_key_element(), override.value()
    if not isinstance(sweep, IntervalSweep):
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    assert sweep.start is not None
    assert sweep.end is not None
    if isinstance(sweep.start, int) and isinstance(sweep.end, int):
        return [f"{key}={sweep.start}", f"{key}={sweep.end}"]
    inside = _INSIDE * (sweep.end - sweep.start)
    return [f"{key}={sweep.start + inside}", f"{key}={sweep.end - inside}"]


def _lines(params: Mapping[str, Any]) -> list[str]:
    return [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in params.items()]
