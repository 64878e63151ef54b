"""Sound files as the network of Han, Kim and Lee (2016) takes them, and sound files written.

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
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import soundfile
import torch
from torch import Tensor

from irdream.audio.folders import FFMPEG_SUFFIXES, ffmpeg
from irdream.audio.lengths import after_tag, bad, mended, with_frame_count
from irdream.errors import InputError, told
from irdream.files import replacing

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
MAX_CHANNELS = 64
MIN_PEAK = 2.0**-14  # of full scale; 16-bit silence with dither stays below
MIN_SHARE = 0.01  # that the mean has of its channels' peak, where they do not cancel out

_MAX_KERNEL_VALUES = 2**22
_BLOCK_FRAMES = 2**20
_CAREFUL_FRAMES = 1024  # that are lost at most where a file of unknown length breaks off
_UNKNOWN_FRAMES = 2**63 - 1
_LOSSY = ("OGG", "MP3")  # whose lengths may be a little too long
_LACKING_SECONDS, _LACKING_SHARE = 0.1, 0.002
_UNREADABLE: dict[type[OSError], tuple[str, str]] = {
    FileNotFoundError: ("does not exist", "check the path"),
    IsADirectoryError: ("is a folder", "name a sound file in it"),
    PermissionError: ("cannot be read: no permission", "change its permissions"),
}

Decoded = TypeVar("Decoded")
logger = logging.getLogger(__name__)


def load_audio(
    path: str | Path,
    *,
    sample_rate_hz: int,
    min_seconds: float = 0.0,
    allow_silence: bool = False,
) -> Tensor:
    """Read a sound file as (samples,): mono float32 at `sample_rate_hz`, largest |x| = 1.

    Raises InputError when the file is missing, unreadable, no sound, cut off, empty, shorter than
    `min_seconds`, not finite, or of an absurd rate or channel count; and, but with `allow_silence`,
    when it is silent or constant, or its channels cancel each other out.
    """
    path = Path(path).expanduser()
    mono, channels_peak, rate_hz = _read(path, _decode)
    seconds = len(mono) / rate_hz
    if not seconds:
        raise bad(path, "is empty (0 frames)", "replace it")
    if not np.isfinite(mono).all():
        raise bad(path, "contains NaN or infinite values", "export it again")
    if seconds < min_seconds:
        shown = math.floor(1000 * seconds) / 1000  # rounded up it could look long enough
        short = f"is too short: {shown:.3f} s, at least {min_seconds:g} s expected"
        raise bad(path, short, "use a longer recording")
    if channels_peak < MIN_PEAK and not allow_silence:
        least = f"at least {20 * math.log10(MIN_PEAK):.0f} dB of full scale expected"
        found = f", its peak {20 * math.log10(channels_peak):.0f} dB" if channels_peak else ""
        raise bad(path, f"is silent{found}; {least}", "use a louder recording")
    lowest, highest = float(mono.min()), float(mono.max())
    if max(-lowest, highest) < MIN_SHARE * channels_peak and not allow_silence:
        cancelled = "has channels that cancel each other out: their mean is silent"
        raise bad(path, cancelled, "turn one of them over, or export one alone")
    if highest - lowest <= MIN_PEAK and not allow_silence:
        constant = f"is no sound: all its values are about {highest:.3g}, a constant (DC)"
        raise bad(path, constant, "export it again")
    # Scaled before resampling too, so that huge floats cannot overflow in the filter.
    waveform = _scale_to_peak(torch.from_numpy(mono))
    return _scale_to_peak(resample(waveform, from_hz=rate_hz, to_hz=sample_rate_hz))


def load_channels(path: str | Path) -> tuple[Tensor, int]:
    """Read a sound file as (channels, samples), float32, and its sample rate, as they are.

    For a file that `load_audio` has read: nothing is checked but that it can be read.
    """
    path = Path(path).expanduser()

    def decode(path: Path, sound: soundfile.SoundFile) -> tuple[np.ndarray, int]:
        return np.concatenate(list(_blocks(path, sound))).T, sound.samplerate

    channels, rate_hz = _read(path, decode)
    return torch.from_numpy(np.ascontiguousarray(channels)), rate_hz


def _read(path: Path, decode: Callable[[Path, soundfile.SoundFile], Decoded]) -> Decoded:
    """Open a sound file and return `decode` of it; turn errors of the system into an InputError."""
    try:
        with path.open("rb") as file, _opened(path, file) as sound:
            return decode(path, sound)
    except OSError as error:
        other = (f"cannot be read: {error.strerror}", "check the disk")
        raise bad(path, *_UNREADABLE.get(type(error), other)) from None


def resample(waveform: Tensor, *, from_hz: int, to_hz: int) -> Tensor:
    """Resample (..., samples) by a windowed sinc filter.

    The filter has numerator x denominator values: for rates without a common divisor that
    would be gigabytes, so such a ratio is rounded, which detunes by less than a cent. Raises
    InputError when torchaudio cannot be imported. Long sounds are filtered some seconds at a time,
    since the filter takes up to 14 times the memory of what it is given.
    """
    if from_hz == to_hz:
        return waveform
    ratio = Fraction(int(to_hz), int(from_hz))
    if ratio.numerator * ratio.denominator > _MAX_KERNEL_VALUES:
        ratio = ratio.limit_denominator(1000)
    try:
        from torchaudio import functional
    except (OSError, ImportError) as error:
        remedy = "run `python -m irdream.repair_torchaudio`"
        raise InputError(f"torchaudio cannot be imported ({told(error)}); {remedy}") from error
    old, new = ratio.denominator, ratio.numerator
    # Cut where a sample of both rates is; the filter reaches 7 samples of the lower rate.
    size, reach = old * math.ceil(_BLOCK_FRAMES / old), old * (1 + math.ceil(7 / min(old, new)))
    parts = []
    for first in range(0, max(1, waveform.shape[-1]), size):
        before = min(first, reach)
        part = waveform[..., first - before : first + size + reach]
        skipped = before // old * new
        part = functional.resample(part, old, new)[..., skipped : skipped + size // old * new]
        parts.append(part)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def write_wav(path: str | Path, waveform: Tensor, *, sample_rate_hz: int) -> None:
    """Write (samples,), or (channels, samples), as a 16-bit PCM WAV, whole or not at all.

    Full scale is 1: a value x becomes round(32767 x). Raises InputError when the waveform has
    another shape, is not finite, or exceeds full scale, and OSError from the system.
    """
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    problem = ""
    if waveform.ndim not in (1, 2) or (waveform.ndim == 2 and len(waveform) > MAX_CHANNELS):
        problem = f"shape {tuple(waveform.shape)}, not (samples,) or (channels, samples)"
    elif not math.isfinite(peak):
        problem = "the waveform has NaN or infinite values"
    elif peak > 1:
        problem = f"the waveform's peak is {peak:.4g}, above full scale 1; scale it down first"
    if problem:
        raise InputError(f"cannot write {str(path)!r}: {problem}")
    blocks = waveform.detach().cpu().split(_BLOCK_FRAMES, dim=-1)
    pcm = (
        torch.cat([(x.double() * 32767).round().to(torch.int16) for x in blocks], dim=-1).numpy().T
    )
    # Encoded in memory: libsndfile reports a full disk as no OSError.
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, sample_rate_hz, format="WAV", subtype="PCM_16")
    with replacing(path) as file:
        file.write(encoded.getbuffer())


class _Decoded(NamedTuple):
    mono: np.ndarray  # (frames,) float32, the mean of the channels
    peak: float  # of the loudest channel
    rate_hz: int


class _Forward(soundfile.SoundFile):
    """A sound file that is read from its beginning to its end.

    soundfile would seek after each block, which fails at the end of a file of unknown length.
    """

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


def _opened(path: Path, file: BinaryIO) -> soundfile.SoundFile:
    try:
        source: Any = _Source(_with_true_length(path, file))
        return _Forward(source)
    except soundfile.LibsndfileError as error:
        if not os.fstat(file.fileno()).st_size:
            raise bad(path, "is empty (0 bytes)", "copy or export it again") from None
        source = _Source(_through_ffmpeg(path, _reason(error)))
        return _Forward(source)


def _with_true_length(path: Path, file: BinaryIO) -> BinaryIO:
    """Return a file, at its beginning, whose header does not mislead libsndfile."""
    head = file.read(4)
    file.seek(0)
    named = path.suffix.lower() in (".mp3", ".mpga") and head not in (b"RIFF", b"fLaC", b"OggS")
    if named or head[:3] == b"ID3" or head[:1] == b"\xff":
        data = file.read()
        again = with_frame_count(data)
        if again is None and head[:3] == b"ID3":  # libsndfile loses as much at the end of a WAV
            again = data[after_tag(data) :]
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
    """Return as a WAV a file that libsndfile cannot read, decoded by the program ffmpeg."""
    unreadable = f"is not readable as sound ({reason})"
    program, kind = ffmpeg(), path.suffix.lower()
    if program is None:
        install = f"install the program ffmpeg, which reads {kind[1:]}"
        raise bad(
            path, unreadable, install if kind in FFMPEG_SUFFIXES else "use wav, flac, ogg or mp3"
        )
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


def _decode(path: Path, sound: soundfile.SoundFile) -> _Decoded:
    rate_hz, channels, expected = sound.samplerate, sound.channels, sound.frames
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        limits = f"({MIN_RATE_HZ} to {MAX_RATE_HZ} expected)"
        raise bad(path, f"has an absurd sample rate of {rate_hz} Hz {limits}", "export it again")
    if channels > MAX_CHANNELS:
        absurd = f"has {channels} channels, at most {MAX_CHANNELS} expected"
        raise bad(path, absurd, "export it as mono or stereo")
    blocks: list[np.ndarray] = [np.zeros(0, np.float32)]
    peak = 0.0
    for block in _blocks(path, sound):
        total = block[:, 0].copy()  # numpy's mean takes ten times as long for two channels
        for channel in range(1, channels):
            total += block[:, channel]
        blocks.append(total / np.float32(channels))
        peak = max(peak, float(block.max()), -float(block.min()))
    mono = np.concatenate(blocks)
    lossy_lack = max(_LACKING_SECONDS * rate_hz, _LACKING_SHARE * expected)
    tolerated = lossy_lack if sound.format in _LOSSY else 0
    if expected < _UNKNOWN_FRAMES and len(mono) < expected - tolerated:
        cut = f"is cut off: {len(mono)} of {expected} frames"
        raise bad(path, cut, "copy or export it again")
    return _Decoded(mono, peak, rate_hz)


def _blocks(path: Path, sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield (frames, channels), as far as they can be read where the length is unknown."""
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


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(". ")


def _scale_to_peak(waveform: Tensor) -> Tensor:
    """Scale a waveform to a peak of 1 in place, since an hour of it has gigabytes."""
    lowest, highest = waveform.aminmax()
    peak = torch.maximum(-lowest, highest)
    return waveform.div_(peak) if peak > 0 else waveform
