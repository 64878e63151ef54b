"""Front ends: waveform (batch, samples) -> log-mel spectrogram (batch, n_mels, frames).

A front end is a `torch.nn.Module` with the attributes `sample_rate_hz`, `n_fft`, `hop_samples`,
`n_mels` and the buffer `mel_basis` (n_mels, n_fft // 2 + 1). It is differentiable, also on
digital silence, and gives `samples // hop_samples` frames.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Annotated, Any, cast

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from irdream.arguments import Count, Positive, checked
from irdream.errors import InputError


def _mel_spectrogram() -> Any:
    """Import nnAudio's class; of scipy.signal, which takes 0.5 s, only the windows it needs."""
    spec = importlib.util.find_spec("scipy.signal")
    if spec is not None and "scipy.signal" not in sys.modules:
        package: Any = ModuleType("scipy.signal")
        package.__path__ = spec.submodule_search_locations
        sys.modules["scipy.signal"] = package
        try:
            package.get_window = importlib.import_module("scipy.signal.windows").get_window
            return importlib.import_module("nnAudio.features.mel").MelSpectrogram
        finally:
            del sys.modules["scipy.signal"]  # for who needs all of it
    return importlib.import_module("nnAudio.features.mel").MelSpectrogram


@checked
class Waveform(nn.Module):
    """Waveform (batch, samples) -> the same, for networks on waveforms: each sample is a frame.

    Args:
        sample_rate_hz: of the waveform.
    """

    hop_samples = 1

    def __init__(self, *, sample_rate_hz: Count = 22_050) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the same."""
        return waveform


MelSpectrogram = _mel_spectrogram()


@checked
class HanLogMel(nn.Module):
    """Waveform (batch, samples) -> log-mel (batch, n_mels, samples // hop_samples).

    Hann window of 1024 samples, hop 512, frames centered with reflection; 128 Slaney mel bands of
    the magnitude (with HTK's formula two bands would be empty at this window length); natural
    logarithm. The paper does not state its log floor: here `floor` is added to the magnitude,
    1e-5, which is -100 dB, so that the logarithm is smooth.

    nnAudio's own magnitude is the root of re^2 + im^2, whose gradient at digital silence is NaN;
    so its complex spectrogram is taken and a power far below `floor` is added under the root.

    The last centered frame, half of it beyond the end, is dropped: a second then has 43 frames
    and three seconds have 129, the numbers of the paper. This is the one place where 44 becomes
    43.

    Source: Y. Han, J. Kim, K. Lee, "Deep convolutional neural networks for predominant
    instrument recognition in polyphonic music", IEEE/ACM TASLP 25(1), 2017, section III-A.

    Args:
        sample_rate_hz: of the waveform.
        n_fft: window and transform length in samples.
        hop_samples: from frame to frame.
        n_mels: mel bands from 0 Hz to half the sample rate.
        floor: added to the mel magnitude before the logarithm.
        power: 2: mel bands of the squared magnitude, and half of their logarithm.
    """

    mel_basis: Tensor  # (n_mels, n_fft // 2 + 1)
    stft: nn.Module

    def __init__(
        self,
        *,
        sample_rate_hz: Count = 22_050,
        n_fft: Count = 1024,
        hop_samples: Count = 512,
        n_mels: Count = 128,
        floor: Positive = 1e-5,
        power: Annotated[int, Ge(1), Le(2)] = 1,
    ) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz
        self.n_fft = n_fft
        self.hop_samples = hop_samples
        self.n_mels = n_mels
        self.floor = floor
        self.power = power
        mel = MelSpectrogram(
            sr=sample_rate_hz,
            n_fft=n_fft,
            hop_length=hop_samples,
            n_mels=n_mels,
            htk=False,
            norm=1,
            power=1.0,
            verbose=False,
        )
        self.stft = cast(nn.Module, mel.stft)
        basis = cast(Tensor, mel.mel_basis).detach().clone()
        self.register_buffer("mel_basis", basis, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-mel spectrogram.

        Raises:
            InputError: when the waveform is too short for one centered frame.
        """
        if waveform.shape[-1] <= self.n_fft // 2:
            raise InputError(
                f"a waveform of {waveform.shape[-1]} samples is too short; "
                f"expected more than {self.n_fft // 2}"
            )
        frames = waveform.shape[-1] // self.hop_samples
        real, imaginary = self.stft(waveform, output_format="Complex")[:, :, :frames].unbind(-1)
        vars(self.stft).pop("num_samples", None)  # so that a used front end equals a new one
        tiny = (1e-3 * self.floor) ** 2
        bins = real.square() + imaginary.square()
        if self.power == 1:
            return torch.log(torch.matmul(self.mel_basis, torch.sqrt(bins + tiny)) + self.floor)
        return torch.log(torch.matmul(self.mel_basis, bins) + self.floor**2) / 2
