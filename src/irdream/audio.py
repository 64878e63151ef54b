"""Sound files in, sound files out; every check on a bad file lives here.

A recording is read as the network of Han, Kim and Lee (2016) hears it: the mean of its
channels, resampled, divided by its largest magnitude. libsndfile (through soundfile) reads
wav, flac, ogg and mp3 without a system package; torchaudio only resamples, since its own
`load` needs torchcodec. libsndfile accepts much that no user wants: it shortens a cut WAV
without a word, reads NaN, no frames at all and a rate of 1 Hz, and clips what it writes.

Reading costs about 3 ms for 3 s of stereo at 44.1 kHz.
"""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import soundfile
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.files import replacing

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
MAX_CHANNELS = 64

# Sizes that recorders write into a header when they cannot come back to it (pipes).
_STREAMED_BYTES = {0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF}
_BLOCK_FRAMES = 2**20
_MAX_KERNEL_VALUES = 2**22


def audio_files(path: str | Path) -> list[Path]:
    """Return `path` if it is a file, or all sound files below it, sorted.

    Links to folders are followed; hidden files and folders are left out.

    Raises:
        InputError: when nothing is there.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"no such file or folder: {str(path)!r}; check the path")
    found = sorted(sounds_below(path))
    if not found:
        formats = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise InputError(f"no sound file below {str(path)!r}; expected {formats}")
    return found


def sounds_below(root: Path) -> list[Path]:
    """List the sound files below `root`, unsorted, through links but not in circles.

    Raises:
        InputError: when a folder cannot be listed.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, onerror=_refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(s for s in subfolders if not s.startswith((".", "__MACOSX")))
        sounds = (n for n in names if n.lower().endswith(SUFFIXES) and not n.startswith("."))
        found.extend(Path(folder, name) for name in sounds)
    return found


def load_audio(path: str | Path, *, sample_rate_hz: int, min_seconds: float = 0.0) -> Tensor:
    """Read a sound file as (samples,): mono float32 at `sample_rate_hz`, largest |x| = 1.

    Silence stays silence.

    Raises:
        InputError: when the file is missing, unreadable, no sound, cut off, empty, shorter
            than `min_seconds`, not finite, or of an absurd rate or channel count.
    """
    path = Path(path).expanduser()
    mono, rate_hz = _read_mono(path)
    if len(mono) == 0:
        raise _bad(path, "is empty (0 frames)", "replace it")
    if not np.isfinite(mono).all():
        raise _bad(path, "contains NaN or infinite values", "export it again")
    if len(mono) < min_seconds * rate_hz:
        seconds = f"is too short: {len(mono) / rate_hz:.3f} s, at least {min_seconds:g} s expected"
        raise _bad(path, seconds, "use a longer recording")
    # Scaled before resampling too, so that huge floats cannot overflow in the filter.
    waveform = _scale_to_peak(torch.from_numpy(mono))
    return _scale_to_peak(resample(waveform, from_hz=rate_hz, to_hz=sample_rate_hz))


def resample(waveform: Tensor, *, from_hz: int, to_hz: int) -> Tensor:
    """Resample (..., samples) by a windowed sinc filter.

    The filter has numerator x denominator values: for rates without a common divisor that
    would be gigabytes, so such a ratio is rounded, which detunes by less than a cent.

    Raises:
        InputError: when torchaudio cannot be imported.
    """
    if from_hz == to_hz:
        return waveform
    ratio = Fraction(int(to_hz), int(from_hz))
    if ratio.numerator * ratio.denominator > _MAX_KERNEL_VALUES:
        ratio = ratio.limit_denominator(1000)
    return _torchaudio_functional().resample(waveform, ratio.denominator, ratio.numerator)


