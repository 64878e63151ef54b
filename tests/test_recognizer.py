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
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from irdream import recognizer as module
from irdream.errors import InputError
from irdream.fingerprint import fingerprint_of
from irdream.frontends import HanLogMel
from irdream.instruments import CODES
from irdream.recognizer import (
    Recognizer,
    load_recognizer,
    logits_among,
    new_recognizer,
    same_weights,
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
        (B, r"\(4, 7\)"),
        ((A, A), r"a tuple of \(4, 3\), \(4, 3\)"),
        ((B, B[:, 0]), r"a tuple of \(4, 7\), \(4,\)"),
        ({"logits": B, "others": A}, r"a dict of logits=\(4, 7\), others=\(4, 3\)"),
        (([A], None), r"a tuple of list, NoneType"),
        (Answer(None, B), r"a Answer of loss=NoneType, logits=\(4, 7\)"),
        ("text", r"a str"),
    ],
)
def test_what_has_no_logits_is_refused_with_what_it_has(output, said) -> None:
    recognizer = toy()
    recognizer.model.forward = lambda windows: output  # type: ignore[method-assign]
    expected = rf"Model gave {said} for windows \(4, 2, 10\); expected \(4, 3\): \(batch, instr"
    with pytest.raises(InputError, match=expected) as error:
        recognizer.logits(torch.zeros(4, 2, 10))
    assert ("or named 'logits'" in str(error.value)) == (output is not B)


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


def test_without_an_attribute_that_says_it_the_output_is_a_softmax() -> None:
    """Nor does a layer of that name say it."""
    named = nn.Sequential()
    named.output = nn.Linear(2, 2)
    for model in (nn.Identity(), named):
        assert Recognizer(frontend=Frontend(), model=model).output == "softmax"


def test_an_output_that_is_unknown() -> None:
    with pytest.raises(InputError, match=r"Model.output='relu'; expected 'softmax' or 'sigmoid'"):
        toy("relu")


def test_a_front_end_says_its_rate_and_its_hop() -> None:
    with pytest.raises(InputError, match="frontend Identity has no sample_rate_hz and no hop_samp"):
        Recognizer(frontend=nn.Identity(), model=Model())


def test_a_temperature_divides_logits_and_not_probabilities() -> None:
    log_mel = torch.rand(2, 3, 5)

    def answer(temperature: float, output: Any) -> torch.Tensor:
        made = Recognizer(
            frontend=HanLogMel(),
            model=Mean(),
            instruments=("a", "b", "c"),
            output=output,
            temperature=temperature,
        )
        return made.logits(log_mel)

    assert torch.allclose(answer(2.0, "softmax"), answer(1.0, "softmax") / 2)
    assert torch.equal(answer(2.0, "probabilities"), answer(1.0, "probabilities"))


class Mean(torch.nn.Module):
    """The means of the mel bands are the logits."""

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        return log_mel.mean(dim=2)


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
    made.temperature = 1.7
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
    torch.testing.assert_close(loaded.model.state_dict(), made.model.state_dict(), rtol=0, atol=0)


