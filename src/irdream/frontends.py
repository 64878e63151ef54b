"""Front ends: waveform (batch, samples) -> log-spectrogram (batch, bands, frames), differentiable.

A front end is a `torch.nn.Module` with the attributes `sample_rate_hz` and `hop_samples`. What it
gives is the natural logarithm of a magnitude, whatever the network wants. That is what is dreamed,
drawn and measured, so that step sizes, changes and figures in dB are true of any network. Another
unit is a fixed, differentiable layer before the network: a front end may have a method
`for_network`, which `Recognizer.logits` calls, and whose unit (`scale`) or cepstrum
(`coefficients`) nothing else meets.

Those that are weights on the bins of a short-time spectrum have `n_fft` and the buffer `mel_basis`
(bands, n_fft // 2 + 1) besides: then a dreamed log-mel can be made a sound. A buffer `centers_hz`
(bands,) is the axis of figures.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from irdream.arguments import Amount, Count, Positive, checked
from irdream.audio.masking import bins_hz
from irdream.audio.stft import DB_PER_NATURAL, dct_basis
from irdream.errors import InputError

Scale = Literal["natural", "db", "magnitude", "power"]
Filters = Literal["slaney", "htk", "gammatone"]
Taper = Literal["hann", "hamming", "blackman"]
_HALF = (torch.float16, torch.bfloat16)
Power = Annotated[int, Ge(1), Le(2)]
FRAMES_AT_ONCE = 4096  # of a long sound; spectra take ten times the memory of the log-mel, or more


def _nnaudio() -> Any:
    """Import nnAudio's classes; of scipy.signal, which takes 0.5 s, only the windows they need."""
    spec, package = importlib.util.find_spec("scipy.signal"), ModuleType("scipy.signal")
    is_new = spec is not None and "scipy.signal" not in sys.modules
    if spec is not None and is_new:
        package.__path__ = spec.submodule_search_locations or []
        sys.modules["scipy.signal"] = package
    try:
        if is_new:
            windows: Any = importlib.import_module("scipy.signal.windows")
            vars(package)["get_window"] = windows.get_window
        return importlib.import_module("nnAudio.features")
    finally:
        if is_new:
            del sys.modules["scipy.signal"]  # for who needs all of it


nnaudio = _nnaudio()


@checked
class Waveform(nn.Module):
    """Waveform (batch, samples) -> the same, for networks on waveforms: each sample is a frame."""

    hop_samples = 1

    def __init__(self, *, sample_rate_hz: Count = 22_050) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform


