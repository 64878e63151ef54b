"""Front ends: waveform (batch, samples) -> log-mel spectrogram (batch, n_mels, frames).

A front end is a `torch.nn.Module` with the attributes `sample_rate_hz`, `n_fft`,
`hop_samples`, `n_mels` and the buffer `mel_basis` (n_mels, n_fft // 2 + 1). It is
differentiable, also on digital silence, and gives `samples // hop_samples` frames.
"""

from irdream.frontends.han_logmel import HanLogMel

__all__ = ["HanLogMel"]
