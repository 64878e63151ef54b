"""Which excerpts are trained on, and which are validated on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, get_args

from irdream.datasets.base import ExcerptFile
from irdream.datasets.split import split_by_recording
from irdream.errors import InputError

Split = Literal["recording", "excerpt"]


def split_excerpts(
    files: Sequence[ExcerptFile], by: Split, *, validation_share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indices of the training and of the validation excerpts, each in order.

    Args:
        files: what is to be split.
        by: "recording" keeps the excerpts of a recording together; "excerpt" draws single
            ones, as Han, Kim and Lee (2016) did: training and validation then share recordings,
            and the validation loss is lower than that on music that was never heard.
        validation_share: of the excerpts, between 0 and 1.
        seed: which of the possible splits.

    Raises:
        InputError: another word than these; share out of range; too few to split.
    """
    if by not in get_args(Split):
        raise InputError(f"train.split={by}; expected recording or excerpt")
    if by == "recording" or not 0 < validation_share < 1 or len(files) < 2:
        return split_by_recording(files, validation_share=validation_share, seed=seed)
    count = min(max(1, round(validation_share * len(files))), len(files) - 1)
    names = sorted(range(len(files)), key=lambda i: files[i].name)
    chosen = set(random.Random(seed).sample(names, count))
    return [i for i in range(len(files)) if i not in chosen], sorted(chosen)
