import numpy as np
import pytest
import torch

from irdream.measures import attribution as module
from irdream.measures.attribution import (
    LEVELS,
    area,
    curves,
    edge_map,
    gini,
    random_map,
    top_share,
    wav_measures,
)


def test_the_mask_keeps_the_most_relevant_bins_that_speak_for_the_target() -> None:
    relevance = torch.tensor([[[4.0, -1.0, 2.0, 0.0, 3.0]], [[-1.0, -2.0, 5.0, -3.0, 0.0]]])
    assert top_share(relevance, 0.4).tolist() == [[[1, 0, 0, 0, 1]], [[0, 0, 1, 0, 0]]]
    each = torch.tensor([0.6, 0.2])[:, None, None]
    assert top_share(relevance, each).tolist() == [[[1, 0, 1, 0, 1]], [[0, 0, 1, 0, 0]]]


@pytest.mark.parametrize(
    ("whole", "masked", "rest", "expected"),
    [
        (0.8, 0.6, 0.1, {"increase": 0.0, "drop": 0.25, "gain": 0.0, "faithfulness": 0.7}),
        (0.6, 0.9, 0.7, {"increase": 1.0, "drop": 0.0, "gain": 0.75, "faithfulness": -0.1}),
    ],
)
def test_measures_by_hand(whole, masked, rest, expected) -> None:
    assert wav_measures(whole, masked, rest) == pytest.approx(expected)


def test_the_gini_index_is_half_the_mean_difference_over_the_mean() -> None:
    values = torch.tensor(np.random.default_rng(0).normal(size=(2, 3, 7)))
    magnitudes = values.flatten(1).abs().numpy()
    differences = np.abs(magnitudes[:, :, None] - magnitudes[:, None]).mean(axis=(1, 2))
    np.testing.assert_allclose(gini(values), differences / 2 / magnitudes.mean(axis=1))
    single = torch.zeros(1, 2, 5).index_fill(2, torch.tensor([3]), 1.0)
    single[0, 0] = 0
    assert float(gini(single)) == pytest.approx(1 - 1 / 10)


def test_curves_of_a_probability_that_is_the_mean() -> None:
    relevance = torch.arange(20.0).view(1, 1, 20)
    heard, left = curves(lambda mask: mask.mean(dim=(1, 2)), relevance)
    np.testing.assert_allclose(heard[0], LEVELS, atol=1e-6)
    np.testing.assert_allclose(left[0], 1 - np.array(LEVELS), atol=1e-6)
    assert area(heard).tolist() == pytest.approx([0.5])
    ramp = relevance / 19
    first, last = curves(lambda mask: (mask * ramp).mean(dim=(1, 2)), relevance)
    assert float(first[0, 2]) == pytest.approx((19 + 18) / 19 / 20)  # of a tenth: the two largest
    np.testing.assert_allclose(first[0] + last[0], np.full(7, 0.5), atol=1e-6)


def test_controls() -> None:
    log_mel = torch.zeros(2, 4, 6)
    log_mel[:, :, 3:] = 2.0
    edges = edge_map(log_mel)
    assert edges[0, 0].tolist() == [0, 0, 1, 1, 0, 0]
    drawn = random_map(log_mel, seed=3)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, random_map(log_mel, seed=4))
    assert 0 < float(drawn.min()) < float(drawn.max()) < 1
    assert module.top_share(drawn, 0.25).mean().item() == 0.25
