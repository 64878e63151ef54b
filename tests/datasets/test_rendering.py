from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from irdream.datasets import rendering
from irdream.datasets.composition import Note, Voice
from irdream.datasets.rendering import (
    TIM_GM6MB,
    font_path,
    level,
    render,
    room,
)
from irdream.errors import InputError

MakeFont = Callable[..., bytes]

RATE_HZ = 22_050
LOOPED, SAMPLE, ROOT = (54, 1), (53, 0), 58


@pytest.fixture(scope="module")
def font(make_font: MakeFont, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Program 0 plays its sample at root 69, program 1 the same sample at root 57."""
    path = tmp_path_factory.mktemp("fonts") / "tiny.sf2"
    path.write_bytes(make_font([[((ROOT, root), LOOPED, SAMPLE)] for root in (69, 57)]))
    return path


def voice(program: int = 0, key: int = 69, start: float = 0.0) -> Voice:
    return Voice(program, [Note(start=start, length=0.5, key=key, velocity=100)])


def play(*voices: Voice, font: Path, cents: int = 0) -> np.ndarray:
    return render(list(voices), font=font, seconds=0.5, sample_rate_hz=RATE_HZ, cents=cents)


def peak_hz(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 16 * len(sound)))
    return float(spectrum.argmax()) * RATE_HZ / (16 * len(sound))


@pytest.mark.parametrize("cents", [-30, 0, 30])
def test_the_tuning_is_set_in_cents(cents: int, font: Path) -> None:
    sounds_hz = peak_hz(play(voice(), font=font, cents=cents))
    assert 1200 * np.log2(sounds_hz / 440) == pytest.approx(cents, abs=3)


@pytest.mark.parametrize("seconds", [0.1, 0.30001, 2.0])
def test_the_length_is_what_was_asked_for(seconds: float, font: Path) -> None:
    sound = render([voice()], font=font, seconds=seconds, sample_rate_hz=RATE_HZ)
    assert sound.shape == (round(seconds * RATE_HZ),)
    assert sound.dtype == np.float32


def test_a_note_sounds_when_it_starts(font: Path) -> None:
    sound = play(voice(start=0.25), font=font)
    assert np.abs(sound[: round(0.24 * RATE_HZ)]).max() == 0
    assert np.abs(sound[round(0.26 * RATE_HZ) :]).max() > 0.01


def test_voices_are_added(font: Path) -> None:
    low, high = voice(key=57), voice(key=64)
    together = play(low, high, font=font)
    assert together == pytest.approx(play(low, font=font) + play(high, font=font), abs=1e-5)


def test_what_was_played_before_changes_nothing(font: Path) -> None:
    alone = play(voice(1, key=57), font=font)
    play(voice(0, key=57), font=font)  # the same sample at the same key, at another root
    assert (play(voice(1, key=57), font=font) == alone).all()
    assert peak_hz(alone) == pytest.approx(440, abs=1)


def test_drums_are_another_bank() -> None:
    font = font_path(TIM_GM6MB)
    notes = [Note(start=0.0, length=0.3, key=38, velocity=100)]
    piano, snare = (play(Voice(0, notes, drums=drums), font=font) for drums in (False, True))
    assert _flatness(snare) > 10 * _flatness(piano)


@pytest.mark.parametrize("program", [40, 0], ids=["violin", "piano"])
@pytest.mark.parametrize("key", [57, 64, 69, 76, 81])
def test_the_installed_font_is_in_tune(program: int, key: int) -> None:
    note = Note(start=0.0, length=0.9, key=key, velocity=100)
    sound = render(
        [Voice(program, [note])],
        font=font_path(TIM_GM6MB), seconds=0.9, sample_rate_hz=RATE_HZ,
    )  # fmt: skip
    wanted_hz = 440.0 * 2 ** ((key - 69) / 12)
    heard_hz = period_hz(sound[4410:], near_hz=wanted_hz)  # without the attack
    assert abs(1200 * np.log2(heard_hz / wanted_hz)) < 50


def test_a_guitar_dies_away_and_a_note_is_released() -> None:
    """The font's envelopes: its samples go on for ever."""
    guitar = Voice(24, [Note(start=0.0, length=2.0, key=60, velocity=100)])
    sound = render([guitar], font=font_path(TIM_GM6MB), seconds=2.5, sample_rate_hz=RATE_HZ)

    def level_db(begin: float) -> float:
        part = sound[round(begin * RATE_HZ) : round((begin + 0.1) * RATE_HZ)]
        return 10 * float(np.log10((part**2).mean() + 1e-12))

    assert level_db(0.05) - 20 < level_db(1.85) < level_db(0.05) - 8
    assert level_db(1.85) - 60 < level_db(2.05) < level_db(1.85) - 6
    assert level_db(2.35) < level_db(2.05) - 6


def test_the_name_of_the_installed_font_is_enough() -> None:
    assert font_path(TIM_GM6MB).name == "TimGM6mb.sf2"


def test_a_program_that_the_font_lacks_is_silent(font: Path) -> None:
    assert not play(voice(program=7), font=font).any()
    together = play(voice(program=7), voice(), font=font)
    assert together == pytest.approx(play(voice(), font=font))


def test_no_synthesizer(font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "find_spec", lambda _: None)
    expected = r"^no synthesizer for dataset=soundfont; expected tinysoundfont: pip install --no-"
    with pytest.raises(InputError, match=expected):
        render([voice()], font=font, seconds=0.1, sample_rate_hz=RATE_HZ + 1)  # none is kept


def test_a_file_that_is_no_font(tmp_path: Path) -> None:
    (tmp_path / "a.sf2").write_text("hello")
    with pytest.raises(InputError, match=r"a\.sf2 is not a readable SoundFont \(.*\); expected a"):
        play(voice(), font=tmp_path / "a.sf2")


@pytest.mark.parametrize("name", ["nowhere.sf2", "TimGM6MB", "", "~/nowhere.sf2"])
def test_no_such_font(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = (
        rf"^no SoundFont at '{name}'; expected 'TimGM6mb' or the path of a \.sf2 or \.sf3 file "
        r"\(Debian's fluid-soundfont-gm installs /usr/share/sounds/sf2/FluidR3_GM\.sf2\)$"
    )
    with pytest.raises(InputError, match=expected):
        font_path(name)


def test_without_pretty_midi_there_is_no_installed_font(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rendering, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="no SoundFont at 'TimGM6mb'"):
        font_path(TIM_GM6MB)


def test_a_home_folder_is_understood(
    font: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.sf2").write_bytes(font.read_bytes())
    assert font_path("~/mine.sf2") == tmp_path / "mine.sf2"


def test_a_room_answers_after_the_sound_not_before() -> None:
    click = np.zeros(RATE_HZ, dtype=np.float32)
    click[5000] = 1.0
    answers = [room(np.random.default_rng(i), click, sample_rate_hz=RATE_HZ) for i in range(8)]
    for answer in answers:
        assert answer.shape == click.shape
        assert answer.dtype == np.float32
        assert np.abs(answer[:5000]).max() < 1e-6
    wet = [float(np.sqrt((answer[5001:] ** 2).sum())) for answer in answers]
    assert max(wet) < 0.3  # at most a quarter of the dry sound
    assert max(wet) > 4 * min(wet)


def test_a_room_follows_from_the_generator() -> None:
    noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    first, again, other = (
        room(np.random.default_rng(seed), noise, sample_rate_hz=RATE_HZ) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_the_level_is_that_of_the_loud_half() -> None:
    sine = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert level(sine) == pytest.approx(0.5**0.5, rel=1e-3)
    half = sine * (np.arange(RATE_HZ) < RATE_HZ / 2)
    assert level(half) == pytest.approx(0.5**0.5, rel=1e-2)
    assert level(np.zeros(RATE_HZ)) == 0
    assert level(np.zeros(10)) == 0  # less than a block


def period_hz(sound: np.ndarray, *, near_hz: float) -> float:
    """The rate of repetition within two octaves around `near_hz`, by autocorrelation."""
    power = np.abs(np.fft.rfft(sound, 2 * len(sound))) ** 2
    correlation = np.fft.irfft(power, 16 * len(sound))  # eight times as fine
    first = round(8 * RATE_HZ / near_hz / 2.5)
    lags = correlation[first : round(8 * RATE_HZ / near_hz * 2.5)]
    peaks = np.flatnonzero((lags[1:-1] > lags[:-2]) & (lags[1:-1] >= lags[2:])) + 1
    shortest = peaks[lags[peaks] > 0.9 * lags[peaks].max()][0]
    return 8 * RATE_HZ / (first + shortest)


def _flatness(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2 + 1e-12
    return float(np.exp(np.log(power).mean()) / power.mean())
