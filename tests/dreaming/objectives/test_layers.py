"""Objectives on layers: of activations worked out by hand, against a reference, in a group."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives import (
    Caricature,
    Channel,
    Direction,
    Diversity,
    ForwardOutput,
    Inversion,
    Layer,
    Neuron,
    Objective,
)
from irdream.errors import InputError

NONE = torch.empty(0)
ONE = Originals(recognizer=None, log_mel=torch.zeros(1, 2, 3), keys=torch.zeros(1))
# (1 item, 2 windows, 2 channels, 2 mels, 3 frames): 0 to 11 in the first window, then 12 to 23
SPECTROGRAMS = torch.arange(24.0).view(1, 2, 2, 2, 3)
FEATURES = torch.tensor([[[1.0, 2.0, 4.0], [3.0, 4.0, 0.0]]])  # (1 item, 2 windows, 3 features)
OUTPUT = ForwardOutput(
    logits=NONE,
    log_probabilities=NONE,
    activations={
        "conv": SPECTROGRAMS,
        "dense": FEATURES,
        "sequence": SPECTROGRAMS[:, :, :, 0],
        "one": FEATURES[..., 0],
    },
)


def value(objective: Objective) -> float:
    prepared = objective.prepare(lambda log_mel, layers: {}, ONE)
    score = objective(ForwardOutput(**{**vars(OUTPUT), "prepared": prepared}), NONE)
    assert score.shape == (1,)
    return float(score)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Layer("conv"), sum(n * n for n in range(24)) / 24),
        (Layer("dense"), (1 + 4 + 16 + 9 + 16 + 0) / 6),
        (Layer("one"), (1 + 9) / 2),
        (Channel("conv", 0), (2.5 + 14.5) / 2),
        (Channel("conv", 1), (8.5 + 20.5) / 2),
        (Channel("dense", 2), 2.0),
        (Channel("one", 0), 2.0),
        (Neuron("conv", 0), (4 + 16) / 2),  # mel 1 of 2, frame 1 of 3
        (Neuron("conv", 1, mel=0, frame=2), (8 + 20) / 2),
        (Neuron("conv", 1, mel=0), (7 + 19) / 2),
        (Neuron("dense", 1), 3.0),
        (Neuron("sequence", 1, frame=2), (8 + 20) / 2),
        (Direction("dense", [1, 0, -1]), (-3 + 3) / 2),
        (Direction("dense", [0, 2, 0]), (4 + 8) / 2),
        (Direction("conv", [1, 0]), (2.5 + 14.5) / 2),
        (Direction("conv", [-1, 1]), 6.0),
        (Direction("one", [3]), 6.0),
    ],
    ids=lambda value: repr(value) if isinstance(value, Objective) else "",
)
def test_scores(objective, expected) -> None:
    assert value(objective) == pytest.approx(expected)


def test_the_power_weighs_each_position_by_its_cosine() -> None:
    first = 4 * (4 / math.sqrt(21)) ** 2  # (1, 2, 4) on (0, 0, 1)
    second = 0.0  # (3, 4, 0) is at a right angle
    assert value(Direction("dense", [0, 0, 1], cosine_power=2)) == pytest.approx(first / 2)
    cosines = (3 / 5) * 3, (1 / math.sqrt(21)) * 1
    assert value(Direction("dense", [1, 0, 0], cosine_power=1)) == pytest.approx(sum(cosines) / 2)
    assert second == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_direction_is_read_from_a_file(tmp_path, dtype) -> None:
    path = tmp_path / "direction.npy"
    np.save(path, np.array([1, 2, -4], dtype=dtype))
    objective = Direction("dense", path)
    assert value(objective) == pytest.approx(value(Direction("dense", [1, 2, -4])))
    assert repr(objective) == f"direction('dense', {str(path)!r}, cosine_power=0.0)"


def test_a_direction_of_labels() -> None:
    three: Any = SimpleNamespace(instruments=("cel", "flu", "snare"))
    objective = Direction("dense", ["flute", "-Snare"])
    prepared = objective.prepare(lambda log_mel, layers: {}, replace(ONE, recognizer=three))
    assert prepared[repr(objective)].tolist() == [[0, 1, -1]]
    assert repr(objective) == "direction('dense', ['flute', '-Snare'], cosine_power=0.0)"
    with pytest.raises(
        InputError, match=r"unknown instrument 'flut'; expected one of cel \(cello\)"
    ):
        Direction("dense", ["flut"]).prepare(lambda x, y: {}, replace(ONE, recognizer=three))


THIRDS = "direction('f.9', [0.1, -3.0, 0.3333333333333333], cosine_power=1.5)"


@pytest.mark.parametrize(
    ("objective", "shown"),
    [
        (Layer("f.9"), "layer('f.9')"),
        (Channel("f.9", 3), "channel('f.9', 3)"),
        (Neuron("f.9", 3), "neuron('f.9', 3)"),
        (Neuron("f.9", 3, mel=0, frame=4), "neuron('f.9', 3, mel=0, frame=4)"),
        (Direction("f.9", [0.1, -3, 1 / 3], cosine_power=1.5), THIRDS),
        (Direction("f.9", ["flu", "-sax"]), "direction('f.9', ['flu', '-sax'], cosine_power=0.0)"),
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
    kinds = (Layer, Channel, Neuron, Direction, Inversion, Caricature, Diversity)
    built = eval(shown, {kind.__name__.lower(): kind for kind in kinds})
    mine, theirs = vars(objective), vars(built)
    for name, there in theirs.items():
        same = torch.equal(there, mine[name]) if isinstance(there, Tensor) else there == mine[name]
        assert same, name


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Channel("conv", 2), r"channel=2; expected 0 to 1, since 'conv' has 2 channels$"),
        (Channel("conv", -1), r"objective\.channel=-1; expected 0 to 1"),
        (Channel("dense", 3), r"objective\.channel=3; expected 0 to 2, since 'dense' has 3 cha"),
        (Channel("dense", 1.5), r"objective\.channel=1\.5; expected 0 to 2"),  # type: ignore[arg-type]
        (Channel("one", 1), r"objective\.channel=1; expected 0 to 0, since 'one' has 1 chan"),
        (Neuron("conv", 2), r"objective\.channel=2; expected 0 to 1"),
        (Neuron("conv", 0, mel=2), r"objective\.mel=2; expected 0 to 1, since 'conv' has 2 mels"),
        (Neuron("conv", 0, frame=3), r"objective\.frame=3; expected 0 to 2, since 'conv' has 3 f"),
        (Neuron("dense", 0, mel=0), r"\.mel=0; expected null, since 'dense' has no mels$"),
        (Neuron("dense", 0, frame=0), r"objective\.frame=0; expected null, since 'dense' has no"),
        (Neuron("sequence", 0, mel=0), r"objective\.mel=0; expected null, since 'sequence'"),
        (Direction("conv", [1, 2, 3]), r"direction has 3 numbers; expected 2, since 'conv' has"),
        (Direction("dense", [1]), r"has 1 numbers; expected 3, since 'dense' has 3 channels"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Objective) else "",
)
def test_what_the_layer_has_not_is_refused_when_heard(objective, message) -> None:
    with pytest.raises(InputError, match=message):
        value(objective)


def test_a_layer_is_a_name() -> None:
    with pytest.raises(InputError, match=r"objective\.layer=9; expected the name of a module, su"):
        Layer(9)  # type: ignore[arg-type]


@pytest.mark.parametrize("power", [-1, math.nan])
def test_a_negative_power_is_refused(power) -> None:
    for make in (partial(Direction, "conv", [1, 2]), partial(Caricature, "conv")):
        with pytest.raises(InputError, match=r"cosine_power=.*; expected a number, at least 0"):
            make(cosine_power=power)


@pytest.mark.parametrize(
    ("direction", "message"),
    [
        ([], r"objective\.direction=\[\] of shape \(0,\); expected numbers, not all zero, a \.npy"),
        ([0, 0], r"\[0, 0\] of shape \(2,\); expected numbers, not all zero"),
        ([1, math.nan], r"nan\] of shape"),
        ([[1, 2]], r"of shape \(1, 2\); expected"),
        (None, r"objective\.direction=None of shape \(\); expected"),
        ([1, "x"], r"objective\.direction=\[1, 'x'\] cannot be read \(could not convert"),
        ([[1], [2, 3]], r"cannot be read \(.*\); expected numbers"),
        ("missing.npy", r"objective\.direction='missing\.npy' cannot be read \(No such file"),
    ],
    ids=["empty", "zeros", "nan", "matrix", "none", "word", "ragged", "missing"],
)
def test_a_direction_that_is_none_is_refused(direction, message) -> None:
    with pytest.raises(InputError, match=message):
        Direction("conv", direction)


def test_a_file_that_holds_no_direction_is_refused(tmp_path) -> None:
    files = {name: tmp_path / f"{name}.npy" for name in ("text", "empty", "pickle", "many")}
    files["text"].write_text("1 2 3")
    files["empty"].touch()
    np.save(files["pickle"], np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with files["many"].open("wb") as file:
        np.savez(file, a=np.ones(3), b=np.ones(3))
    for path in files.values():
        with pytest.raises(InputError, match=r"objective\.direction=.* cannot be read \(.*\)"):
            Direction("conv", path)


# Likeness


def originals_of(log_mel: Tensor) -> Originals:
    return Originals(recognizer=Analyzer(), log_mel=log_mel, keys=torch.arange(len(log_mel)))


def output_of(activations: Tensor, **others: Any) -> ForwardOutput:
    return ForwardOutput(
        logits=NONE, log_probabilities=NONE, activations={"a": activations}, **others
    )


def against(objective, activations: list, reference: list) -> Tensor:
    """Return the scores of activations against those of the items' originals."""
    known, originals = (
        {"a": torch.tensor(reference)},
        originals_of(torch.zeros(len(reference), 2, 3)),
    )
    prepared = objective.prepare(lambda log_mel, layers: known, originals)
    assert all(key.startswith(repr(objective)) for key in prepared)
    return objective(output_of(torch.tensor(activations), prepared=prepared), NONE)


