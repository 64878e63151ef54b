"""Sizes in the headers of sound files that do not tell the truth.

A recorder that is killed, and a program that writes into a pipe, cannot come back to the header:
the size of the sound stays 0, as large as it can be, or what it was some time ago. Such a file is
read to its end. A copy that was cut has a size that was true once; it is refused.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from irdream.errors import InputError

_LIMITS = (2**31, 2**32, 0x7F000000)  # sizes that pipes get; the last is SoX's, of AIFF
_NEAR = 2**17  # less than which they are off: they count headers, or whole frames
_TAIL_BYTES = 4096  # of less than this after the sound nothing is sound
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICS")  # that players append to any file


class _Form(NamedTuple):
    """How a kind of file is made of chunks: a name, a size, and so many bytes."""

    first: int = 12  # where the chunks begin
    name_bytes: int = 4
    size_bytes: int = 4
    order: Literal["little", "big"] = "little"  # of the bytes of a size
    counted: int = 0  # bytes before the content that a size counts too
    multiple: int = 2  # each chunk begins at one of this


class _Sound(NamedTuple):
    """Where a header says how much sound there is, where that begins, and what is said."""

    form: _Form
    field: slice
    begins: int
    promised: int


_LONG = (b"RF64", b"BW64")  # WAVs that may have more than 4 GB
_FORMS = {
    **dict.fromkeys((b"RIFF", *_LONG), _Form()),
    b"RIFX": _Form(order="big"),
    b"FORM": _Form(order="big"),  # AIFF
    b"caff": _Form(first=8, size_bytes=8, order="big", multiple=1),
    b"riff": _Form(first=40, name_bytes=16, size_bytes=8, counted=24, multiple=8),  # Wave64
}
_AU = _Form(order="big", multiple=1)  # has no chunks
_SOUND = (b"data", b"SSND", b"BODY")


def bad(path: Path, problem: str, remedy: str) -> InputError:
    """Return the error of a sound file that cannot be used."""
    return InputError(f"{str(path)!r} {problem}; {remedy}")


def mended(path: Path, file: BinaryIO) -> BinaryIO:
    """Return a sound file, at its beginning, whose header says how much sound there is.

    Args:
        path: for the message.
        file: opened for reading; it is returned where there is nothing to mend.

    Raises:
        InputError: when the file was cut off.
    """
    file_bytes = os.fstat(file.fileno()).st_size
    sound = _find_sound(file, file_bytes)
    file.seek(0)
    if sound is None:
        return file
    available = max(0, file_bytes - sound.begins)
    if sound.promised > available and not _is_unknown(sound.promised):
        cut = f"is cut off: {available} of {sound.promised} bytes of sound"
        raise bad(path, cut, "copy or export it again")
    if sound.promised <= available and not _goes_on(file, sound, available):
        file.seek(0)
        return file
    file.seek(0)
    content = bytearray(file.read())
    size_bytes = sound.field.stop - sound.field.start
    true = min(available + sound.form.counted, 256**size_bytes - 1)
    content[sound.field] = true.to_bytes(size_bytes, sound.form.order)
    if content[:4] in _LONG:
        content[:4] = b"RIFF"  # the largest size of which means all that there is
    return io.BytesIO(content)


def _find_sound(file: BinaryIO, file_bytes: int) -> _Sound | None:
    """Find the sound in a file that says how long it is; None for any other."""
    magic = file.read(4)
    if magic == b".snd":
        begins, promised = (int.from_bytes(file.read(4), "big") for _ in range(2))
        return _Sound(_AU, slice(8, 12), begins, promised)
    form = _FORMS.get(magic)
    if form is None:
        return None
    at, long_size = form.first, None
    while at + form.name_bytes + form.size_bytes <= file_bytes:
        file.seek(at)
        head = file.read(form.name_bytes + form.size_bytes)
        field = slice(at + form.name_bytes, at + len(head))
        size = max(int.from_bytes(head[form.name_bytes :], form.order) - form.counted, 0)
        if head.startswith(_SOUND):
            promised = size if size < 0xFFFFFFFF or long_size is None else long_size
            return _Sound(form, field, field.stop, promised)
        if head.startswith(b"ds64"):
            long_size = int.from_bytes(file.read(16)[8:], form.order)
        at = field.stop + size
        at += -at % form.multiple
    return None


def _is_unknown(size: int) -> bool:
    """Say whether a size stands for one that was not known."""
    return size >= 2**62 or any(abs(size - limit) <= _NEAR for limit in _LIMITS)


def _goes_on(file: BinaryIO, sound: _Sound, available: int) -> bool:
    """Say whether there is sound beyond its promised end: no chunk follows, and no tag."""
    rest, form = available - sound.promised, sound.form
    if rest < (_TAIL_BYTES if sound.promised else 1):
        return False
    for pad in {0, -sound.promised % form.multiple}:
        file.seek(sound.begins + sound.promised + pad)
        head = file.read(form.name_bytes + form.size_bytes)
        size = int.from_bytes(head[form.name_bytes :], form.order)
        is_chunk = head[:4].isascii() and head[:4].decode().isprintable() and size <= rest
        if is_chunk or head.startswith(_TAGS):
            return False
    return not sound.promised or any(file.read())
