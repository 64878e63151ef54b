"""Files that appear whole or not at all.

A reader must never meet half a file: after a full disk, a kill or a power cut there is the
old file or the new one. So everything is written to a temporary name in the same folder,
synced, and moved over the final name, which POSIX and Windows do in one step. The price is
one fsync a file. `tempfile` was not used: its files are readable by their owner only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def temporary_path(path: Path) -> Path:
    """Return a hidden name beside `path` that nobody else uses."""
    return path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.part")


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` when the block ends, and never if it raises.

    Raises:
        OSError: from the system (no such folder, no permission, full disk); nothing is left.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