def test_nothing_is_unpickled(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a checkpoint must not be unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert load_recognizer(checkpoint, trust=["my_package"]).window_frames == 25
    assert sorted(os.listdir(checkpoint)) == ["recognizer.json", "weights.safetensors"]


@pytest.mark.parametrize("name", module.NAMES)
def test_what_comes_along_is_whole_and_small(name: str) -> None:
    folder = module.CHECKPOINTS / name
    assert load_recognizer(name).thresholds
    assert (folder / "CARD.md").is_file()
    assert (folder / "weights.safetensors").stat().st_size < 8e6


def test_what_was_not_built_from_a_spec_cannot_be_saved(tmp_path: Path) -> None:
    class Local(Model):
        pass

    local = Recognizer(frontend=Frontend(), model=Local(), instruments=("a", "b", "c"))
    with pytest.raises(InputError, match=r"the model is a .*<locals>.Local, which no check"):
        save_recognizer(local, tmp_path / "x")
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


def weights(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Change the bytes of the weights."""

    def damage(folder: Path) -> Path:
        path = folder / "weights.safetensors"
        path.write_bytes(change(path.read_bytes()))
        return folder

    return damage


def description(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "recognizer.json").write_bytes(data)


def key(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: edited(folder, **changes)


def fewer_weights(data: bytes) -> bytes:
    kept = safetensors.torch.load(data)
    del kept["layers.8.bias"]
    return safetensors.torch.save(kept)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (
        lambda folder: (folder / "weights.safetensors").unlink(),
        r"no checkpoint at .* \(weights.safetensors is missing\)",
    ),
    "cut-off weights": (weights(lambda data: data[:-10]), r"checkpoint .* is damaged: "),
    "empty weights": (weights(lambda data: b""), "is damaged"),
    "weights missing": (weights(fewer_weights), "do not fit my_package.MyNet: .*layers.8.bias"),
    "other weights": (key(model=MY_NET | {"width": 7}), "fit my_package.MyNet: .* size mismatch"),
    "cut-off description": (description(b'{"format": 1,'), "is damaged: Expecting property name"),
    "no text": (description(b'{"\xff\xfe'), "is damaged"),
    "a list": (description(b"[]"), "recognizer.json' is no recognizer; expected format, instrum"),
    "keys missing": (description(b'{"format": 1}'), "is no recognizer"),
    "another type": (key(model="my_package.MyNet"), "is no recognizer"),
    "format": (key(format=2), "has format 2; expected 1: use the version of irdream that wrote it"),
    "one label": (key(instruments=["kick"]), "has the labels 'kick'; expected two or more names"),
    "equal labels": (key(instruments=["a", "b", "a"]), "has the labels 'a', 'b', 'a'; expected tw"),
    "empty label": (key(instruments=["a", ""]), "has the labels 'a', ''; expected two or more"),
    "output": (
        key(output="sigmoid"),
        "has the output 'sigmoid'; expected 'softmax', as my_",
    ),
    "temperature": (key(temperature=0), "has the temperature 0; expected a number above 0"),
    "unknown output": (key(model=MY_NET | {"output": "tanh"}), "MyNet.output='tanh'; expected 'so"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
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
    expected = r"\(recognizer.json is missing\); expected .*'shipped', 'second', 'robust', runs:/"
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
    ("target", "arguments", "message"),
    [
        ("irdream.models.Han2017", {}, "cannot import 'irdream.models.Han2017': "),
        ("irdream.models.han2017.Han", {}, "cannot import .* No module named"),
        ("torch.nn..", {}, "cannot import 'torch.nn..'"),
        (
            "irdream.models.Han2016",
            {"instrumets": 11},
            "Han2016: .* unexpected keyword argument",
        ),
        (
            "irdream.models.Han2016",
            {"instruments": "many"},
            "cannot build irdream.models.Han2016: ",
        ),
        ("irdream.models.Han2016", {"instruments": -1}, "cannot build irdream.models.Han2016: "),
        (
            "irdream.models.han2016.FILTERS",
            {},
            "FILTERS cannot be built; expected a class of torch",
        ),
        (
            "torch.nn.init.calculate_gain",
            {"nonlinearity": "relu"},
            "gain cannot be built; expect",
        ),
    ],
)
def test_models_that_cannot_be_built(
    tiny_frontend: Settings, target: str, arguments: Settings, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        new_recognizer(frontend=tiny_frontend, model={"_target_": target, **arguments})
    assert "\n" not in str(error.value)


def test_the_same_weights_are_one_network_wherever_they_lie(checkpoint: Path) -> None:
    one, copy, other = (load_recognizer(checkpoint, trust=["my_package"]) for _ in range(3))
    with torch.no_grad():
        next(other.model.parameters()).add_(1.0)
    assert same_weights(one, copy)
    assert not same_weights(one, other)
    assert not same_weights(toy(), toy())  # without a spec: what it is, nobody knows
