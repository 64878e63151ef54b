"""Which excerpts are trained on, and which are validated on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from irdream.arguments import Share, checked
from irdream.datasets.base import ExcerptFile
from irdream.errors import InputError

Split = Literal["recording", "source", "excerpt"]


@checked
def split_excerpts(
    files: Sequence[ExcerptFile], by: Split, *, validation_share: Share, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indices of the training and of the validation excerpts, each in order.

    Args:
        files: what is to be split; their order does not matter.
        by: "recording" keeps the excerpts of a recording together and each label near its share;
            "source" keeps the recordings of a player together; "excerpt" draws single ones, as Han
            et al. (2016) did: the validation loss is then lower than that on unknown music.
        validation_share: of the excerpts.
        seed: which of the possible splits.

    Raises:
        InputError: an argument out of range; too few to split.
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
    scikit-learn's StratifiedGroupKFold offers only the shares 1/k and takes one label each.
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
    missing: dict[str, float] = {}  # excerpts of each label to its share
    queues: dict[str, list[str]] = {}
    for recording in recordings:
        for label, count in counts[recording].items():
            missing[label] = missing.get(label, 0.0) + validation_share * count
            queues.setdefault(label, []).append(recording)
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
