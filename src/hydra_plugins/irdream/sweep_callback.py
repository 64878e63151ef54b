"""Hydra tells when a multirun begins and ends; `irdream.sweep` does the rest."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepCallback(Callback):
    """Opens the parent run of a multirun and closes it."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open it, after what is swept was checked.

        Hydra would make a warning of an exception, and run the jobs: so the program ends here.
        """
        from hydra_plugins.irdream._sweep_check import check_sweep
        from irdream import command, sweep

        try:
            check_sweep(config)
            sweep.begin(config)
        except Exception as error:
            if said := command.line(error, conf=command.CONF):
                sys.exit(said)
            traceback.print_exc()
            sys.exit(1)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close it; a multirun that is killed is closed when the process exits."""
        from irdream import sweep

        sweep.end()
