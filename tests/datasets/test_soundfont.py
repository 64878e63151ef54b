import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from irdream.datasets import composition, soundfont
from irdream.datasets.base import PartName
from irdream.datasets.composition import Note, Voice
from irdream.datasets.soundfont import TIM_GM6MB, SoundFont, font_path, render
from irdream.errors import InputError
from irdream.instruments import CODES
from tests.tiny import peak_hz

MakeFont = Callable[..., bytes]
Files = dict[str, bytes]

RATE_HZ = soundfont.SAMPLE_RATE_HZ
PARTS: tuple[PartName, PartName] = ("training", "test")


def files_of(data: SoundFont, part: PartName) -> Files:
    """The content of a part's files by their place in its folder."""
    folder = data.folder(part)
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def interrupt(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process be killed when it writes its next file but `after`."""
    write, written = soundfont.write_wav, []

    def write_or_die(path: Path, *args: object, **kwargs: object) -> None:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(soundfont, "write_wav", write_or_die)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SoundFont:
    rendered = SoundFont(
        root=tmp_path_factory.mktemp("soundfont"), training_recordings=1, test_excerpts=3
    )
    rendered.prepare()
    return rendered


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Render four instruments only."""
    codes = CODES[:4]
    monkeypatch.setattr(soundfont, "CODES", codes)
    return codes


def test_both_parts_are_read_like_irmas(data: SoundFont) -> None:
    files = data.part("training", sample_rate_hz=RATE_HZ).files
    recordings = Counter(file.recording for file in files)
    assert len(recordings) == len(CODES)
    assert set(recordings.values()) == {1, 2, 3}
    assert {(file.labels, file.genre) for file in files} == {((c,), "pop_roc") for c in CODES}
    cello = next(file for file in files if file.labels == ("cel",))
    assert cello.name == "[cel][nod][pop_roc]0000__1"
    assert cello.recording == "cel/[cel][nod][pop_roc]0000"
    assert cello.path.parts[-3:-1] == ("IRMAS-TrainingData", "cel")
    files = data.part("test", sample_rate_hz=RATE_HZ).files
    assert Counter(file.labels[0] for file in files) == dict.fromkeys(CODES, 3)
    assert [file.name for file in files[:3]] == ["cel-0000", "cel-0001", "cel-0002"]
    assert all(len(set(file.labels)) == len(file.labels) for file in files)
    assert {len(file.labels) for file in files} == {1, 2, 3}
    annotation = files[0].path.with_suffix(".txt").read_bytes()
    assert annotation == "".join(f"{code}\t\n" for code in files[0].labels).encode()


@pytest.mark.parametrize("part", PARTS)
def test_what_is_to_be_rendered_is_listed(data: SoundFont, part: PartName, tmp_path) -> None:
    again = SoundFont(root=tmp_path, training_recordings=1, test_excerpts=3)
    listed = [(file.name, file.labels, file.recording) for file in again.listed(part)]
    files = data.part(part, sample_rate_hz=RATE_HZ).files
    assert listed == [(file.name, file.labels, file.recording) for file in files]
    assert not again.is_rendered(part)
    assert again.to_prepare() == f"renders the training part and the test part into {tmp_path}"
    assert data.to_prepare() == ""
    assert list(tmp_path.iterdir()) == []


def test_lengths_and_levels(data: SoundFont) -> None:
    training = data.part("training", sample_rate_hz=RATE_HZ)
    assert {len(excerpt.waveform) for excerpt in training} == {3 * RATE_HZ}
    sounds = [soundfile.read(f.path) for f in data.part("test", sample_rate_hz=RATE_HZ).files]
    assert {(rate_hz, sound.ndim) for sound, rate_hz in sounds} == {(RATE_HZ, 1)}
    seconds = [len(sound) / RATE_HZ for sound, _ in sounds]
    assert 5 <= min(seconds) < 6.5
    assert 10.5 < max(seconds) <= 12
    peaks = [np.abs(sound).max() for sound, _ in sounds]  # none is silent or clipped
    assert min(peaks) > 10 ** (-20.5 / 20)
    assert max(peaks) < 10 ** (-0.4 / 20)
    assert max(peaks) > 3 * min(peaks)


@pytest.mark.parametrize("part", PARTS)
def test_a_recording_follows_from_the_seed_and_its_number_alone(part, data, tmp_path) -> None:
    again = SoundFont(root=tmp_path, training_recordings=1, test_excerpts=1)
    again.part(part, sample_rate_hz=RATE_HZ)
    first = files_of(data, part)
    wavs = {name: content for name, content in files_of(again, part).items() if "json" not in name}
    assert len(wavs) >= len(CODES)
    assert {name: first[name] for name in wavs} == wavs


@pytest.mark.usefixtures("few")
def test_another_seed_is_other_music_elsewhere(sine_font: Path, tmp_path: Path) -> None:
    parts = []
    for seed in (0, 1):
        sines = SoundFont(root=tmp_path, fonts=[str(sine_font)], test_excerpts=1, seed=seed)
        sines.part("test", sample_rate_hz=RATE_HZ)
        parts.append(files_of(sines, "test"))
    wavs = [name for name in parts[0] if name.endswith("wav")]
    assert len(wavs) == 4
    assert not [name for name in wavs if parts[0][name] == parts[1][name]]
    assert len(list(tmp_path.glob("test-*[0-9a-f]"))) == 2
    assert not list(tmp_path.glob("training-*"))  # which nobody asked for


def test_a_single_label_when_asked_for(sine_font, tmp_path, few) -> None:
    sines = SoundFont(root=tmp_path, fonts=[str(sine_font)], test_excerpts=3, single_label=True)
    files = sines.part("test", sample_rate_hz=RATE_HZ).files
    assert Counter(file.labels for file in files) == {(code,): 3 for code in few}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("part", PARTS)
def test_a_killed_rendering_goes_on_where_it_was(part, sine_font, tmp_path, monkeypatch) -> None:
    whole, killed = (
        SoundFont(
            root=tmp_path / name, fonts=[str(sine_font)], training_recordings=1, test_excerpts=1
        )
        for name in ("whole", "killed")
    )
    whole.part(part, sample_rate_hz=RATE_HZ)
    with monkeypatch.context() as patch:
        interrupt(3, patch)
        with pytest.raises(KeyboardInterrupt):
            killed.part(part, sample_rate_hz=RATE_HZ)
    half = files_of(killed, part)
    assert len([name for name in half if name.endswith(".wav")]) == 3
    assert "complete.json" not in half
    times = {p: p.stat().st_mtime_ns for p in killed.folder(part).rglob("*cel*.wav")}
    assert times
    assert half.items() <= files_of(whole, part).items()  # no half-written files either
    killed.part(part, sample_rate_hz=RATE_HZ)
    assert files_of(killed, part) == files_of(whole, part)
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_what_is_rendered_is_not_rendered_again(data, monkeypatch) -> None:
    monkeypatch.setattr(soundfont, "render", None)
    before = files_of(data, "training")
    data.prepare()
    assert files_of(data, "training") == before


@pytest.mark.usefixtures("few")
def test_all_fonts_are_used(sine_font, make_font, tmp_path, monkeypatch) -> None:
    used: Counter[str] = Counter()
    render = soundfont.render

    def spy(*args: object, font: Path, **kwargs: object) -> np.ndarray:
        used[font.stem] += 1
        return render(*args, font=font, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(soundfont, "render", spy)
    other = tmp_path / "other.sf2"
    other.write_bytes(make_font([[((54, 1), (53, 0))]] * 100, header_root=72))
    fonts = [str(sine_font), str(other)]
    SoundFont(root=tmp_path, fonts=fonts, training_recordings=4).part(
        "training", sample_rate_hz=RATE_HZ
    )
    assert set(used) == {"sine", "other"}
    assert min(used.values()) > sum(used.values()) / 4


def test_a_font_is_known_by_its_content(sine_font: Path, tmp_path: Path) -> None:
    font = tmp_path / "font.sf2"
    font.write_bytes(sine_font.read_bytes())
    data = SoundFont(root=tmp_path, fonts=str(font))
    before = data.folder("test")
    assert before == SoundFont(root=tmp_path, fonts=str(sine_font)).folder("test")
    font.write_bytes(sine_font.read_bytes() + b" ")
    assert data.folder("test") != before


@pytest.mark.parametrize("module", [soundfont, composition])
def test_music_is_rendered_anew_when_the_code_that_makes_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    data = SoundFont(root=tmp_path)
    before = data.folder("training")
    changed = tmp_path / "changed.py"
    changed.write_text(Path(str(module.__file__)).read_text() + "LOUDER = True\n")
    monkeypatch.setattr(module, "__file__", str(changed))
    assert data.folder("training") != before


def test_the_test_part_has_fonts_of_its_own(sine_font: Path, tmp_path: Path) -> None:
    data = SoundFont(root=tmp_path, fonts="TimGM6mb", test_fonts=str(sine_font))
    assert data.folder("training") == SoundFont(root=tmp_path).folder("training")
    assert data.folder("test") == SoundFont(root=tmp_path, fonts=str(sine_font)).folder("test")
    assert data.about == "music rendered by TimGM6mb, for the test by sine"


@pytest.fixture
def pianos(make_font: MakeFont, tmp_path: Path) -> str:
    """A font without the other instruments."""
    (tmp_path / "pianos.sf2").write_bytes(make_font([[((54, 1), (53, 0))]] * 2))
    return str(tmp_path / "pianos.sf2")


@pytest.mark.parametrize(("key", "part"), [("fonts", "training"), ("test_fonts", "test")])
def test_a_font_without_the_instrument(pianos, tmp_path, key, part) -> None:
    fonts: dict[str, Any] = {key: [pianos]}
    data = SoundFont(root=tmp_path, **fonts)
    expected = rf"^dataset\.{key}=\[.*\] gave no sound of cel.* in 20 attempts; expected General"
    with pytest.raises(InputError, match=expected):
        data.part(part, sample_rate_hz=RATE_HZ)


def test_a_font_that_has_it_is_taken_instead(sine_font: Path, pianos: str, tmp_path: Path) -> None:
    data = SoundFont(root=tmp_path, fonts=[pianos, str(sine_font)])
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert np.abs(data._music(rng, "training", ["cel"], seconds=0.5)).max() > 0.05


@pytest.mark.parametrize("part", PARTS)
def test_a_font_that_is_not_there_or_none(part: PartName, tmp_path: Path) -> None:
    expected = (
        r"no SoundFont at '/nowhere/a\.sf2'; expected 'TimGM6mb' or the path of a \.sf2 or \.sf3 "
        r"file \(Debian's fluid-soundfont-gm installs /usr/share/sounds/sf2/FluidR3_GM\.sf2\)$"
    )
    data = SoundFont(root=tmp_path, fonts=["TimGM6mb", "/nowhere/a.sf2"])
    with pytest.raises(InputError, match=expected):
        data.part(part, sample_rate_hz=RATE_HZ)
    (tmp_path / "a.sf2").write_text("hello")
    data = SoundFont(root=tmp_path, fonts=[str(tmp_path / "a.sf2")])
    with pytest.raises(InputError, match=r"a\.sf2 is not a readable SoundFont \(.*\); expected a"):
        data.part(part, sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fonts": []}, "fonts=[]; expected text, or a list of texts"),
        ({"fonts": ""}, "fonts=; expected text, or a list of texts"),
        ({"test_fonts": []}, "test_fonts=[]; expected text, or a list of texts, or null"),
        ({"training_recordings": 0}, "training_recordings=0; expected a whole number, at least 1"),
        ({"test_excerpts": -2}, "test_excerpts=-2; expected a whole number, at least 1"),
        ({"seed": -1}, "seed=-1; expected a whole number, at least 0"),
    ],
)
def test_bad_arguments(arguments: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        SoundFont(root=tmp_path, **arguments)


# Playing


@pytest.fixture(scope="module")
def tiny(make_font: MakeFont, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Program 0 plays its sample at root 69, program 1 the same sample at root 57."""
    path = tmp_path_factory.mktemp("fonts") / "tiny.sf2"
    path.write_bytes(make_font([[((58, root), (54, 1), (53, 0))] for root in (69, 57)]))
    return path


def voice(program: int = 0, key: int = 69, start: float = 0.0, length: float = 0.5) -> Voice:
    return Voice(program, [Note(start=start, length=length, key=key, velocity=100)])


def play(*voices: Voice, font: Path, cents: int = 0, seconds: float = 0.5) -> np.ndarray:
    return render(list(voices), font=font, seconds=seconds, sample_rate_hz=RATE_HZ, cents=cents)


@pytest.mark.parametrize(("cents", "seconds"), [(-30, 0.30001), (0, 0.5), (30, 2.0)])
def test_tuning_and_length_are_as_asked_for(cents: int, seconds: float, tiny: Path) -> None:
    sound = play(voice(), font=tiny, cents=cents, seconds=seconds)
    assert (sound.shape, sound.dtype) == ((round(seconds * RATE_HZ),), np.float32)
    assert 1200 * np.log2(peak_hz(sound[:6000]) / 440) == pytest.approx(cents, abs=3)


def test_a_note_sounds_when_it_starts(tiny: Path) -> None:
    sound = play(voice(start=0.25), font=tiny)
    assert np.abs(sound[: round(0.24 * RATE_HZ)]).max() == 0
    assert np.abs(sound[round(0.26 * RATE_HZ) :]).max() > 0.01


def test_voices_are_added_and_what_the_font_lacks_is_silent(tiny: Path) -> None:
    low, high, none = voice(key=57), voice(key=64), voice(program=7)
    together = play(low, none, high, font=tiny)
    assert together == pytest.approx(play(low, font=tiny) + play(high, font=tiny), abs=1e-5)
    assert not play(none, font=tiny).any()


def test_what_was_played_before_changes_nothing(tiny: Path) -> None:
    alone = play(voice(1, key=57), font=tiny)
    play(voice(0, key=57), font=tiny)  # the same sample at the same key, at another root
    assert (play(voice(1, key=57), font=tiny) == alone).all()
    assert peak_hz(alone) == pytest.approx(440, abs=1)


def test_drums_are_another_bank() -> None:
    def flatness(drums: bool) -> float:
        snare = Voice(0, [Note(start=0.0, length=0.3, key=38, velocity=100)], drums=drums)
        power = np.abs(np.fft.rfft(play(snare, font=font_path(TIM_GM6MB)))) ** 2 + 1e-12
        return float(np.exp(np.log(power).mean()) / power.mean())

    assert flatness(drums=True) > 10 * flatness(drums=False)


def test_no_synthesizer_and_no_installed_font(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.sf2").touch()
    assert font_path("~/mine.sf2") == tmp_path / "mine.sf2"
    assert font_path(TIM_GM6MB).name == "TimGM6mb.sf2"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(soundfont, "find_spec", lambda _: None)
    expected = r"^no synthesizer for dataset=soundfont; expected tinysoundfont: pip install --no-"
    with pytest.raises(InputError, match=expected):
        render([voice()], font=tiny, seconds=0.1, sample_rate_hz=RATE_HZ + 1)  # none is kept
    with pytest.raises(InputError, match="no SoundFont at 'TimGM6mb'"):
        font_path(TIM_GM6MB)
