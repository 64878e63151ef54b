"""What a network says of a whole excerpt, heard at once rather than in windows.

A network that pools over all of time takes any number of frames; one with attention decides by
itself which of them count, so that nothing is left to average. Such a network has
`any_length = True`. The time and the memory of a forward pass grow with the excerpt: with Han's
convolutions 1.5 MB and half the time of windows for each second.

It is meant for networks that were trained on longer windows. One that pools by a maximum and knows
but single seconds loses by it: the shipped one has an mAP of 0.84 so on rendered excerpts of 5 to
12 s, and of 0.89 by S1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.measures.aggregation import Array
from irdream.recognizer import Recognizer


def check_any_length(recognizer: Recognizer) -> None:
    """Raise InputError unless the network hears excerpts of any length at once."""
    if not getattr(recognizer.model, "any_length", False):
        raise InputError(
            "evaluate.aggregation=network has a network hear whole excerpts, and "
            f"{type(recognizer.model).__name__} hears windows of one length; take s1, s2 or max, "
            "or a network with any_length, such as model=attention"
        )


@torch.no_grad()
def whole_scores(recognizer: Recognizer, log_mel: Tensor) -> Array:
    """Return the scores (instruments,) of an excerpt.

    Args:
        recognizer: in eval mode; its `scores` are taken.
        log_mel: of the excerpt, (n_mels, frames).
    """
    return recognizer.scores(recognizer.logits(log_mel[None]))[0].float().cpu().numpy()
