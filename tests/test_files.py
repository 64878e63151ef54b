"""Files appear whole; they are the same while their content is, and are read once."""

import errno
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from irdream import files
from irdream.files import as_text, content_of, distinct_names, pitched, remember_in, replacing

LONG_AGO = time.time() - 1000


def test_the_file_appears_with_all_its_bytes_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "a.bin"
    with pytest.raises(OSError, match="No space left") as caught, replacing(path) as file:
        file.write(b"x")
    assert caught.value.filename == str(path)
    assert os.listdir(tmp_path) == []


def test_an_error_of_the_system_names_the_file_and_no_temporary_one(tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=rf"'{folder}'$"), replacing(folder) as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_missing_folders_are_made_but_not_where_a_file_is(tmp_path: Path) -> None:
    with replacing(tmp_path / "a" / "b" / "c.bin") as file:
        file.write(b"x")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"x"
    with pytest.raises(OSError, match=r"c\.bin'$"), replacing(tmp_path / "a/b/c.bin/d") as file:
        file.write(b"x")


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.bin") as file:
        file.write(b"x")
    ordinary = tmp_path / "b.bin"
    ordinary.write_bytes(b"x")
    assert (tmp_path / "a.bin").stat().st_mode == ordinary.stat().st_mode


ALIKE = {
    "cut": [f"{'long ' * 30}{take}" for take in "ab"],
    "cut within letters": [f"{'長' * 40}{take}" for take in "ab"],
    "unusual": ["take #1", "take_1", "take 🎻1", "take/1", "take.1"],
    "case": ["Flute", "flute", "FLUTE"],
    "case of other letters": ["straße", "STRASSE"],
    "forms of unicode": ["é", "e\N{COMBINING ACUTE ACCENT}"],
    "nothing left": ["", "...", "🎻"],
    "no UTF-8": ["Fl\udcf6te", "Fl\udce9te"],
}


@pytest.mark.parametrize("texts", ALIKE.values(), ids=ALIKE)
def test_names_that_agree_are_told_apart(texts: list[str]) -> None:
    names = distinct_names(texts)
    folded = {unicodedata.normalize("NFD", name).casefold() for name in names}
    assert len(folded) == len(texts)
    assert distinct_names([*texts[::-1], "other"]) == [*names[::-1], "other"]
    assert all(len(name.encode()) < 100 for name in names)
    assert all(re.fullmatch(r"[\w-]+", name) for name in names)


@pytest.mark.parametrize("name", ["NUL", "con.x", "-rf", "..", "~", "a\nb", "a\\b:c*?", "a" * 300])
def test_a_name_is_one_that_every_file_system_takes(name: str, tmp_path: Path) -> None:
    (safe,) = distinct_names([name])
    with replacing(tmp_path / f"{safe}-to-flu-original.wav") as file:
        file.write(b"x")
    assert not safe.startswith(("-", "."))
    assert not set(safe) & set('.<>:"/\\|?*\n')


def test_a_plain_name_stays_as_it_is() -> None:
    assert distinct_names(["Flöte_1-b", "x"]) == ["Flöte_1-b", "x"]


def test_a_file_of_a_long_name_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / f"{'長' * 83}.wav"  # 253 bytes of the 255 that may be
    with replacing(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


def test_bytes_that_are_no_utf_8_become_text() -> None:
    assert as_text("Fl\udcf6te/Flöte.wav") == "Fl\\xf6te/Flöte.wav"
    assert as_text(Path("a b")) == "a b"


# What files contain


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of sounds, one of them behind a link to a folder, one behind a link to a file."""
    root, elsewhere = tmp_path / "tree", tmp_path / "elsewhere"
    for path in (root / "flute" / "a.wav", root / "cello" / "b.wav", elsewhere / "c.wav"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode() * 9000)
    (root / "linked").symlink_to(elsewhere)
    (root / "link.wav").symlink_to(elsewhere / "c.wav")
    (root / "circle").symlink_to(root)
    (root / "nowhere.wav").symlink_to(tmp_path / "nothing")
    return root


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read; nothing is remembered before."""
    names: list[str] = []

    def opened(path: str, mode: str):
        names.append(os.path.basename(path))
        return open(path, mode)

    monkeypatch.setattr(files, "open", opened, raising=False)
    monkeypatch.setattr(files, "_memory", files._Memory())
    monkeypatch.setattr(files, "_SETTLED_NS", -1)
    return names


def one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)


