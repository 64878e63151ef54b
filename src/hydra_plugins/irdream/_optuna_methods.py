"""Samplers, which propose values, and pruners, which stop hopeless jobs, by name or `_target_`."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from hydra.utils import instantiate

from irdream.errors import InputError, nearest

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from hydra_plugins.irdream._optuna_settings import Settings

SamplerMaker: TypeAlias = "Callable[[int], BaseSampler]"
SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "gp": "GPSampler",
    "nsgaii": "NSGAIISampler",
    "cmaes": "CmaEsSampler",
}
PRUNERS = ("median",)


def sampler_maker(settings: Settings, *, objectives: int, batch: int) -> SamplerMaker:
    """Return what builds a sampler, given how many trials the study has.

    Each number of trials has its own seed, so that neither a resumed search nor a second process
    proposes again what was proposed before. A `_target_` is built once, with the seed it names.

    Args:
        settings: name or `_target_`, and seed.
        objectives: how many.
        batch: how many jobs run at once.

    Raises:
        InputError: on a name that is unknown, or that cannot be used here.
    """
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    chosen = settings.sampler
    if isinstance(chosen, Mapping):
        built = _build("sampler", chosen, samplers.BaseSampler)
        return lambda trials: built
    _check_sampler(chosen, objectives)
    more = {"constant_liar": batch > 1} if chosen == "tpe" else {}

    def make(trials: int) -> BaseSampler:
        with warnings.catch_warnings():  # constant_liar was on trial in Optuna 4
            warnings.simplefilter("ignore", ExperimentalWarning)
            return getattr(samplers, SAMPLERS[chosen])(seed=_seed(settings.seed, trials), **more)

    return make


def make_pruner(settings: Settings) -> BasePruner:
    """Build what decides whether a job that reports is worth going on with.

    Raises:
        InputError: on a name that is unknown.
    """
    from optuna import pruners

    chosen = settings.pruner
    if chosen is None:
        return pruners.NopPruner()
    if isinstance(chosen, Mapping):
        return _build("pruner", chosen, pruners.BasePruner)
    if chosen not in PRUNERS:
        raise InputError(
            f"hydra.sweeper.pruner={chosen}; expected null, median, "
            f"or _target_: optuna.pruners. ...{nearest(str(chosen), PRUNERS)}"
        )
    return pruners.MedianPruner()


def _check_sampler(name: str, objectives: int) -> None:
    if name not in SAMPLERS:
        raise InputError(
            f"hydra.sweeper.sampler={name}; expected one of {', '.join(SAMPLERS)}, "
            f"or _target_: optuna.samplers. ...{nearest(str(name), SAMPLERS)}"
        )
    if name == "cmaes" and find_spec("cmaes") is None:
        raise InputError(
            "hydra.sweeper.sampler=cmaes needs the package cmaes; pip install cmaes, or take gp"
        )
    if name == "cmaes" and objectives > 1:
        raise InputError(
            f"hydra.sweeper.sampler=cmaes with {objectives} objectives; expected tpe, gp or nsgaii"
        )


def _seed(seed: int | None, trials: int) -> int | None:
    """Mix both: the first draws of NumPy's generator are alike for seeds that are neighbors."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{seed},{trials}".encode()).digest()[:4], "big")


def _build(name: str, node: Mapping[str, Any], kind: type) -> Any:
    built = instantiate(node, _convert_="all")
    if not isinstance(built, kind):
        raise InputError(
            f"hydra.sweeper.{name}: {node.get('_target_')}; expected a {kind.__name__} of optuna"
        )
    return built
