import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from irdream.datasets.download import Archive
from irdream.datasets.irmas import Irmas, genre_of, read_annotation
from irdream.errors import InputError
from tests.tiny import RATE_HZ, write_noise


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small tree with every oddity of the real one."""
    training = tmp_path / "IRMAS-TrainingData"
    names = {
        "cel": ["[cel][cla]0001__1", "[cel][cla]0001__2", "008__[cel][nod][cla]0058__1"],
        "cla": ["[cla][cla]0150__1", "008__[cla][dru][jaz_blu]0058__2"],
        "gac": ["[gac][---][pop_roc]0007__1", "[gac][---][pop_roc]0007__2"],
        "gel": ["[gel][pop_roc]0900__1", "[gel][pop_roc]0900__2"],
    }
    for seed, (code, name) in enumerate((c, n) for c, stems in names.items() for n in stems):
        write_noise(training / code / f"{name}.wav", seed=seed)
    twin = (training / "gac" / "[gac][---][pop_roc]0007__2.wav").read_bytes()
    (training / "gel" / "[gel][pop_roc]0900__1.wav").write_bytes(twin)
    (training / "README.txt").write_text("about the data")
    (training / "cel" / "._[cel][cla]0001__1.wav").write_bytes(b"of a Mac")

    for folder, name, annotation in (
        ("IRMAS-TestingData-Part1/Part1", "01 - A song-1", b"gel\t\nvoi\t\n"),
        ("IRMAS-TestingData-Part2/IRTestingData-Part2", "02. No. 5 (live)-12", b"pia\t\n"),
        ("IRMAS-TestingData-Part3/Part3", "cel", b"cel\t\ncel\t\n"),
    ):
        path = tmp_path / folder / f"{name}.wav"
        write_noise(path, seed=len(name), seconds=1.5)
        (path.parent / f"{name}.txt").write_bytes(annotation)
    return tmp_path


def test_training_labels_are_the_folders(root: Path) -> None:
    files = Irmas(root=root).part("training", sample_rate_hz=RATE_HZ).files
    assert Counter(file.labels for file in files) == {
        ("cel",): 3,
        ("cla",): 2,
        ("gac",): 2,
        ("gel",): 2,
    }


@pytest.mark.parametrize(
    ("name", "genre"),
    [
        ("[cel][cla]0001__1", "cla"),
        ("[cla][cla]0150__1", "cla"),
        ("008__[cel][nod][cla]0058__1", "cla"),
        ("[gac][---][pop_roc]0007__1", "pop_roc"),
        ("008__[cla][dru][jaz_blu]0058__2", "jaz_blu"),
        ("[cla]0150__1", ""),
        ("[cla][dru]0150__1", ""),
        ("flute solo", ""),
    ],
)
def test_the_genre_cla_is_not_the_instrument_cla(name: str, genre: str) -> None:
    assert genre_of(name) == genre


def test_a_split_by_recording_cannot_leak(root: Path) -> None:
    files = Irmas(root=root).part("training", sample_rate_hz=RATE_HZ).files
    recordings = {file.name: file.recording for file in files}
    assert recordings["[cel][cla]0001__1"] == recordings["[cel][cla]0001__2"]
    assert recordings["008__[cel][nod][cla]0058__1"] != recordings["[cel][cla]0001__1"]
    # One excerpt of gac 0007 is that of gel 0900: all four are one recording.
    joined = {recordings[file.name] for file in files if file.labels[0] in ("gac", "gel")}
    assert len(joined) == 1


def test_test_labels_are_the_annotations_of_all_three_parts(root: Path) -> None:
    excerpts = Irmas(root=root).part("test", sample_rate_hz=16_000)
    assert {excerpt.name: (len(excerpt.waveform), excerpt.labels) for excerpt in excerpts} == {
        "01 - A song-1": (24_000, ("gel", "voi")),
        "02. No. 5 (live)-12": (24_000, ("pia",)),
        "cel": (24_000, ("cel",)),
    }


def test_the_order_does_not_depend_on_where_the_tree_stands(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "z" / "a"
    elsewhere.parent.mkdir()
    elsewhere.mkdir()
    for part in ("IRMAS-TrainingData", "IRMAS-TestingData-Part1"):
        (root / part).rename(elsewhere / part)
    names = [f.name for f in Irmas(root=elsewhere).part("training", sample_rate_hz=RATE_HZ).files]
    assert names[:3] == ["008__[cel][nod][cla]0058__1", "[cel][cla]0001__1", "[cel][cla]0001__2"]


def test_says_what_was_found_against_the_official_counts(root, caplog) -> None:
    data = Irmas(root=root)
    assert data.summary() == (
        f"found 9 of 6705 training excerpts and 3 of 2874 test excerpts below {root}; "
        "1 byte-equal pairs, 1 of them under two labels"
    )
    data.part("training", sample_rate_hz=RATE_HZ)
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    partial = "found 9 of 6705 training excerpts and 3 of 2874 test excerpts"
    assert warnings == [f"not the whole of IRMAS: {partial}"]
    caplog.clear()
    other = Irmas(root=root, official_counts=False)
    assert other.summary().startswith("found 9 training and 3 test excerpts below")
    assert not caplog.records


def test_sounds_without_a_label_are_left_out_and_told_by_folder(root, caplog) -> None:
    (root / "IRMAS-TestingData-Part3" / "Part3" / "cel.txt").unlink()
    for name in ("drums/one", "drums/two", "Flute/one", "loose"):
        write_noise(root / f"{name}.wav", seed=7)
    assert len(Irmas(root=root).part("test", sample_rate_hz=RATE_HZ)) == 2
    told = "5 sound files below '.*' are neither in a folder named by a code .* nor beside a .txt: "
    told += rf"2 in 'drums', 1 in 'Flute', 1 in 'Part3', 1 in '{root.name}'"
    assert re.search(told, caplog.text)


@pytest.mark.parametrize(
    "data", [b"gel\t\nvoi\t\n", b"gel\r\nvoi\r\n", b"\xef\xbb\xbfgel\nvoi", b"gel\n\nvoi\ngel\n"]
)
def test_annotations_are_read_however_their_lines_end(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_annotation(tmp_path / "a.wav") == ("gel", "voi")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"gel\t\nbas\t\n", r"a\.txt' line 2: unknown code 'bas'; expected one of cel cla flu"),
        (b"\xff\xfe", r"line 1: unknown code"),
        (b"", r"a\.txt' names no instrument; expected one code a line"),
        (None, r"cannot read '.*a\.txt': No such file or directory"),
    ],
)
def test_a_bad_annotation_names_its_line(tmp_path: Path, data: bytes | None, match: str) -> None:
    if data is not None:
        (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(InputError, match=match):
        read_annotation(tmp_path / "a.wav")


def test_prepare_fetches_only_when_asked_and_looks_again(root, tmp_path, monkeypatch) -> None:
    fetched: list[Path] = []

    def fetch(target: Path, archives: Sequence[Archive]) -> None:
        assert [archive.sounds for archive in archives] == [6705, 807, 1301, 766]
        fetched.append(target)
        write_noise(target / "IRMAS-TrainingData" / "voi" / "[voi][pop_roc]0001__1.wav", seed=99)

    monkeypatch.setattr("irdream.datasets.download.fetch_archives", fetch)
    Irmas(root=root).prepare()
    assert not fetched
    data = Irmas(root=root, download=True)
    assert len(data.part("training", sample_rate_hz=RATE_HZ)) == 9
    data.prepare()
    assert fetched == [root]
    assert len(data.part("training", sample_rate_hz=RATE_HZ)) == 10
    with pytest.raises(InputError, match=r"dataset\.root is not set; name the folder for Zenodo"):
        Irmas(root=None, download=True).prepare()
