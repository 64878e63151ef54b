"""Parametrizations: what is dreamed, and how it becomes a log-mel that is heard.

A parametrization is an object with

    step_unit                               what `dream.step_size` means
    start(recognizer, waveform)             waveform (items, samples) -> signal (items, ...)
    step(signal, step_size)                 the step size in the signal's own unit, (items, 1, ...)
    constrain(signal)                       the nearest signal within the range
    log_mel(recognizer, signal)             signal -> (items, n_mels, frames), differentiable
    waveform(signal)                        (items, samples) where the signal is sound, or None
"""

from irdream.dreaming.parametrizations.log_mel import LogMel
from irdream.dreaming.parametrizations.protocol import Parametrization
from irdream.dreaming.parametrizations.waveform import Waveform

__all__ = ["LogMel", "Parametrization", "Waveform"]
