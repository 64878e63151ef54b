import getpass
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from irdream import __version__, processes
from irdream.tracking.provenance import git_tags, packages, run_tags


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


CLEAN = {"mlflow.source.git.branch": "main", "irdream.git_dirty": "false"}


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        pytest.param("code.py", None, CLEAN, id="clean"),
        pytest.param(
            "code.py", lambda root: git(root, "tag", "-a", "v1.0", "-m", "x"), CLEAN, id="tagged"
        ),
        pytest.param(
            "code.py", lambda root: (root / "notes.txt").touch(), CLEAN, id="a file unknown to git"
        ),
        pytest.param(
            "code.py", lambda root: (root / "code.py").write_text("x = 2\n"),
            CLEAN | {"irdream.git_dirty": "true"}, id="changed",
        ),
        pytest.param(
            "code.py", lambda root: git(root, "checkout", "--quiet", "--detach"),
            {"irdream.git_dirty": "false"}, id="without a branch",
        ),
        pytest.param(
            "code.py", lambda root: git(root, "update-ref", "-d", "HEAD"), None, id="no commit"
        ),
        pytest.param(
            "installed.py", lambda root: (root / "installed.py").touch(), None, id="not tracked"
        ),
    ],
)  # fmt: skip
def test_the_commit_is_that_of_the_checkout(checkout: Path, file, change, expected) -> None:
    commit = {"mlflow.source.git.commit": git(checkout, "rev-parse", "HEAD")}
    if change is not None:
        change(checkout)
    assert git_tags(checkout / file) == ({} if expected is None else commit | expected)


def test_no_git_is_no_error(checkout, monkeypatch, tmp_path_factory, capfd) -> None:
    outside = tmp_path_factory.mktemp("outside") / "code.py"
    outside.write_text("")
    assert git_tags(outside) == {}
    monkeypatch.setenv("PATH", "")
    assert git_tags(checkout / "code.py") == {}
    assert capfd.readouterr() == ("", "")


def test_tags_say_which_code_machine_and_process_and_git_is_asked_once(monkeypatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "main.py", "start.path=my song.wav"])
    tags = run_tags()
    assert tags["irdream.version"] == __version__
    assert tags["irdream.command"] == "python main.py 'start.path=my song.wav'"
    assert tags["irdream.pid"].isdigit()
    lock = Path(__file__).parents[2] / "requirements.lock"
    assert tags["irdream.lock"] == hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    assert all(tags.values())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("git is asked again")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert run_tags() == tags


def test_packages_are_those_that_python_finds(monkeypatch, tmp_path) -> None:
    (tmp_path / "my_net-1.0rc1+cpu.dist-info").mkdir()
    (tmp_path / "my_net").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), str(tmp_path / "nowhere")])
    packages.cache_clear()
    lines = packages().splitlines()
    packages.cache_clear()
    assert {"my_net==1.0rc1+cpu", f"pytest=={pytest.__version__}"} <= set(lines)
    assert lines == sorted(set(lines), key=str.lower)


def test_what_a_machine_does_not_tell_is_left_out(monkeypatch, tmp_path) -> None:
    def no_such_user() -> str:
        raise KeyError("uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", no_such_user)
    monkeypatch.setattr(processes, "_BOOT_ID", tmp_path / "boot_id")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not {"mlflow.user", "irdream.boot_id", "irdream.torch"} & set(run_tags())
    loaded: Any = type("LoadedTorch", (), {"__version__": "2.13.0"})
    monkeypatch.setitem(sys.modules, "torch", loaded)
    assert run_tags()["irdream.torch"] == "2.13.0"
