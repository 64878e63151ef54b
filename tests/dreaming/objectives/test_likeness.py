"""Likeness to a reference, to the original, and within a group."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives import Caricature, Diversity, ForwardOutput, Inversion
from irdream.errors import InputError

NONE = torch.empty(0)


def originals_of(log_mel: Tensor) -> Originals:
    return Originals(log_mel=log_mel, keys=torch.arange(len(log_mel)))


def heard(activations: Tensor, **others: Any) -> ForwardOutput:
    return ForwardOutput(
        logits=NONE, log_probabilities=NONE, activations={"a": activations}, **others
    )


def against(objective, activations: list, reference: list) -> Tensor:
    """Return the scores of activations against those of the items' originals."""
    originals = torch.tensor(reference)
    prepared = objective.prepare(
        None,
        lambda log_mel, layers: {"a": originals},
        originals_of(torch.zeros(len(originals), 2, 3)),
    )
    assert all(key.startswith(repr(objective)) for key in prepared)
    return objective(heard(torch.tensor(activations), prepared=prepared), NONE)


def test_inversion_is_the_distance_over_the_size_of_the_reference() -> None:
    # two windows of two features; the reference's mean squares are (1 + 9) / 4 and 4
    reference = [[[1.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]]]
    dreams = [[[1.0, 0.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, 3.0]]]
    expected = torch.tensor([-9 / 10, -1 / 16])
    torch.testing.assert_close(against(Inversion("a"), dreams, reference), expected)
    assert torch.equal(against(Inversion("a"), reference, reference), torch.zeros(2))
    silence = [[[0.0, 0.0], [0.0, 0.0]]] * 2
    torch.testing.assert_close(against(Inversion("a"), silence, reference), -torch.ones(2))


def test_inversion_of_a_silent_layer_is_not_divided() -> None:
    score = against(Inversion("a"), [[[1.0, 3.0]]], [[[0.0, 0.0]]])
    torch.testing.assert_close(score, torch.tensor([-5.0]))


def test_caricature_is_the_inner_product() -> None:
    reference, dream = [[[1.0, 2.0], [0.0, 1.0]]], [[[3.0, -1.0], [5.0, 4.0]]]
    score = against(Caricature("a", cosine_power=0), dream, reference)
    torch.testing.assert_close(score, torch.tensor([(1.0 + 4.0) / 2]))


def test_caricature_weighs_a_window_by_its_cosine() -> None:
    reference, dream = [[[1.0, 2.0], [0.0, 1.0]]], [[[3.0, -1.0], [5.0, 4.0]]]
    score = against(Caricature("a", cosine_power=2), dream, reference)
    windows = 1.0 * (1 / math.sqrt(50)) ** 2, 4.0 * (4 / math.sqrt(41)) ** 2
    assert 1 / math.sqrt(50) > 0.1
    torch.testing.assert_close(score, torch.tensor([sum(windows) / 2]))
    away = against(Caricature("a"), [[[-1.0, -2.0]]], [[[1.0, 2.0]]])
    torch.testing.assert_close(away, torch.tensor([-5.0 * 0.1]))


def test_caricature_of_a_plane_is_averaged_over_its_positions() -> None:
    plane = [[[[[1.0, 2.0, 0.0]], [[1.0, 1.0, 1.0]]]]]  # one window, 2 channels, 1 mel, 3 frames
    reference = [[[[[1.0, 1.0, 1.0]], [[0.0, 0.0, 3.0]]]]]
    score = against(Caricature("a", cosine_power=0), plane, reference)
    torch.testing.assert_close(score, torch.tensor([(1 + 2 + 3) / 3]))
    cosine = 6 / math.sqrt(8 * 12)
    score = against(Caricature("a", cosine_power=1), plane, reference)
    torch.testing.assert_close(score, torch.tensor([6 / 3 * cosine]))


def test_a_louder_match_raises_a_caricature_but_not_an_inversion() -> None:
    reference, louder = [[[1.0, 2.0]]], [[[2.0, 4.0]]]
    assert against(Caricature("a"), louder, reference) > against(
        Caricature("a"), reference, reference
    )
    assert against(Inversion("a"), louder, reference) < 0


class Analyzer:
    """A recognizer whose log-mel has one band: the samples of a file, one a frame."""

    sample_rate_hz = 8000

    def log_mel(self, waveform: Tensor) -> Tensor:
        if waveform.shape[-1] < 4:
            raise InputError(f"a waveform of {waveform.shape[-1]} samples is too short")
        return waveform[:, None]


