from pathlib import Path

import numpy as np
import pytest
import soundfile

from irdream.datasets.folder import Folder
from irdream.datasets.identity import fingerprint
from irdream.errors import InputError
from tests.tiny import RATE_HZ, write_noise


def write_sounds(root: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        write_noise(root / name, seed=seed)


def labels(data: Folder, part: str = "test") -> dict[str, tuple[str, ...]]:
    return {f.name: f.labels for f in data.part(part, sample_rate_hz=RATE_HZ).files}  # type: ignore[arg-type]


def test_labels_are_codes_where_all_first_subfolders_name_instruments(tmp_path: Path) -> None:
    write_sounds(tmp_path, "a.wav", "flute/b.flac", "Acoustic Guitar/live/c.ogg")
    data = Folder(root=tmp_path)
    assert labels(data) == labels(data, "training") == {"a": (), "b": ("flu",), "c": ("gac",)}
    assert data.classes == ("flu", "gac")
    write_sounds(tmp_path, "drums/d.mp3")
    data = Folder(root=tmp_path)
    assert labels(data)["b"] == ("flute",)
    assert data.classes == ("Acoustic Guitar", "drums", "flute")


def test_training_and_test_subfolders_are_the_parts(tmp_path: Path) -> None:
    write_sounds(tmp_path, "training/sax/a.wav", "test/voi/b.wav", "test/c.wav", "d.wav")
    assert labels(Folder(root=tmp_path), "training") == {"a": ("sax",)}
    assert labels(Folder(root=tmp_path)) == {"b": ("voi",), "c": ()}


@pytest.mark.parametrize(
    ("training", "test"),
    [("train", "test"), ("Training", "Test"), ("train", "valid"), ("train", "validation")],
)
def test_the_parts_may_be_called_otherwise(tmp_path: Path, training: str, test: str) -> None:
    write_sounds(tmp_path, f"{training}/sax/a.wav", f"{test}/voi/b.wav", "val/sax/c.wav")
    data = Folder(root=tmp_path)
    assert labels(data, "training") == {"a": ("sax",)}
    assert labels(data) == {"b": ("voi",)}
    assert data.summary() == f"found 1 training and 1 test files in {tmp_path}"


def test_a_validation_folder_is_no_label_beside_a_training_folder(tmp_path: Path) -> None:
    write_sounds(tmp_path, "train/kick/a.wav", "train/snare/b.wav", "val/kick/c.wav")
    data = Folder(root=tmp_path)
    assert data.classes == ("kick", "snare")
    assert labels(data) == {"c": ("kick",)}


def test_takes_of_one_name_in_folders_of_one_name_are_not_one_recording(tmp_path: Path) -> None:
    write_sounds(tmp_path, "sax/ann/a__1.wav", "sax/ann/a__2.wav", "voi/ann/a__1.wav")
    files = Folder(root=tmp_path).part("test", sample_rate_hz=RATE_HZ).files
    assert [file.recording for file in files] == ["sax/ann/a", "sax/ann/a", "voi/ann/a"]


def test_one_of_the_two_alone_is_an_ordinary_subfolder_and_a_file_will_do(tmp_path: Path) -> None:
    write_sounds(tmp_path, "test/a.wav", "b.wav")
    assert set(labels(Folder(root=tmp_path))) == {"a", "b"}
    assert labels(Folder(root=tmp_path / "b.wav")) == {"b": ()}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("file,label\na.wav,flute; Piano\nx y.wav,sax\nx y.wav,voi\nflute/d.wav,\n",
         {"a": ("flu", "pia"), "b": (), "x y": ("sax", "voi"), "d": ()}),
        ("file,label\na.wav,flute; kazoo\n",
         {"a": ("flute", "kazoo"), "b": (), "x y": (), "d": ()}),
        ('\ufeffLabel, Note, File\r\nCello,ignored,"x y.wav"\r\n',
         {"a": (), "b": (), "x y": ("cel",), "d": ()}),
        ('file, label\r\nflute\\d.wav, "soft flute"\r\n,\r\n',
         {"a": (), "b": (), "x y": (), "d": ("soft flute",)}),
    ],
    ids=["codes", "other labels", "of a spreadsheet", "of Windows"],
)  # fmt: skip
def test_a_csv_alone_says_the_labels(tmp_path: Path, table: str, expected) -> None:
    write_sounds(tmp_path, "a.wav", "flute/b.wav", "x y.wav", "flute/d.wav")
    (tmp_path / "labels.csv").write_bytes(table.encode())
    data = Folder(root=tmp_path, labels_csv=tmp_path / "labels.csv")
    assert labels(data) == expected
    assert data.classes == tuple(sorted({label for codes in expected.values() for label in codes}))


