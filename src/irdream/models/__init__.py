"""Models: log-mel windows (batch, n_mels, frames) -> logits (batch, instruments).

A model is any `torch.nn.Module` with that `forward` that does not mix the items of a batch in
eval mode. Its attributes:

- `output`: how logits become probabilities, "softmax" (also when it is missing) or "sigmoid".
- `any_length = True`: it pools over all of time, so that it can score whole excerpts.
- `not_kept`: names of arguments that are used when it is new, and that no checkpoint keeps.
- `statistics` and `fit`: it is fitted at once, not by gradients; see `MfccSvm`.

Our own take `instruments`, the number of outputs, and most take `output`. An argument that is a
network itself is given by a `_target_` of its own.
"""

from irdream.models.convnext import ConvNeXt
from irdream.models.han2016 import Han2016, Han2016BatchNorm, Han2016Body, Light
from irdream.models.mfcc_svm import MfccSvm
from irdream.models.musicnn import MusicnnBody
from irdream.models.pons2017 import Pons2017Multi, Pons2017Single
from irdream.models.transfer import AttentionPooling, Transfer

__all__ = [
    "AttentionPooling",
    "ConvNeXt",
    "Han2016",
    "Han2016BatchNorm",
    "Han2016Body",
    "Light",
    "MfccSvm",
    "MusicnnBody",
    "Pons2017Multi",
    "Pons2017Single",
    "Transfer",
]
