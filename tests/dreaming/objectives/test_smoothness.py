"""Roughness and change, on numbers worked out by hand and against a convolution."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming.objectives import L1, L2, Blur, ForwardOutput, LogProbability, TotalVariation
from irdream.errors import InputError

DB = math.log(10.0) / 20.0  # one dB in the natural units of a log-mel
NONE = torch.empty(0)


def value(objective, dream_db, start_db=None, *, unit: float = DB) -> float:
    """Return the score of one item whose log-mels are given in dB."""
    dream = torch.as_tensor(dream_db, dtype=torch.float64)[None] * unit
    start = torch.zeros_like(dream)
    if start_db is not None:
        start = torch.as_tensor(start_db, dtype=torch.float64)[None] * unit
    output = ForwardOutput(logits=NONE, log_probabilities=NONE, log_mel=dream, start=start)
    score = objective(output, NONE)
    assert score.shape == (1,)
    return float(score)


STEPS = [[0.0, 1.0, 3.0], [2.0, 2.0, 0.0]]  # along mels |2| |1| |3|, along frames |1 2 0 2|
CHANGE = [[0.0, 1.0, -3.0], [2.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("objective", "dream_db", "expected"),
    [
        (TotalVariation(), STEPS, (2 + 1 + 3) / 3 + (1 + 2 + 0 + 2) / 4),
        (TotalVariation(), [[5.0, 5.0], [5.0, 5.0]], 0.0),
        (TotalVariation(), [[1.0, 4.0]], 3.0),  # one band: along the frames alone
        (TotalVariation(), [[7.0]], 0.0),
        (L1(), CHANGE, (1 + 3 + 2) / 6),
        (L2(), CHANGE, (1 + 9 + 4) / 6),
        (Blur(mels=0.0), [[0.0, 4.0, 0.0]], (1 + 4 + 1) / 3),  # blurred: 1, 2, 1
        (Blur(frames=0.0), [[0.0], [4.0], [0.0]], (1 + 4 + 1) / 3),
        (Blur(mels=0.0, frames=2.0), [[0.0, 4.0]], 2 * (1 + 1) / 2),  # blurred: 1, 3
        (Blur(), [[3.0]], 0.0),
        (Blur(), [[1.0, 1.0], [1.0, 1.0]], 0.0),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_quantities_in_db(objective, dream_db, expected) -> None:
    assert value(objective, dream_db) == pytest.approx(expected)


def test_change_is_measured_from_the_start() -> None:
    dream = [[10.0, 12.0], [14.0, 10.0]]
    assert value(L1(), dream, [[10.0, 10.0], [10.0, 10.0]]) == pytest.approx(1.5)
    assert value(L2(), dream, [[10.0, 10.0], [10.0, 10.0]]) == pytest.approx(5.0)
    assert value(L2(), dream, dream) == 0.0


WAVE, ORIGINAL = [0.0, 1.0, 2.0, 2.0, -1.0], [0.0, 1.0, 2.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (TotalVariation(), (1 + 1 + 0 + 3) / 4),
        (L1(), (2 + 3) / 5),
        (L2(), (4 + 9) / 5),
        (Blur(frames=3.0), 3 * (1 + 0 + 1 + 9 + 9) / 16 / 5),  # second differences 1 0 -1 -3 3
    ],
    ids=repr,
)
def test_of_a_waveform_along_its_one_axis_in_full_scale(objective, expected) -> None:
    assert value(objective, WAVE, ORIGINAL, unit=1.0) == pytest.approx(expected)


def blurred(plane: Tensor, kernel: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    padded = F.pad(plane[:, None], padding, mode="replicate")
    return F.conv2d(padded, kernel[None, None].double())[:, 0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), mels=st.integers(1, 9), frames=st.integers(1, 40))
def test_blur_is_the_distance_to_a_convolution(seed, mels, frames) -> None:
    plane = torch.randn(
        3, mels, frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    kernel = torch.tensor([[1.0, 2.0, 1.0]]) / 4
    along_frames = (plane - blurred(plane, kernel, (1, 1, 0, 0))).square().mean(dim=(1, 2))
    along_mels = (plane - blurred(plane, kernel.T, (0, 0, 1, 1))).square().mean(dim=(1, 2))
    output = ForwardOutput(logits=NONE, log_probabilities=NONE, log_mel=plane * DB)
    expected = 2.0 * along_mels + 0.5 * along_frames
    torch.testing.assert_close(Blur(mels=2.0, frames=0.5)(output, NONE), expected)


@pytest.mark.parametrize("objective", [TotalVariation(), Blur()], ids=repr)
def test_a_step_against_it_makes_a_dream_smoother(objective) -> None:
    generator = torch.Generator().manual_seed(0)
    dream = torch.randn(2, 12, 30, generator=generator, dtype=torch.float64).requires_grad_()

    def roughness(log_mel: Tensor) -> Tensor:
        return objective(ForwardOutput(logits=NONE, log_probabilities=NONE, log_mel=log_mel), NONE)

    (gradient,) = torch.autograd.grad(-roughness(dream).sum(), dream)
    rms = gradient.square().mean(dim=(1, 2), keepdim=True).sqrt()
    assert (roughness(dream + 0.1 * gradient / rms) < roughness(dream)).all()


def test_at_the_start_no_change_has_no_gradient_and_no_nan() -> None:
    start = torch.randn(1, 4, 5)
    for objective in (L1(), L2()):
        dream = start.clone().requires_grad_()
        output = ForwardOutput(logits=NONE, log_probabilities=NONE, log_mel=dream, start=start)
        (gradient,) = torch.autograd.grad(objective(output, NONE).sum(), dream)
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_their_names_are_told_and_build_the_same() -> None:
    assert [repr(o) for o in (TotalVariation(), L1(), L2())] == ["total_variation", "l1", "l2"]
    assert repr(Blur(frames=0.5)) == "blur(mels=1.0, frames=0.5)"
    built = eval(repr(Blur(mels=1 / 3, frames=2)), {"blur": Blur})
    assert (built.mels, built.frames) == (1 / 3, 2)
    assert repr(LogProbability() - 0.5 * Blur()) == (
        "log_probability - 0.5 * blur(mels=1.0, frames=1.0)"
    )


@pytest.mark.parametrize("weight", [-1, math.nan])
@pytest.mark.parametrize("name", ["mels", "frames"])
def test_a_negative_weight_of_the_blur_is_refused(name, weight) -> None:
    with pytest.raises(InputError, match=rf"objective\.{name}={weight}; expected at least 0, such"):
        Blur(**{name: weight})
