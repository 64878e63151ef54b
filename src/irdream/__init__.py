"""irdream dreams a sound toward an instrument that a recognizer knows.

Importing the package costs nothing: torch and its friends are imported by the modules
that need them, so that the command line can answer `--help` or a typo at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irdream.dreaming.api import dream
    from irdream.recognizer import save_recognizer as save

__all__ = ["__version__", "dream", "save"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is used from Python when it is used."""
    if name == "dream":
        return importlib.import_module("irdream.dreaming.api").dream
    if name == "save":
        return importlib.import_module("irdream.recognizer").save_recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
