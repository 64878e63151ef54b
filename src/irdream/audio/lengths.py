"""Files whose headers do not say truly how much sound there is.

A recorder that is killed, and a program that writes into a pipe, cannot come back to the header:
the size of the sound stays 0, as large as it can be, or what it was some time ago. Such a file is
read to its end. A copy that was cut has a size that was true once; it is refused.

libsndfile takes the length of an MP3 from the Xing or Info header in its first frame, which
programs that write into a pipe leave out. Then it guesses from the size of the first frames, and
reads no more than that: silence at the beginning costs the rest. So the frames are counted here,
whatever lies before and between them (tags, what was lost in a transfer).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from irdream.errors import InputError

_LIMITS = (2**31, 2**32, 0x7F000000)  # sizes that pipes get; the last is SoX's, of AIFF
_NEAR = 2**17  # less than which they are off: they count headers, or whole frames
_TAIL_BYTES = 4096  # of less than this after the sound nothing is sound
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICS")  # that players append to any file


class _Form(NamedTuple):
    """How a file format lays out its chunks, each a name, a size and the content."""

    first: int = 12  # where the chunks begin
    name_bytes: int = 4
    size_bytes: int = 4
    order: Literal["little", "big"] = "little"  # of the bytes of a size
    counted: int = 0  # bytes before the content that a size counts too
    multiple: int = 2  # each chunk begins at one of this


class _Sound(NamedTuple):
    """Where a header stores the size of the sound, where the sound begins, and that size."""

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
_CHUNKS = (b"data", b"SSND", b"BODY")  # that hold the sound


def bad(path: Path, problem: str, remedy: str) -> InputError:
    """Return the error of a sound file that cannot be used."""
    return InputError(f"{str(path)!r} {problem}; {remedy}")


def mended(path: Path, file: BinaryIO) -> BinaryIO:
    """Return a sound file, at its beginning, whose header says how much sound there is.

    `file` itself where there is nothing to mend. Raises InputError when it was cut off.
    """
    file_bytes = os.fstat(file.fileno()).st_size
    sound = _find_sound(file, file_bytes)
    if sound is not None:
        available = max(0, file_bytes - sound.begins)
        unknown = sound.promised >= 2**62 or any(
            abs(sound.promised - limit) <= _NEAR for limit in _LIMITS
        )
        if sound.promised > available and not unknown:
            cut = f"is cut off: {available} of {sound.promised} bytes of sound"
            raise bad(path, cut, "copy or export it again")
        if sound.promised > available or _continues(file, sound, available):
            file.seek(0)
            content = bytearray(file.read())
            size_bytes = sound.field.stop - sound.field.start
            size = min(available + sound.form.counted, 256**size_bytes - 1)
            content[sound.field] = size.to_bytes(size_bytes, sound.form.order)
            if content[:4] in _LONG:
                content[:4] = b"RIFF"  # the largest size of which means all that there is
            return io.BytesIO(content)
    file.seek(0)
    return file


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
        if head.startswith(_CHUNKS):
            promised = size if size < 0xFFFFFFFF or long_size is None else long_size
            return _Sound(form, field, field.stop, promised)
        if head.startswith(b"ds64"):
            long_size = int.from_bytes(file.read(16)[8:], form.order)
        at = field.stop + size
        at += -at % form.multiple
    return None


def _continues(file: BinaryIO, sound: _Sound, available: int) -> bool:
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


# MP3

_KBPS = {  # of MPEG 1, and of 2 and 2.5; layer III
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SAME = 0xFFFE0C00  # the bits of a header that all frames share: version, layer, sample rate
_ENOUGH = 0.99  # of the frames that a header promises


def with_frame_count(data: bytes) -> bytes | None:
    """Return an MP3 again, its frames alone, behind a header that says how many there are.

    None where the header that is there is right, or promises more frames, or where it is no MP3.
    """
    begins = after_tag(data)
    frames = list(_frames(data, begins))
    if not frames or 2 * sum(map(len, frames)) < len(data) - begins:
        return None
    promised = _promised(frames[0])
    music = frames if promised is None else frames[1:]
    if promised is not None:
        is_right = len(music) <= promised + 1 and data.startswith(b"".join(frames), begins)
        if is_right or len(music) < _ENOUGH * promised:
            return None
    # A first frame like the others: 128 or 80 kbit/s, not padded, no checksum.
    bits = _bits(frames[0], 0) & ~0xF200 | 0x19000
    header = bits.to_bytes(4, "big")
    header = header.ljust(_place(header), b"\0") + b"Info\0\0\0\1" + len(music).to_bytes(4, "big")
    return b"".join((header.ljust(_size(header, 0, None), b"\0"), *music))


def after_tag(data: bytes) -> int:
    """Return where an ID3v2 tag at the beginning ends."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for seven_bits in data[6:10]:
        size = size << 7 | seven_bits & 0x7F
    return size + (20 if data[5] & 0x10 else 10)  # a footer is as long as the header


def _frames(data: bytes, at: int) -> Iterator[bytes]:
    """Yield the frames of the kind of the first one; it, and one after a gap, must have a next."""
    kind, follows = None, False
    while (at := data.find(b"\xff", at)) >= 0:
        size = _size(data, at, kind)
        after = at + size
        if size and after <= len(data) and (follows or _size(data, after, _bits(data, at) & _SAME)):
            kind = kind or _bits(data, at) & _SAME
            yield data[at:after]
            at, follows = after, True
        else:
            at, follows = at + 1, False


def _bits(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _size(data: bytes, at: int, kind: int | None) -> int:
    """Return how many bytes a frame of layer III has; 0 where none of that kind begins."""
    bits = _bits(data, at)
    version, rate, bit_rate = bits >> 19 & 3, bits >> 10 & 3, bits >> 12 & 15
    is_frame = bits >> 21 == 0x7FF and bits >> 17 & 3 == 1 and version != 1 and rate != 3
    if not is_frame or bit_rate in (0, 15) or kind not in (None, bits & _SAME):
        return 0
    bits_a_frame = (144_000 if version == 3 else 72_000) * _KBPS[version == 3][bit_rate]
    return bits_a_frame // _RATES_HZ[version][rate] + (bits >> 9 & 1)


def _place(frame: bytes) -> int:
    """Return the place of the frame count in the first frame: after its side information."""
    bits = _bits(frame, 0)
    is_first, is_mono = bits >> 19 & 3 == 3, bits >> 6 & 3 == 3
    return 4 + {(True, False): 32, (False, True): 9}.get((is_first, is_mono), 17)


def _promised(frame: bytes) -> int | None:
    """Return how many frames the first one counts; 0 where it counts none; None: it is music."""
    header = frame[_place(frame) :]
    if header.startswith((b"Xing", b"Info")):
        return _bits(header, 8) if header[7] & 1 else 0
    return 0 if frame[36:].startswith(b"VBRI") else None
