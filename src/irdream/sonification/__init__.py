"""Sonification: from a dreamed log-mel to a waveform.

A sonification is called with the dreamed and the original log-mel (items, n_mels, frames), the
original waveform (items, samples) and the front end, and returns (items, samples).
"""

from irdream.sonification.gain import StftGain
from irdream.sonification.griffin_lim import GriffinLim
from irdream.sonification.mel_inversion import MelInversion

__all__ = ["GriffinLim", "MelInversion", "StftGain"]
