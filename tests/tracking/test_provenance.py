from __future__ import annotations

import getpass
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from irdream import __version__, processes
from irdream.tracking import run_tags
from irdream.tracking.provenance import git_tags, lock_digest, packages, processor


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_a_clean_checkout_gives_its_commit(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    expected = {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": "main",
        "irdream.git_dirty": "false",
    }
    assert git_tags(checkout / "code.py") == expected
    git(checkout, "tag", "-a", "v1.0", "-m", "a tag is not the commit")
    assert git_tags(checkout / "code.py") == expected


def test_a_changed_checkout_is_dirty(checkout: Path) -> None:
    (checkout / "code.py").write_text("x = 2\n")
    assert git_tags(checkout / "code.py")["irdream.git_dirty"] == "true"


def test_files_that_git_does_not_know_are_no_change(checkout: Path) -> None:
    (checkout / "notes.txt").write_text("")
    assert git_tags(checkout / "code.py")["irdream.git_dirty"] == "false"


def test_a_commit_without_a_branch(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "--detach")
    tags = git_tags(checkout / "code.py")
    assert set(tags) == {"mlflow.source.git.commit", "irdream.git_dirty"}


def test_a_file_that_is_not_tracked_has_no_commit(checkout: Path) -> None:
    (checkout / "installed.py").write_text("")
    assert git_tags(checkout / "installed.py") == {}


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("")
    git(tmp_path, "add", "code.py")
    assert git_tags(tmp_path / "code.py") == {}


def test_no_git_is_no_error(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "code.py"
    outside.write_text("")
    assert git_tags(outside) == {}
    monkeypatch.setenv("PATH", "")
    assert git_tags(checkout / "code.py") == {}
    assert capfd.readouterr() == ("", "")


def test_tags_say_which_code_machine_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "main.py", "start.path=my song.wav"])
    tags = run_tags()
    assert tags["irdream.version"] == __version__
    assert tags["irdream.command"] == "python main.py 'start.path=my song.wav'"
    assert tags["irdream.pid"].isdigit()
    assert all(tags.values())


def test_git_is_asked_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_tags()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("git is asked again")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert run_tags() == first


def test_the_lock_file_has_a_digest_where_there_is_one(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    assert lock_digest(lock) == ""
    lock.write_text("numpy==2.4.6\n")
    first = lock_digest(lock)
    lock.write_text("numpy==2.4.7\n")
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert lock_digest(lock) != first


def test_packages_are_those_that_python_finds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "my_net-1.0rc1+cpu.dist-info").mkdir()
    (tmp_path / "my_net").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), str(tmp_path / "nowhere")])
    packages.cache_clear()
    lines = packages().splitlines()
    packages.cache_clear()
    assert "my_net==1.0rc1+cpu" in lines
    assert f"pytest=={pytest.__version__}" in lines
    assert lines == sorted(set(lines), key=str.lower)


def test_torch_is_named_only_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert "irdream.torch" not in run_tags()

    class LoadedTorch:
        __version__ = "2.13.0"

    monkeypatch.setitem(sys.modules, "torch", LoadedTorch)  # type: ignore[arg-type]
    assert run_tags()["irdream.torch"] == "2.13.0"


def test_a_machine_without_user_name_or_boot_id_is_fine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_such_user() -> str:
        raise KeyError("uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", no_such_user)
    monkeypatch.setattr(processes, "_BOOT_ID", tmp_path / "boot_id")
    assert not {"mlflow.user", "irdream.boot_id"} & set(run_tags())


CORES = """processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 143
model name\t: Intel(R) Xeon(R): 8481C @ 2.70GHz
power management:

processor\t: 1
model name\t: another
"""


def test_the_processor_has_the_name_of_its_first_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: {"/proc/cpuinfo": CORES}[str(path)])
    assert processor() == "Intel(R) Xeon(R): 8481C @ 2.70GHz"


def test_a_processor_that_tells_no_name_has_that_of_its_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(platform, "processor", lambda: "arm")
    for read in (missing, lambda path: "processor\t: 0\nBogoMIPS\t: 50.00\n", lambda path: ""):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_text", read)
            assert processor() == "arm"


def test_the_processor_of_this_machine_is_one_line() -> None:
    assert len(processor().splitlines()) <= 1
    assert processor() == processor().strip()
