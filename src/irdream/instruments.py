"""The eleven instruments of IRMAS (Bosch et al. 2012), in index order.

The order is alphabetical by code, cel = 0 ... voi = 10, and every array of the project
with an axis `instruments` follows it.
"""

from __future__ import annotations

from irdream.errors import InputError, nearest

NAMES: dict[str, str] = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "acoustic guitar",
    "gel": "electric guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}
CODES: tuple[str, ...] = tuple(NAMES)

_ALIASES = {"singing voice": "voi", "vocals": "voi"}


def index(code: str) -> int:
    """Return the place of an instrument's code on the axis `instruments`."""
    return CODES.index(code)


def name(code: str) -> str:
    """Return the long name of an instrument's code."""
    return NAMES[code]


def parse(text: str) -> str:
    """Return the code of an instrument given by its code or its name, in any case.

    `flu`, `flute`, `Flute`, `acoustic_guitar` and `acoustic guitar` are all understood.

    Raises:
        InputError: when no instrument is called so.
    """
    word = str(text).strip().lower().replace("_", " ").replace("-", " ")
    if word in NAMES:
        return word
    words = {long: code for code, long in NAMES.items()} | _ALIASES
    if word in words:
        return words[word]
    expected = ", ".join(f"{code} ({long})" for code, long in NAMES.items())
    near = nearest(word, [*NAMES, *words])
    raise InputError(f"unknown instrument {text!r}; expected one of {expected}{near}")
