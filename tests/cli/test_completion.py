"""TAB completes groups, choices and keys, in bash and whatever path Python is called by."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "src" / "irdream" / "cli" / "completion.bash"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{sys.executable} main.py task=d", "task=doctor task=dream"),
        (f"{sys.executable} ./main.py sweep.f", "sweep.force="),
        (f"{sys.executable} main.py -m task=dream dream.step", "dream.step_size= dream.steps="),
        (f"{sys.executable} main.py objective=layer objective.l", "objective.layer="),
        (f"{sys.executable} other.py task=d", ""),
        (f"{sys.executable} mai", ""),
    ],
)
def test_what_bash_makes_of_it(line, words) -> None:
    script = f'source {SCRIPT}; _irdream_complete; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=ROOT,
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == words, done.stderr
