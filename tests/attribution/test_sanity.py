from __future__ import annotations

import numpy as np
import pytest
import torch

from irdream.attribution import GradientXInput
from irdream.attribution.sanity import PASSED_BELOW, cascade, left
from tests.attribution.conftest import Deep


class Loudness:
    """A map that does not look at the network."""

    def __call__(self, recognizer, log_mel, targets):
        return log_mel.clone()


def test_a_map_that_ignores_the_network_fails(around, log_mel, targets) -> None:
    recognizer = around(Deep())
    before = {name: x.clone() for name, x in recognizer.model.state_dict().items()}
    found = cascade(Loudness(), recognizer, log_mel, targets)
    assert [*found][:2] == ["classifier.2", "classifier.0"]  # from the top
    np.testing.assert_allclose([*found.values()], np.ones((5, 3)))
    assert left(found) == pytest.approx(1.0)
    assert all(torch.equal(x, before[name]) for name, x in recognizer.model.state_dict().items())


def test_a_gradient_changes_with_the_weights(around, log_mel, targets) -> None:
    torch.manual_seed(0)
    recognizer = around(Deep())
    found = cascade(GradientXInput(), recognizer, log_mel, targets, seed=1)
    assert all(abs(value) < 1 for values in found.values() for value in values)
    again = cascade(GradientXInput(), recognizer, log_mel, targets, seed=1)
    assert found == again


def test_an_empty_map_is_like_no_other(around, log_mel, targets) -> None:
    def empty(recognizer, log_mel, targets):
        return torch.zeros_like(log_mel)

    found = cascade(empty, around(Deep()), log_mel, targets)
    assert [*found.values()] == [[0.0] * 3] * 5


@pytest.mark.parametrize(("last", "expected"), [([0.1, -0.15, 0.9], 0.15), ([0.3, -0.1], 0.2)])
def test_what_is_left_is_the_median_of_the_last_layer(last, expected) -> None:
    found = left({"top": [1.0, 1.0, 1.0], "bottom": last})
    assert found == pytest.approx(expected)
    assert (found < PASSED_BELOW) is (expected == 0.15)
