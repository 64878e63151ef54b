import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from irdream.datasets import composition as module
from irdream.datasets.composition import (
    BASS,
    CHORDAL,
    INSTRUMENTS,
    Composition,
    Piece,
    SilentLeadError,
    Voice,
    backing,
    compose,
    draw_piece,
    lead,
    level,
    perform,
    room,
    with_vibrato,
)
from irdream.instruments import CODES

PIECES = 60  # of each instrument
RATE_HZ = 22_050


def composed(code: str, seed: int, *, seconds: float = 6.5) -> tuple[Piece, Voice, list[Voice]]:
    rng = np.random.default_rng([CODES.index(code), seed])
    piece = draw_piece(rng, seconds=seconds)
    return piece, lead(rng, code, piece), backing(rng, piece)


@pytest.fixture(scope="module")
def leads() -> dict[str, list[tuple[Piece, Voice]]]:
    return {code: [composed(code, seed)[:2] for seed in range(PIECES)] for code in CODES}


@pytest.fixture(scope="module")
def backings() -> list[tuple[Piece, list[Voice]]]:
    return [(piece, voices) for piece, _, voices in (composed("vio", i) for i in range(200))]


def simultaneous(voice: Voice) -> bool:
    """Whether two notes start within the 30 ms of a strum."""
    starts = sorted(note.start for note in voice.notes)
    return any(b - a <= 0.031 for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("code", CODES)
def test_a_lead_can_be_played(code: str, leads: dict[str, list[tuple[Piece, Voice]]]) -> None:
    programs, low, high = INSTRUMENTS[code]
    assert {voice.program for _, voice in leads[code]} == set(programs)
    for piece, voice in leads[code]:
        assert not voice.drums
        assert voice.notes
        for note in voice.notes:
            assert low <= note.key <= high
            assert 20 <= note.velocity <= 127
            assert note.length > 0
        key = {(piece.tonic + step) % 12 for step in piece.scale}
        assert {note.key % 12 for note in voice.notes} <= key
        assert 0 <= min(note.start for note in voice.notes) < piece.seconds
        assert max(note.start for note in voice.notes) < piece.seconds + 0.2


@pytest.mark.parametrize("code", CODES)
def test_only_chordal_instruments_play_chords(code, leads) -> None:
    chords = sum(simultaneous(voice) for _, voice in leads[code])
    if code in CHORDAL:
        assert PIECES / 6 < chords < PIECES / 2  # a third, by chance
    else:
        assert chords == 0
    for seed in range(50):  # never empty, however short
        assert composed(code, seed, seconds=0.05)[1].notes


def test_chords_are_triads_that_follow_the_bars() -> None:
    major = (0, 2, 4, 5, 7, 9, 11)
    piece = Piece(seconds=9.0, beat_seconds=0.5, tonic=2, scale=major, chords=(0, 3, 4, 0))
    assert piece.chord(0.0) == (2, 6, 9)  # D major
    assert piece.chord(1.99) == (2, 6, 9)
    assert piece.chord(2.0) == (7, 11, 2)  # G major
    assert piece.chord(4.5) == (9, 1, 4)  # A major
    assert piece.chord(8.0) == piece.chord(0.0)
    assert piece.chord(np.nextafter(2.0, 0.0)) == piece.chord(2.0)  # rounding is no bar
    assert [piece.degree(step) for step in (0, 6, 7, 9)] == [2, 13, 14, 18]


def test_a_backing_has_none_to_three_voices(backings: list[tuple[Piece, list[Voice]]]) -> None:
    assert {len(voices) for _, voices in backings} == {0, 1, 2, 3}
    parts = Counter(part for _, voices in backings for part in map(kind, voices))
    for part, share in (("bass", 0.55), ("pad", 0.45), ("drums", 0.45)):
        assert parts[part] == pytest.approx(share * len(backings), rel=0.2)


@pytest.mark.parametrize(
    ("part", "plays"),
    [
        ("bass", lambda piece, note: 28 <= note.key < 40),
        ("bass", lambda piece, note: note.key % 12 == piece.chord(note.start + 0.01)[0]),
        ("pad", lambda piece, note: 52 <= note.key < 64),
        ("pad", lambda piece, note: note.key % 12 in piece.chord(note.start + 0.01)),
        ("drums", lambda piece, note: note.key in (36, 38, 42, 46, 49, 51)),
    ],
    ids=["bass range", "bass roots", "pad range", "pad chords", "drum keys"],
)
def test_a_backing_plays_what_it_should(part, plays, backings) -> None:
    for piece, voices in backings:
        for voice in (voice for voice in voices if kind(voice) == part):
            assert voice.notes
            assert all(plays(piece, note) for note in voice.notes)


def kind(voice: Voice) -> str:
    if voice.drums:
        return "drums"
    return "bass" if voice.program in BASS else "pad"


# Performed


def sine(voices: Sequence[Voice]) -> np.ndarray:
    """Play 440 Hz, as loud as the first voice's program says."""
    time = np.arange(RATE_HZ) / RATE_HZ
    return (voices[0].program / 10 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def test_a_composition_has_each_instrument_as_a_lead() -> None:
    rng = np.random.default_rng(0)
    composition = compose(rng, draw_piece(rng, seconds=3.0), ["vio", "pia"])
    assert [code for code, _, _ in composition.leads] == ["vio", "pia"]
    assert all(-4 <= level_db <= 0 for _, _, level_db in composition.leads)
    assert -24 <= composition.backing_db <= 0


def performed(*leads: tuple[Voice, float], seed: int = 0, skipped: float = 0.0) -> np.ndarray:
    composition = Composition(
        leads=[("vio", voice, level_db) for voice, level_db in leads],
        backing=[Voice(3)],
        backing_db=-60.0,
    )
    return perform(
        np.random.default_rng(seed),
        composition,
        sine,
        sample_rate_hz=RATE_HZ,
        skipped_seconds=skipped,
    )


def test_a_player_performs_a_composition_at_a_random_level() -> None:
    sounds = [performed((Voice(5), -3.0), (Voice(1), -3.0), seed=seed) for seed in range(20)]
    peaks_db = [20 * np.log10(np.abs(sound).max()) for sound in sounds]
    assert -20.01 <= min(peaks_db) < -15
    assert -5 < max(peaks_db) <= -0.49
    whole, end = performed((Voice(5), 0.0)), performed((Voice(5), 0.0), skipped=0.25)
    assert whole.dtype == np.float32
    assert len(end) == len(whole) - round(0.25 * RATE_HZ)
    assert np.corrcoef(whole[-len(end) :], end)[0, 1] == pytest.approx(1)


def pitches(sound: np.ndarray) -> np.ndarray:
    """Return the pitch of one tone over time, in semitones above 440 Hz."""
    spectrum = np.fft.fft(sound)
    spectrum[len(sound) // 2 :] = 0
    phase = np.unwrap(np.angle(np.fft.ifft(spectrum)))[2000:-2000]
    frame = RATE_HZ // 100
    return 12 * np.log2((phase[frame:] - phase[:-frame]) / frame * RATE_HZ / (2 * np.pi) / 440)


def test_a_vibrato_swings_about_the_pitch() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * RATE_HZ) / RATE_HZ).astype(np.float32)
    for seed in range(8):
        sound = with_vibrato(np.random.default_rng(seed), tone, sample_rate_hz=RATE_HZ)
        assert sound.shape == tone.shape
        assert sound.dtype == np.float32
        pitch = pitches(sound)
        assert 0.05 < np.abs(pitch).max() < 0.6
        assert np.median(pitch) == pytest.approx(0, abs=0.05)
        turns = (np.diff(np.sign(pitch[::50])) != 0).sum() / (len(pitch) / RATE_HZ) / 2
        assert 3 < turns < 8


def test_vibrato_does_not_tell_the_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    swung: list[bool] = []

    def note(rng, sound, *, sample_rate_hz):
        swung.append(True)
        return sound

    monkeypatch.setattr(module, "with_vibrato", note)
    counts = {}
    for code in CODES:
        swung.clear()
        for seed in range(200):
            music = Composition(leads=[(code, Voice(5), 0.0)], backing=[], backing_db=0.0)
            rng = np.random.default_rng([seed, CODES.index(code)])
            perform(rng, music, sine, sample_rate_hz=RATE_HZ, vibrato=seed % 2 == 0)
        counts[code] = len(swung)
    assert counts.pop("pia") == 0
    assert 0 < counts.pop("gac") < 25
    assert 5 < counts.pop("gel") < 40
    assert all(25 < count < 65 for count in counts.values()), counts


def test_a_lead_that_is_silent_is_told() -> None:
    with pytest.raises(SilentLeadError, match="no sound of vio"):
        performed((Voice(5), 0.0), (Voice(0), 0.0))


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


def test_the_level_is_that_of_the_loud_half() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert level(tone) == pytest.approx(0.5**0.5, rel=1e-3)
    half = tone * (np.arange(RATE_HZ) < RATE_HZ / 2)
    assert level(half) == pytest.approx(0.5**0.5, rel=1e-2)
    assert level(np.zeros(RATE_HZ)) == 0
    assert level(np.zeros(10)) == 0  # less than a block
