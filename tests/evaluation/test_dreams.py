from __future__ import annotations

import math

import pytest
import torch

from irdream.evaluation.dreams import difference_db, max_abs_db, rmse_db, snr_db

TEN = math.log(10.0)  # a factor of ten, which is 20 dB of magnitude

# Two items of 1 band and 2 frames, and what was added to them.
ORIGINAL = torch.tensor([[[-3.0, 1.0]], [[0.0, 5.0]]])
ADDED = torch.tensor([[[TEN, 0.0]], [[-TEN / 2, TEN / 4]]])


def test_differences_are_in_db_of_magnitude() -> None:
    difference = difference_db(ORIGINAL, ORIGINAL + ADDED)
    expected = torch.tensor([[[20.0, 0.0]], [[-10.0, 5.0]]])
    assert torch.allclose(difference, expected, atol=1e-4)


def test_rmse_and_largest_difference_of_each_item() -> None:
    dream = ORIGINAL + ADDED
    # sqrt((400 + 0) / 2) and sqrt((100 + 25) / 2)
    assert rmse_db(ORIGINAL, dream).tolist() == pytest.approx([14.1421, 7.9057], rel=1e-4)
    assert max_abs_db(ORIGINAL, dream).tolist() == pytest.approx([20.0, 10.0], rel=1e-4)


def test_the_direction_does_not_matter() -> None:
    dream = ORIGINAL + ADDED
    assert torch.equal(rmse_db(dream, ORIGINAL), rmse_db(ORIGINAL, dream))
    assert torch.equal(max_abs_db(dream, ORIGINAL), max_abs_db(ORIGINAL, dream))


def test_nothing_changed_is_zero_db() -> None:
    assert rmse_db(ORIGINAL, ORIGINAL).tolist() == [0, 0]
    assert max_abs_db(ORIGINAL, ORIGINAL).tolist() == [0, 0]


def test_all_bands_and_frames_count_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    log_mel = torch.randn(3, 8, 5, generator=generator)
    dream = log_mel + torch.randn(3, 8, 5, generator=generator)
    turned = rmse_db(log_mel.transpose(1, 2), dream.transpose(1, 2))
    assert rmse_db(log_mel, dream).shape == (3,)
    assert torch.allclose(rmse_db(log_mel, dream), turned)


@pytest.mark.parametrize(
    ("original", "dream", "expected_db"),
    [
        ([1.0, -1.0], [1.1, -0.9], 20.0),  # 2 / 0.02
        ([1.0, 0.0], [1.0, 1.0], 0.0),
        ([3.0, 4.0], [0.0, 0.0], 0.0),  # silenced: the change is the signal
        ([3.0, 4.0], [6.0, 8.0], 0.0),
        ([1.0, 0.0], [11.0, 0.0], -20.0),
        ([0.5, 0.25], [0.5, 0.25], math.inf),
        ([0.0, 0.0], [0.1, 0.0], -math.inf),
        ([0.0, 0.0], [0.0, 0.0], math.nan),
    ],
)
def test_snr(original: list[float], dream: list[float], expected_db: float) -> None:
    snr = snr_db(torch.tensor([original]), torch.tensor([dream]))
    assert snr.dtype == torch.float32
    assert snr.tolist() == pytest.approx([expected_db], abs=1e-4, nan_ok=True)


def test_snr_of_each_item() -> None:
    original = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    dream = torch.tensor([[1.1, 1.1], [2.0, 2.0]])
    assert snr_db(original, dream).tolist() == pytest.approx([20.0, 0.0], abs=1e-4)


def test_a_tiny_change_of_a_long_sound_is_not_lost_to_rounding() -> None:
    original = torch.ones(1, 1_000_000)
    dream = original.clone()
    dream[0, 0] += 2**-20
    expected_db = 10 * math.log10(1e6 * 2**40)
    assert snr_db(original, dream).tolist() == pytest.approx([expected_db], abs=1e-3)
