"""The settings below `hydra.launcher` in conf/hydra/launcher/ray.yaml, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from irdream.errors import InputError

OWN = ("address", "runtime_env")  # what ray.init gets from the other settings


@dataclass(frozen=True)
class Settings:
    """How to run jobs on Ray; conf/hydra/launcher/ray.yaml says what each key means.

    Raises:
        InputError: on a value that cannot be used.
    """

    address: str | None = None
    num_cpus: float = 1
    num_gpus: float = 0
    max_jobs: int | None = None
    env: Mapping[str, Any] = field(default_factory=dict)
    init: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.address is not None and not _is_address(self.address):
            raise InputError(
                f"hydra.launcher.address={self.address!r}; "
                "expected null, auto, HOST:PORT or ray://HOST:PORT"
            )
        if not _is_number(self.num_cpus) or self.num_cpus <= 0:
            raise InputError(
                f"hydra.launcher.num_cpus={self.num_cpus!r}; expected a number above 0"
            )
        if not _is_number(self.num_gpus) or self.num_gpus < 0:
            raise InputError(
                f"hydra.launcher.num_gpus={self.num_gpus!r}; expected a number, at least 0"
            )
        if self.max_jobs is not None and not (_is_whole(self.max_jobs) and self.max_jobs >= 1):
            raise InputError(
                f"hydra.launcher.max_jobs={self.max_jobs!r}; "
                "expected a whole number, at least 1, or null"
            )
        _check_mappings(self.env, self.init)

    @property
    def threads(self) -> int:
        """Return how many threads a job gets: one for each whole CPU."""
        return max(1, math.floor(self.num_cpus))


def _check_mappings(env: object, init: object) -> None:
    for name, value in (("env", env), ("init", init)):
        if not isinstance(value, Mapping):
            raise InputError(f"hydra.launcher.{name}={value!r}; expected keys with values")
        for key in value:
            if name == "init" and key in OWN:
                raise InputError(
                    f"hydra.launcher.init.{key} is the launcher's own; "
                    "use hydra.launcher.address and hydra.launcher.env"
                )


def _is_address(address: object) -> bool:
    if not isinstance(address, str):
        return False
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return address == "auto" or bool(host and port.isdecimal())


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    is_real = _is_whole(value) or isinstance(value, float)
    return is_real and math.isfinite(value)  # type: ignore[arg-type]
