"""Objectives on layers, on activations worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives import Channel, Direction, ForwardOutput, Layer, Neuron, Objective
from irdream.errors import InputError

NONE = torch.empty(0)
ONE = Originals(log_mel=torch.zeros(1, 2, 3), keys=torch.zeros(1))
# (1 item, 2 windows, 2 channels, 2 mels, 3 frames): 0 to 11 in the first window, then 12 to 23
SPECTROGRAMS = torch.arange(24.0).view(1, 2, 2, 2, 3)
FEATURES = torch.tensor([[[1.0, 2.0, 4.0], [3.0, 4.0, 0.0]]])  # (1 item, 2 windows, 3 features)
HEARD = ForwardOutput(
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
    prepared = objective.prepare(None, lambda log_mel, layers: {}, ONE)
    score = objective(ForwardOutput(**{**vars(HEARD), "prepared": prepared}), NONE)
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


def test_where_activations_point_away_a_tenth_is_left() -> None:
    away = value(Direction("dense", [-1, -1, -1], cosine_power=1))
    assert away == pytest.approx(-0.1 * (7 + 7) / 2)


def test_the_length_of_a_direction_scales_the_score_alone() -> None:
    once = value(Direction("conv", [1, 2], cosine_power=2))
    assert value(Direction("conv", [10, 20], cosine_power=2)) == pytest.approx(10 * once)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_direction_is_read_from_a_file(tmp_path, dtype) -> None:
    path = tmp_path / "direction.npy"
    np.save(path, np.array([1, 2, -4], dtype=dtype))
    objective = Direction("dense", path)
    assert value(objective) == pytest.approx(value(Direction("dense", [1, 2, -4])))
    assert repr(objective) == f"direction('dense', {str(path)!r}, cosine_power=0.0)"


def test_arrays_and_tensors_are_directions() -> None:
    for direction in (np.array([1.0, 2.0, 0.5]), torch.tensor([1.0, 2.0, 0.5])):
        objective = Direction("dense", direction)
        assert repr(objective) == "direction('dense', [1.0, 2.0, 0.5], cosine_power=0.0)"


@pytest.mark.parametrize(
    "objective",
    [
        Layer("features.9"),
        Channel("features.9", 3),
        Neuron("features.9", 3),
        Neuron("features.9", 3, frame=4),
        Neuron("features.9", 3, mel=0, frame=4),
        Direction("features.9", [0.1, -3, 1 / 3], cosine_power=1.5),
    ],
    ids=repr,
)
def test_what_is_printed_builds_the_same(objective) -> None:
    names = {"layer": Layer, "channel": Channel, "neuron": Neuron, "direction": Direction}
    built = eval(repr(objective), names)
    assert type(built) is type(objective)
    assert repr(built) == repr(objective)
    mine, theirs = vars(objective), vars(built)
    for name, there in theirs.items():
        same = torch.equal(there, mine[name]) if isinstance(there, Tensor) else there == mine[name]
        assert same, name


def test_their_printed_forms_are_short() -> None:
    assert repr(Layer("features.9")) == "layer('features.9')"
    assert repr(Channel("features.9", 3)) == "channel('features.9', 3)"
    assert repr(Neuron("features.9", 3)) == "neuron('features.9', 3)"
    assert repr(Neuron("features.9", 3, mel=4)) == "neuron('features.9', 3, mel=4)"


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            Channel("conv", 2),
            r"objective\.channel=2; expected 0 to 1, since 'conv' has 2 channels$",
        ),
        (Channel("conv", -1), r"objective\.channel=-1; expected 0 to 1"),
        (Channel("dense", 3), r"objective\.channel=3; expected 0 to 2, since 'dense' has 3 cha"),
        (Channel("dense", 1.5), r"objective\.channel=1\.5; expected 0 to 2"),  # type: ignore[arg-type]
        (Channel("one", 1), r"objective\.channel=1; expected 0 to 0, since 'one' has 1 chan"),
        (Neuron("conv", 2), r"objective\.channel=2; expected 0 to 1"),
        (Neuron("conv", 0, mel=2), r"objective\.mel=2; expected 0 to 1, since 'conv' has 2 mels"),
        (Neuron("conv", 0, frame=3), r"objective\.frame=3; expected 0 to 2, since 'conv' has 3 f"),
        (
            Neuron("dense", 0, mel=0),
            r"objective\.mel=0; expected null, since 'dense' has no mels$",
        ),
        (Neuron("dense", 0, frame=0), r"objective\.frame=0; expected null, since 'dense' has no"),
        (Neuron("sequence", 0, mel=0), r"objective\.mel=0; expected null, since 'sequence'"),
        (
            Direction("conv", [1, 2, 3]),
            r"objective\.direction has 3 numbers; expected 2, since 'conv' has 2 channels$",
        ),
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
    with pytest.raises(InputError, match=r"objective\.cosine_power=.*; expected at least 0, such"):
        Direction("conv", [1, 2], cosine_power=power)


@pytest.mark.parametrize(
    ("direction", "message"),
    [
        ([], r"objective\.direction=\[\] of shape \(0,\); expected numbers, not all zero, or a"),
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
