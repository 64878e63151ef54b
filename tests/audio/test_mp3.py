from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from irdream.audio.mp3 import counted

SILENT_SECONDS, SECONDS = 1, 3
GARBAGE = np.random.default_rng(1).bytes(3000)
ID3 = b"ID3\4\0\0\0\0\7\x76" + GARBAGE[: 7 * 128 + 0x76]


def encoded(rate_hz: int, channels: int, *, mode: str = "VARIABLE") -> bytes:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (SECONDS * rate_hz, channels))
    sound[: SILENT_SECONDS * rate_hz] = 0
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


RATES_HZ = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_frames_that_nothing_counts_are_counted(rate_hz: int, channels: int) -> None:
    assert seconds(counted(stripped(encoded(rate_hz, channels)))) == pytest.approx(3.0, abs=0.15)


def test_frames_of_one_size_are_counted() -> None:
    assert seconds(counted(stripped(encoded(44_100, 2, mode="CONSTANT")))) > 3.0


@pytest.fixture(scope="module")
def data() -> bytes:
    return encoded(22_050, 2)


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
    whole = seconds(counted(stripped(data)))
    assert seconds(counted(before + stripped(data) + after)) == whole


def test_what_was_lost_between_the_frames_costs_itself_alone(data: bytes) -> None:
    for mp3 in (data, stripped(data)):
        middle = len(mp3) // 2
        assert seconds(counted(mp3[:middle] + GARBAGE + mp3[middle:])) > 2.9
        assert seconds(counted(mp3[:middle] + mp3[middle + 200 :])) > 2.8


def test_half_a_frame_at_the_end_is_left_out(data: bytes) -> None:
    whole = seconds(counted(stripped(data)))
    assert seconds(counted(stripped(data)[:-20])) == pytest.approx(whole, abs=0.03)


@pytest.mark.parametrize("before", [b"", ID3], ids=["nothing", "id3v2"])
def test_a_header_that_is_right_or_promises_more_is_left_alone(data: bytes, before: bytes) -> None:
    assert counted(before + data) is None
    assert counted(before + data[: len(data) // 2]) is None


def test_a_header_that_promises_less_is_replaced(data: bytes) -> None:
    assert seconds(counted(data + data)) == pytest.approx(6.0, abs=0.3)


def test_a_header_without_a_number_is_replaced(data: bytes) -> None:
    at = max(data.find(b"Xing"), data.find(b"Info"))
    without = data[: at + 7] + bytes([data[at + 7] & ~1]) + data[at + 8 :]
    assert seconds(counted(without)) == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize(
    "no_mp3", [b"", b"\xff", b"ID3", ID3, GARBAGE * 9, b"\xff" * 5000, bytes(5000)]
)
def test_what_is_no_mp3_is_left_alone(no_mp3: bytes) -> None:
    assert counted(no_mp3) is None
