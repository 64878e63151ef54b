"""Models: log-mel windows (batch, n_mels, frames) -> logits (batch, instruments).

A model is any `torch.nn.Module` with that `forward`. Its attribute `output` says how logits
become probabilities: "softmax" (also when it is missing) or "sigmoid". It must not mix the
items of a batch in eval mode. `any_length = True` says that it pools over all of time, so that
it may hear whole excerpts. An argument that is a network itself is given by a `_target_` of
its own; arguments named in `not_kept` are used when it is new, and no checkpoint keeps them.
A model with `statistics` and `fit` is fitted at once, not by gradients; see `MfccSvm`.
"""

from irdream.models.attention import AttentionPooling, Han2016Body
from irdream.models.convnext import ConvNeXt
from irdream.models.han2016 import Han2016, Han2016BatchNorm
from irdream.models.light import Light
from irdream.models.mfcc_svm import MfccSvm
from irdream.models.pons2017 import Pons2017Multi, Pons2017Single
from irdream.models.transfer import Transfer

__all__ = [
    "AttentionPooling",
    "ConvNeXt",
    "Han2016",
    "Han2016BatchNorm",
    "Han2016Body",
    "Light",
    "MfccSvm",
    "Pons2017Multi",
    "Pons2017Single",
    "Transfer",
]
