from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from irdream import recognizer as module
from irdream.errors import InputError
from irdream.fingerprint import fingerprint_of
from irdream.instruments import CODES
from irdream.recognizer import (
    Recognizer,
    load_recognizer,
    logits_among,
    new_recognizer,
    save_recognizer,
    window_starts,
)

Settings = dict[str, Any]
MY_NET: Settings = {"_target_": "my_package.MyNet"}


class Frontend(nn.Module):
    """Ten frames a second, two mels."""

    sample_rate_hz, hop_samples = 100, 10

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform.unfold(-1, 10, 10).mean(-1)[:, None].repeat(1, 2, 1)


class Model(nn.Module):
    """Its first logit is a window's first frame, its second the last one."""

    def __init__(self, *, output: str = "softmax") -> None:
        super().__init__()
        self.output = output

    def forward(self, log_mel: Tensor) -> Tensor:
        return torch.cat([log_mel[:, 0, :1], log_mel[:, 0, -1:], log_mel.mean((1, 2))[:, None]], 1)


def toy(output: str = "softmax") -> Recognizer:
    return Recognizer(frontend=Frontend(), model=Model(output=output), instruments=("a", "b", "c"))


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_frontend: Settings, my_package: ModuleType) -> Path:
    """A checkpoint of the user's own network."""
    recognizer = new_recognizer(frontend=tiny_frontend, model=MY_NET, trust=["my_package"])
    save_recognizer(recognizer, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def edited(folder: Path, **changes: Any) -> Path:
    path = folder / "recognizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


# Windows


@pytest.mark.parametrize(
    ("frames", "window", "hop", "starts"),
    [
        pytest.param(43, 43, 21, [0], id="one window"),
        pytest.param(44, 43, 21, [0, 1], id="a frame is left over"),
        pytest.param(64, 43, 21, [0, 21], id="none is left over"),
        pytest.param(129, 43, 21, [0, 21, 42, 63, 84, 86], id="three seconds"),
        pytest.param(129, 43, 43, [0, 43, 86], id="no overlap"),
        pytest.param(25, 10, 100, [0, 15], id="a hop beyond the end"),
    ],
)
def test_window_starts(frames: int, window: int, hop: int, starts: list[int]) -> None:
    assert window_starts(frames, window, hop) == starts


@given(st.integers(1, 60), st.integers(0, 200), st.data())
def test_windows_cover_every_frame_and_none_beyond(
    window: int, more: int, data: st.DataObject
) -> None:
    hop = data.draw(st.integers(1, window))
    frames = window + more
    starts = window_starts(frames, window, hop)
    assert {f for s in starts for f in range(s, s + window)} == set(range(frames))
    assert len(set(starts)) == len(starts)


def test_too_few_frames() -> None:
    message = "42 frames are too short; expected at least one window of 43"
    with pytest.raises(InputError, match=message):
        window_starts(42, 43, 21)


def test_a_second_of_the_default_front_end_is_43_frames() -> None:
    recognizer = new_recognizer(
        frontend={"_target_": "irdream.frontends.HanLogMel"},
        model={"_target_": "irdream.models.Han2016BatchNorm"},
    )
    assert recognizer.window_frames == 43
    assert recognizer.log_mel(torch.zeros(1, 66_150)).shape == (1, 128, 129)


def test_window_logits_are_those_of_the_windows() -> None:
    ramp = torch.arange(25.0)[None, None].repeat(2, 2, 1) * torch.tensor([1.0, 10.0])[:, None, None]
    logits = toy().window_logits(ramp)
    assert logits.shape == (2, 4, 3)
    assert logits[0, :, 0].tolist() == [0, 5, 10, 15]
    assert logits[0, :, 1].tolist() == [9, 14, 19, 24]
    assert torch.equal(logits[1], 10 * logits[0])
    assert toy().window_logits(ramp, hop_frames=10).shape == (2, 3, 3)


def test_a_model_of_another_shape_is_refused() -> None:
    recognizer = Recognizer(frontend=Frontend(), model=Model(), instruments=("a", "b"))
    message = r"Model gave \(4, 3\) for windows \(4, 2, 10\); expected \(4, 2\): \(batch, instr"
    with pytest.raises(InputError, match=message):
        recognizer.window_logits(torch.zeros(1, 2, 25))


class Several(NamedTuple):
    logits: Tensor
    embedding: Tensor


@dataclass
class Answer:
    loss: None
    logits: Tensor


A, B = torch.zeros(4, 3), torch.zeros(4, 7)


@pytest.mark.parametrize(
    "output",
    [
        A,
        (A,),
        [A, B],
        (B, None, A),
        {"loss": None, "logits": A},
        {"logits": A, "others": A + 1},
        {"clipwise": A, "embedding": B},
        Several(A, A + 1),
        Answer(None, A),
    ],
    ids=lambda output: type(output).__name__,
)
def test_logits_are_found_among_what_a_network_gives(output) -> None:
    assert logits_among(output, 4, 3) is A


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ((A, A), r"a tuple of \(4, 3\), \(4, 3\)"),
        ((B, B[:, 0]), r"a tuple of \(4, 7\), \(4,\)"),
        ({"logits": B, "others": A}, r"a dict of logits=\(4, 7\), others=\(4, 3\)"),
        (([A], None), r"a tuple of list, NoneType"),
        (Answer(None, B), r"a Answer of loss=NoneType, logits=\(4, 7\)"),
        ("text", r"a str"),
    ],
)
def test_what_has_no_logits_is_refused_with_what_it_has(output, said) -> None:
    recognizer = Recognizer(frontend=Frontend(), model=Model(), instruments=("a", "b", "c"))
    recognizer.model.forward = lambda windows: output  # type: ignore[method-assign]
    expected = (
        rf"Model gave {said} for windows \(4, 2, 10\); expected \(4, 3\): .*or named 'logits'"
    )
    with pytest.raises(InputError, match=expected):
        recognizer.logits(torch.zeros(4, 2, 10))