def one_byte_at_the_same_time(path: Path) -> None:
    state = path.stat()
    one_byte(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "one byte": lambda tree: one_byte(tree / "flute" / "a.wav"),
    "one byte, time put back": lambda tree: one_byte_at_the_same_time(tree / "flute" / "a.wav"),
    "one byte behind a link": lambda tree: one_byte(tree.parent / "elsewhere" / "c.wav"),
    "name of a file": lambda tree: (tree / "flute" / "a.wav").rename(tree / "flute" / "z.wav"),
    "name of a folder": lambda tree: (tree / "flute").rename(tree / "violin"),
    "another folder": lambda tree: (tree / "flute" / "a.wav").rename(tree / "cello" / "a.wav"),
    "one more": lambda tree: shutil.copy(tree / "flute" / "a.wav", tree / "flute" / "d.wav"),
    "one less": lambda tree: (tree / "flute" / "a.wav").unlink(),
    "a text": lambda tree: (tree / "flute" / "a.txt").write_text("flu"),
    "an empty file": lambda tree: (tree / "flute" / "a.csv").touch(),
    "a link that leads somewhere": lambda tree: (tree.parent / "nothing").write_text("now"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_content_is_noticed(tree: Path, change: Callable[[Path], object]) -> None:
    before = content_of(tree)
    change(tree)
    assert content_of(tree) != before


def touch(tree: Path) -> None:
    for path in (tree, tree / "flute", tree / "flute" / "a.wav", tree / "cello" / "b.wav"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def replace_by_a_copy(tree: Path) -> None:
    shutil.copy(tree / "flute" / "a.wav", tree.parent / "copy")
    os.replace(tree.parent / "copy", tree / "flute" / "a.wav")


def run_on_it(tree: Path) -> None:
    """Leave what runs write into the folder that they read."""
    for name in (
        "outputs/run/.hydra/config.yaml", "outputs/run/dreams.csv", "outputs/run/a/b.png",
        "outputs/sweep/multirun.yaml", "outputs/sweep/0/job.json", "mlruns/mlflow.db",
        "cache/audio/a.npy", "flute/__pycache__/a.pyc", ".git/index", ".DS_Store",
    ):  # fmt: skip
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)


UNCHANGED: dict[str, Callable[[Path], object]] = {
    "touched": touch,
    "replaced by a copy": replace_by_a_copy,
    "outputs of runs, hidden files": run_on_it,
}


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED)
def test_the_same_content_is_the_same(tree: Path, change: Callable[[Path], object]) -> None:
    before = content_of(tree, written=[tree / "cache"])
    change(tree)
    assert content_of(tree, written=[tree / "cache"]) == before


@pytest.mark.parametrize(
    ("folder", "file"), [("", "a/dream.wav"), ("outputs/run", "weights.safetensors")]
)
def test_the_sounds_that_runs_write_count_and_all_files_of_a_runs_own_folder(tree, folder, file):
    run_on_it(tree)
    before = content_of(tree / folder)
    (tree / "outputs" / "run" / file).write_bytes(b"new")
    assert content_of(tree / folder) != before


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a file"):
        content_of(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such file"):
        content_of(tmp_path / "nothing")
    assert content_of(tmp_path) != content_of(tmp_path.parent)  # does not wait for the pipe


def test_the_home_folder_and_the_working_one_are_known(tree: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    monkeypatch.chdir(tree)
    assert content_of("~/flute") == content_of("flute") == content_of(tree / "flute")


# Read once


def test_a_file_is_read_once_while_it_is_the_same(tree: Path, reads: list[str]) -> None:
    for _ in range(2):
        content_of(tree)
        content_of(tree / "flute" / "a.wav")
    assert sorted(reads) == ["a.wav", "b.wav", "c.wav", "link.wav"]
    touch(tree)
    content_of(tree)
    assert sorted(reads)[:2] == ["a.wav", "a.wav"]


def test_a_file_that_has_just_changed_is_read_again(tree, reads, monkeypatch) -> None:
    monkeypatch.setattr(files, "_SETTLED_NS", 10**12)
    for _ in range(2):
        content_of(tree / "flute" / "a.wav")
    assert reads == ["a.wav", "a.wav"]


@pytest.mark.parametrize("damage", [None, b"", b"[1, 2]", b'{"a": 3, "b": [[]]}', b"\xff"])
def test_another_process_remembers_unless_what_was_kept_is_damaged(
    tree: Path, tmp_path: Path, reads: list[str], monkeypatch, damage: bytes | None
) -> None:
    monkeypatch.setattr(files, "_WORTH_KEEPING", 1)
    remember_in(tmp_path / "cache")
    before = content_of(tree)
    files._memory.save()
    kept = tmp_path / "cache" / files.FILE
    if damage is not None:
        kept.write_bytes(damage)

    monkeypatch.setattr(files, "_memory", files._Memory())
    reads.clear()
    remember_in(tmp_path / "cache")
    assert content_of(tree) == before
    assert len(reads) == (0 if damage is None else 4)


def test_little_is_not_worth_a_file(tree: Path, tmp_path: Path, reads: list[str]) -> None:
    remember_in(tmp_path / "cache")
    content_of(tree)
    files._memory.save()
    assert not (tmp_path / "cache").exists()


def test_a_memory_that_cannot_be_written_is_none(tree, tmp_path, reads, monkeypatch) -> None:
    monkeypatch.setattr(files, "_WORTH_KEEPING", 1)
    (tmp_path / "cache").write_text("a file where the folder should be")
    remember_in(tmp_path / "cache")
    before = content_of(tree)
    files._memory.save()
    assert content_of(tree) == before


def test_much_is_read_at_once_and_kept(tree, tmp_path, reads, monkeypatch) -> None:
    before = content_of(tree)
    for name in ("_WORTH_SHOWING", "_WORTH_KEEPING"):
        monkeypatch.setattr(files, name, 1)
    monkeypatch.setattr(files, "_memory", files._Memory())
    remember_in(tmp_path / "cache")
    reads.clear()
    assert content_of(tree) == before
    assert sorted(reads) == ["a.wav", "b.wav", "c.wav", "link.wav"]
    assert (tmp_path / "cache" / files.FILE).is_file()


# What a checkpoint is called


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("second@-3", ("second", -3.0)),
        ("models:/drums@champion@+0.5", ("models:/drums@champion", 0.5)),
        ("my/folder@-12", ("my/folder", -12.0)),
        ("second", ("second", 0.0)),
        ("models:/drums@champion", ("models:/drums@champion", 0.0)),
        ("second@3", ("second@3", 0.0)),
        ("second@-13", ("second@-13", 0.0)),
    ],
)
def test_the_pitch_at_which_a_checkpoint_hears(name: str, expected: tuple[str, float]) -> None:
    assert pitched(name) == expected


def test_a_folder_of_that_name_is_itself(tmp_path: Path) -> None:
    (tmp_path / "mine@-3").mkdir()
    assert pitched(f"{tmp_path}/mine@-3") == (f"{tmp_path}/mine@-3", 0.0)