class Spectral(nn.Module):
    """The base of irdream's front ends: the unit and cepstrum that a network gets."""

    centers_hz: Tensor  # (bands,)
    dct: Tensor | None  # (coefficients, bands)

    def __init__(self, scale: Scale, coefficients: int | None, centers_hz: Tensor) -> None:
        super().__init__()
        self.scale, self.coefficients = scale, coefficients
        bands = len(centers_hz)
        if coefficients is not None and coefficients > bands:
            raise InputError(f"coefficients={coefficients}; expected at most the {bands} bands")
        self.register_buffer("centers_hz", centers_hz.float(), persistent=False)
        basis = None if coefficients is None else dct_basis(bands, coefficients).float()
        self.register_buffer("dct", basis, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Stay in single precision where a network is made half: the noise floor is below it."""

        def precise(values: Tensor) -> Tensor:
            moved = fn(values)
            return values.to(moved.device) if moved.dtype in _HALF else moved

        return super()._apply(precise, recurse)

    def __call__(self, waveform: Tensor) -> Tensor:
        """Return the log-spectrogram, in single precision inside `torch.autocast`, too."""
        with torch.autocast(waveform.device.type, enabled=False):
            return super().__call__(waveform)

    def for_network(self, log_spectrogram: Tensor) -> Tensor:
        """Return what the network gets of (batch, bands, frames).

        It is the natural logarithm as it is, dB, the magnitude or the power (its square); and of
        that, where `coefficients` are asked for, (batch, coefficients, frames).
        """
        given = log_spectrogram
        if self.scale == "db":
            given = given * DB_PER_NATURAL
        elif self.scale != "natural":
            given = torch.exp(given if self.scale == "magnitude" else 2.0 * given)
        return given if self.dct is None else self.dct.to(given.dtype) @ given


@checked
class LogMel(Spectral):
    """Waveform (batch, samples) -> log-mel (batch, n_mels, samples // hop_samples).

    Frames are centered with reflection, as librosa has them. The last one, half of it beyond the
    end, is dropped: a second then has 43 frames and three seconds have 129, the numbers of Han et
    al. This is the one place where 44 becomes 43.

    The defaults are theirs: Hann window of 1024 samples, hop 512, 128 Slaney mel bands of the
    magnitude. The paper states neither the formula of its mel scale nor its log floor: 1e-5 is
    -100 dB.

    nnAudio's own magnitude is the root of re^2 + im^2, whose gradient at digital silence is NaN;
    so its complex spectrogram is taken and a power far below `floor` is added under the root.

    Source: Y. Han, J. Kim, K. Lee, "Deep convolutional neural networks for predominant
    instrument recognition in polyphonic music", IEEE/ACM TASLP 25(1), 2017, section III-A.

    Args:
        floor: magnitude that is added, smoothly, before the logarithm; log(mel + floor), and
            log(mel + floor^2) / 2 where `power` is 2.
        filters: "slaney": mel bands of equal area, librosa's; "htk": HTK's formula, peaks of 1,
            torchaudio's; "gammatone": nnAudio's gammatone filters, evenly on the ERB scale.
        power: of the spectrum that the bands are weighed sums of: 1, the magnitude, or 2. The
            logarithm is that of a magnitude in both cases, half that of a power.
        coefficients: of the cosine transform over the bands, orthonormal, that the network gets;
            with scale "db" and power 2 these are MFCCs as librosa and nnAudio have them. None: it
            gets the bands.

    Raises InputError when a band is empty, or a setting contradicts another.
    """

    mel_basis: Tensor  # (n_mels, n_fft // 2 + 1)
    taper: Tensor  # (n_fft,)
    stft: Any

    def __init__(
        self,
        *,
        sample_rate_hz: Count = 22_050,
        n_fft: Count = 1024,
        hop_samples: Count = 512,
        n_mels: Count = 128,  # bands
        floor: Positive = 1e-5,
        window: Taper = "hann",
        window_samples: Count | None = None,  # of the taper; None: n_fft
        f_min_hz: Amount = 0.0,  # ends of the bands
        f_max_hz: Positive | None = None,  # None: half the sample rate
        filters: Filters = "slaney",
        power: Power = 1,
        scale: Scale = "natural",  # the unit that the network gets, see `for_network`
        coefficients: Count | None = None,
    ) -> None:
        least, most = f_min_hz, sample_rate_hz / 2 if f_max_hz is None else f_max_hz
        if not least < most <= sample_rate_hz / 2:
            raise InputError(
                f"f_min_hz={least:g}, f_max_hz={most:g}; expected the first below the second, and "
                f"that at most half the sample rate, {sample_rate_hz / 2:g}"
            )
        length = window_samples or n_fft
        if length > n_fft:
            raise InputError(f"window_samples={length}; expected at most n_fft={n_fft}")
        basis, centers_hz = _filters(filters, sample_rate_hz, n_fft, n_mels, least, most)
        super().__init__(scale, coefficients, centers_hz)
        self.sample_rate_hz, self.n_fft, self.hop_samples = sample_rate_hz, n_fft, hop_samples
        self.n_mels, self.floor, self.window, self.window_samples = n_mels, floor, window, length
        self.f_min_hz, self.f_max_hz, self.filters, self.power = least, most, filters, power
        about: dict[str, Any] = {"win_length": length, "hop_length": hop_samples, "window": window}
        self.stft = nnaudio.STFT(n_fft, **about, center=False, sr=sample_rate_hz, verbose=False)
        self.register_buffer("mel_basis", basis, persistent=False)
        self.register_buffer("taper", self.stft.wcos[0, 0].clone(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-mel; InputError when the waveform is too short for one centered frame."""
        if waveform.shape[-1] <= self.n_fft // 2:
            raise InputError(
                f"a waveform of {waveform.shape[-1]} samples is too short; "
                f"expected more than {self.n_fft // 2}"
            )
        frames, at_once = waveform.shape[-1] // self.hop_samples, FRAMES_AT_ONCE
        padded = F.pad(waveform, (self.n_fft // 2, self.n_fft // 2), mode="reflect")
        if frames <= at_once:
            return self._log_mel(padded, frames)
        parts, samples = [], (at_once - 1) * self.hop_samples + self.n_fft
        for first in range(0, frames, at_once):  # the spectra are made again for the gradient
            part = padded[:, first * self.hop_samples :][:, :samples], min(at_once, frames - first)
            parts.append(
                checkpoint(self._log_mel, *part, use_reentrant=False, preserve_rng_state=False)
            )
        return torch.cat(parts, dim=-1)

    def _log_mel(self, padded: Tensor, frames: int) -> Tensor:
        """Return the first frames of the log-mel of a waveform that is padded already."""
        real, imaginary = self.stft(padded, output_format="Complex")[:, :, :frames].unbind(-1)
        vars(self.stft).pop("num_samples", None)  # so that a used front end equals a new one
        spectrum = real.square() + imaginary.square()
        if self.power == 1:
            spectrum = torch.sqrt(spectrum + (1e-3 * self.floor) ** 2)
        mel = torch.matmul(self.mel_basis, spectrum)
        return torch.log(mel + self.floor**self.power) / self.power


class HanLogMel(LogMel):
    """`LogMel`, whose defaults are those of Han et al. (2016)."""


@checked
class ConstantQ(Spectral):
    """Waveform (batch, samples) -> log of the constant-Q transform (batch, n_bins, frames).

    It has samples // hop_samples frames, centered; the sound is continued with zeros. A sine of
    amplitude 1 has magnitude 1, 0 dB, in its bin. It is nnAudio's CQT1992v2, a convolution with
    kernels as long as the lowest bin needs, which takes some three times as long as the log-mel;
    its own magnitude has no gradient at digital silence, and is not used. It has no inverse here:
    a dream of it is a waveform or a gain on a short-time spectrum.

    Source: J. Brown, "Calculation of a constant Q spectral transform", JASA 89(1), 1991.

    Raises InputError when the highest bin lies above half the sample rate, or there are more
    coefficients than bins; by a call, when the waveform is shorter than a hop.
    """

    def __init__(
        self,
        *,
        sample_rate_hz: Count = 22_050,
        hop_samples: Count = 512,
        n_bins: Count = 84,
        bins_per_octave: Count = 12,  # 12 are semitones
        f_min_hz: Positive = 32.703,  # of the lowest bin; the note C1
        floor: Positive = 1e-5,  # the logarithm is that of (magnitude^2 + floor^2) / 2
        window: Taper = "hann",
        scale: Scale = "natural",  # this and what follows: what the network gets, see `LogMel`
        coefficients: Count | None = None,
    ) -> None:
        places = torch.arange(n_bins, dtype=torch.float64)
        centers_hz = f_min_hz * 2.0 ** (places / bins_per_octave)
        if centers_hz[-1] > sample_rate_hz / 2:
            raise InputError(
                f"n_bins={n_bins}: the highest is at {centers_hz[-1]:.0f} Hz; expected at most "
                f"half the sample rate, {sample_rate_hz / 2:g}"
            )
        super().__init__(scale, coefficients, centers_hz)
        self.sample_rate_hz, self.hop_samples, self.floor = sample_rate_hz, hop_samples, floor
        self.n_bins, self.bins_per_octave, self.f_min_hz = n_bins, bins_per_octave, f_min_hz
        self.window = window
        about: dict[str, Any] = {"bins_per_octave": bins_per_octave, "window": window}
        self.cqt = nnaudio.CQT1992v2(
            sample_rate_hz, hop_samples, f_min_hz, None, n_bins, **about, pad_mode="constant",
            verbose=False,
        )  # fmt: skip
        self.context_samples = int(self.cqt.kernel_width) // 2  # heard on each side of a frame

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-spectrogram."""
        frames = waveform.shape[-1] // self.hop_samples
        if not frames:
            raise InputError(
                f"a waveform of {waveform.shape[-1]} samples is too short; "
                f"expected at least {self.hop_samples}"
            )
        found = self.cqt(waveform, output_format="Complex", normalization_type="wrap")
        return torch.log(found[:, :, :frames].square().sum(-1) + self.floor**2) / 2


def _filters(
    kind: Filters, sample_rate_hz: int, n_fft: int, bands: int, least: float, most: float
) -> tuple[Tensor, Tensor]:
    """Return weights (bands, bins), and the centers of the bands in Hz, (bands,)."""
    if kind == "gammatone":
        weights, hz = nnaudio.fft2gammatonemx(
            sample_rate_hz, n_fft, bands, 1.0, least, most, n_fft // 2 + 1
        )
        return torch.from_numpy(weights / n_fft), torch.from_numpy(hz.copy())
    norm = None if kind == "htk" else 1
    with warnings.catch_warnings(action="ignore"):  # of empty bands
        weights = torch.from_numpy(
            nnaudio.get_mel(sample_rate_hz, n_fft, bands, least, most, kind == "htk", norm)
        )
    if empty := int((weights.sum(dim=1) <= 0).sum()):
        raise InputError(
            f"{empty} of n_mels={bands} bands have no bin at n_fft={n_fft}; expected fewer bands, "
            "or a longer n_fft"
        )
    return weights, weights @ bins_hz(weights.shape[1], sample_rate_hz, weights) / weights.sum(1)
