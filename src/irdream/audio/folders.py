"""Which files of a folder are sound, and which are left out.

What libsndfile reads is known by its name; what only the program ffmpeg reads counts where that
is installed. What is left out and may be sound is named in one warning for a folder.
"""

from __future__ import annotations

import logging
import mimetypes
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from irdream.errors import InputError
from irdream.files import as_text

SUFFIXES = (
    ".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".aifc", ".opus", ".oga", ".caf", ".au",
    ".snd", ".w64", ".rf64", ".bwf", ".wave", ".mp2", ".mpga", ".voc", ".sph", ".nist", ".8svx",
    ".svx", ".avr", ".paf", ".pvf", ".ircam",
)  # fmt: skip
FFMPEG_SUFFIXES = (
    ".m4a", ".aac", ".mp4", ".wma", ".m4b", ".m4r", ".webm", ".mka", ".3gp", ".ape", ".wv", ".tta",
    ".mpc", ".ac3", ".eac3", ".dts", ".amr", ".spx", ".ra", ".dsf", ".dff",
)  # fmt: skip
_HEADS = (
    b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff", b".snd", b"ID3", b"\xff\xfb", b"\xff\xf3",
)  # fmt: skip
_NAMED = 3  # files of each kind that are left out

logger = logging.getLogger(__name__)


def audio_files(path: str | Path) -> list[Path]:
    """Return `path` if it is a file, or all sound files below it, sorted."""
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"no such file or folder: {str(path)!r}; check the path")
    found = sorted(sounds_below(path))
    if not found:
        formats = ", ".join(suffix[1:] for suffix in _readable())
        raise InputError(f"no sound file below {str(path)!r}; expected {formats}")
    return found


def sounds_below(root: Path) -> list[Path]:
    """List the sound files below `root`, unsorted, through links but not in circles.

    A warning names what may be sound and is left out.
    """
    found: list[Path] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    suffixes = _readable()

    def leave_out(path: Path, why: str) -> None:
        left_out[why].append(as_text(path.relative_to(root)))

    def unlisted(error: OSError) -> None:
        if (folder := Path(error.filename)) != root:
            return leave_out(folder, f"that cannot be listed: {error.strerror}")
        reason = f"cannot list {str(root)!r}: {error.strerror}"
        raise InputError(f"{reason}; check its permissions") from None

    for path in _files_below(root, unlisted):
        is_named_so = path.name.lower().endswith(suffixes) and not path.name.startswith(".")
        if is_named_so and (os.path.isfile(path) or not os.path.exists(path)):
            found.append(path)
        elif why := "no file, such as a pipe" if is_named_so else _why_left_out(path):
            leave_out(path, why)
    if left_out:
        kinds = (f"{len(names)} {why} ({_some(names)})" for why, names in left_out.items())
        logger.warning("left out below %s: %s", as_text(root), "; ".join(kinds))
    return found


def _files_below(root: Path, unlisted: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield the files of a folder and of all below it that are not hidden, each folder once."""
    folders, seen = [root], set[str]()
    for top in folders:  # to which links are added: a folder's own place comes first
        for folder, subfolders, names in os.walk(top, onerror=unlisted):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(s for s in subfolders if not s.startswith((".", "__MACOSX")))
            below = (Path(folder, name) for name in subfolders)
            folders += [path for path in below if path.is_symlink()]
            yield from (Path(folder, name) for name in sorted(names))


def ffmpeg() -> str | None:
    """Return the path of the program, which reads what libsndfile does not; None without it."""
    return shutil.which("ffmpeg")


def _readable() -> tuple[str, ...]:
    """Return how the names of files end that are read here, the most frequent first."""
    return SUFFIXES + (FFMPEG_SUFFIXES if ffmpeg() else ())


def _why_left_out(path: Path) -> str | None:
    """Say why a file that may be sound is left out; None where it is no sound."""
    name = path.name.lower()
    if name.startswith("."):
        attributes = name.startswith("._")  # of another file; macOS keeps them there
        return "hidden" if name.endswith(SUFFIXES + FFMPEG_SUFFIXES) and not attributes else None
    if name.endswith(FFMPEG_SUFFIXES):
        return "that the program ffmpeg would read, which is not installed"
    if (mimetypes.guess_type(name)[0] or "").startswith(("text/", "image/")) or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            begins_like_sound = file.read(12).startswith(_HEADS)
    except OSError:
        return None
    return "of unknown endings that begin like sound" if begins_like_sound else None


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(sorted(names)[:_NAMED]) + (f" and {more} more" if more > 0 else "")
