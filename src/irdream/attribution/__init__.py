"""What a recognizer listened to: methods (recognizer, log-mels, targets) -> relevance.

What is explained is the target's logit, the mean over the windows of an excerpt. Relevance has the
shape of the log-mels (items, n_mels, frames) and speaks for the target where it is positive. Where
windows overlap it is summed, and divided by their number: the first and last half window, which
one window alone hears, count half, as in the recognizer's own answer.
"""

from irdream.attribution.backward import LRP, Deconvolution, GuidedBackprop
from irdream.attribution.base import (
    Attribution,
    baseline_of,
    check_method,
    target_logits,
    with_sound,
)
from irdream.attribution.methods import (
    AscendedMask,
    GradCAM,
    GradientXInput,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
)

__all__ = [
    "LRP", "AscendedMask", "Attribution", "Deconvolution", "GradCAM", "GradientXInput",
    "GuidedBackprop", "IntegratedGradients", "Occlusion", "SmoothGrad", "baseline_of",
    "check_method", "target_logits", "with_sound",
]  # fmt: skip
