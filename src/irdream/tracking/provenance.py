"""Where a run came from: code, versions, machine, process, command.

Git costs 7 ms and is asked once in a process: one `git status` says commit, branch and dirtiness.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from irdream import __version__
from irdream.processes import this_process

if TYPE_CHECKING:
    from mlflow.entities import Run

OPENED_TAG = "irdream.opened"  # seconds since 1970, of a run that was opened again
_LOCK = Path(__file__).resolve().parents[3] / "requirements.lock"  # of a checkout


def run_tags() -> dict[str, str]:
    """Return the tags of a run, without facts that are not available.

    `mlflow.*` are the names that the MLflow UI reads. Host, pid and boot id tell later whether the
    process of a run that is still marked RUNNING can be alive.
    """
    user = lock = ""
    with contextlib.suppress(KeyError, OSError):  # a container's user without an entry in passwd
        user = getpass.getuser()
    with contextlib.suppress(OSError):  # outside a checkout there is none
        lock = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    tags = {
        "mlflow.source.name": sys.argv[0],
        "mlflow.source.type": "LOCAL",
        "mlflow.user": user,
        "irdream.version": __version__,
        "irdream.python": platform.python_version(),
        "irdream.torch": str(getattr(sys.modules.get("torch"), "__version__", "")),
        "irdream.lock": lock,
        **{f"irdream.{key}": value for key, value in this_process().items()},
        "irdream.command": shlex.join(sys.orig_argv),
    }
    return {key: value for key, value in (tags | git_tags(Path(__file__))).items() if value}


def opened_by(run: Run) -> tuple[dict[str, str], float]:
    """Return the mark of the process that opened a run, and since when, see `irdream.processes`."""
    tags = run.data.tags
    mark = {key: tags.get(f"irdream.{key}", "") for key in this_process()}
    return mark, float(tags.get(OPENED_TAG, run.info.start_time / 1000))


@cache
def git_tags(file: Path) -> dict[str, str]:
    """Return commit and branch of the checkout that `file` is part of, and whether it was changed.

    Empty without git, outside a checkout, before a first commit, or when the file is not tracked.
    """
    if not _git(file.parent, "ls-files", "--", file.name):
        return {}
    said = _git(file.parent, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    lines = said.splitlines()
    about = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    commit, branch = about.get("branch.oid", "(initial)"), about.get("branch.head", "")
    if commit == "(initial)":
        return {}
    dirty = any(not line.startswith("# ") for line in lines)
    tags = {"mlflow.source.git.commit": commit, "irdream.git_dirty": str(dirty).lower()}
    return tags if branch == "(detached)" else tags | {"mlflow.source.git.branch": branch}


@cache
def packages() -> str:
    """Return installed packages as lines `name==version`, read in 1 ms from names of folders."""
    names: set[str] = set()
    for folder in sys.path:
        with contextlib.suppress(OSError):
            names.update(name for name in os.listdir(folder or ".") if name.endswith(".dist-info"))
    pairs = (name.removesuffix(".dist-info").rpartition("-") for name in names)
    lines = {f"{name}=={version}\n" for name, _, version in pairs if name}
    return "".join(sorted(lines, key=str.lower))


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            check=True,
            text=True,
            timeout=5.0,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):  # no git, no checkout
        return ""
    return done.stdout.strip()