def test_inversion_is_the_distance_over_the_size_of_the_reference() -> None:
    # two windows of two features; the reference's mean squares are (1 + 9) / 4 and 4
    reference = [[[1.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]]]
    dreams = [[[1.0, 0.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, 3.0]]]
    expected = torch.tensor([-9 / 10, -1 / 16])
    torch.testing.assert_close(against(Inversion("a"), dreams, reference), expected)
    assert torch.equal(against(Inversion("a"), reference, reference), torch.zeros(2))
    silence = [[[0.0, 0.0], [0.0, 0.0]]] * 2
    torch.testing.assert_close(against(Inversion("a"), silence, reference), -torch.ones(2))


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
    prepared = objective.prepare(read_layers, originals_of(originals))
    expected = np.tile(sound, 3)[:frames]
    assert len(asked) == 1
    repeated = torch.from_numpy(expected)[None, None]
    torch.testing.assert_close(asked[0], repeated, atol=1e-6, rtol=1e-6)
    assert prepared[repr(objective)].shape == (3, 1, 1, frames)
    assert all(len(value) == 3 for value in prepared.values())
    assert repr(objective).startswith(f"{kind.__name__.lower()}('a', {str(path)!r}")
    dreams = output_of(prepared[repr(objective)].clone(), prepared=prepared)
    best = objective(dreams, NONE)
    score = float((expected**2).sum()) / frames if kind is Caricature else 0.0
    torch.testing.assert_close(best, torch.full_like(best, score), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short.wav", r"objective\.reference='.*short\.wav': a waveform of 3 samples is too short"),
        ("nowhere.wav", r"nowhere\.wav' does not exist"),
    ],
)
def test_a_reference_that_cannot_be_used_is_refused_before_the_first_step(
    tmp_path, name, message
) -> None:
    soundfile.write(tmp_path / "short.wav", np.arange(3) / 2, 8000)
    originals = originals_of(torch.zeros(1, 1, 9))
    with pytest.raises(InputError, match=message):
        Inversion("a", tmp_path / name).prepare(lambda log_mel, layers: {}, originals)


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
    both = output_of(TWO, groups=torch.tensor(groups))
    torch.testing.assert_close(Diversity("a")(both, NONE), torch.tensor(expected).float())


def test_diversity_hears_neither_when_nor_in_which_window() -> None:
    maps = torch.randn(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    moved = maps.flip(1).roll(2, dims=4)
    both = output_of(torch.cat([maps, 3 * moved]), groups=torch.zeros(2))
    torch.testing.assert_close(Diversity("a")(both, NONE), -torch.ones(2))


def test_diversity_of_others_has_no_gradient_in_a_group() -> None:
    activations = TWO.clone().requires_grad_()
    both = output_of(activations, groups=torch.tensor([0, 0, 1, 1]))
    (gradient,) = torch.autograd.grad(Diversity("a")(both, NONE)[0], activations)
    assert torch.equal(gradient[2:], torch.zeros_like(gradient[2:]))
