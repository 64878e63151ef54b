import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from irdream.audio import load_audio
from irdream.audio.lengths import with_frame_count
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
OF_SOME_TIME_AGO = [40, 40_000]
LONG = [(name, size) for name in ("rf64", "caf", "w64") for size in (2**63 - 1, 2**64 - 1)]


@pytest.mark.parametrize(
    ("container", "size"),
    [*LONG, *((name, size) for name in CONTAINERS for size in (*FROM_PIPES, *OF_SOME_TIME_AGO))],
    ids=lambda value: value if isinstance(value, str) else hex(value),
)
def test_a_size_that_is_not_true_is_the_rest_of_the_file(
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


FILLER = b"FLLR" + struct.pack("<I", 4041) + bytes(4042)
CHUNK = b"LIST" + struct.pack("<I", 5001) + b"a" * 5002
OTHERS = {
    "size of the file": wav(0, riff=0xFFFFFFFF), "that of the head": wav(0, riff=36),
    "8 bits": wav(0, subtype="PCM_U8"), "24 bits": wav(0xFFFFFFDB, subtype="PCM_24"),
    "floats": wav(0, subtype="FLOAT"), "long header, never finished": rf64(0, data=0),
    "other chunks before": wav(0)[:36] + FILLER + wav(0)[36:],
    "half a frame": wav(0) + b"\1\2\3", "chunk after": wav(SIZE) + CHUNK,
    "id3 after": wav(SIZE) + b"ID3\4" + b"x" * 9000,
    "id3 before": b"ID3\4\0\0\0\0\x46\x28" + bytes(9000) + wav(SIZE),
    "ape after": wav(SIZE) + b"APETAGEX\xd0\7\0\0" + b"x" * 9000,
    "id3v1 after": wav(SIZE) + b"TAG" + b"x" * 125, "padding after": wav(SIZE) + bytes(9000),
    "little after": wav(SIZE) + bytes(range(128, 228)),
}  # fmt: skip


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_all_of_the_sound_and_nothing_else_is_read(tmp_path: Path, data: bytes) -> None:
    assert frames(tmp_path / "a.wav", data) == RATE_HZ


@pytest.mark.parametrize("pad", [b"", b"\0"])
def test_a_chunk_after_sound_of_an_odd_size_is_no_sound(tmp_path: Path, pad: bytes) -> None:
    data = wav(SIZE - 1)[:-1] + pad + CHUNK
    assert frames(tmp_path / "a.wav", data) == RATE_HZ - 1


@pytest.mark.parametrize(
    "data",
    [
        b"caff\0\1\0\0" + b"junk" + b"\xff" * 8, b"RIFF\0\0\0\0WAVE" + b"\xff" * 90,
        b".snd" + b"\xff" * 20, b".snd\0", b"RIFF", b"riff" + bytes(60),
        encoded("AIFF").replace(b"SSND", b"SSNX"),  # libsndfile seeks to -1
        wav(0)[:44], wav(0)[:44] + CHUNK,
    ],
)  # fmt: skip
def test_a_damaged_header_is_told_in_one_line(tmp_path: Path, data: bytes, capfd) -> None:
    said = r"a\.wav' is (not readable as sound|cut off|empty \(0 frames\); replace it)"
    with pytest.raises(InputError, match=said):
        frames(tmp_path / "a.wav", data)
    assert not capfd.readouterr().err


def test_the_file_itself_stays_as_it_was(tmp_path: Path) -> None:
    frames(tmp_path / "a.wav", wav(0))
    assert (tmp_path / "a.wav").read_bytes() == wav(0)


# MP3

GARBAGE = np.random.default_rng(1).bytes(3000)
ID3 = b"ID3\4\0\0\0\0\7\x76" + GARBAGE[: 7 * 128 + 0x76]


def mp3_encoded(rate_hz: int, channels: int, *, mode: str = "VARIABLE") -> bytes:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * rate_hz, channels))
    sound[:rate_hz] = 0
    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, format="MP3", bitrate_mode=mode)
    return file.getvalue()


def stripped(data: bytes) -> bytes:
    """Take the first frame away, which counts the others."""
    return data[data.index(data[:2], 4) :]


def seconds(data: bytes | None) -> float:
    assert data is not None
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        frames = len(sound.read())
        assert frames == sound.frames
        return frames / sound.samplerate


MP3_RATES_HZ = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


@pytest.mark.parametrize(("channels", "mode"), [(1, "VARIABLE"), (2, "VARIABLE"), (2, "CONSTANT")])
@pytest.mark.parametrize("rate_hz", MP3_RATES_HZ)
def test_frames_that_nothing_counts_are_counted(rate_hz: int, channels: int, mode: str) -> None:
    data = mp3_encoded(rate_hz, channels, mode=mode)
    assert seconds(with_frame_count(stripped(data))) == pytest.approx(3.0, abs=0.15)


@pytest.fixture(scope="module")
def data() -> bytes:
    return mp3_encoded(22_050, 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ID3, b""), (b"", b"TAG" + bytes(125)), (b"", b"APETAGEX" + GARBAGE[:600]),
        (b"", b"TAG" + b"\xff" * 125), (GARBAGE, b""), (bytes(70), b""), (b"", GARBAGE[:1000]),
    ],
    ids=["id3v2", "id3v1", "ape", "odd tag", "garbage", "zeros", "rest"],
)  # fmt: skip
def test_what_stands_around_the_frames_costs_nothing(
    data: bytes, before: bytes, after: bytes
) -> None:
    whole = seconds(with_frame_count(stripped(data)))
    assert seconds(with_frame_count(before + stripped(data) + after)) == whole


def test_what_was_lost_between_the_frames_costs_itself_alone(data: bytes) -> None:
    for mp3 in (data, stripped(data)):
        middle = len(mp3) // 2
        assert seconds(with_frame_count(mp3[:middle] + GARBAGE + mp3[middle:])) > 2.9
        assert seconds(with_frame_count(mp3[:middle] + mp3[middle + 200 :])) > 2.8
    whole = seconds(with_frame_count(stripped(data)))
    assert seconds(with_frame_count(stripped(data)[:-20])) == pytest.approx(whole, abs=0.03)


@pytest.mark.parametrize("before", [b"", ID3], ids=["nothing", "id3v2"])
def test_a_header_that_is_right_or_promises_more_is_left_alone(data: bytes, before: bytes) -> None:
    assert with_frame_count(before + data) is None
    assert with_frame_count(before + data[: len(data) // 2]) is None


def test_a_header_that_promises_less_or_nothing_is_replaced(data: bytes) -> None:
    assert seconds(with_frame_count(data + data)) == pytest.approx(6.0, abs=0.3)
    at = max(data.find(b"Xing"), data.find(b"Info"))
    without = data[: at + 7] + bytes([data[at + 7] & ~1]) + data[at + 8 :]
    assert seconds(with_frame_count(without)) == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize(
    "no_mp3", [b"", b"\xff", b"ID3", ID3, GARBAGE * 9, b"\xff" * 5000, bytes(5000)]
)
def test_what_is_no_mp3_is_left_alone(no_mp3: bytes) -> None:
    assert with_frame_count(no_mp3) is None
