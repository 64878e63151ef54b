"""Sound files as the network of Han, Kim and Lee (2016) hears them.

A recording becomes the mean of its channels, resampled, divided by its largest magnitude.
libsndfile (through soundfile) reads it without a system package, the program ffmpeg what
libsndfile does not, where it is installed; torchaudio only resamples, since its own `load` needs
torchcodec. libsndfile accepts much that no user wants: it shortens a cut WAV without a word, reads
NaN, no frames at all and a rate of 1 Hz.

Reading costs about 3 ms for 3 s of stereo at 44.1 kHz.
"""

from __future__ import annotations

import io
import logging
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from irdream.audio.folders import FFMPEG_SUFFIXES, ffmpeg
from irdream.audio.headers import bad, mended
from irdream.audio.mp3 import counted
from irdream.audio.resampling import resample

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
MAX_CHANNELS = 64
MIN_PEAK = 2.0**-14  # of full scale; 16-bit silence with dither stays below
MIN_SHARE = 0.01  # that the mean has of its channels' peak, where they do not cancel out

_BLOCK_FRAMES = 2**20
_CAREFUL_FRAMES = 1024  # that are lost at most where a file of unknown length breaks off
_UNKNOWN_FRAMES = 2**63 - 1
_LOSSY = ("OGG", "MP3")  # whose lengths may be told a little too long
_LACKING_SECONDS, _LACKING_SHARE = 0.1, 0.002

logger = logging.getLogger(__name__)


def load_audio(
    path: str | Path,
    *,
    sample_rate_hz: int,
    min_seconds: float = 0.0,
    allow_silence: bool = False,
) -> Tensor:
    """Read a sound file as (samples,): mono float32 at `sample_rate_hz`, largest |x| = 1.

    Args:
        path: of the file.
        sample_rate_hz: of what is returned.
        min_seconds: that it must have.
        allow_silence: return silence as it is.

    Raises:
        InputError: when the file is missing, unreadable, no sound, cut off, empty, shorter
            than `min_seconds`, not finite, or of an absurd rate or channel count; when it is
            silent, or its channels cancel each other out.
    """
    path = Path(path).expanduser()
    sound = _read(path)
    mono = sound.mono
    if len(mono) == 0:
        raise bad(path, "is empty (0 frames)", "replace it")
    if not np.isfinite(mono).all():
        raise bad(path, "contains NaN or infinite values", "export it again")
    if len(mono) < min_seconds * sound.rate_hz:
        seconds = (
            f"is too short: {len(mono) / sound.rate_hz:.3f} s, at least {min_seconds:g} s expected"
        )
        raise bad(path, seconds, "use a longer recording")
    if not allow_silence:
        _check_loudness(path, sound)
    # Scaled before resampling too, so that huge floats cannot overflow in the filter.
    waveform = _scale_to_peak(torch.from_numpy(mono))
    return _scale_to_peak(resample(waveform, from_hz=sound.rate_hz, to_hz=sample_rate_hz))


class _Sound(NamedTuple):
    mono: np.ndarray  # (frames,) float32, the mean of the channels
    peak: float  # of the loudest channel
    rate_hz: int


class _Forward(soundfile.SoundFile):
    """A sound file that is read from its beginning to its end.

    soundfile would seek after each block, which fails at the end of a file of unknown length.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(_Source(file))  # type: ignore[arg-type]

    def seekable(self) -> bool:
        return False


class _Source:
    """A file that goes to its end where it cannot seek: damaged headers point anywhere."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return self._seek(0, os.SEEK_END)


def _check_loudness(path: Path, sound: _Sound) -> None:
    peak = float(np.abs(sound.mono).max())
    if sound.peak < MIN_PEAK:
        least = f"at least {20 * math.log10(MIN_PEAK):.0f} dB of full scale expected"
        found = f", its peak {20 * math.log10(sound.peak):.0f} dB" if sound.peak else ""
        raise bad(path, f"is silent{found}; {least}", "use a louder recording")
    if peak < MIN_SHARE * sound.peak:
        cancelled = "has channels that cancel each other out: their mean is silent"
        raise bad(path, cancelled, "turn one of them over, or export one alone")


def _read(path: Path) -> _Sound:
    try:
        with path.open("rb") as file:
            try:
                opened = _Forward(_readable(path, file))
            except soundfile.LibsndfileError as error:
                opened = _Forward(_through_ffmpeg(path, _reason(error)))
            with opened as sound:
                return _decode(path, sound)
    except FileNotFoundError:
        raise bad(path, "does not exist", "check the path") from None
    except IsADirectoryError:
        raise bad(path, "is a folder", "name a sound file in it") from None
    except PermissionError:
        raise bad(path, "cannot be read: no permission", "change its permissions") from None
    except OSError as error:
        raise bad(path, f"cannot be read: {error.strerror}", "check the disk") from None


