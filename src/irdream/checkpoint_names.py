"""What a checkpoint is called: those that come along, and at which pitch one hears a sound."""

from __future__ import annotations

import os
import re

NAMES = ("shipped", "second", "robust", "musicnn")  # that come along, each with a CARD.md
FORMS = (
    "a folder with recognizer.json and weights.safetensors, which "
    "irdream.save(Recognizer(...), folder) makes of any network with its weights, "
    f"{', '.join(map(repr, NAMES))}, runs:/... or models:/..."
)  # in which a checkpoint is named
_PITCHED = re.compile(r"(?P<path>.+)@(?P<semitones>[+-](?:12|1[01]|\d)(?:\.\d+)?)")


def pitched(name: str) -> tuple[str, float]:
    """Return a checkpoint's path and by how many semitones it hears a sound higher.

    `second@-3` is the checkpoint `second`, to which all sounds are 3 semitones lower.
    """
    found = None if os.path.exists(os.path.expanduser(name)) else _PITCHED.fullmatch(name)
    return (found["path"], float(found["semitones"])) if found else (name, 0.0)
