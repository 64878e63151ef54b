"""Hydra tells when a multirun begins and ends; `irdream.sweep` does the rest."""

from __future__ import annotations

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepCallback(Callback):
    """Opens the parent run of a multirun and closes it."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open it."""
        from irdream import sweep

        sweep.begin(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close it; a multirun that is killed is closed when the process exits."""
        from irdream import sweep

        sweep.end()