@pytest.mark.parametrize(("samples", "frames"), [(6, 15), (6, 6), (9, 4)])
@pytest.mark.parametrize("kind", [Inversion, Caricature])
def test_a_reference_is_repeated_or_cut_and_shared_by_all_items(
    tmp_path, kind, samples, frames
) -> None:
    path = tmp_path / "reference.wav"
    sound = np.linspace(0.25, 1.0, samples)
    soundfile.write(path, sound, 8000, subtype="FLOAT")
    asked: list[Tensor] = []

    def read_layers(log_mel: Tensor, layers) -> dict[str, Tensor]:
        asked.append(log_mel)
        return {"a": log_mel[:, None]}  # one window

    objective = kind("a", path)
    originals = torch.zeros(3, 1, frames, dtype=torch.float64)
    prepared = objective.prepare(Analyzer(), read_layers, originals_of(originals))
    expected = np.tile(sound, 3)[:frames]
    assert len(asked) == 1
    torch.testing.assert_close(
        asked[0], torch.from_numpy(expected)[None, None], atol=1e-6, rtol=1e-6
    )
    assert prepared[repr(objective)].shape == (3, 1, 1, frames)
    assert all(len(value) == 3 for value in prepared.values())
    assert repr(objective).startswith(f"{kind.__name__.lower()}('a', {str(path)!r}")
    dreams = heard(prepared[repr(objective)].clone(), prepared=prepared)
    best = objective(dreams, NONE)
    score = float((expected**2).sum()) / frames if kind is Caricature else 0.0
    torch.testing.assert_close(best, torch.full_like(best, score), atol=1e-5, rtol=0)


def test_a_reference_that_cannot_be_analyzed_is_named(tmp_path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, np.ones(3), 8000)
    with pytest.raises(InputError, match=r"objective\.reference='.*short\.wav': a waveform of 3 s"):
        Inversion("a", path).prepare(
            Analyzer(), lambda log_mel, layers: {}, originals_of(torch.zeros(1, 1, 9))
        )


def test_a_reference_that_is_missing_is_refused_before_the_first_step() -> None:
    with pytest.raises(InputError, match=r"'nowhere\.wav' does not exist"):
        Inversion("a", "nowhere.wav").prepare(
            Analyzer(), lambda log_mel, layers: {}, originals_of(torch.zeros(1, 1, 9))
        )


def test_a_negative_power_is_refused() -> None:
    with pytest.raises(InputError, match=r"objective\.cosine_power=-1; expected at least 0"):
        Caricature("a", cosine_power=-1)


# Gram matrices of two channels: of items 0 and 1 diag(2, 0), of 2 diag(0, 8), of 3 all ones
TWO = torch.tensor(
    [
        [[[1.0, 1.0], [0.0, 0.0]]],
        [[[0.0, -(2.0**0.5)], [0.0, 0.0]]],
        [[[0.0, 0.0], [2.0, 2.0]]],
        [[[1.0, 0.0], [1.0, 0.0]]],
    ]
)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([0, 0, 0, 0], [-(1 + 0 + 0.5) / 3, -(1 + 0 + 0.5) / 3, -(0 + 0 + 0.5) / 3, -1.5 / 3]),
        ([0, 0, 1, 1], [-1, -1, -0.5, -0.5]),
        ([7, 3, 7, 3], [0, -0.5, 0, -0.5]),
        ([0, 1, 2, 3], [0, 0, 0, 0]),
        ([5, 5, 5, -9], [-0.5, -0.5, 0, 0]),
    ],
    ids=str,
)
def test_diversity_is_minus_the_mean_cosine_within_a_group(groups, expected) -> None:
    both = heard(TWO, groups=torch.tensor(groups))
    torch.testing.assert_close(Diversity("a")(both, NONE), torch.tensor(expected).float())


def test_diversity_hears_neither_when_nor_in_which_window() -> None:
    plane = torch.randn(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    moved = plane.flip(1).roll(2, dims=4)
    both = heard(torch.cat([plane, 3 * moved]), groups=torch.zeros(2))
    torch.testing.assert_close(Diversity("a")(both, NONE), -torch.ones(2))


def test_diversity_of_others_has_no_gradient_in_a_group() -> None:
    activations = TWO.clone().requires_grad_()
    both = heard(activations, groups=torch.tensor([0, 0, 1, 1]))
    (gradient,) = torch.autograd.grad(Diversity("a")(both, NONE)[0], activations)
    assert torch.equal(gradient[2:], torch.zeros_like(gradient[2:]))


@pytest.mark.parametrize(
    ("objective", "shown"),
    [
        (Inversion("f.1"), "inversion('f.1')"),
        (Inversion("f.1", "x.wav"), "inversion('f.1', 'x.wav')"),
        (Caricature("f.1"), "caricature('f.1', cosine_power=1.0)"),
        (Caricature("f.1", "x.wav", cosine_power=2), "caricature('f.1', 'x.wav', cosine_power=2)"),
        (Diversity("f.1"), "diversity('f.1')"),
    ],
    ids=repr,
)
def test_what_is_printed_builds_the_same(objective, shown) -> None:
    assert repr(objective) == shown
    names = {"inversion": Inversion, "caricature": Caricature, "diversity": Diversity}
    built = eval(shown, names)
    assert vars(built) == vars(objective)