def test_any_number_of_classes_is_found_where_it_is_not_known() -> None:
    assert logits_among((A, None), 4) is A
    assert logits_among((A, B), 4) is None
    assert logits_among((A[None], B), 4) is B


def test_a_network_may_overwrite_its_input_and_have_weights_of_another_type() -> None:
    class Greedy(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input.sub_(1.0).mean(dim=1))

    recognizer = Recognizer(frontend=Frontend(), model=Greedy(10, 3).half(), instruments="abc")
    windows = torch.ones(2, 2, 10, requires_grad=True)
    recognizer.logits(windows).sum().backward()
    assert torch.equal(windows, torch.ones(2, 2, 10))
    assert windows.grad is not None


def test_a_network_may_be_empty() -> None:
    """So that it is false, as lists are."""
    recognizer = Recognizer(frontend=Frontend(), model=Model(), instruments=["a"] * 10)
    windows = torch.randn(2, 10)
    assert torch.equal(recognizer.logits(windows, nn.Sequential()), windows)


# What the outputs mean


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_probabilities_sum_to_one(output: str) -> None:
    logits = torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(0)) * 10
    probabilities = toy(output).probabilities(logits)
    assert probabilities.shape == logits.shape
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 5))


def test_sigmoids_are_divided_by_their_sum() -> None:
    logits = [-3.0, 0.5, 2.0]
    sigmoids = [1 / (1 + math.exp(-x)) for x in logits]
    expected = torch.tensor([math.log(s / sum(sigmoids)) for s in sigmoids])
    torch.testing.assert_close(toy("sigmoid").log_probabilities(torch.tensor(logits)), expected)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("size", [200.0, -200.0])
def test_log_probabilities_and_gradients_of_huge_logits_are_finite(
    output: str, size: float
) -> None:
    logits = torch.tensor([[size, -size, 0.0], [size, size, size]], requires_grad=True)
    log_probabilities = toy(output).log_probabilities(logits)
    assert log_probabilities.isfinite().all()
    (gradient,) = torch.autograd.grad(log_probabilities.sum(), logits)
    assert gradient.isfinite().all()


