"""When sounds are the same, which belong together, and how a training part is divided.

Excerpts of one recording (names that differ in a last `__k` only) belong together, and so do
recordings that share a file, byte for byte. A checkpoint's card has 8 characters of a hash of every
file that it was trained or validated on (54 kB for IRMAS): excerpts are known again under other
names, but not after they were converted or cut. A score on them is marked, not refused.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from irdream.arguments import Share, checked
from irdream.datasets.base import Excerpt, ExcerptFile
from irdream.errors import InputError
from irdream.files import as_text, content_of
from irdream.fingerprint import fingerprint_of
from irdream.tracking import Tracker

Key = TypeVar("Key", bound=Hashable)
Split = Literal["recording", "source", "excerpt"]
_CHARACTERS = 8  # of a file in a card


def known_content(path: Path) -> str | None:
    """Return the hash of a file's content; None where it cannot be read."""
    with contextlib.suppress(OSError):
        return content_of(path)
    return None


def fingerprint(files: Iterable[ExcerptFile]) -> str:
    """Return 16 hex digits that are equal for the same files in any folder and any order.

    Of each file its name, labels and content count; of one that cannot be read its name.
    """
    return _digits([file.name, list(file.labels), known_content(file.path)] for file in files)


def fingerprint_of_sounds(excerpts: Iterable[Excerpt]) -> str:
    """Return the same of decoded excerpts: names, labels and every sample; 1 ms for 2 MB."""
    return _digits([one.name, list(one.labels), fingerprint_of(one.waveform)] for one in excerpts)


def _digits(rows: Iterable[list[Any]]) -> str:
    return fingerprint_of(sorted(rows))[:16]


def described(files: Sequence[ExcerptFile]) -> str:
    """Return in words how many files these are, with their fingerprint."""
    return f"{len(files)} excerpts with the fingerprint {fingerprint(files)}"


def log_files(tracker: Tracker, name: str, files: Sequence[ExcerptFile], *, context: str) -> None:
    """Keep the fingerprint, folder and number of files with a run; `context`: what they are for."""
    source = ""
    with contextlib.suppress(ValueError):  # no files, or several drives
        source = as_text(os.path.commonpath([file.path.resolve().parent for file in files]))
    tracker.log_data(name, fingerprint(files), context=context, source=source, excerpts=len(files))


# Files in a tree of sounds


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name files by their stem, with the folder before it where two stems are the same."""
    stems = Counter(path.stem for path in paths)
    names: dict[str, None] = {}  # in order
    for path in paths:
        plain = path.stem if stems[path.stem] == 1 else f"{path.parent.name}-{path.stem}"
        numbered = (f"{plain}~{number}" for number in itertools.count(2))
        free = (name for name in itertools.chain([plain], numbered) if as_text(name) not in names)
        names[as_text(next(free))] = None
    return list(names)


def equal_files(files: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Return the groups of two or more files that are equal byte for byte.

    By size, then by 4 kB from the middle, then by MD5: hashing IRMAS whole would read 3.5 GB.
    """
    groups = [list(files)]
    for key in (lambda path: path.stat().st_size, _middle, md5_of):
        groups = [some for group in groups for some in _alike(group, key)]
    return [tuple(group) for group in groups]


def _alike(files: list[Path], key: Callable[[Path], Key]) -> list[list[Path]]:
    groups: dict[Key, list[Path]] = defaultdict(list)
    for file in files:
        with contextlib.suppress(OSError):  # reading it as sound says what is wrong
            groups[key(file)].append(file)
    return [group for group in groups.values() if len(group) > 1]


