"""A copy of a SoundFont that symusic plays in tune and without clicks.

A SoundFont zone may override the root key of the sample it plays (generator 58,
overridingRootKey) and tune it by semitones (51, coarseTune; SoundFont 2.04, section 8.1.2).
symusic 0.5.8 ignores the first, holds all tuning to 120 cents, and plays the sample at the root
of its header, which many fonts leave at 60: the violin of TimGM6mb then sounds up to 14
semitones sharp, and most of FluidR3 is out of tune. So the copy moves both into the header; a
sample that is played at several roots gets one header for each. The audio is copied unchanged,
fine tuning is obeyed as it is, coarse tuning of a whole preset is left to symusic. Rejected:
shifting the notes that are written, since a shifted note falls into another key zone with
another error.

symusic also rounds the end of a sample and the end of its loop apart, and where they fall
together it reads a value or two behind its buffer, whatever stands there: mostly a click, now
and then 1e30. So the copy lets samples go on for 40 of the 46 guard points that must follow
each of them (section 6.1).

Samples of .sf3 files are decoded (unpack_samples.py).

Cost: reads and writes the file once (6 MB: 30 ms; 148 MB: half a second).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from irdream.datasets.unpack_samples import COMPRESSED, unpacked
from irdream.errors import InputError
from irdream.files import replacing

VERSION = 2  # raised when a font gets another copy
_COARSE_TUNE, _SAMPLE_ID, _OVERRIDING_ROOT_KEY = 51, 53, 58
_NO_ROOT = 0xFFFF
_SF2 = struct.pack("<HH", 2, 4)  # the version of the format; with 3 symusic decodes all samples
_GUARD_SAMPLES = 40
_RECORDS = {
    b"inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    b"ibag": np.dtype([("generator", "<u2"), ("modulator", "<u2")]),
    b"igen": np.dtype([("operator", "<u2"), ("amount", "<u2")]),
    b"shdr": np.dtype(
        [
            ("name", "S20"),
            ("span", "<u4", 4),
            ("rate_hz", "<u4"),
            ("root", "u1"),
            ("correction", "i1"),
            ("link", "<u2"),
            ("kind", "<u2"),
        ]
    ),
}
Chunk = tuple[bytes, bytes]


def retuned(font: Path, *, cache_dir: Path) -> Path:
    """Return the path of `font`'s retuned copy, written into `cache_dir` when it is missing.

    The copy's name holds the font's size and time of change, so a new font gets a new copy.

    Raises:
        InputError: when the file is missing or is not a SoundFont.
    """
    if not font.is_file():
        raise InputError(f"no SoundFont at {str(font)!r}; expected a .sf2 or .sf3 file")
    stat = font.stat()
    change = f"{stat.st_size:x}-{stat.st_mtime_ns:x}"
    copy = cache_dir / f"{font.stem}-{change}-v{VERSION}.sf2"
    if not copy.is_file():
        cache_dir.mkdir(parents=True, exist_ok=True)
        content = retune(font.read_bytes(), name=str(font))
        with replacing(copy) as file:
            file.write(content)
    return copy


def retune(content: bytes, *, name: str = "the font") -> bytes:
    """Return a SoundFont's bytes with what symusic needs in its sample headers.

    Raises:
        InputError: when `content` is not a SoundFont 2 file.
    """
    try:
        if content[:4] != b"RIFF" or content[8:12] != b"sfbk":
            raise ValueError("no sfbk form")
        lists = _chunks(content[12:])
        kinds = [body[:4] if c == b"LIST" else b"" for c, body in lists]
        data, place = kinds.index(b"sdta"), kinds.index(b"pdta")
        sounds, parts = (dict(_chunks(lists[i][1][4:])) for i in (data, place))
        smpl, shdr = sounds[b"smpl"], np.frombuffer(parts[b"shdr"], _RECORDS[b"shdr"]).copy()
        if any(shdr["kind"][:-1] & COMPRESSED):
            shdr, sounds[b"smpl"] = unpacked(shdr, smpl)
            parts[b"shdr"] = shdr.tobytes()
            info = kinds.index(b"INFO")
            lists[info] = _list(b"INFO", dict(_chunks(lists[info][1][4:])) | {b"ifil": _SF2})
        lists[data] = _list(b"sdta", sounds)
        lists[place] = _list(b"pdta", _retuned_parts(parts, samples=len(sounds[b"smpl"]) // 2))
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise InputError(
            f"{name} is not a readable SoundFont ({error}); expected a .sf2 or .sf3 file"
        ) from error
    return _chunk(b"RIFF", b"sfbk" + b"".join(_chunk(c, body) for c, body in lists))


def _retuned_parts(parts: dict[bytes, bytes], *, samples: int) -> dict[bytes, bytes]:
    """Return the parts of pdta with the roots moved and the samples longer, within `samples`."""
    inst, ibag, igen, shdr = (np.frombuffer(parts[c], d).copy() for c, d in _RECORDS.items())
    _extend(shdr[:-1], samples)
    headers = list(shdr[:-1])
    copies: dict[tuple[int, int], int] = {}  # (sample, root) -> header
    for first, last in zip(inst["bag"][:-1], inst["bag"][1:], strict=True):
        defaults: dict[int, int] = {}  # the instrument's global zone comes first
        for zone in range(first, last):
            span = slice(ibag["generator"][zone], ibag["generator"][zone + 1])
            operators = igen["operator"][span].tolist()
            generators = dict(zip(operators, igen["amount"][span].tolist(), strict=True))
            if _SAMPLE_ID not in generators:  # further ones are to be ignored (7.7)
                defaults = generators if zone == first else defaults
                continue
            place = span.start + operators.index(_SAMPLE_ID)
            root = _root({**defaults, **generators}, headers)
            igen["amount"][place] = _header(headers, copies, generators[_SAMPLE_ID], root)
    igen["amount"][igen["operator"] == _COARSE_TUNE] = 0
    igen["amount"][igen["operator"] == _OVERRIDING_ROOT_KEY] = _NO_ROOT
    parts[b"igen"] = igen.tobytes()
    parts[b"shdr"] = np.array([*headers, shdr[-1]], dtype=shdr.dtype).tobytes()
    return parts


def _list(kind: bytes, parts: dict[bytes, bytes]) -> Chunk:
    return b"LIST", kind + b"".join(_chunk(c, part) for c, part in parts.items())


def _extend(shdr: np.ndarray, samples: int) -> None:
    """Let samples reach beyond the end of their loops."""
    end, loop_end = shdr["span"][:, 1], shdr["span"][:, 3]
    beyond = np.minimum(loop_end + np.uint32(_GUARD_SAMPLES), np.uint32(samples))
    shdr["span"][:, 1] = np.maximum(end, beyond)


def _root(generators: dict[int, int], headers: list) -> int:
    """Return the key at which a zone's sample sounds as it was recorded."""
    override = generators.get(_OVERRIDING_ROOT_KEY, _NO_ROOT)
    root = override if override <= 127 else int(headers[generators[_SAMPLE_ID]]["root"])
    coarse = generators.get(_COARSE_TUNE, 0)
    coarse -= 0x10000 if coarse >= 0x8000 else 0
    return min(max(root - coarse, 0), 127)


def _header(headers: list, copies: dict[tuple[int, int], int], sample: int, root: int) -> int:
    """Return the index of a header of `sample` with that root, appended when there is none."""
    if int(headers[sample]["root"]) == root:
        return sample
    if (sample, root) not in copies:
        header = headers[sample].copy()
        header["root"] = root
        headers.append(header)
        copies[sample, root] = len(headers) - 1
    return copies[sample, root]


def _chunks(content: bytes) -> list[Chunk]:
    """Split RIFF content into chunks (identifier, body)."""
    chunks, at = [], 0
    while at + 8 <= len(content):
        size = struct.unpack_from("<I", content, at + 4)[0]
        if at + 8 + size > len(content):
            raise ValueError("a chunk is cut off")
        chunks.append((content[at : at + 4], content[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return chunks


def _chunk(identifier: bytes, body: bytes) -> bytes:
    return identifier + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
