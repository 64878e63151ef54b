from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.measures.dreams import (
    DB_PER_NATURAL,
    correlation,
    difference_db,
    max_abs_db,
    mse_db2,
    rmse_db,
    total_variation_db,
)

TEN = math.log(10.0)  # a factor of ten, which is 20 dB of magnitude

# Two items of 1 band and 2 frames, and what was added to them.
ORIGINAL = torch.tensor([[[-3.0, 1.0]], [[0.0, 5.0]]])
ADDED = torch.tensor([[[TEN, 0.0]], [[-TEN / 2, TEN / 4]]])


def test_differences_are_in_db_of_magnitude() -> None:
    dream = ORIGINAL + ADDED
    expected = torch.tensor([[[20.0, 0.0]], [[-10.0, 5.0]]])
    assert torch.allclose(difference_db(ORIGINAL, dream), expected, atol=1e-4)
    # sqrt((400 + 0) / 2) and sqrt((100 + 25) / 2)
    assert rmse_db(ORIGINAL, dream).tolist() == pytest.approx([14.1421, 7.9057], rel=1e-4)
    assert mse_db2(ORIGINAL, dream).tolist() == pytest.approx([200.0, 62.5], rel=1e-4)
    assert max_abs_db(ORIGINAL, dream).tolist() == pytest.approx([20.0, 10.0], rel=1e-4)


@pytest.mark.parametrize("measure", [rmse_db, mse_db2, max_abs_db])
def test_neither_direction_nor_axes_matter_and_nothing_changed_is_zero(measure) -> None:
    log_mel, dream = normal(3, 8, 5), normal(3, 8, 5, seed=1)
    expected = measure(log_mel, dream)
    assert expected.shape == (3,)
    assert torch.equal(measure(dream, log_mel), expected)
    torch.testing.assert_close(measure(log_mel.mT, dream.mT), expected)
    assert measure(log_mel, log_mel).tolist() == [0, 0, 0]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_correlation_of_each_item() -> None:
    wanted = torch.tensor([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]], [[0.0, 0.0, 3.0]]])
    real = torch.tensor([[[10.0, 12.0, 14.0]], [[0.3, 0.2, 0.1]], [[0.0, 3.0, 0.0]]])
    # The last: deviations (-1, -1, 2) and (-1, 2, -1), so -3 / 6.
    assert correlation(wanted, real).tolist() == pytest.approx([1.0, -1.0, -0.5], abs=1e-6)


def test_correlation_with_a_constant_is_not_a_number() -> None:
    # The mean of six 0.1 in double precision is not 0.1.
    wanted = normal(1, 2, 3).double()
    constant = torch.full((1, 2, 3), 0.1, dtype=torch.float64)
    assert correlation(wanted, constant).isnan().all()
    assert correlation(constant, wanted).isnan().all()
    assert correlation(constant, constant).isnan().all()


def test_correlation_of_small_changes_on_large_values_is_not_lost_to_rounding() -> None:
    # The means, 2^23 + 1/2, are no float32.
    wanted = 2.0**23 + torch.tensor([[0.0, 1.0, 0.0, 1.0]])
    real = 2.0**23 + torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    found = correlation(wanted, real)
    assert found.dtype == torch.float32
    assert found.item() == 0


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 100.0), st.floats(-10.0, 10.0), st.integers(0, 99))
def test_correlation_knows_neither_scale_nor_level(scale: float, level: float, seed: int) -> None:
    wanted, real = normal(2, 3, 4, 5, seed=seed).double()
    expected = [
        torch.corrcoef(torch.stack([w.ravel(), r.ravel()]))[0, 1]
        for w, r in zip(wanted, real, strict=True)
    ]

    torch.testing.assert_close(correlation(wanted, real), torch.stack(expected))
    torch.testing.assert_close(correlation(wanted, scale * real + level), torch.stack(expected))
    torch.testing.assert_close(correlation(-scale * wanted, real), -torch.stack(expected))
    torch.testing.assert_close(correlation(real, wanted), torch.stack(expected))
    assert (correlation(real, scale * real) <= 1).all()


def test_total_variation() -> None:
    # Along bands |2 - 0| and |1 - 4|, mean 2.5; along frames |4 - 0| and |1 - 2|, the same.
    # The second item steps along its bands alone, by one: mean of 1 and 0.
    log_mel = torch.tensor([[[0.0, 4.0], [2.0, 1.0]], [[5.0, 5.0], [6.0, 6.0]]]) / DB_PER_NATURAL
    assert total_variation_db(log_mel).tolist() == pytest.approx([2.5, 0.5], rel=1e-5)


def test_total_variation_counts_bands_and_frames_alike_whatever_their_number() -> None:
    ramp = torch.arange(40.0)[None, None, :].expand(1, 3, 40) / DB_PER_NATURAL
    assert total_variation_db(ramp).item() == pytest.approx(0.5, rel=1e-5)
    assert total_variation_db(ramp.transpose(1, 2)).item() == pytest.approx(0.5, rel=1e-5)
