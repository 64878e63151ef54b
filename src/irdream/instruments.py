"""The eleven instruments of IRMAS (Bosch et al. 2012), in index order.

The order is alphabetical by code, cel = 0 ... voi = 10. They are the labels of a recognizer unless
its data or its checkpoint bring others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
_CODE_OF = {code: code for code in NAMES} | {long: c for c, long in NAMES.items()} | _ALIASES
_LISTED = 50  # labels in a message


def labels_of(given: Iterable[object], where: str = "") -> tuple[str, ...]:
    """Return labels as text, of a sequence or of what numbers them: {0: "kick"}, {"kick": 0}.

    Raises:
        InputError: for fewer than two, empty or equal ones; `where` opens the message.
    """
    if isinstance(given, Mapping):
        is_number = all(isinstance(key, int) for key in given)
        named: Any = given if is_number else {number: label for label, number in given.items()}
        given = [named[number] for number in sorted(named)]
    labels = tuple(map(str, given))
    if not all(labels) or len({*labels}) < max(2, len(labels)):
        raise InputError(
            f"{where}labels {', '.join(map(repr, labels[:_LISTED])) or 'none'}; expected two or "
            "more names, all different"
        )
    return labels


def name(label: str) -> str:
    """Return the long name of an instrument's code; any other label as it is."""
    return NAMES.get(label, label)


def find(text: str, labels: Sequence[str] = CODES) -> str | None:
    """Return the label that a text means; None: there is none.

    Letter case, `_`, `-` and the form of Unicode do not matter, and an instrument's code and names
    are the same.
    """
    given = str(text).strip()
    if given in labels:
        return given
    return next((label for label in labels if _meaning(label) == _meaning(given)), None)


def parse(text: str, labels: Sequence[str] = CODES) -> str:
    """Return the label that a text means, see `find`.

    `flu`, `flute`, `Flute`, `acoustic_guitar` and `acoustic guitar` are all understood. Raises
    InputError when no label is called so.
    """
    found = find(text, labels)
    if found is None:
        words = [*labels, *(long for long, code in _CODE_OF.items() if code in labels)]
        near = nearest(str(text).strip(), dict.fromkeys(words))
        raise InputError(f"unknown instrument {text!r}; expected one of {in_words(labels)}{near}")
    return found


def in_words(labels: Sequence[str]) -> str:
    """Return labels for a message, IRMAS' codes with their names: `flu (flute), snare`."""
    return first_of([f"{x} ({NAMES[x]})" if x in NAMES else x for x in labels])


def first_of(words: Sequence[str]) -> str:
    """Return words for a message: the first fifty, and how many more there are."""
    more = [f"{len(words) - _LISTED} more"] * (len(words) > _LISTED)
    return ", ".join([*words[:_LISTED], *more])


def _meaning(text: str) -> str:
    word = unicodedata.normalize("NFC", text).strip().lower().replace("_", " ").replace("-", " ")
    return _CODE_OF.get(word, word)
