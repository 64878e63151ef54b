from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from irdream.datasets.composition import Note, Voice
from irdream.datasets.rendering import render
from irdream.datasets.retune import retune, retuned
from irdream.datasets.unpack_samples import COMPRESSED, unpacked
from irdream.errors import InputError

MakeFont = Callable[..., bytes]

RATE_HZ = 22_050
HEADER = np.dtype([("span", "<u4", 4), ("kind", "<u2")])
PLAY = ((54, 1), (53, 0))  # looped, the first sample


def tone(hz: float, samples: int = RATE_HZ) -> np.ndarray:
    wave = 16_000 * np.sin(2 * np.pi * hz * np.arange(samples) / RATE_HZ)
    return wave.astype("<i2")


def vorbis(sound: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, RATE_HZ, format="OGG", subtype="VORBIS")
    return file.getvalue()


def headers(*rows: tuple[tuple[int, int, int, int], int]) -> np.ndarray:
    return np.array([*rows, ((0, 0, 0, 0), 0)], dtype=HEADER)


def test_each_sample_is_decoded_once_and_followed_by_zeros() -> None:
    first, second = tone(440.0, 5000), tone(300.0, 3000)
    streams = vorbis(first), vorbis(second)
    ends = np.cumsum([len(stream) for stream in streams]).tolist()
    shdr = headers(
        ((0, ends[0], 100, 4000), COMPRESSED | 1),
        ((ends[0], ends[1], 50, 9999), COMPRESSED | 1),
        ((0, ends[0], 200, 300), COMPRESSED | 1),
    )
    shdr, smpl = unpacked(shdr, b"".join(streams))
    assert shdr["span"].tolist() == [
        [0, 5000, 100, 4000],
        [5046, 8046, 5096, 8046],  # a loop ends with its sample
        [0, 5000, 200, 300],
        [0, 0, 0, 0],
    ]
    assert shdr["kind"].tolist() == [1, 1, 1, 0]
    sound = np.frombuffer(smpl, "<i2")
    assert len(sound) == 5000 + 46 + 3000 + 46
    assert not sound[5000:5046].any()
    assert np.corrcoef(sound[:5000], first)[0, 1] > 0.99
    assert np.corrcoef(sound[5046:8046], second)[0, 1] > 0.99


def test_samples_that_are_plain_stay_in_place() -> None:
    plain = tone(440.0, 2000).tobytes()
    stream = vorbis(tone(300.0, 3000))
    shdr = headers(
        ((0, 1900, 5, 1800), 1), ((len(plain), len(plain) + len(stream), 0, 9), COMPRESSED | 1)
    )
    shdr, smpl = unpacked(shdr, plain + stream)
    assert shdr["span"][0].tolist() == [0, 1900, 5, 1800]
    assert smpl.startswith(plain)
    start, end = shdr["span"][1, :2].tolist()
    assert end - start == 3000
    assert start == len(plain + stream) // 2


@pytest.fixture
def packed_font(make_font: MakeFont) -> bytes:
    """The hand-made font with its sample as Ogg Vorbis, version 3.1."""
    plain = make_font([[PLAY]], header_root=69, kind=COMPRESSED | 1, loop_end=RATE_HZ - 50)
    stream = vorbis(tone(440.0))
    stream += b"\0" * (len(stream) % 2)
    at = plain.index(b"smpl")
    size = struct.unpack_from("<I", plain, at + 4)[0]
    body = plain[:at] + b"smpl" + struct.pack("<I", len(stream)) + stream + plain[at + 8 + size :]
    grown = len(stream) - size
    sdta = body.index(b"sdta") - 4
    for place in (4, sdta):  # of the file and of the list around the samples
        old = struct.unpack_from("<I", body, place)[0]
        body = body[:place] + struct.pack("<I", old + grown) + body[place + 4 :]
    header = body.index(b"sine") + 20
    body = body[:header] + struct.pack("<II", 0, len(stream)) + body[header + 8 :]
    version = body.index(b"ifil") + 8
    return body[:version] + struct.pack("<HH", 3, 1) + body[version + 4 :]


def test_an_sf3_file_is_played_from_a_plain_copy(packed_font: bytes, tmp_path: Path) -> None:
    font = tmp_path / "tiny.sf3"
    font.write_bytes(packed_font)
    copy = retuned(font, cache_dir=tmp_path / "copies")
    assert copy.suffix == ".sf2"
    content = copy.read_bytes()
    assert struct.unpack_from("<HH", content, content.index(b"ifil") + 8) == (2, 4)
    note = Note(start=0.0, length=0.9, key=69, velocity=100)
    sound = render([Voice(0, [note])], font=copy, seconds=0.9, sample_rate_hz=RATE_HZ)
    spectrum = np.abs(np.fft.rfft(sound))
    assert spectrum.argmax() / 0.9 == pytest.approx(440.0, abs=2.0)


def test_a_sample_that_is_no_sound(packed_font: bytes) -> None:
    at = packed_font.index(b"smpl") + 8
    broken = packed_font[:at] + b"Zggg" + packed_font[at + 4 :]
    expected = (
        r"font is not a readable SoundFont \(a compressed sample cannot be decoded: .*\); exp"
    )
    with pytest.raises(InputError, match=expected):
        retune(broken)
    with pytest.raises(ValueError, match=r"^a compressed sample cannot be decoded: "):
        unpacked(headers(((0, 4, 0, 4), COMPRESSED)), b"Zggg")
