"""Models: log-mel windows (batch, n_mels, frames) -> logits (batch, instruments).

A model is any `torch.nn.Module` with that `forward`. Its attribute `output` says how logits
become probabilities: "softmax" (also when it is missing) or "sigmoid". It must not mix the
items of a batch in eval mode.
"""

from irdream.models.han2016 import Han2016, Han2016BatchNorm

__all__ = ["Han2016", "Han2016BatchNorm"]