def test_scores_are_the_networks_own_outputs() -> None:
    logits = torch.tensor([[-1.0, 0.0, 3.0]])
    assert torch.equal(toy("sigmoid").scores(logits), torch.sigmoid(logits))
    assert torch.equal(toy().scores(logits), torch.softmax(logits, -1))


def test_a_network_can_give_probabilities_itself() -> None:
    given = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.4, 0.4, 0.8]])
    recognizer = Recognizer(frontend=Frontend(), model=Model(), output="probabilities")
    assert recognizer.scores(given) is given
    expected = given / given.sum(dim=1, keepdim=True)
    torch.testing.assert_close(recognizer.probabilities(given), expected)
    assert recognizer.log_probabilities(given).isfinite().all()


def test_a_layer_called_output_says_nothing_of_outputs() -> None:
    model = nn.Sequential()
    model.output = nn.Linear(2, 2)
    assert Recognizer(frontend=Frontend(), model=model).output == "softmax"


def test_an_output_that_is_unknown() -> None:
    with pytest.raises(InputError, match=r"Model.output='relu'; expected 'softmax' or 'sigmoid'"):
        toy("relu")


def test_a_front_end_says_its_rate_and_its_hop() -> None:
    with pytest.raises(InputError, match="frontend Identity has no sample_rate_hz and no hop_samp"):
        Recognizer(frontend=nn.Identity(), model=Model())


def test_a_network_without_the_attribute_has_a_softmax() -> None:
    assert Recognizer(frontend=Frontend(), model=nn.Identity()).output == "softmax"


# Checkpoints


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_network_that_is_not_ours_comes_back_bit_for_bit(
    tmp_path: Path, tiny_frontend: Settings, my_package: ModuleType, output: str
) -> None:
    made = new_recognizer(
        frontend=tiny_frontend, model=MY_NET | {"output": output}, trust=["my_package"]
    )
    made.thresholds = {"s1": 0.123456789, "s2": 0.5}
    made.card = {"data": {"name": "rendered"}, "top1": 0.9, "é": None}
    train_a_little(made)
    save_recognizer(made, tmp_path / "new" / "checkpoint")
    loaded = load_recognizer(str(tmp_path / "new" / "checkpoint"), trust=["my_package"])
    assert (loaded.thresholds, loaded.card) == (made.thresholds, made.card)
    assert loaded.spec == made.spec
    assert loaded.output == output
    assert loaded.instruments == CODES
    assert not loaded.training
    waveform = torch.rand(2, 3000)
    made.eval()
    log_mel = made.log_mel(waveform)
    with torch.no_grad():
        assert torch.equal(loaded.log_mel(waveform), log_mel)
        assert torch.equal(loaded.window_logits(log_mel), made.window_logits(log_mel))