def _readable(path: Path, file: BinaryIO) -> BinaryIO:
    """Return a file, at its beginning, whose header does not mislead libsndfile."""
    head = file.read(4)
    file.seek(0)
    named = path.suffix.lower() in (".mp3", ".mpga") and head not in (b"RIFF", b"fLaC", b"OggS")
    if named or head[:3] == b"ID3" or head[:1] == b"\xff":
        again = counted(file.read())
        file.seek(0)
        return file if again is None else io.BytesIO(again)
    if head == b"OggS":
        _check_pages(path, file)
    return mended(path, file)


def _check_pages(path: Path, file: BinaryIO) -> None:
    """Warn of an Ogg without its last page, and of one with several streams; rewind the file."""
    stream = file.read(18)[14:]
    file.seek(-min(os.fstat(file.fileno()).st_size, 2**17), os.SEEK_END)  # a page has 64 kB
    page = file.read()
    page = page[page.rfind(b"OggS") :]
    file.seek(0)
    segments = page[27 : 27 + page[26]] if len(page) > 27 else b""
    if not segments or not page[5] & 4 or len(page) < 27 + page[26] + sum(segments):
        logger.warning("%r has no end: it was cut off, or never finished", str(path))
    elif page[14:18] != stream:
        logger.warning("%r has several streams, of which the first is read", str(path))


def _through_ffmpeg(path: Path, reason: str) -> BinaryIO:
    """Return what the program ffmpeg makes of a file that libsndfile does not read, as a WAV."""
    unreadable = f"is not readable as sound ({reason})"
    program = ffmpeg()
    if program is None:
        if path.suffix.lower() in FFMPEG_SUFFIXES:
            kind = path.suffix[1:].lower()
            raise bad(path, unreadable, f"install the program ffmpeg, which reads {kind}")
        raise bad(path, unreadable, "use wav, flac, ogg or mp3")
    given = ["-nostdin", "-v", "error", "-i", f"file:{os.fspath(path)}"]
    wanted = ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "-"]
    done = subprocess.run(
        [program, *given, *wanted], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    said = f"ffmpeg says: {done.stderr.decode(errors='replace').strip().rpartition(chr(10))[2]}"
    if done.returncode or not done.stdout:
        raise bad(path, unreadable, said)
    if done.stderr:
        logger.warning("%r is read as far as it goes; %s", str(path), said)
    return io.BytesIO(done.stdout)


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(". ")


def _decode(path: Path, sound: soundfile.SoundFile) -> _Sound:
    rate_hz, channels, expected = sound.samplerate, sound.channels, sound.frames
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        absurd = (
            f"has an absurd sample rate of {rate_hz} Hz ({MIN_RATE_HZ} to {MAX_RATE_HZ} expected)"
        )
        raise bad(path, absurd, "export it again")
    if channels > MAX_CHANNELS:
        absurd = f"has {channels} channels, at most {MAX_CHANNELS} expected"
        raise bad(path, absurd, "export it as mono or stereo")
    blocks, peak = [np.zeros(0, np.float32)], 0.0
    for block in _blocks(path, sound):
        blocks.append(_mono(block))
        peak = max(peak, float(block.max()), -float(block.min()))
    mono = np.concatenate(blocks)
    lossy_lack = max(_LACKING_SECONDS * rate_hz, _LACKING_SHARE * expected)
    tolerated = lossy_lack if sound.format in _LOSSY else 0
    if expected < _UNKNOWN_FRAMES and len(mono) < expected - tolerated:
        cut = f"is cut off: {len(mono)} of {expected} frames"
        raise bad(path, cut, "copy or export it again")
    return _Sound(mono, peak, rate_hz)


def _blocks(path: Path, sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield (frames, channels), as far as they go where nothing says how far that is."""
    is_known = sound.frames < _UNKNOWN_FRAMES
    most, read = _BLOCK_FRAMES // sound.channels if is_known else _CAREFUL_FRAMES, 0
    try:
        while size := min(most, sound.frames - read):
            block = sound.read(size, dtype="float32", always_2d=True)
            if not len(block):
                return
            yield block
            read += len(block)
    except soundfile.LibsndfileError as error:
        broken = f"is cut off or damaged ({_reason(error)})"
        if is_known or not read:
            raise bad(path, broken, "copy or export it again") from None
        logger.warning("%r %s; it is read as far as it goes", str(path), broken)


def _mono(block: np.ndarray) -> np.ndarray:
    """Return the mean of the channels; numpy's own takes ten times as long for two."""
    total = block[:, 0].copy()
    for channel in range(1, block.shape[1]):
        total += block[:, channel]
    return total / np.float32(block.shape[1])


def _scale_to_peak(waveform: Tensor) -> Tensor:
    peak = waveform.abs().max()
    return waveform / peak if peak > 0 else waveform
