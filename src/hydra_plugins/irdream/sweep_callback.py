"""What happens before a run or a multirun begins, and when a multirun has ended.

What is swept is checked first, each value once, not each combination. Hydra would find a wrong key
when it composes the jobs, after the parent run was opened, and a value out of range in its job.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from irdream.cli import command
from irdream.errors import InputError
from irdream.sweeps import sweep
from irdream.sweeps.job import OutputFolder, same_folder

MOST = 100  # jobs that are composed, 0.1 s each
_INSIDE = 1e-9  # of an interval: its ends themselves need not be allowed


class SweepCallback(Callback):
    """Opens the parent run of a multirun and closes it; keeps runs out of each other's folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See that no other run writes to the folder, before Hydra does."""
        HydraConfig.instance().set_config(config)
        with _ending_the_program():
            OutputFolder(config.hydra.run.dir, key="hydra.run.dir").check()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check what is swept, and open the parent run."""
        with _ending_the_program():
            check_sweep(config)
            sweep.begin(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close the parent run; that of a multirun that is killed is closed at exit."""
        with _ending_the_program():
            sweep.end()


@contextmanager
def _ending_the_program() -> Iterator[None]:
    """End the program on an error, of which Hydra would make a warning, and run the jobs."""
    try:
        yield
    except Exception as error:
        if said := command.line(error):
            sys.exit(said)
        traceback.print_exc()
        sys.exit(1)


def check_sweep(config: DictConfig, loader: ConfigLoader | None = None) -> None:
    """Compose and check jobs that together contain each swept value once.

    Raises InputError on the first mistake, or where two jobs would have one folder.
    """
    _check_trust(config)
    loader = loader or GlobalHydra.instance().config_loader()
    params = OmegaConf.to_container(config.hydra.sweeper).get("params") or {}  # type: ignore[union-attr]
    lines = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in params.items()]
    typed: Any = OmegaConf.to_container(config.hydra.overrides.task)  # ${} as it was typed
    words_of_jobs = probes([*lines, *typed], loader)
    folders: set[str] = set()
    for number, words in enumerate(itertools.islice(words_of_jobs, MOST)):
        job = loader.load_sweep_config(config, words)
        command.prepare(job, words)
        command.check(job)
        if (folder := _folder(job, number)) in folders:
            raise same_folder(folder)
        folders.add(folder)


def _check_trust(config: DictConfig) -> None:
    """Raise InputError where the sweeper's yaml builds what neither is trusted nor was typed."""
    typed = OmegaConf.to_yaml(config.hydra.overrides.hydra)
    trusted = ("hydra_plugins", "hydra", "optuna", *config.trust)
    for target in re.findall(r"_target_: (\S+)", OmegaConf.to_yaml(config.hydra.sweeper)):
        package = target.partition(".")[0]
        if package not in trusted and target not in typed:
            raise InputError(
                f"hydra.sweeper: {target} is not trusted; expected something in optuna; to allow "
                f"it add 'trust=[{package}]'"
            )


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
    """Yield the overrides of jobs that vary one key each, the others at their first value."""
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(words))
    values = {override.get_key_element(): _values(override) for override in overrides}
    first = {key: choices[0] for key, choices in values.items() if choices}
    yield list(first.values())
    for key, choices in values.items():
        for choice in choices[1:]:
            yield list({**first, key: choice}.values())


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    key, sweep = override.get_key_element(), override.value()
    if not override.is_interval_sweep():
        if values := [f"{key}={value}" for value in override.sweep_string_iterator()]:
            return values
        raise InputError(
            f"{override.input_line} gives no value; expected some, such as {key}=A,B; glob(...) is "
            "of a group's choices, range(...) leaves its end out"
        )
    start, end = sweep.start, sweep.end  # type: ignore[union-attr]
    is_whole = isinstance(start, int) and isinstance(end, int)
    inside = 0 if is_whole else _INSIDE * (end - start)  # type: ignore[operator]
    return [f"{key}={start + inside}", f"{key}={end - inside}"]  # type: ignore[operator]
