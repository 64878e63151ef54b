import hashlib
import logging
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from irdream.datasets.base import Labelled
from irdream.datasets.openmic import (
    INSTRUMENTS,
    LABELS_CSV,
    OFFICIAL,
    OpenMic,
)
from irdream.errors import InputError
from irdream.instruments import CODES
from tests.tiny import RATE_HZ, write_noise

TRAINING = ["000046_3840", "000135_483840", "000139_119040", "000141_153600"]
TEST = ["000178_3840", "000308_61440"]
ROWS = [
    "000046_3840,flute,0.9,3",
    "000046_3840,voice,1.0,3",
    "000046_3840,drums,1.0,3",
    "000135_483840,piano,0.2,4",
    "000135_483840,piano,0.5,3",  # the last of two rows counts
    "000139_119040,guitar,1.0,3",
    "000141_153600,cello,0.4,3",
    "000141_153600,violin,0.6,3",
    "000178_3840,trumpet,0.8,3",
    "000308_61440,accordion,1.0,3",
]


def write_tree(folder: Path) -> Path:
    """Write the archive's folder, of six clips."""
    tree = folder / "openmic-2018"
    for i, key in enumerate(TRAINING + TEST):
        write_noise(tree / "audio" / key[:3] / f"{key}.ogg", seed=i, seconds=1.5)
        features = tree / "vggish" / key[:3] / f"{key}.json"
        features.parent.mkdir(parents=True, exist_ok=True)
        features.write_text('{"features": []}')
    (tree / "audio" / "000" / "._000046_3840.ogg").write_bytes(b"of a Mac")
    (tree / "partitions").mkdir()
    (tree / "partitions" / "split01_train.csv").write_text("\n".join(TRAINING) + "\n")
    (tree / "partitions" / "split01_test.csv").write_text(f'sample_key\r\n"{TEST[0]}"\r\n{TEST[1]}')
    header = "sample_key,instrument,relevance,num_responses"
    (tree / LABELS_CSV).write_text("\n".join([header, *ROWS]) + "\n")
    (tree / "openmic-2018-metadata.csv").write_text("sample_key,track_id\n000046_3840,46\n")
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path)


def labels_of(data: OpenMic) -> dict[str, tuple[str, ...]]:
    parts = (data.part(part, sample_rate_hz=RATE_HZ).files for part in OFFICIAL)
    return {file.name: file.labels for files in parts for file in files}


def test_it_brings_twenty_labels_nine_of_them_irmas(tree: Path) -> None:
    assert len(OpenMic(root=tree).classes) == len({*INSTRUMENTS}) == 20
    assert {*OpenMic(root=tree).classes} & {*CODES} == {*CODES} - {"gac", "gel"}
    assert sum(OFFICIAL.values()) == 20_000


def test_labels_are_what_was_heard_the_surest_first(tree: Path) -> None:
    data = OpenMic(root=tree)
    assert [file.name for file in data.part("training", sample_rate_hz=RATE_HZ).files] == TRAINING
    assert list(labels_of(data).values()) == [
        ("drums", "voi", "flu"), ("pia",), ("guitar",), ("vio",), ("tru",), ("accordion",)
    ]  # fmt: skip


def test_a_recognizer_of_the_eleven_gets_its_own_labels(tree: Path) -> None:
    data = Labelled(OpenMic(root=tree), CODES, RATE_HZ)
    files = data.part("training", sample_rate_hz=RATE_HZ).files
    assert [file.labels for file in files] == [("voi", "flu"), ("pia",), ("vio",)]
    data = Labelled(OpenMic(root=tree, guitar="gel"), CODES, RATE_HZ)
    assert ("gel",) in [file.labels for file in data.part("training", sample_rate_hz=RATE_HZ).files]


def test_relevance_says_from_where_an_instrument_is_heard(tree: Path) -> None:
    assert labels_of(OpenMic(root=tree, relevance=0.4))["000141_153600"] == ("vio", "cel")
    sure = {"000046_3840", "000139_119040", "000308_61440"}
    assert set(labels_of(OpenMic(root=tree, relevance=0.95))) == sure


def test_ogg_is_decoded_and_the_track_is_the_recording(tree: Path) -> None:
    excerpts = OpenMic(root=tree).part("test", sample_rate_hz=16_000)
    found = [(len(excerpt.waveform), excerpt.recording) for excerpt in excerpts]
    assert found == [(24_000, "000178"), (24_000, "000308")]


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_the_root_may_be_above_the_tree(tmp_path: Path, levels: int) -> None:
    tree = write_tree(tmp_path / "openmic-2018-v1.0.0")
    root = [tree, *tree.parents][levels]
    assert len(labels_of(OpenMic(root=root))) == 6


def test_clips_converted_to_another_format_are_found(tree: Path) -> None:
    path = tree / "audio" / "000" / "000178_3840.ogg"
    sound, rate_hz = soundfile.read(path)
    soundfile.write(path.with_suffix(".flac"), sound, rate_hz)
    path.unlink()
    assert "000178_3840" in labels_of(OpenMic(root=tree))


