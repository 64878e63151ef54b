"""Sound files in, sound files out; every check on a bad file lives here."""

from irdream.audio.folders import audio_files, sounds_below
from irdream.audio.sounds import MIN_PEAK, load_audio, load_channels, resample, write_wav

__all__ = [
    "MIN_PEAK", "audio_files", "load_audio", "load_channels", "resample", "sounds_below",
    "write_wav",
]  # fmt: skip
