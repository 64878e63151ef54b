from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from irdream.datasets.composition import (
    BASS,
    CHORDAL,
    PAD,
    PROGRAMS,
    RANGES,
    Note,
    Piece,
    Voice,
    backing,
    draw_piece,
    lead,
)
from irdream.instruments import CODES

PIECES = 60  # of each instrument


def compose(code: str, seed: int, *, seconds: float = 6.5) -> tuple[Piece, Voice, list[Voice]]:
    rng = np.random.default_rng([CODES.index(code), seed])
    piece = draw_piece(rng, seconds=seconds)
    return piece, lead(rng, code, piece), backing(rng, piece)


@pytest.fixture(scope="module")
def leads() -> dict[str, list[tuple[Piece, Voice]]]:
    return {code: [compose(code, seed)[:2] for seed in range(PIECES)] for code in CODES}


@pytest.fixture(scope="module")
def backings() -> list[tuple[Piece, list[Voice]]]:
    return [(piece, voices) for piece, _, voices in (compose("vio", i) for i in range(200))]


def simultaneous(voice: Voice) -> bool:
    """Whether two notes start within the 30 ms of a strum."""
    starts = sorted(note.start for note in voice.notes)
    return any(b - a <= 0.031 for a, b in itertools.pairwise(starts))


def test_every_instrument_has_programs_and_a_range() -> None:
    assert tuple(PROGRAMS) == CODES
    assert tuple(RANGES) == CODES
    programs = [program for programs in PROGRAMS.values() for program in programs]
    assert len(set(programs)) == len(programs)
    assert not {*programs} & {*BASS, *PAD}


@pytest.mark.parametrize("code", CODES)
def test_a_lead_can_be_played(code: str, leads: dict[str, list[tuple[Piece, Voice]]]) -> None:
    low, high = RANGES[code]
    for piece, voice in leads[code]:
        assert voice.program in PROGRAMS[code]
        assert not voice.drums
        assert voice.notes
        for note in voice.notes:
            assert low <= note.key <= high
            assert 20 <= note.velocity <= 127
            assert note.length > 0
        assert 0 <= min(note.start for note in voice.notes) < piece.seconds
        assert max(note.start for note in voice.notes) < piece.seconds + 0.2


@pytest.mark.parametrize("code", CODES)
def test_only_chordal_instruments_play_chords(
    code: str, leads: dict[str, list[tuple[Piece, Voice]]]
) -> None:
    chords = sum(simultaneous(voice) for _, voice in leads[code])
    if code in CHORDAL:
        assert PIECES / 6 < chords < PIECES / 2  # a third, by chance
    else:
        assert chords == 0


@pytest.mark.parametrize("code", CODES)
def test_all_programs_are_used(code: str, leads: dict[str, list[tuple[Piece, Voice]]]) -> None:
    assert {voice.program for _, voice in leads[code]} == set(PROGRAMS[code])


@pytest.mark.parametrize("code", ["vio", "pia"])
def test_a_lead_is_never_empty_however_short(code: str) -> None:
    for seed in range(100):
        assert compose(code, seed, seconds=0.05)[1].notes


@pytest.mark.parametrize("code", CODES)
def test_the_same_generator_gives_the_same_music(code: str) -> None:
    assert compose(code, 5) == compose(code, 5)
    assert compose(code, 5) != compose(code, 6)


def test_notes_are_those_of_the_key(leads: dict[str, list[tuple[Piece, Voice]]]) -> None:
    for code in CODES:
        for piece, voice in leads[code]:
            key = {(piece.tonic + step) % 12 for step in piece.scale}
            assert {note.key % 12 for note in voice.notes} <= key


def test_pieces_differ_in_tempo_and_key() -> None:
    pieces = [draw_piece(np.random.default_rng(seed), seconds=3.0) for seed in range(300)]
    tempi = [60 / piece.beat_seconds for piece in pieces]
    assert 60 <= min(tempi) < 70
    assert 150 < max(tempi) <= 160
    assert {piece.tonic for piece in pieces} == set(range(12))
    assert len({piece.scale for piece in pieces}) == 3
    assert len({piece.chords for piece in pieces}) == 6


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
    sizes = Counter(len(voices) for _, voices in backings)
    assert set(sizes) == {0, 1, 2, 3}
    parts = Counter(part for _, voices in backings for part in map(kind, voices))
    assert parts["bass"] == pytest.approx(0.55 * len(backings), rel=0.2)
    assert parts["pad"] == pytest.approx(0.45 * len(backings), rel=0.2)
    assert parts["drums"] == pytest.approx(0.45 * len(backings), rel=0.2)


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
def test_a_backing_plays_what_it_should(
    part: str, plays: Callable[[Piece, Note], bool], backings: list[tuple[Piece, list[Voice]]]
) -> None:
    for piece, voices in backings:
        for voice in (voice for voice in voices if kind(voice) == part):
            assert voice.notes
            assert all(plays(piece, note) for note in voice.notes)


def kind(voice: Voice) -> str:
    if voice.drums:
        return "drums"
    return "bass" if voice.program in BASS else "pad"
