"""Hydra tells when a run or a multirun begins and ends; `irdream.sweeps.sweep` does the rest.

Hydra would make a warning of an exception, and run the jobs: so the program ends here.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepCallback(Callback):
    """Opens the parent run of a multirun and closes it; keeps runs out of each other's folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See that no other run writes to the folder, before Hydra does."""
        from irdream.sweeps.output_folder import OutputFolder

        HydraConfig.instance().set_config(config)
        with _ending_the_program():
            OutputFolder(config.hydra.run.dir, key="hydra.run.dir").check()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open it, after what is swept was checked."""
        from hydra_plugins.irdream._sweep_check import check_sweep
        from irdream.sweeps import sweep

        with _ending_the_program():
            check_sweep(config)
            sweep.begin(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close it; a multirun that is killed is closed when the process exits."""
        from irdream.sweeps import sweep

        sweep.end()


@contextmanager
def _ending_the_program() -> Iterator[None]:
    from irdream.cli import command

    try:
        yield
    except Exception as error:
        if said := command.line(error, conf=command.CONF):
            sys.exit(said)
        traceback.print_exc()
        sys.exit(1)
