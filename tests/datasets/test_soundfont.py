from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from irdream.datasets import composition, rendering, soundfont
from irdream.datasets.base import PartName
from irdream.datasets.soundfont import SoundFont
from irdream.errors import InputError
from irdream.instruments import CODES

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


@pytest.fixture(scope="module")
def sine_font(make_font: MakeFont, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All programs are a sine, so that rendering takes no time."""
    path = tmp_path_factory.mktemp("fonts") / "sine.sf2"
    path.write_bytes(make_font([[((54, 1), (53, 0))]] * 100))
    return path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Render four instruments only."""
    codes = CODES[:4]
    monkeypatch.setattr(soundfont, "CODES", codes)
    return codes


def test_the_training_part_is_read_like_irmas(data: SoundFont) -> None:
    files = data.part("training", sample_rate_hz=RATE_HZ).files
    assert data.name == "soundfont"
    recordings = Counter(file.recording for file in files)
    assert len(recordings) == len(CODES)
    assert set(recordings.values()) == {1, 2, 3}
    assert {file.labels for file in files} == {(code,) for code in CODES}
    assert {file.genre for file in files} == {"pop_roc"}
    cello = [file for file in files if file.labels == ("cel",)]
    assert cello[0].name == "[cel][nod][pop_roc]0000__1"
    assert cello[0].recording == "cel/[cel][nod][pop_roc]0000"
    assert cello[0].path.parts[-3:-1] == ("IRMAS-TrainingData", "cel")


def test_the_test_part_is_read_like_irmas(data: SoundFont) -> None:
    files = data.part("test", sample_rate_hz=RATE_HZ).files
    assert Counter(file.labels[0] for file in files) == dict.fromkeys(CODES, 3)
    assert [file.name for file in files[:3]] == ["cel-0000", "cel-0001", "cel-0002"]
    for file in files:
        assert file.name.startswith(file.labels[0])
        assert len(set(file.labels)) == len(file.labels)
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


def test_lengths(data: SoundFont) -> None:
    training = data.part("training", sample_rate_hz=RATE_HZ)
    assert {len(excerpt.waveform) for excerpt in training} == {3 * RATE_HZ}
    seconds = [len(e.waveform) / RATE_HZ for e in data.part("test", sample_rate_hz=RATE_HZ)]
    assert 5 <= min(seconds) < 6.5
    assert 10.5 < max(seconds) <= 12


def test_levels_differ_and_nothing_is_silent_or_clipped(data: SoundFont) -> None:
    peaks = []
    for file in data.part("test", sample_rate_hz=RATE_HZ).files:
        sound, rate_hz = soundfile.read(file.path)
        assert rate_hz == RATE_HZ
        assert sound.ndim == 1
        peaks.append(np.abs(sound).max())
    assert min(peaks) > 10 ** (-20.5 / 20)
    assert max(peaks) < 10 ** (-0.4 / 20)
    assert max(peaks) > 3 * min(peaks)


@pytest.mark.parametrize("part", PARTS)
def test_a_recording_follows_from_the_seed_and_its_number_alone(
    part: PartName, data: SoundFont, tmp_path: Path
) -> None:
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


def test_both_parts_differ(data: SoundFont) -> None:
    first = [soundfile.read(data.part(p, sample_rate_hz=RATE_HZ).files[0].path)[0] for p in PARTS]
    assert not np.allclose(first[0][:RATE_HZ], first[1][:RATE_HZ])


def test_a_single_label_when_asked_for(
    sine_font: Path, tmp_path: Path, few: tuple[str, ...]
) -> None:
    sines = SoundFont(root=tmp_path, fonts=[str(sine_font)], test_excerpts=3, single_label=True)
    files = sines.part("test", sample_rate_hz=RATE_HZ).files
    assert Counter(file.labels for file in files) == {(code,): 3 for code in few}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("part", PARTS)
def test_a_killed_rendering_goes_on_where_it_was(
    part: PartName, sine_font: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_killed_rendering_of_the_real_font_gives_the_same_sound(
    data: SoundFont, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The synthesizer must not remember what it played: see rendering.py.
    killed = SoundFont(root=tmp_path, training_recordings=1, test_excerpts=1)
    with monkeypatch.context() as patch:
        interrupt(9, patch)
        with pytest.raises(KeyboardInterrupt):
            killed.part("training", sample_rate_hz=RATE_HZ)
    killed.part("training", sample_rate_hz=RATE_HZ)
    assert files_of(killed, "training") == files_of(data, "training")


def test_what_is_rendered_is_not_rendered_again(
    data: SoundFont, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundfont, "render", None)
    before = files_of(data, "training")
    data.prepare()
    assert files_of(data, "training") == before


@pytest.mark.usefixtures("few")
def test_the_parts_are_rendered_one_by_one(sine_font: Path, tmp_path: Path) -> None:
    sines = SoundFont(root=tmp_path, fonts=[str(sine_font)], test_excerpts=1)
    sines.part("test", sample_rate_hz=RATE_HZ)
    assert not sines.folder("training").exists()


@pytest.mark.usefixtures("few")
def test_all_fonts_are_used(
    sine_font: Path, make_font: MakeFont, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_other_fonts_are_rendered_elsewhere(sine_font: Path, tmp_path: Path) -> None:
    folders = {
        SoundFont(root=tmp_path, fonts=fonts).folder("test")
        for fonts in (["TimGM6mb"], [str(sine_font)], ["TimGM6mb", str(sine_font)])
    }
    assert len(folders) == 3


def test_a_font_is_known_by_its_content(sine_font: Path, tmp_path: Path) -> None:
    font = tmp_path / "font.sf2"
    font.write_bytes(sine_font.read_bytes())
    data = SoundFont(root=tmp_path, fonts=str(font))
    before = data.folder("test")
    assert before == SoundFont(root=tmp_path, fonts=str(sine_font)).folder("test")
    font.write_bytes(sine_font.read_bytes() + b" ")
    assert data.folder("test") != before


@pytest.mark.parametrize("module", [soundfont, composition, rendering])
def test_music_is_rendered_anew_when_the_code_that_makes_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    data = SoundFont(root=tmp_path)
    before = data.folder("training")
    changed = tmp_path / "changed.py"
    changed.write_text(Path(str(module.__file__)).read_text() + "LOUDER = True\n")
    monkeypatch.setattr(module, "__file__", str(changed))
    assert data.folder("training") != before


def test_one_font_needs_no_list(sine_font: Path, tmp_path: Path) -> None:
    assert SoundFont(root=tmp_path, fonts=str(sine_font)).fonts["test"] == [str(sine_font)]


def test_the_test_part_has_fonts_of_its_own(sine_font: Path, tmp_path: Path) -> None:
    data = SoundFont(root=tmp_path, fonts="TimGM6mb", test_fonts=str(sine_font))
    assert data.folder("training") == SoundFont(root=tmp_path).folder("training")
    assert data.folder("test") == SoundFont(root=tmp_path, fonts=str(sine_font)).folder("test")
    assert data.about == "music rendered by TimGM6mb, for the test by sine"


def test_the_font_that_is_missing_is_named_with_its_key(
    make_font: MakeFont, tmp_path: Path
) -> None:
    pianos = tmp_path / "pianos.sf2"
    pianos.write_bytes(make_font([[((54, 1), (53, 0))]] * 2))
    data = SoundFont(root=tmp_path, test_fonts=[str(pianos)])
    with pytest.raises(InputError, match=r"dataset\.test_fonts=\[.*\] gave no sound of"):
        data.part("test", sample_rate_hz=RATE_HZ)


def test_a_font_without_the_instrument(make_font: MakeFont, tmp_path: Path) -> None:
    pianos = tmp_path / "pianos.sf2"
    pianos.write_bytes(make_font([[((54, 1), (53, 0))]] * 2))
    data = SoundFont(root=tmp_path, fonts=[str(pianos)])
    expected = "gave no sound of cel in 20 attempts; expected General MIDI SoundFonts$"
    with pytest.raises(InputError, match=expected):
        data.part("training", sample_rate_hz=RATE_HZ)


def test_a_font_that_has_it_is_taken_instead(
    sine_font: Path, make_font: MakeFont, tmp_path: Path
) -> None:
    pianos = tmp_path / "pianos.sf2"
    pianos.write_bytes(make_font([[((54, 1), (53, 0))]] * 2))
    data = SoundFont(root=tmp_path, fonts=[str(pianos), str(sine_font)])
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert np.abs(data._piece(rng, "training", ["cel"], seconds=0.5)).max() > 0.05


@pytest.mark.parametrize("part", PARTS)
def test_no_such_font(part: PartName, tmp_path: Path) -> None:
    data = SoundFont(root=tmp_path, fonts=["TimGM6mb", "/nowhere/a.sf2"])
    with pytest.raises(InputError, match=r"no SoundFont at '/nowhere/a\.sf2'; expected 'TimGM6mb'"):
        data.part(part, sample_rate_hz=RATE_HZ)


def test_a_file_that_is_no_font(tmp_path: Path) -> None:
    (tmp_path / "a.sf2").write_text("hello")
    data = SoundFont(root=tmp_path, fonts=[str(tmp_path / "a.sf2")])
    with pytest.raises(InputError, match=r"a\.sf2 is not a readable SoundFont"):
        data.part("training", sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fonts": []}, r"dataset\.fonts is empty; expected a list such as \[TimGM6mb\]"),
        ({"fonts": ""}, r"dataset\.fonts is empty"),
        ({"test_fonts": []}, r"dataset\.test_fonts is empty; expected a list"),
        ({"training_recordings": 0}, r"dataset\.training_recordings=0; expected at least 1"),
        ({"test_excerpts": -2}, r"dataset\.test_excerpts=-2; expected at least 1"),
        ({"seed": -1}, r"dataset\.seed=-1; expected 0 or more"),
    ],
)
def test_bad_arguments(arguments: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        SoundFont(root=tmp_path, **arguments)
