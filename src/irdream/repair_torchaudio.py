"""Make `import torchaudio` work beside a torch that was built without CUDA.

    python -m irdream.repair_torchaudio

PyPI's torchaudio for Linux is compiled against the CUDA build of torch. Beside a CPU-only torch its
import stops with `OSError: Could not load this library: .../libtorchaudio.so`. irdream needs
nothing of that library: torchaudio's transforms are written in Python, and its loader allows for
the library not to be there. So the files `torchaudio/lib/*.so` are removed, but only where torch
has no CUDA and the import fails in exactly this way; installing torchaudio again brings them back.
The set-up runs this once, after pip.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

_LIBRARY_ERROR = re.compile(r"OSError: .*\.so")


def main() -> int:
    """Repair the torchaudio of this interpreter, say so in one line, return an exit status."""
    import torch

    repaired, line = repair("torchaudio", torch_has_cuda=torch.version.cuda is not None)
    print(line, file=sys.stdout if repaired else sys.stderr)
    return 0 if repaired else 1


def repair(package: str, *, torch_has_cuda: bool) -> tuple[bool, str]:
    """Remove the compiled libraries of `package` if they keep it from being imported.

    Returns:
        Whether `package` can be imported now, and one line that says what was done.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False, f"{package} is not installed; install the packages of requirements.lock"
    error = _import_error(package)
    if not error:
        return True, f"{package} can be imported; nothing to repair"
    if torch_has_cuda or not _LIBRARY_ERROR.match(error):
        return False, f"{package} cannot be imported, for a reason not known here: {error}"
    libraries = sorted(Path(spec.origin).parent.glob("lib/*.so"))
    for library in libraries:
        library.unlink()
    if error := _import_error(package):
        return False, f"{package} cannot be imported, even without its libraries: {error}"
    removed = ", ".join(library.name for library in libraries)
    return True, f"{package} works now, in pure Python: removed {removed}"


def _import_error(package: str) -> str:
    """Import a package in a process of its own; return the last line of the failure, if any."""
    command = [sys.executable, "-c", f"import {package}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [f"exit status {result.returncode}", *result.stderr.strip().splitlines()]
    return lines[-1] if result.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
