"""MP3s whose length nothing tells: their frames are counted, and a header says how many.

libsndfile takes the length of an MP3 from the Xing or Info header in its first frame, which
programs that write into a pipe leave out. Then it guesses from the size of the first frames, and
reads no more than that: silence at the beginning costs the rest. Here the frames are walked
through, whatever lies before and between them (tags, what was lost in a transfer).
"""

from __future__ import annotations

from collections.abc import Iterator

_KBPS = {  # of MPEG 1, and of 2 and 2.5; layer III
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SAME = 0xFFFE0C00  # the bits of a header that all frames share: version, layer, sample rate
_COUNTS, _OTHER_COUNTS = (b"Xing", b"Info"), b"VBRI"
_ENOUGH = 0.99  # of the frames that a header promises


def counted(data: bytes) -> bytes | None:
    """Return an MP3 again, its frames alone, behind a header that says how many there are.

    Args:
        data: of the file.

    Returns:
        None where the header that is there is right, or promises more frames than there are, or
        where this is no MP3.
    """
    begins = _after_tag(data)
    frames = list(_frames(data, begins))
    if not frames or 2 * sum(map(len, frames)) < len(data) - begins:
        return None
    said = _said(frames[0])
    music = frames if said is None else frames[1:]
    is_cut = said is not None and len(music) < _ENOUGH * said
    is_right = said is not None and len(music) <= said + 1
    if is_cut or (is_right and data.startswith(b"".join(frames), begins)):
        return None
    return b"".join((_header(frames[0], len(music)), *music))


def _after_tag(data: bytes) -> int:
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
    version, rate = bits >> 19 & 3, bits >> 10 & 3
    is_frame = bits >> 21 == 0x7FF and bits >> 17 & 3 == 1 and version != 1 and rate != 3
    if not is_frame or bits >> 12 & 15 == 15 or kind not in (None, bits & _SAME):
        return 0
    bits_a_frame = (144_000 if version == 3 else 72_000) * _KBPS[version == 3][bits >> 12 & 15]
    return bits_a_frame // _RATES_HZ[version][rate] + (bits >> 9 & 1) if bits_a_frame else 0


def _place(frame: bytes) -> int:
    """Return where the header that counts frames stands in the first one, after its side info."""
    bits = _bits(frame, 0)
    is_first, is_mono = bits >> 19 & 3 == 3, bits >> 6 & 3 == 3
    return 4 + {(True, False): 32, (False, True): 9}.get((is_first, is_mono), 17)


def _said(frame: bytes) -> int | None:
    """Return how many frames the first one says; 0 where it says none; None where it is music."""
    header = frame[_place(frame) :]
    if header.startswith(_COUNTS):
        return _bits(header, 8) if header[7] & 1 else 0
    return 0 if frame[36:].startswith(_OTHER_COUNTS) else None


def _header(frame: bytes, count: int) -> bytes:
    """Return a first frame like another one that says how many others there are."""
    bits = _bits(frame, 0) & ~0xF200 | 0x19000  # 128 or 80 kbit/s, not padded, no checksum
    header = bits.to_bytes(4, "big")
    content = header.ljust(_place(header), b"\0") + b"Info\0\0\0\1" + count.to_bytes(4, "big")
    return content.ljust(_size(header, 0, None), b"\0")