def test_says_what_was_found(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = OpenMic(root=tree)
    found = "4 of 14915 training clips and 2 of 5085 test clips"
    assert data.summary() == (
        f"found {found} below {tree}; 4 and 2 with a label: accordion 1, drums 1, flu 1, guitar 1, "
        "pia 1, tru 1, vio 1, voi 1; "
        "weak labels: what nobody was asked about counts as absent"
    )
    data.part("test", sample_rate_hz=RATE_HZ)
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [f"not the whole of OpenMIC-2018: {found}"]
    assert "absent" in data.about


def test_warns_of_clips_that_are_not_everywhere(tree, caplog) -> None:
    (tree / "audio" / "000" / "000178_3840.ogg").unlink()
    with (tree / "partitions" / "split01_test.csv").open("a") as file:
        file.write("\n000999_0\n")
    with (tree / LABELS_CSV).open("a") as file:
        file.write("123456_0,flute,1.0,3\n")
    assert "000178_3840" not in labels_of(OpenMic(root=tree))
    for line in (
        "2 clips have no sound file, such as 000178_3840",
        f"1 clips have no row in {LABELS_CSV}, such as 000999_0",
        f"1 clips of {LABELS_CSV} are in neither split file, such as 123456_0",
    ):
        assert line in caplog.messages


def write(path: str, text: str) -> Callable[[Path], object]:
    return lambda tree: (tree / path).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda tree: (tree / "partitions" / "split01_test.csv").unlink(),
         r"no split01_test\.csv in '.*partitions'; unpack the archive again"),
        (write("partitions/split01_train.csv", "sample_key\n"),
         r"split01_train\.csv' names no clip; expected one sample key a line"),
        (write("partitions/split01_train.csv", TEST[0]),
         r"1 clips are in both split files of '.*', such as 000178_3840; unpack them again"),
        (lambda tree: (tree / "audio").rename(tree / "sounds"),
         r"no sound file below '.*audio'; unpack the archive again"),
        (write(LABELS_CSV, "sample_key,instrument\n"),
         r"labels\.csv' has no relevance; found sample_key, instrument, expected sample_key, i"),
        (write(LABELS_CSV, "sample_key,instrument,relevance\n000046_3840,flute,yes\n"),
         r"labels\.csv': relevance 'yes' of 000046_3840 is no number; unpack it again"),
        (lambda tree: (tree / LABELS_CSV).write_bytes(b"sample_key,\xff\n"),
         r"labels\.csv' is not UTF-8 text; save it as UTF-8"),
        (write(LABELS_CSV, f"sample_key,instrument\n{'x' * 140_000}\n"),
         r"labels\.csv' line 2: field larger than field limit .*; mend it"),
    ],
)  # fmt: skip
def test_a_damaged_tree_is_refused(tree: Path, spoil, match: str) -> None:
    spoil(tree)
    with pytest.raises(InputError, match=match) as caught:
        OpenMic(root=tree).part("training", sample_rate_hz=RATE_HZ)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"guitar": "voi"}, r"guitar=voi; expected gac or gel, or null"),
        ({"relevance": 0}, r"relevance=0; expected a number above 0, at most 1"),
    ],
)
def test_arguments_are_checked_at_once(arguments, match: str) -> None:
    with pytest.raises(InputError, match=match):
        OpenMic(root=None, **arguments)


def test_predominant_labels_take_the_place_of_the_others(tree, tmp_path) -> None:
    table = tmp_path / "openpir.csv"
    table.write_text(
        "sample_key,label\n000046_3840,cello;Voice\n000178_3840,acoustic guitar\n"
        "000178_3840,drums\n"
    )
    data = OpenMic(root=tree, predominant=table)
    assert labels_of(data) == {"000046_3840": ("cel", "voi"), "000178_3840": ("gac", "drums")}
    assert not data.classes  # those of IRMAS
    assert data.about == "clips of OpenMIC-2018 (CC BY 4.0), labels of openpir.csv"
    assert data.summary().endswith(
        "1 and 1 with a label: cel 1, drums 1, gac 1, voi 1; labels of openpir.csv"
    )


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "song,mood\na,b\n",
            r"has no sample_key; found song, mood, expected sample_key, label",
        ),
        ("", r"has no sample_key; found nothing, expected"),
        ("sample_key,genre\n", r"has no label; found sample_key, genre"),
        ("sample_key,label\n9_9,flute\n", r"none of the 1 clips of '.*p\.csv' is OpenMIC's; expe"),
    ],
)
def test_a_table_that_is_not_understood_is_refused(tree, tmp_path, text, match) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        labels_of(OpenMic(root=tree, predominant=tmp_path / "p.csv"))
    with pytest.raises(InputError, match=r"cannot read '.*none\.csv': No such file or directory"):
        labels_of(OpenMic(root=tree, predominant=tmp_path / "none.csv"))


def test_an_archive_fetched_by_hand_is_unpacked_once_and_kept(tree, tmp_path, monkeypatch) -> None:
    [published] = OpenMic(root=None).archives()
    assert (published.name, published.sounds) == ("openmic-2018-v1.0.0.tgz", 20_000)
    root = tmp_path / "data"
    root.mkdir()
    with tarfile.open(root / published.name, "w:gz") as archive:  # six clips
        archive.add(tree, arcname="openmic-2018")
    md5 = hashlib.md5((root / published.name).read_bytes(), usedforsecurity=False).hexdigest()
    own = OpenMic.archives
    monkeypatch.setattr(
        OpenMic, "archives", lambda self: [replace(own(self)[0], md5=md5, sounds=6)]
    )
    OpenMic(root=root).prepare()
    assert not (root / "openmic-2018").exists()  # nobody asked
    data = OpenMic(root=root, download=True)
    with pytest.raises(InputError, match="below"):
        data.summary()
    data.prepare()
    assert len(labels_of(data)) == 6  # it has looked again
    shown = {path.name for path in root.iterdir() if path.name[0] != "."}
    assert shown == {published.name, "openmic-2018"}
    assert not [p for p in (root / "openmic-2018").rglob("*") if p.name[:2] in ("vg", "._")]
    (root / published.name).unlink()
    for whole in (root, root / "openmic-2018"):
        OpenMic(root=whole, download=True).prepare()  # complete: nothing to do
    assert not list(root.rglob("*.part"))
