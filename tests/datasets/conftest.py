import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

Zone = Sequence[tuple[int, int]]  # generators: operator and amount
MakeFont = Callable[..., bytes]

RATE_HZ = 22_050


def chunk(identifier: bytes, body: bytes) -> bytes:
    return identifier + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def font_bytes(
    instruments: Sequence[Sequence[Zone]],
    *,
    header_root: int = 60,
    loop_end: int = 441 * 41,
    kind: int = 1,
) -> bytes:
    """A SoundFont whose program i plays the zones of instrument i; its one sample is 440 Hz."""
    sine = 16_000 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    zones = [zone for instrument in instruments for zone in instrument]
    ends = np.cumsum([0, *map(len, instruments)]).tolist()
    generators = np.cumsum([0, *map(len, zones)]).tolist()
    count = len(instruments)
    shdr = "<20sIIIIIBbHH"
    pdta = {
        b"phdr": b"".join(struct.pack("<20sHHHIII", b"p", i, 0, i, 0, 0, 0) for i in range(count))
        + struct.pack("<20sHHHIII", b"EOP", 0, 0, count, 0, 0, 0),
        b"pbag": b"".join(struct.pack("<HH", i, 0) for i in range(count + 1)),
        b"pmod": bytes(10),
        b"pgen": b"".join(struct.pack("<HH", 41, i) for i in range(count)) + bytes(4),
        b"inst": b"".join(struct.pack("<20sH", b"i", end) for end in ends),
        b"ibag": b"".join(struct.pack("<HH", generator, 0) for generator in generators),
        b"imod": bytes(10),
        b"igen": b"".join(struct.pack("<HH", op, n % 2**16) for zone in zones for op, n in zone)
        + bytes(4),
        b"shdr": struct.pack(
            shdr, b"sine", 0, RATE_HZ, 441, loop_end, RATE_HZ, header_root, 0, 0, kind
        )
        + struct.pack(shdr, b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0),
    }
    lists = (
        b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 1)) + chunk(b"INAM", b"tiny\0\0"),
        b"sdta" + chunk(b"smpl", sine.astype("<i2").tobytes() + bytes(2 * 46)),
        b"pdta" + b"".join(chunk(name, body) for name, body in pdta.items()),
    )
    return chunk(b"RIFF", b"sfbk" + b"".join(chunk(b"LIST", body) for body in lists))


@pytest.fixture(scope="session")
def make_font() -> MakeFont:
    """Return `font_bytes`, which builds a tiny SoundFont."""
    return font_bytes


@pytest.fixture(scope="session")
def sine_font(make_font: MakeFont, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All programs are a sine, so that rendering takes no time."""
    path = tmp_path_factory.mktemp("fonts") / "sine.sf2"
    path.write_bytes(make_font([[((54, 1), (53, 0))]] * 100))
    return path
