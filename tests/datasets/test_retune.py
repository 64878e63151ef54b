from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from irdream.datasets.composition import Note, Voice
from irdream.datasets.rendering import TIM_GM6MB, font_path, render
from irdream.datasets.retune import retune, retuned
from irdream.errors import InputError

MakeFont = Callable[..., bytes]

RATE_HZ = 22_050
KEY_RANGE, COARSE, FINE, SAMPLE, ROOT = 43, 51, 52, 53, 58
LOOPED = (54, 1)
PLAY = (LOOPED, (SAMPLE, 0))

# Programs of one 440 Hz sample whose header says root 60; the key at which 440 Hz must sound.
PROGRAMS = {
    "header alone": (60, [PLAY]),
    "override": (69, [((ROOT, 69), *PLAY)]),
    "another override of the same sample": (57, [((ROOT, 57), *PLAY)]),
    "override in the global zone": (69, [((ROOT, 69),), PLAY]),
    "zone against global zone": (72, [((ROOT, 69),), ((ROOT, 72), *PLAY)]),
    "a second zone without a sample is ignored": (69, [((ROOT, 69),), ((ROOT, 50),), PLAY]),
    "coarse tune down": (69, [((COARSE, -9), *PLAY)]),
    "coarse tune and override": (69, [((COARSE, 3), (ROOT, 72), *PLAY)]),
    "an operator twice": (69, [((KEY_RANGE, 0x7F00), (KEY_RANGE, 0x7F00), (ROOT, 69), *PLAY)]),
    "override that means none": (60, [((ROOT, -1), *PLAY)]),
}


@pytest.fixture(scope="module")
def fonts(make_font: MakeFont, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The hand-made font as it is, and its retuned copy."""
    folder = tmp_path_factory.mktemp("fonts")
    font = folder / "tiny.sf2"
    font.write_bytes(make_font([zones for _, zones in PROGRAMS.values()]))
    return font, retuned(font, cache_dir=folder / "copies")


def play(font: Path, program: int, key: int) -> np.ndarray:
    note = Note(start=0.0, length=0.9, key=key, velocity=100)
    return render([Voice(program, [note])], font=font, seconds=0.9, sample_rate_hz=RATE_HZ)


def peak_hz(sound: np.ndarray) -> float:
    """The strongest frequency, to a fraction of a Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * len(sound)))
    return float(spectrum.argmax()) * RATE_HZ / (8 * len(sound))


def period_hz(sound: np.ndarray, *, near_hz: float) -> float:
    """The rate of repetition within two octaves around `near_hz`, by autocorrelation."""
    power = np.abs(np.fft.rfft(sound, 2 * len(sound))) ** 2
    correlation = np.fft.irfft(power, 16 * len(sound))  # eight times as fine
    first = round(8 * RATE_HZ / near_hz / 2.5)
    lags = correlation[first : round(8 * RATE_HZ / near_hz * 2.5)]
    peaks = np.flatnonzero((lags[1:-1] > lags[:-2]) & (lags[1:-1] >= lags[2:])) + 1
    shortest = peaks[lags[peaks] > 0.9 * lags[peaks].max()][0]
    return 8 * RATE_HZ / (first + shortest)


def cents(hz: float, wanted_hz: float) -> float:
    return 1200 * np.log2(hz / wanted_hz)


def key_hz(key: int) -> float:
    return 440.0 * 2 ** ((key - 69) / 12)


@pytest.mark.parametrize("case", PROGRAMS)
def test_a_retuned_sample_sounds_at_its_key(case: str, fonts: tuple[Path, Path]) -> None:
    program, (key, _) = list(PROGRAMS).index(case), PROGRAMS[case]
    for step in (-5, 0, 7):
        sounds_hz = peak_hz(play(fonts[1], program, key + step))
        assert cents(sounds_hz, 440.0 * 2 ** (step / 12)) == pytest.approx(0, abs=5)


@pytest.mark.parametrize(
    ("case", "off_cents"),
    [("override", 900), ("override in the global zone", 900), ("coarse tune down", 780)],
)
def test_without_retuning_it_does_not(
    case: str, off_cents: float, fonts: tuple[Path, Path]
) -> None:
    # If this fails, symusic has learned to obey the generators and the copy is not needed.
    sounds_hz = peak_hz(play(fonts[0], list(PROGRAMS).index(case), 69))
    assert cents(sounds_hz, 440.0) == pytest.approx(off_cents, abs=5)


def test_fine_tuning_is_obeyed_once(make_font: MakeFont, tmp_path: Path) -> None:
    font = tmp_path / "fine.sf2"
    font.write_bytes(retune(make_font([[((FINE, 40), (ROOT, 69), *PLAY)]])))
    assert cents(peak_hz(play(font, 0, 69)), 440.0) == pytest.approx(40, abs=5)


def test_a_root_is_held_to_the_keys_there_are(make_font: MakeFont) -> None:
    headers = retune(make_font([[((COARSE, 120), *PLAY)], [((COARSE, -120), *PLAY)]]))
    roots = [header[40] for header in _sample_headers(headers)]
    assert roots[:3] == [60, 0, 127]


def test_a_sample_gets_one_header_for_each_root(make_font: MakeFont) -> None:
    zones = [[((ROOT, root), *PLAY)] for root in (60, 69, 57, 69)]
    headers = _sample_headers(retune(make_font(zones)))
    assert [header[40] for header in headers[:-1]] == [60, 69, 57]
    assert headers[-1].startswith(b"EOS")


def test_a_font_that_is_in_tune_stays_as_it_is(make_font: MakeFont) -> None:
    font = make_font([[PLAY], [((FINE, 7), *PLAY)]])
    assert retune(font) == font


