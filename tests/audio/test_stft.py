import math

import pytest
import torch

from irdream.audio.stft import as_many_frames, band_shares, inverse_stft, stft
from irdream.frontends import HanLogMel

FRONTEND = HanLogMel()
HOP = 512


@pytest.mark.parametrize("rest", [0, 1, 255, 256, 400, 511])
def test_the_transform_has_the_frames_of_the_front_end_and_an_inverse(rest: int) -> None:
    samples = 20 * HOP + rest
    waveform = torch.rand(1, samples, generator=torch.Generator().manual_seed(0)) - 0.5
    spectrum = stft(waveform, FRONTEND)
    frames = samples // HOP
    assert spectrum.shape == (1, 513, 1 + math.ceil(samples / HOP))
    log_mel = torch.log(FRONTEND.mel_basis @ spectrum[..., :frames].abs() + FRONTEND.floor)
    assert torch.allclose(log_mel, FRONTEND(waveform), atol=1e-3)
    assert torch.allclose(inverse_stft(spectrum, FRONTEND, samples=samples), waveform, atol=1e-5)


def test_each_bin_shares_out_its_bands() -> None:
    shares = band_shares(FRONTEND.mel_basis)
    assert shares.shape == (513, 128)
    assert shares.min() >= 0
    assert torch.allclose(shares.sum(dim=1), torch.ones(513))
    covered = FRONTEND.mel_basis.sum(dim=0) > 0
    assert torch.equal(shares[covered] > 0, FRONTEND.mel_basis.T[covered] > 0)


def test_bins_outside_all_bands_take_the_nearest() -> None:
    basis = torch.tensor([[0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 3.0, 0.0, 0.0]])
    first, both, second = [1.0, 0.0], [0.5, 0.5], [0.0, 1.0]
    assert band_shares(basis).tolist() == [first, first, first, both, second, second, second]


def test_frames_are_cut_or_the_last_one_is_repeated() -> None:
    values = torch.tensor([[[1.0, 2.0]]])
    found = [as_many_frames(values, frames).flatten().tolist() for frames in (1, 2, 4)]
    assert found == [[1.0], [1.0, 2.0], [1.0, 2.0, 2.0, 2.0]]
