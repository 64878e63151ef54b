"""Files that appear whole or not at all, and names that no two of them share.

Everything is written to a temporary name in the same folder, synced, and moved over the final name.
`tempfile` was not used: its files are readable by their owner only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from irdream.errors import InputError

_NAME_BYTES = 80  # so that endings and a temporary name fit into the 255 of file systems

ExistingPath = str | Path  # of an argument: the command line looks whether it is there


def temporary_path(path: Path) -> Path:
    """Return a hidden name beside `path` that nobody else uses."""
    name = _cut(path.name)
    return path.with_name(f".{name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def distinct_names(texts: Sequence[str]) -> list[str]:
    """Return a name for files, without an ending, for each of some different texts.

    Letters, digits, `_` and `-` stay, 80 bytes at most. Where two would be the same file, also
    where upper and lower case or the forms of Unicode are not told apart, each gets eight digits
    of its text's hash. So a name depends on the texts, not on their order.
    """
    plain = [_cut(re.sub(r"[^\w-]+", "_", _composed(text)).strip("_-")) or "_" for text in texts]
    folded = [_composed(name.casefold()) for name in plain]
    count = Counter(folded)
    return [
        name if count[key] == 1 else f"{name}-{_digest(text)}"
        for name, key, text in zip(plain, folded, texts, strict=True)
    ]


def as_text(name: str | Path) -> str:
    """Return a file's name or path as text that can be written; bytes that are none, as \\xf6."""
    return os.fsencode(name).decode(errors="backslashreplace")


def read_text(path: Path) -> str:
    """Read a file as UTF-8; raise InputError when it cannot be read, or is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}; check it") from None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def _cut(name: str) -> str:
    """Return as much of a name as has 80 bytes, whole letters only."""
    return name.encode(errors="ignore")[:_NAME_BYTES].decode(errors="ignore")


@contextlib.contextmanager
def replacing(path: str | Path, *, synced: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` when the block ends, and never if it raises.

    It is `synced` so that it survives a power cut; what can be made again need not.

    Raises:
        OSError: from the system (no such folder, no permission, full disk), with the name of
            `path`; nothing is left.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the temporary name
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