def train_a_little(recognizer: Recognizer) -> None:
    optimizer = torch.optim.Adam(recognizer.model.parameters(), lr=0.01)
    recognizer.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = [p.clone() for p in recognizer.model.parameters()]
    for _ in range(3):
        logits = recognizer.logits(torch.randn(4, 12, 25))
        loss = -recognizer.log_probabilities(logits)[:, 0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = recognizer.model.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_weights_that_share_memory_can_be_saved(
    tmp_path: Path, tiny_frontend: Settings, my_package: ModuleType
) -> None:
    spec = {"_target_": "my_package.Tied"}
    made = new_recognizer(frontend=tiny_frontend, model=spec, trust=["my_package"])
    save_recognizer(made, tmp_path)
    loaded = load_recognizer(tmp_path, trust=["my_package"])
    assert torch.equal(loaded.model.again, made.model.again)  # type: ignore[arg-type]


def test_ours_needs_no_trust(tmp_path: Path) -> None:
    made = new_recognizer(
        frontend={"_target_": "irdream.frontends.HanLogMel"},
        model={"_target_": "irdream.models.Han2016", "instruments": 11},
    )
    save_recognizer(made, tmp_path)
    loaded = load_recognizer(tmp_path)
    assert loaded.output == "sigmoid"
    assert fingerprint_of(loaded.frontend) == fingerprint_of(made.frontend.eval())
    state, expected = loaded.model.state_dict(), made.model.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_nothing_is_unpickled(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a checkpoint must not be unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert load_recognizer(checkpoint, trust=["my_package"]).window_frames == 25
    assert sorted(os.listdir(checkpoint)) == ["recognizer.json", "weights.safetensors"]


@pytest.mark.parametrize("name", module.NAMES)
def test_what_comes_along_has_a_name(
    name: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).symlink_to(checkpoint)
    monkeypatch.setattr(module, "CHECKPOINTS", tmp_path)
    assert load_recognizer(name, trust=["my_package"]).spec["model"] == MY_NET


@pytest.mark.parametrize("name", module.NAMES)
def test_what_comes_along_is_whole_and_small(name: str) -> None:
    folder = module.CHECKPOINTS / name
    assert load_recognizer(name).thresholds
    assert (folder / "CARD.md").is_file()
    assert (folder / "weights.safetensors").stat().st_size < 8e6


def test_what_was_not_built_from_a_spec_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no spec; build it with new_recognizer\(\)"):
        save_recognizer(toy(), tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("file", ["weights.safetensors", "recognizer.json"])
def test_a_full_disk_leaves_the_old_checkpoint(
    checkpoint: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in checkpoint.iterdir()}

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) == (1 if file == "weights.safetensors" else 2):
            raise OSError(errno.ENOSPC, "No space left on device")

    calls: list[int] = []
    before, old = contents(), load_recognizer(checkpoint, trust=["my_package"])
    old.card = {"more": 1}
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_recognizer(old, checkpoint)
    assert contents() == before


# What is refused


def missing(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


def cut(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def fewer_weights(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights.pop("layers.8.bias")
    save_file(weights, folder / "weights.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(missing, r"no checkpoint at .* \(weights.safetensors is missing\)", id="file"),
        pytest.param(cut, r"checkpoint .* is damaged: ", id="cut-off weights"),
        pytest.param(
            lambda folder: (folder / "weights.safetensors").write_bytes(b""), "is damaged",
            id="empty weights",
        ),
        pytest.param(
            lambda folder: (folder / "recognizer.json").write_text('{"format": 1,'),
            "is damaged: Expecting property name", id="cut-off description",
        ),
        pytest.param(
            lambda folder: (folder / "recognizer.json").write_bytes(b'{"\xff\xfe'), "is damaged",
            id="no text",
        ),
        pytest.param(
            lambda folder: (folder / "recognizer.json").write_text("[]"),
            "recognizer.json' is no recognizer; expected format, instruments", id="a list",
        ),
        pytest.param(
            lambda folder: (folder / "recognizer.json").write_text('{"format": 1}'),
            "is no recognizer", id="keys missing",
        ),
        pytest.param(
            lambda folder: edited(folder, model="my_package.MyNet"), "is no recognizer",
            id="another type",
        ),
        pytest.param(
            lambda folder: edited(folder, format=2),
            "has format 2; expected 1: use the version of irdream that wrote it", id="format",
        ),
        pytest.param(
            lambda folder: edited(folder, instruments=["kick", "snare"]),
            "has the labels kick snare; expected cel cla flu .* in this order", id="labels",
        ),
        pytest.param(
            lambda folder: edited(folder, instruments=list(reversed(CODES))),
            "has the labels voi vio .* in this order", id="order of labels",
        ),
        pytest.param(
            lambda folder: edited(folder, output="sigmoid"),
            "has the output 'sigmoid'; expected 'softmax', as my_package.MyNet has it", id="output",
        ),
        pytest.param(
            lambda folder: edited(folder, model=MY_NET | {"output": "tanh"}),
            "MyNet.output='tanh'; expected 'softmax' or 'sigmoid'", id="unknown output",
        ),
        pytest.param(
            fewer_weights, "weights of .* do not fit my_package.MyNet: .*layers.8.bias",
            id="weights missing",
        ),
        pytest.param(
            lambda folder: edited(folder, model=MY_NET | {"width": 7}),
            "weights of .* do not fit my_package.MyNet: .* size mismatch", id="other weights",
        ),
    ],
)  # fmt: skip
def test_damaged_checkpoints(
    checkpoint: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(checkpoint)
    refused(checkpoint, message, trust=["my_package"])


def refused(path: Path | str, message: str, **settings: Any) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_recognizer(path, **settings)
    assert "\n" not in str(error.value)


def test_no_checkpoint(tmp_path: Path) -> None:
    expected = r"\(recognizer.json is missing\); expected .*'shipped', 'second', runs:/"
    refused(tmp_path / "nothing", expected)
    refused("~/there/is/no/such/folder", r"no checkpoint at '/.*/there/is/no/such/folder'")
    file = tmp_path / "model.pt"
    file.write_bytes(b"x")
    refused(file, expected)


def test_a_package_must_be_named_to_be_trusted(checkpoint: Path) -> None:
    message = r"'my_package.MyNet' is not trusted; .* to allow it add 'trust=\[my_package\]'"
    refused(checkpoint, message)
    refused(checkpoint, message, trust=["my_pack", "other"])


@pytest.mark.parametrize("part", ["model", "frontend"])
@pytest.mark.parametrize(
    "target",
    [
        "os.system", "builtins.eval", "torch.hub.load", "torch.load", "subprocess.Popen",
        "irdream.recognizer.load_recognizer", "irdream.models", "irdream.models_of_mine.Net", "",
        "torch.nnx.Linear",
    ],
)  # fmt: skip
def test_targets_that_are_not_trusted(checkpoint: Path, part: str, target: str) -> None:
    edited(checkpoint, **{part: {"_target_": target, "command": "true"}})
    refused(checkpoint, f"'{target}' is not trusted", trust=["my_package"])


def test_no_target(checkpoint: Path) -> None:
    edited(checkpoint, model={"instruments": 11})
    refused(checkpoint, "'' is not trusted; expected something in irdream.frontends")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(
            {"_target_": "irdream.models.Han2017"}, "cannot import 'irdream.models.Han2017': ",
            id="no such class",
        ),
        pytest.param(
            {"_target_": "irdream.models.han2017.Han"}, "cannot import .* No module named",
            id="no such module",
        ),
        pytest.param({"_target_": "torch.nn.."}, "cannot import 'torch.nn..'", id="dots"),
        pytest.param(
            {"_target_": "irdream.models.Han2016", "instrumets": 11},
            "cannot build irdream.models.Han2016: .* unexpected keyword argument 'instrumets'",
            id="unknown argument",
        ),
        pytest.param(
            {"_target_": "irdream.models.Han2016", "instruments": "many"},
            "cannot build irdream.models.Han2016: ", id="argument of another type",
        ),
        pytest.param(
            {"_target_": "irdream.models.Han2016", "instruments": -1},
            "cannot build irdream.models.Han2016: ", id="argument out of range",
        ),
        pytest.param(
            {"_target_": "irdream.models.han2016.FILTERS"},
            "irdream.models.han2016.FILTERS cannot be built; expected a class of torch.nn.Module",
            id="a value",
        ),
        pytest.param(
            {"_target_": "torch.nn.init.calculate_gain", "nonlinearity": "relu"},
            "torch.nn.init.calculate_gain cannot be built", id="a function",
        ),
    ],
)  # fmt: skip
def test_models_that_cannot_be_built(
    tiny_frontend: Settings, model: Settings, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        new_recognizer(frontend=tiny_frontend, model=model)
    assert "\n" not in str(error.value)
