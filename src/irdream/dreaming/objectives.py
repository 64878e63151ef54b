"""What a dream maximizes: a score for each item, higher is better.

An objective is a function of what the recognizer heard and of the targets. Scores keep the
axis of items and are averaged over the windows of an item, so that neither the size of a
batch nor the length of an excerpt changes a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from irdream.recognizer import Recognizer

CHECKPOINTED = {"cpu": 128}  # windows, by device; elsewhere:
CHECKPOINTED_ELSEWHERE = 1024


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The recognizer's answer on some items, all of one length.

    Attributes:
        logits: (items, windows, instruments).
        log_probabilities: the same shape; their exponentials sum to one.
    """

    logits: Tensor
    log_probabilities: Tensor

    @classmethod
    def of(cls, recognizer: Recognizer, log_mel: Tensor) -> Heard:
        """Hear log-mels (items, n_mels, frames), all their windows at once.

        Of more windows than `CHECKPOINTED` the activations, some 8 MB a window, are not kept
        but computed again for the gradient.
        """
        windows = recognizer.windows(log_mel)
        flat = windows.flatten(0, 1)
        most = CHECKPOINTED.get(log_mel.device.type, CHECKPOINTED_ELSEWHERE)
        if len(flat) > most and torch.is_grad_enabled():
            parts = [
                checkpoint(recognizer.logits, part, use_reentrant=False)
                for part in flat.split(most // 4)
            ]
            logits = torch.cat(parts)
        else:
            logits = torch.cat([recognizer.logits(part) for part in flat.split(most)])
        logits = logits.unflatten(0, windows.shape[:2])
        return cls(logits=logits, log_probabilities=recognizer.log_probabilities(logits))

    def window_probabilities(self, targets: Tensor) -> Tensor:
        """Return the target's probability in each window, (items, windows)."""
        return of_target(self.log_probabilities, targets).exp()

    def probabilities(self) -> Tensor:
        """Return an item's probabilities, the mean over its windows, (items, instruments)."""
        return self.log_probabilities.exp().mean(dim=1)


class LogProbability:
    """log p of the target, averaged over the windows: low windows pull hardest.

    The default. The score cannot run away as a logit does, since it ends at zero.
    """

    def __call__(self, heard: Heard, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return of_target(heard.log_probabilities, targets).mean(dim=1)

    def __repr__(self) -> str:
        return "log_probability"


class Logit:
    """The target's logit, averaged over the windows, as in DeepDream.

    Under a softmax it can grow without raising the probability.
    """

    def __call__(self, heard: Heard, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return of_target(heard.logits, targets).mean(dim=1)

    def __repr__(self) -> str:
        return "logit"


def of_target(values: Tensor, targets: Tensor) -> Tensor:
    """Pick (items, windows) from (items, windows, instruments) by targets (items,)."""
    index = targets[:, None, None].expand(-1, values.shape[1], 1)
    return values.gather(2, index)[..., 0]
