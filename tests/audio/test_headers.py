from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from irdream.audio import load_audio
from irdream.errors import InputError

RATE_HZ = 22_050
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE_HZ, 2))
SIZE = 4 * RATE_HZ


def encoded(form: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND, RATE_HZ, format=form, **settings)
    return file.getvalue()


def patched(data: bytes, chunk: bytes, offset: int, field: bytes) -> bytes:
    at = data.index(chunk) + offset
    return data[:at] + field + data[at + len(field) :]


def frames(path: Path, data: bytes) -> int:
    path.write_bytes(data)
    return len(load_audio(path, sample_rate_hz=RATE_HZ))


def wav(size: int, *, riff: int = 0, **settings: Any) -> bytes:
    data = patched(encoded("WAV", **settings), b"RIFF", 4, struct.pack("<I", riff))
    return patched(data, b"data", 4, struct.pack("<I", size))


def rf64(size: int, *, data: int = 0xFFFFFFFF) -> bytes:
    field = struct.pack("<Q", size)
    whole = patched(encoded("RF64", subtype="PCM_16"), b"ds64", 8, 3 * field)
    return patched(whole, b"data", 4, struct.pack("<I", data))


# Of each container: what writes a size in place of the true one.
CONTAINERS: dict[str, Callable[[int], bytes]] = {
    "wav": wav,
    "big-endian wav": lambda size: patched(
        encoded("WAV", endian="BIG"), b"data", 4, struct.pack(">I", size)
    ),
    "rf64": rf64,
    "aiff": lambda size: patched(encoded("AIFF"), b"SSND", 4, struct.pack(">I", size)),
    "au": lambda size: patched(encoded("AU"), b".snd", 8, struct.pack(">I", size)),
    "caf": lambda size: patched(encoded("CAF"), b"data", 4, struct.pack(">Q", size)),
    "w64": lambda size: patched(encoded("W64"), b"data", 16, struct.pack("<Q", size)),
}
FROM_PIPES = [0, 0x7F000000, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFDB, 0x7FFFFFFF, 0x80000000]
FROM_PIPES += [0xFFFFFFDB, 0xFFFFFFFF]
LONG = [
    (container, size) for container in ("rf64", "caf", "w64") for size in (2**63 - 1, 2**64 - 1)
]


@pytest.mark.parametrize(
    ("container", "size"),
    [*LONG, *((container, size) for container in CONTAINERS for size in FROM_PIPES)],
    ids=lambda value: value if isinstance(value, str) else hex(value),
)
def test_a_size_that_was_not_known_is_the_rest_of_the_file(
    tmp_path: Path, container: str, size: int
) -> None:
    assert frames(tmp_path / "a.wav", CONTAINERS[container](size)) == RATE_HZ


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("size", [40, 40_000])
def test_a_size_of_some_time_ago_is_the_rest_of_the_file(
    tmp_path: Path, container: str, size: int
) -> None:
    assert frames(tmp_path / "a.wav", CONTAINERS[container](size)) == RATE_HZ


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kept", [0.99, 0.5])
def test_a_cut_copy_is_refused(tmp_path: Path, container: str, kept: float) -> None:
    counted = {"aiff": 8, "caf": 4, "w64": 24}.get(container, 0)
    data = CONTAINERS[container](SIZE + counted)
    promised = SIZE + (counted if container != "w64" else 0)
    expected = rf"a\.wav' is cut off: \d+ of {promised} bytes of sound; copy or export it again"
    with pytest.raises(InputError, match=expected):
        frames(tmp_path / "a.wav", data[: round(kept * len(data))])


@pytest.mark.parametrize("riff", [0, 8, 36, 0xFFFFFFFF], ids=hex)
def test_the_size_of_the_whole_file_does_not_count(tmp_path: Path, riff: int) -> None:
    assert frames(tmp_path / "a.wav", wav(0, riff=riff)) == RATE_HZ


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFDB])
def test_every_sample_format_is_read_to_its_end(tmp_path: Path, subtype: str, size: int) -> None:
    assert frames(tmp_path / "a.wav", wav(size, subtype=subtype)) == RATE_HZ


@pytest.mark.parametrize("rest", [b"\1", b"\1\2\3"])
def test_half_a_frame_at_the_end_is_left_out(tmp_path: Path, rest: bytes) -> None:
    assert frames(tmp_path / "a.wav", wav(0) + rest) == RATE_HZ


def test_a_long_header_that_was_never_finished(tmp_path: Path) -> None:
    assert frames(tmp_path / "a.wav", rf64(0, data=0)) == RATE_HZ


def test_other_chunks_before_the_sound_of_a_killed_recorder(tmp_path: Path) -> None:
    data, filler = wav(0), b"FLLR" + struct.pack("<I", 4041) + bytes(4042)
    assert frames(tmp_path / "a.wav", data[:36] + filler + data[36:]) == RATE_HZ


NO_SOUND = {
    "chunk": b"LIST" + struct.pack("<I", 5001) + b"a" * 5002,
    "id3": b"ID3\4" + b"x" * 9000,
    "ape": b"APETAGEX\xd0\7\0\0" + b"x" * 9000,
    "id3v1": b"TAG" + b"x" * 125,
    "padding": bytes(9000),
    "little": bytes(range(128, 228)),
}


@pytest.mark.parametrize("rest", NO_SOUND.values(), ids=NO_SOUND)
def test_what_stands_after_the_sound_is_no_sound(tmp_path: Path, rest: bytes) -> None:
    assert frames(tmp_path / "a.wav", wav(SIZE) + rest) == RATE_HZ


@pytest.mark.parametrize("pad", [b"", b"\0"])
def test_a_chunk_after_sound_of_an_odd_size_is_no_sound(tmp_path: Path, pad: bytes) -> None:
    data = wav(SIZE - 1)[:-1] + pad + NO_SOUND["chunk"]
    assert frames(tmp_path / "a.wav", data) == RATE_HZ - 1


@pytest.mark.parametrize(
    "data",
    [
        b"caff\0\1\0\0" + b"junk" + b"\xff" * 8, b"RIFF\0\0\0\0WAVE" + b"\xff" * 90,
        b".snd" + b"\xff" * 20, b".snd\0", b"RIFF", b"riff" + bytes(60),
    ],
)  # fmt: skip
def test_a_damaged_header_is_told_in_one_line(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.wav' is (not readable as sound|cut off|empty)"):
        frames(tmp_path / "a.wav", data)


def test_a_damaged_header_leaves_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"a\.wav' is "):  # libsndfile seeks to -1
        frames(tmp_path / "a.wav", encoded("AIFF").replace(b"SSND", b"SSNX"))
    assert not capfd.readouterr().err


@pytest.mark.parametrize("rest", [b"", NO_SOUND["chunk"]], ids=["nothing", "chunk"])
def test_a_wav_without_a_frame_is_empty(tmp_path: Path, rest: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.wav' is empty \(0 frames\); replace it"):
        frames(tmp_path / "a.wav", wav(0)[:44] + rest)


def test_the_file_itself_stays_as_it_was(tmp_path: Path) -> None:
    frames(tmp_path / "a.wav", wav(0))
    assert (tmp_path / "a.wav").read_bytes() == wav(0)