def test_labels_of_files_that_are_not_read_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_sounds(tmp_path, "data/train/a.wav", "data/test/b.wav", "elsewhere/c.wav")
    rows = f"train/a.wav,flute\ntest/b.wav,sax\n{tmp_path}/elsewhere/c.wav,sax\n"
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}")
    data = Folder(root=tmp_path / "data", labels_csv=tmp_path / "labels.csv")
    assert labels(data, "training") == {"a": ("flu",)}
    assert f"1 labelled files are no sounds below {tmp_path}/data: 1 in 'elsewhere'" in caplog.text


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"labels\.csv' line 1: expected the header file,label, not nothing"),
        ("path;label\na.wav;flute\n", "line 1: expected the header file,label, not path;label"),
        ("file,label\na.wav\n", r"line 2: expected two columns, file and label \(several"),
        ("file,label\na.wav,flute,sax\n", "line 2: expected two columns"),
        ("file,label\nb.wav,flute\n", r"line 2: no such file: '.*b\.wav'; paths start at"),
        ("file,label\n" + "x" * 140_000 + ",flute\n", "line 2: field larger than field limit"),
    ],
    ids=["empty", "header", "few", "many", "missing", "huge"],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, match: str) -> None:
    write_sounds(tmp_path, "a.wav")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        labels(Folder(root=tmp_path, labels_csv=tmp_path / "labels.csv"))
    assert "\n" not in str(caught.value)


def test_a_csv_that_cannot_be_read(tmp_path: Path) -> None:
    write_sounds(tmp_path, "a.wav")
    with pytest.raises(InputError, match=r"cannot read '.*x\.csv': No such file"):
        labels(Folder(root=tmp_path, labels_csv=tmp_path / "x.csv"))
    (tmp_path / "y.csv").write_bytes("file,label\na.wav,flûte\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"y\.csv' is not UTF-8 text; save it as UTF-8"):
        labels(Folder(root=tmp_path, labels_csv=tmp_path / "y.csv"))


def test_equal_files_and_numbered_excerpts_are_one_recording(tmp_path: Path) -> None:
    write_sounds(tmp_path, "a__1.wav", "a__2.wav", "b.wav")
    (tmp_path / "c.wav").write_bytes((tmp_path / "b.wav").read_bytes())
    files = Folder(root=tmp_path).part("test", sample_rate_hz=RATE_HZ).files
    recordings = [file.recording for file in files]
    assert recordings[0] == recordings[1] != recordings[2] == recordings[3]


def test_files_may_be_shorter_than_a_second(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.linspace(0, 1, 100), RATE_HZ)
    excerpts = Folder(root=tmp_path).part("test", sample_rate_hz=RATE_HZ)
    assert excerpts[0].waveform.shape == (100,)


def test_without_a_root_or_sounds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.root is not set; expected a folder of sound"):
        labels(Folder(root=None))
    with pytest.raises(InputError, match="no sound file below"):
        labels(Folder(root=tmp_path))
    with pytest.raises(InputError, match="no such file or folder"):
        labels(Folder(root=tmp_path / "x"))


def test_summary_tells_the_parts_apart(tmp_path: Path) -> None:
    write_sounds(tmp_path, "training/a.wav", "test/b.wav", "test/c.wav")
    data = Folder(root=tmp_path)
    assert data.summary() == f"found 1 training and 2 test files in {tmp_path}"
    whole = Folder(root=tmp_path / "test").summary()
    assert whole.startswith("found 2 sound files below")
    assert whole.endswith("the same in both parts")


def test_names_that_are_no_utf_8_are_read_and_kept_as_text(tmp_path: Path) -> None:
    root = tmp_path / "Fl\udcf6te"
    write_sounds(tmp_path, "plain.wav")
    (root / "flute").mkdir(parents=True)
    (tmp_path / "plain.wav").rename(root / "flute" / "caf\udce9.wav")
    data = Folder(root=root)
    excerpts = data.part("test", sample_rate_hz=RATE_HZ // 2)
    assert len(excerpts[0].waveform) == RATE_HZ // 2
    assert labels(data) == {"caf\\xe9": ("flu",)}
    assert len(fingerprint(excerpts.files)) == 16


def test_what_is_left_out_is_told_once(tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    write_sounds(tmp_path, "a.wav")
    (tmp_path / "b.m4a").touch()
    data = Folder(root=tmp_path)
    data.summary()
    assert labels(data, "training") == labels(data) == {"a": ()}
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "1 that the program ffmpeg would read, which is not installed (b.m4a)"
    ]
