"""A split of excerpts into training and validation that never separates a recording.

Excerpts cut from one recording share its sound; a validation excerpt whose neighbor was
trained on is no test of anything. Whole recordings are therefore drawn, one at a time, always
of the label that is furthest below its share, until the validation part is as near to the
wanted size as it gets. This takes milliseconds for IRMAS. scikit-learn's StratifiedGroupKFold
was rejected: it offers only the shares 1/k, takes one label per excerpt, and spends a second.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from irdream.datasets.base import ExcerptFile
from irdream.errors import InputError

_UNLABELLED = ("",)


def split_by_recording(
    files: Sequence[ExcerptFile], *, validation_share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indices of the training and of the validation excerpts, each in order.

    Each label has about `validation_share` of its excerpts in the validation part; the last
    recording of a label stays in the training part. Depends on the names of the recordings
    and the seed, not on the order of `files`.

    Args:
        files: what is to be split.
        validation_share: wanted share of the excerpts, between 0 and 1, both excluded.
        seed: which of the possible splits.

    Raises:
        InputError: share out of range; fewer than two recordings.
    """
    if not 0 < validation_share < 1:
        raise InputError(
            f"validation_share={validation_share} is out of range; "
            "expected a number between 0 and 1, such as 0.15"
        )
    label_counts = _count_labels(files)
    if len(label_counts) < 2:
        raise InputError(
            f"found {len(label_counts)} recordings; a split into training and validation "
            "needs at least 2, add excerpts of other recordings"
        )
    chosen = _choose(label_counts, validation_share=validation_share, seed=seed)
    training = [i for i, file in enumerate(files) if file.recording not in chosen]
    validation = [i for i, file in enumerate(files) if file.recording in chosen]
    return training, validation


def _count_labels(files: Sequence[ExcerptFile]) -> dict[str, Counter[str]]:
    """For each recording, in the order of names, how many of its excerpts have each label."""
    counts: dict[str, Counter[str]] = {file.recording: Counter() for file in files}
    for file in files:
        counts[file.recording].update(file.labels or _UNLABELLED)
    return {recording: counts[recording] for recording in sorted(counts)}


def _choose(
    label_counts: Mapping[str, Counter[str]], *, validation_share: float, seed: int
) -> set[str]:
    """Draw the recordings of the validation part, at least one of them."""
    rng = random.Random(seed)
    recordings = rng.sample(list(label_counts), len(label_counts))
    missing: Counter[str] = Counter()
    queues: dict[str, list[str]] = {}
    for recording in recordings:
        for label, count in label_counts[recording].items():
            missing[label] += validation_share * count  # type: ignore[assignment]
            queues.setdefault(label, []).append(recording)
    in_training = {label: len(queue) for label, queue in queues.items()}

    chosen: set[str] = set()
    while waiting := [label for label in queues if queues[label]]:
        recording = queues[max(waiting, key=missing.__getitem__)].pop()
        counts = label_counts[recording]
        is_last = any(in_training[label] == 1 for label in counts)
        is_too_much = counts.total() > 2 * missing.total()  # farther from the share than without
        if recording in chosen or is_last or is_too_much:
            continue
        chosen.add(recording)
        missing.subtract(counts)
        in_training.update((label, in_training[label] - 1) for label in counts)
    return chosen or {recordings[0]}