def test_a_retuned_font_is_in_tune(make_font: MakeFont) -> None:
    copy = retune(make_font([zones for _, zones in PROGRAMS.values()]))
    assert retune(copy) == copy


@pytest.mark.parametrize(
    ("loop_end", "kind", "end"),
    [
        (RATE_HZ, 1, RATE_HZ + 40),
        (RATE_HZ - 10, 4, RATE_HZ + 30),
        (RATE_HZ - 40, 1, RATE_HZ),
        (RATE_HZ + 44, 1, RATE_HZ + 46),  # the data end there
    ],
)
def test_a_sample_reaches_beyond_its_loop(
    loop_end: int, kind: int, end: int, make_font: MakeFont
) -> None:
    header = _sample_headers(retune(make_font([[PLAY]], loop_end=loop_end, kind=kind)))[0]
    assert struct.unpack_from("<IIII", header, 20) == (0, end, 441, loop_end)


def test_nothing_beyond_a_sample_is_heard(make_font: MakeFont, tmp_path: Path) -> None:
    """Fill free memory with 1e38 (glibc does), where a synthesizer could read too far."""
    font = tmp_path / "tight.sf2"
    font.write_bytes(retune(make_font([[PLAY]], loop_end=RATE_HZ)))
    program = """if True:
        import sys, numpy, symusic
        for rate_hz in range(21_900, 22_100, 20):
            synthesizer = symusic.Synthesizer(sys.argv[1], rate_hz, 0)
            for key in range(50, 80):
                score = symusic.Score(480, ttype="Second")
                score.tracks.append(symusic.Track("", 0, False, ttype="Second"))
                note = symusic.Note(0.0, 2.5, key, 100, ttype="Second")
                score.tracks[0].notes.append(note)
                assert numpy.abs(synthesizer.render(score)).max() < 1, key
    """
    for fill in ("126", "129"):
        environment = os.environ | {"MALLOC_PERTURB_": fill}
        subprocess.run([sys.executable, "-c", program, str(font)], env=environment, check=True)


@pytest.mark.parametrize("program", [40, 0], ids=["violin", "piano"])
@pytest.mark.parametrize("key", [57, 64, 69, 76, 81])
def test_the_installed_font_is_in_tune(
    program: int, key: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    font = font_path(TIM_GM6MB, cache_dir=tmp_path_factory.getbasetemp() / "installed")
    sound = play(font, program, key)[4410:]  # without the attack
    assert abs(cents(period_hz(sound, near_hz=key_hz(key)), key_hz(key))) < 50


def test_the_copy_is_used_again(fonts: tuple[Path, Path]) -> None:
    font, copy = fonts
    written = copy.stat()
    assert retuned(font, cache_dir=copy.parent) == copy
    assert copy.stat().st_mtime_ns == written.st_mtime_ns
    assert list(copy.parent.iterdir()) == [copy]


def test_a_changed_font_gets_a_new_copy(make_font: MakeFont, tmp_path: Path) -> None:
    font, copies = tmp_path / "a.sf2", tmp_path / "copies"
    font.write_bytes(make_font([[((ROOT, 69), *PLAY)]]))
    os.utime(font, (1, 1))
    old = retuned(font, cache_dir=copies)
    font.write_bytes(make_font([[((ROOT, 57), *PLAY)]]))
    os.utime(font, (2, 2))
    new = retuned(font, cache_dir=copies)
    assert new != old
    assert new.read_bytes() != old.read_bytes()


def test_a_copy_is_written_whole_or_not_at_all(
    make_font: MakeFont, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    font, copies = tmp_path / "a.sf2", tmp_path / "copies"
    font.write_bytes(make_font([[PLAY]]))
    monkeypatch.setattr("irdream.files.os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        retuned(font, cache_dir=copies)
    assert not list(copies.iterdir())


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no SoundFont at '.*a\.sf2'; expected a \.sf2 or \.sf3"):
        retuned(tmp_path / "a.sf2", cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello, I am no font", "no sfbk form"),
        (b"", "no sfbk form"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "no sfbk form"),
        (b"RIFF\4\0\0\0sfbk", "b'sdta' is not in list"),
        (b"RIFF\x10\0\0\0sfbkLIST\4\0\0\0sdta", "b'pdta' is not in list"),
        (b"RIFF\x1c\0\0\0sfbkLIST\4\0\0\0sdtaLIST\4\0\0\0pdta", "b'smpl'"),
        (b"RIFF\x10\0\0\0sfbkLIST\xff\0\0\0pdta", "a chunk is cut off"),
    ],
)
def test_no_font(content: bytes, reason: str, tmp_path: Path) -> None:
    font = tmp_path / "a.sf2"
    font.write_bytes(content)
    expected = rf"a\.sf2 is not a readable SoundFont \({reason}\); expected a \.sf2 or \.sf3 file"
    with pytest.raises(InputError, match=expected):
        retuned(font, cache_dir=tmp_path / "copies")
    assert not list((tmp_path / "copies").iterdir())


def test_a_font_that_is_cut_off(make_font: MakeFont) -> None:
    with pytest.raises(InputError, match=r"not a readable SoundFont \(a chunk is cut off\)"):
        retune(make_font([[PLAY]])[:-100])


def test_a_zone_that_plays_a_sample_that_is_not_there(make_font: MakeFont) -> None:
    with pytest.raises(InputError, match="is not a readable SoundFont"):
        retune(make_font([[((SAMPLE, 7),)]]))


def _sample_headers(font: bytes) -> list[bytes]:
    at = font.rindex(b"shdr")
    size = struct.unpack_from("<I", font, at + 4)[0]
    return [font[at + 8 + i : at + 8 + i + 46] for i in range(0, size, 46)]