def write_wav(path: str | Path, waveform: Tensor, *, sample_rate_hz: int) -> None:
    """Write (samples,) as a mono 16-bit PCM WAV, whole or not at all.

    Full scale is 1: a value x becomes round(32767 x).

    Raises:
        InputError: when the waveform is not (samples,), not finite, or exceeds full scale.
        OSError: from the system (full disk, no permission); nothing is left behind.
    """
    if waveform.ndim != 1:
        raise InputError(
            f"cannot write {str(path)!r}: shape {tuple(waveform.shape)}, not (samples,)"
        )
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    if not np.isfinite(peak):
        raise InputError(f"cannot write {str(path)!r}: the waveform has NaN or infinite values")
    if peak > 1:
        problem = f"the waveform's peak is {peak:.4g}, above full scale 1"
        raise InputError(f"cannot write {str(path)!r}: {problem}; scale it down first")
    pcm = (waveform.detach().cpu().double() * 32767).round().to(torch.int16).numpy()
    # Encoded in memory: libsndfile reports a full disk as no OSError.
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, sample_rate_hz, format="WAV", subtype="PCM_16")
    with replacing(path) as file:
        file.write(encoded.getbuffer())


def _bad(path: Path, problem: str, remedy: str) -> InputError:
    return InputError(f"{str(path)!r} {problem}; {remedy}")


def _refuse(error: OSError) -> NoReturn:
    raise InputError(
        f"cannot list {str(error.filename)!r}: {error.strerror}; check its permissions"
    )


def _read_mono(path: Path) -> tuple[np.ndarray, int]:
    """Return the mean of the channels, (frames,) float32, and the rate in Hz."""
    try:
        with path.open("rb") as file:
            _check_complete(path, file)
            with soundfile.SoundFile(file) as sound:
                return _decode(path, sound), sound.samplerate
    except FileNotFoundError:
        raise _bad(path, "does not exist", "check the path") from None
    except IsADirectoryError:
        raise _bad(path, "is a folder", "name a sound file in it") from None
    except PermissionError:
        raise _bad(path, "cannot be read: no permission", "change its permissions") from None
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ")[-1].rstrip(". ")
        raise _bad(
            path, f"is not readable as sound ({reason})", "use wav, flac, ogg or mp3"
        ) from None


def _decode(path: Path, sound: soundfile.SoundFile) -> np.ndarray:
    rate_hz, channels, expected = sound.samplerate, sound.channels, sound.frames
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        absurd = (
            f"has an absurd sample rate of {rate_hz} Hz ({MIN_RATE_HZ} to {MAX_RATE_HZ} expected)"
        )
        raise _bad(path, absurd, "export it again")
    if channels > MAX_CHANNELS:
        absurd = f"has {channels} channels, at most {MAX_CHANNELS} expected"
        raise _bad(path, absurd, "export it as mono or stereo")
    blocks: list[np.ndarray] = []
    while len(block := sound.read(_BLOCK_FRAMES // channels, dtype="float32", always_2d=True)):
        blocks.append(_mono(block))
    mono = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if len(mono) < expected:
        raise _bad(path, f"is cut off: {len(mono)} of {expected} frames", "copy or export it again")
    return mono


def _mono(block: np.ndarray) -> np.ndarray:
    """Return the mean of the channels; numpy's own takes ten times as long for two."""
    total = block[:, 0].copy()
    for channel in range(1, block.shape[1]):
        total += block[:, channel]
    return total / np.float32(block.shape[1])


def _check_complete(path: Path, file: BinaryIO) -> None:
    """Refuse a WAV whose header promises more data than there is; rewind the file."""
    promised = _promised_wav_bytes(file)
    available = os.fstat(file.fileno()).st_size - file.tell()
    if promised is not None and promised > available:
        cut = f"is cut off: {available} of {promised} bytes of sound"
        raise _bad(path, cut, "copy or export it again")
    file.seek(0)


def _promised_wav_bytes(file: BinaryIO) -> int | None:
    """Stop at a WAV's sound and return its length by the header; None when it says none."""
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return None
    long_size = None
    while len(chunk := file.read(8)) == 8:
        size = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            size = long_size if long_size is not None and size == 0xFFFFFFFF else size
            return None if size in _STREAMED_BYTES else size
        start = file.tell()
        if chunk[:4] == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        file.seek(start + size + size % 2)
    return None


def _scale_to_peak(waveform: Tensor) -> Tensor:
    peak = waveform.abs().max()
    return waveform / peak if peak > 0 else waveform


def _torchaudio_functional() -> Any:
    try:
        import torchaudio.functional
    except (OSError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "run `python -m irdream.repair_torchaudio`"
        raise InputError(f"torchaudio cannot be imported ({reason}); {remedy}") from error
    return torchaudio.functional
