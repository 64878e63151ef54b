"""The stages of work on a data set, each a process of its own, and what it took.

Two sizes are told of a process: what it held, and that with the files it mapped, which the system
takes back whenever somebody needs the memory. Both are read 20 times a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import ROOT

_SAMPLE_SECONDS = 0.05


@dataclass
class Stage:
    """What a process took.

    Attributes:
        seconds: from its start to its end.
        megabytes: the most it held, without mapped files.
        mapped_megabytes: the most with them.
        told: what it wrote about itself.
    """

    seconds: float = 0.0
    megabytes: float = 0.0
    mapped_megabytes: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)

    def row(self, *, few: Stage, audio_megabytes: float) -> dict[str, Any]:
        """Return the figures for the report.

        Args:
            few: the same stage with few excerpts, to tell what grows with their number.
            audio_megabytes: of the decoded excerpts.
        """
        return {
            "seconds": round(self.seconds, 1),
            "megabytes": round(self.megabytes),
            "megabytes_with_mapped_files": round(self.mapped_megabytes),
            "megabytes_with_few_excerpts": round(few.megabytes),
            "audio_megabytes": round(audio_megabytes, 1),
            "memory_of_audio": round((self.megabytes - few.megabytes) / audio_megabytes, 4),
        }


def run_job(folder: Path, words: Sequence[str]) -> Stage:
    """Run a job of main.py, its files in `folder`/0; the phases are in `told`."""
    stage = _run([
        "main.py", "-m", "tracker=none", f"store={folder.parent}/mlruns",
        f"hydra.sweep.dir={folder}", *words,
    ])[0]  # fmt: skip
    stage.told = json.loads((folder / "0" / "job.json").read_text())
    return stage


def run_module(words: Sequence[str]) -> Stage:
    """Run a module that prints JSON in its last line."""
    stage, output = _run(["-m", *words])
    stage.told = json.loads(output.splitlines()[-1])
    return stage


def _run(words: Sequence[str]) -> tuple[Stage, str]:
    """Run Python and watch it; where it fails, end with what it says."""
    stage = Stage()
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=output, stderr=errors)
        watch = threading.Thread(target=_watch, args=(process.pid, stage), daemon=True)
        watch.start()
        try:
            process.wait()
        finally:
            process.kill()  # where this process is interrupted
            process.wait()
        stage.seconds = time.perf_counter() - began
        watch.join()
        for file in (output, errors):
            file.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(words)}\n{errors.read().decode()}")
        return stage, output.read().decode()


def _watch(pid: int, stage: Stage) -> None:
    """Note the largest size of a process until it ends."""
    try:
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            memory = process.memory_info()
            mapped = getattr(memory, "shared", 0)  # Linux alone tells
            stage.megabytes = max(stage.megabytes, (memory.rss - mapped) / 1e6)
            stage.mapped_megabytes = max(stage.mapped_megabytes, memory.rss / 1e6)
            time.sleep(_SAMPLE_SECONDS)
    except psutil.Error:  # it ended
        return
