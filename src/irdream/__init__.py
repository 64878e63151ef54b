"""irdream dreams a sound toward an instrument that a recognizer knows.

Importing the package costs nothing: torch and its friends are imported by the modules
that need them, so that the command line can answer `--help` or a typo at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irdream.api import dream
    from irdream.attributions import attribute
    from irdream.checkpoint_folder import load_recognizer as load
    from irdream.checkpoint_folder import save_recognizer as save
    from irdream.errors import InputError
    from irdream.recognizer import Recognizer

__all__ = ["InputError", "Recognizer", "__version__", "attribute", "dream", "load", "save"]
__version__ = "0.1.0"
_FROM = {
    "InputError": "errors.InputError",
    "Recognizer": "recognizer.Recognizer",
    "attribute": "attributions.attribute",
    "dream": "api.dream",
    "load": "checkpoint_folder.load_recognizer",
    "save": "checkpoint_folder.save_recognizer",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _FROM[name].rpartition(".")
    return getattr(importlib.import_module(f"irdream.{module}"), attribute)