def _middle(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        return file.read(4096)


def md5_of(path: Path) -> str:
    """Return a file's MD5, as published beside data sets (no protection against forgery)."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def recordings_of(paths: Sequence[Path], equal_groups: Iterable[Sequence[Path]]) -> list[str]:
    """Return each file's recording: folders and name without a `__k` at the end.

    Folders above all of them are left out. Recordings that share an equal file become one, with
    all their excerpts.
    """
    above = os.path.commonpath([path.parent.parent for path in paths]) if paths else ""
    own = {
        path: as_text(path.parent.relative_to(above) / re.sub(r"__[0-9]+$", "", path.stem))
        for path in paths
    }
    joined = {recording: recording for recording in own.values()}

    def find(recording: str) -> str:
        while joined[recording] != recording:
            recording = joined[recording]
        return recording

    for group in equal_groups:
        together = sorted({find(own[path]) for path in group})
        joined.update(dict.fromkeys(together, together[0]))
    return [find(own[path]) for path in paths]


# Training and validation


@checked
def split_excerpts(
    files: Sequence[ExcerptFile], by: Split, *, validation_share: Share, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indices of the training and of the validation excerpts, each in order.

    The order of the files does not matter. By "recording" the excerpts of a recording stay together
    and each label is near its share; by "source" the recordings of a player stay together, too;
    "excerpt" draws single ones, as Han et al. (2016) did: the validation loss is then lower than
    that on unknown music. Raises InputError when there are too few to split.
    """
    if by == "excerpt" and len(files) > 1:
        count = min(max(1, round(validation_share * len(files))), len(files) - 1)
        names = sorted(range(len(files)), key=lambda i: files[i].name)
        chosen = set(random.Random(seed).sample(names, count))
        return [i for i in range(len(files)) if i not in chosen], sorted(chosen)
    groups = [(by == "source" and file.source) or file.recording for file in files]
    drawn = _drawn_groups(files, groups, validation_share=validation_share, seed=seed)
    divided: tuple[list[int], list[int]] = [], []
    for i, group in enumerate(groups):
        divided[group in drawn].append(i)
    return divided


def _drawn_groups(
    files: Sequence[ExcerptFile], groups: Sequence[str], *, validation_share: float, seed: int
) -> set[str]:
    """Draw the recordings, or sources, of the validation part, at least one.

    Always one of the label that is furthest below its share, until the part is as near to the
    wanted size as it gets. The last recording of a label stays in the training part.
    """
    counts: dict[str, Counter[str]] = {group: Counter() for group in groups}
    for file, group in zip(files, groups, strict=True):
        counts[group].update(file.labels or ("",))
    if len(counts) < 2:
        raise InputError(
            f"found {len(counts)} recordings; a split into training and validation "
            "needs at least 2, add excerpts of other recordings"
        )
    recordings = random.Random(seed).sample(sorted(counts), len(counts))
    missing: dict[str, float] = defaultdict(float)  # excerpts of each label to its share
    queues: dict[str, list[str]] = defaultdict(list)
    for recording in recordings:
        for label, count in counts[recording].items():
            missing[label] += validation_share * count
            queues[label].append(recording)
    in_training = {label: len(queue) for label, queue in queues.items()}

    chosen: set[str] = set()
    while waiting := [label for label in queues if queues[label]]:
        recording = queues[max(waiting, key=missing.__getitem__)].pop()
        own = counts[recording]
        is_last = any(in_training[label] == 1 for label in own)
        is_too_much = own.total() > 2 * sum(missing.values())  # farther from the share than without
        if recording in chosen or is_last or is_too_much:
            continue
        chosen.add(recording)
        for label, count in own.items():
            missing[label] -= count
            in_training[label] -= 1
    return chosen or {recordings[0]}


# What a checkpoint was trained on


def contents(files: Iterable[ExcerptFile]) -> list[str]:
    """Return 8 characters for each file, equal for equal sounds; empty where it cannot be read."""
    hashes = (bytes.fromhex(known_content(file.path) or "") for file in files)
    return [base64.b64encode(found[:6]).decode() for found in hashes]


def packed(files: Sequence[ExcerptFile]) -> str:
    """Return the contents of excerpts as one text, for a card."""
    return "".join(sorted(contents(files)))


def seen(card: Mapping[str, Any], files: Sequence[ExcerptFile]) -> tuple[str, ...]:
    """Say for each file whether it was for "training", "validation", or neither: "".

    Nothing where the card does not tell.
    """
    data = _data(card)
    if "training_contents" not in data:
        return ()
    known = {
        content: use
        for use in ("validation", "training")
        for content in re.findall("." * _CHARACTERS, data[f"{use}_contents"])
    }
    return tuple(known.get(content, "") for content in contents(files))


def seen_words(uses: Sequence[str]) -> str:
    """Say on how many excerpts a checkpoint was trained; nothing where on none."""
    trained, validated = uses.count("training"), uses.count("validation")
    if not trained and not validated:
        return ""
    return (
        f"no test: the checkpoint was trained on {trained} of these {len(uses)} excerpts, and its "
        f"epoch and thresholds were chosen on {validated}"
    )


def unknown_words(card: Mapping[str, Any], name: str) -> str:
    """Say that a data set of this name may have been trained on; nothing where more is known."""
    data = _data(card)
    if "training_contents" in data or data.get("name") != name:
        return ""
    return (
        f"perhaps no test: the checkpoint was trained on data called {name!r}, and its card does "
        "not tell on which excerpts"
    )


def tag_doubts(tracker: Tracker, doubts: Sequence[str]) -> None:
    """Tag a run whose scores are not those of a test."""
    if doubts:
        tracker.set_tags({"irdream.doubts": "; ".join(doubts)})


def _data(card: Mapping[str, Any]) -> Mapping[str, Any]:
    data = card.get("data")  # a card of somebody else may hold anything
    return data if isinstance(data, Mapping) else {}
