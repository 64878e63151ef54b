import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from irdream.datasets import notes as notes_module
from irdream.datasets.base import ExcerptFile, Mixture
from irdream.datasets.composition import Note, Voice
from irdream.datasets.identity import split_excerpts
from irdream.datasets.notes import Notes, RecordedNote, play
from irdream.datasets.soundfont import SAMPLE_RATE_HZ, SoundFont
from irdream.errors import InputError
from irdream.instruments import CODES
from tests.tiny import peak_hz

MakeFont = Callable[..., bytes]
A4_HZ = 440.0


def write_tone(
    path: Path, hz: float, *, seconds: float = 1.0, silence_seconds: float = 0.0
) -> Path:
    time = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = np.concatenate(
        [np.zeros(round(silence_seconds * SAMPLE_RATE_HZ)), 0.5 * np.sin(2 * np.pi * hz * time)]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone, SAMPLE_RATE_HZ)
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two players of each instrument, in folders, with the pitch in the name."""
    root = tmp_path_factory.mktemp("recorded")
    for code in CODES:
        for player, pitch, hz in (("ann", "A3", 220.0), ("bob", "A4", A4_HZ)):
            write_tone(root / code / player / f"{pitch}.wav", hz)
    return root


@pytest.fixture
def make_notes(recorded: Path, sine_font: Path, tmp_path: Path) -> Callable[..., Notes]:
    def make(**arguments: object) -> Notes:
        given = {"root": recorded, "rendered": tmp_path / "notes", "fonts": str(sine_font)}
        given |= {"training_recordings": 2, "test_excerpts": 1, "transposition": 12}
        return Notes(**(given | arguments))  # type: ignore[arg-type]

    return make


def one(path: Path, *, instrument: str = "pia", key: int | None = 69, is_phrase: bool = False):
    return RecordedNote(path=path, instrument=instrument, player="", key=key, is_phrase=is_phrase)


def played(
    *recorded: RecordedNote, keys: tuple[int, ...] = (69,), seconds: float = 1.0, transposition=4
) -> np.ndarray:
    voice = Voice(0, [Note(0.5 * i, 0.4, key, 100) for i, key in enumerate(keys)])
    rng = np.random.default_rng(0)
    return play(rng, recorded, voice, seconds=seconds, transposition=transposition)


@pytest.mark.parametrize(
    ("key", "hz"),
    [(69, 440.0), (71, 493.9), (66, 370.0), (95, 493.9), (45, 440.0)],
    ids=["as recorded", "a tone higher", "lower", "two octaves too high", "two octaves too low"],
)
def test_a_note_is_shifted_to_its_pitch_or_its_octave(tmp_path: Path, key: int, hz: float) -> None:
    sound = played(one(write_tone(tmp_path / "a.wav", A4_HZ)), keys=(key,))
    assert peak_hz(sound[: round(0.4 * SAMPLE_RATE_HZ)]) == pytest.approx(hz, abs=4)


def test_the_nearest_note_is_played_where_it_stands_and_no_longer(tmp_path: Path) -> None:
    low = one(write_tone(tmp_path / "low.wav", 220.0), key=57)
    high = one(write_tone(tmp_path / "high.wav", A4_HZ, silence_seconds=0.3))
    sound = played(low, high, keys=(57, 69))
    tenth = SAMPLE_RATE_HZ // 10
    assert np.abs(sound[: tenth // 10]).max() > 0.1
    assert peak_hz(sound[: 4 * tenth]) == pytest.approx(220, abs=4)
    assert peak_hz(sound[5 * tenth + tenth // 2 : 9 * tenth]) == pytest.approx(440, abs=4)
    assert np.abs(sound[5 * tenth : 6 * tenth]).max() > 0.4, "the silence before its attack is cut"
    alone = played(high, keys=(69,))
    assert not alone[6 * tenth :].any()


def test_a_note_out_of_reach_is_left_out(tmp_path: Path) -> None:
    low = one(write_tone(tmp_path / "low.wav", 220.0), key=57)
    high = one(write_tone(tmp_path / "high.wav", 880.0), key=81)
    assert not played(low, high, keys=(69,), transposition=2).any()


def test_notes_of_unknown_pitch_are_played_in_rhythm(tmp_path: Path) -> None:
    sound = played(one(write_tone(tmp_path / "x.wav", A4_HZ), key=None), keys=(40, 90))
    assert np.abs(sound[:2000]).max() > 0.1
    assert np.abs(sound[SAMPLE_RATE_HZ // 2 :][:2000]).max() > 0.1


def test_a_phrase_is_played_as_it_is(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "phrase.wav", A4_HZ, seconds=2.0)
    sound = played(one(path, key=None, is_phrase=True), keys=(40,), transposition=0)
    assert np.abs(sound).min() < 0.01 < 0.9 < np.abs(sound).max() <= 1.01
    assert peak_hz(sound) == pytest.approx(A4_HZ, abs=2)


def test_an_electric_guitar_is_distorted_and_a_piano_is_not(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav", A4_HZ)

    def third_harmonic(instrument: str, seed: int) -> float:
        voice = Voice(0, [Note(0.0, 0.9, 69, 100)])
        rng = np.random.default_rng(seed)
        own = [one(path, instrument=instrument)]
        sound = play(rng, own, voice, seconds=0.8, transposition=0)
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
        at = round(A4_HZ * len(sound) / SAMPLE_RATE_HZ)
        return float(spectrum[3 * at - 3 : 3 * at + 4].max() / spectrum[at - 3 : at + 4].max())

    assert max(third_harmonic("pia", seed) for seed in range(6)) < 0.01
    shares = [third_harmonic("gel", seed) for seed in range(12)]
    assert 3 <= sum(share > 0.03 for share in shares) <= 11


def test_notes_that_are_held_die_away_or_swell_at_times(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav", A4_HZ, seconds=2.0)

    def rise_db(instrument: str, seed: int) -> float:
        voice = Voice(0, [Note(0.0, 1.0, 69, 100)])
        rng = np.random.default_rng(seed)
        sound = play(rng, [one(path, instrument=instrument)], voice, seconds=1.0, transposition=0)
        early, late = sound[4000:6000], sound[16000:18000]
        return float(20 * np.log10(late.std() / early.std()))

    rises = np.array([rise_db("tru", seed) for seed in range(40)])
    assert (rises < -5).any()
    assert (rises > 5).any()
    assert (np.abs(rises) < 5).sum() >= 20
    assert max(abs(rise_db("pia", seed)) for seed in range(10)) < 1


def test_all_players_take_turns_and_are_the_sources(make_notes: Callable[..., Notes]) -> None:
    data = make_notes()
    files = data.part("training", sample_rate_hz=SAMPLE_RATE_HZ).files
    assert {f.source for f in files} == {f"{c}: {p}" for c in CODES for p in ("ann", "bob")}
    assert {f.path for f in files} == {f.path for f in data.listed("training")}
    training, validation = split_excerpts(files, "source", validation_share=0.3, seed=0)
    sources = [{files[i].source for i in part} for part in (training, validation)]
    assert sources[1]
    assert sources[0].isdisjoint(sources[1])
    assert {files[i].labels for i in training} == {(code,) for code in CODES}


def test_the_test_part_is_played_by_others(make_notes: Callable[..., Notes]) -> None:
    data = make_notes(test_sources=["bob"])
    by_part = {part: {f.source[5:] for f in data.listed(part)} for part in ("training", "test")}
    assert by_part == {"training": {"ann"}, "test": {"bob"}}


def test_instruments_whose_players_play_both_parts_are_named(
    make_notes: Callable[..., Notes], caplog: pytest.LogCaptureFixture
) -> None:
    make_notes(test_sources=["bob"]).listed("test")
    assert not caplog.text
    make_notes(test_sources=["bob"], exclude_sources=["ann"]).listed("test")
    assert f"are all players of {', '.join(CODES)}, or none: the same play" in caplog.text


def test_what_decides_the_sound_decides_the_folder(make_notes: Callable[..., Notes]) -> None:
    folders = [
        make_notes(**choice).folder("training")
        for choice in ({}, {"exclude_sources": ["bob"]}, {"transposition": 3}, {"seed": 1})
    ]
    assert len(set(folders)) == len(folders)
    assert make_notes().folder("training") == folders[0]


def test_a_manifest_says_pitch_player_and_licence(recorded: Path, tmp_path: Path) -> None:
    rows = [f"{c}/ann/A3.wav,{c},A3,me,home,CC0,note" for c in CODES]
    rows.append("flu/bob/A4.wav,flute,,you,home,CC0,Phrase")
    manifest = recorded / "manifest.csv"
    manifest.write_text("\n".join(["file,class,pitch,player,source,licence,kind", *rows]))
    try:
        data = Notes(root=recorded, rendered=tmp_path)
        assert data.about == "music played by recorded notes: home (CC0)"
    finally:
        manifest.unlink()
    flutes = [note for note in data._recorded if note.instrument == "flu"]
    assert [(n.player, n.key, n.is_phrase) for n in flutes] == [
        ("home: me", 57, False),
        ("home: you", None, True),
    ]


@pytest.mark.parametrize(
    ("text", "key"), [("flute-A4", 69), ("C#4", 61), ("Db4", 61), ("Fs3_ff", 54), ("Flute 2", None)]
)
def test_a_pitch_is_read_from_a_name(text: str, key: int | None) -> None:
    assert notes_module._key(text) == key


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("file,kind", "a.wav,note", "has no class; found file, kind, expected file, class"),
        ("file,class,pitch", "a.wav,flu,H2",
         "pitch 'H2' of a.wav; expected a note such as C4 or F#3"),
        ("file,class", "a.wav,flut", "manifest.csv: unknown instrument 'flut'"),
        ("file,class", "a.wav,flu", "a.wav'; leave its row out"),
        ("file,class", ",flu", "manifest.csv: no such file"),
    ],
    ids=["column", "pitch", "instrument", "file", "no file"],
)  # fmt: skip
def test_a_manifest_that_cannot_be_understood_is_refused(
    tmp_path: Path, header: str, row: str, message: str
) -> None:
    (tmp_path / "manifest.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(InputError, match=re.escape(message)):
        Notes(root=tmp_path).listed("training")


def test_what_cannot_be_played_is_refused(make_notes: Callable[..., Notes], tmp_path: Path) -> None:
    write_tone(tmp_path / "flu" / "A4.wav", A4_HZ)
    for arguments, message in (
        ({"root": tmp_path}, "has no notes of cel, cla, gac"),
        ({"exclude_sources": ["eve"]}, r"exclude_sources: 'eve' is no source of .*ann, bob"),
        ({"root": tmp_path, "test_sources": ["eve"]}, r"of .*; expected manifest.csv to name it$"),
        ({"root": None}, r"dataset.root .*notes.root\) is not set; expected a folder of rec"),
    ):
        with pytest.raises(InputError, match=message):
            make_notes(**arguments).listed("training")


# Mixtures


def test_a_mixture_has_the_excerpts_of_all_by_weight(
    make_notes: Callable[..., Notes], sine_font: Path, tmp_path: Path
) -> None:
    fonts = SoundFont(
        root=tmp_path / "fonts", fonts=str(sine_font), training_recordings=1, test_excerpts=1
    )
    notes = make_notes(training_recordings=1)
    data = Mixture(datasets={"fonts": fonts, "notes": notes}, weights={"notes": 2})
    assert "renders the training part" in data.to_prepare()
    data.prepare()
    assert data.to_prepare() == ""
    excerpts = data.part("training", sample_rate_hz=SAMPLE_RATE_HZ)
    assert {f.name for f in excerpts.files} == {f.name for f in data.listed("training")}
    counts = [len(one.listed("training")) for one in (fonts, notes)]
    assert len(excerpts) == counts[0] + 2 * counts[1]
    assert len({file.name for file in excerpts.files}) == len(excerpts)
    again = excerpts[len(excerpts) - 1]
    first = notes.part("training", sample_rate_hz=SAMPLE_RATE_HZ)[counts[1] - 1]
    assert again.waveform.equal(first.waveform)
    assert len(data.part("test", sample_rate_hz=SAMPLE_RATE_HZ)) == 2 * len(CODES)
    assert data.about == f"{fonts.about}; {notes.about}"


def test_excerpts_without_a_source_are_split_by_recording() -> None:
    files = [
        ExcerptFile(path=Path(str(i)), name=str(i), labels=("flu",), recording=str(i // 2))
        for i in range(8)
    ]
    parts = split_excerpts(files, "source", validation_share=0.25, seed=0)
    recordings = [{files[i].recording for i in part} for part in parts]
    assert recordings[0].isdisjoint(recordings[1])
    assert [len(part) for part in parts] == [6, 2]


@pytest.mark.parametrize(
    ("names", "weights", "message"),
    [
        (["fonts"], {"font": 1}, "dataset.weights: font=1; expected whole numbers of at least 0 f"),
        (["fonts"], {"fonts": -1}, "dataset.weights: fonts=-1; expected"),
        ([], {}, "dataset.datasets is empty; expected data sets by name"),
    ],
)
def test_mixtures_are_checked(sine_font: Path, names, weights, message: str) -> None:
    fonts = SoundFont(root="unused", fonts=str(sine_font))
    with pytest.raises(InputError, match=message):
        Mixture(datasets=dict.fromkeys(names, fonts), weights=weights)
