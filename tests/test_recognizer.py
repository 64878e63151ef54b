import copy
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.networks import logits_among
from irdream.recognizer import Recognizer, window_starts

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


def toy(output: str = "softmax", **settings: Any) -> Recognizer:
    model = Model(output=output)
    return Recognizer(frontend=Frontend(), model=model, instruments=("a", "b", "c"), **settings)


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
    assert logits_among((A, B), 4) is None  # of any number of classes


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
    expected = rf"Model gave {said} for windows \(4, 2, 10\); expected \(4, 3\): \(batch, label"
    with pytest.raises(InputError, match=expected) as error:
        recognizer.logits(torch.zeros(4, 2, 10))
    assert ("or named 'logits'" in str(error.value)) == (output is not B)


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
    recognizer = Recognizer(frontend=Frontend(), model=Model(), instruments="abcdefghij")
    windows = torch.randn(2, 10)
    assert torch.equal(recognizer.logits(windows, nn.Sequential()), windows)


class Images(nn.Module):
    """(batch, 1, 2, 10) -> (batch, 3), with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(2))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).mean(dim=2)


def test_an_axis_of_channels_is_given_to_a_network_that_wants_one() -> None:
    """Also where it is asked about one window first, which a convolution takes for an image."""
    recognizer = Recognizer(frontend=Frontend(), model=Images().eval(), instruments="abc")
    windows = torch.randn(1, 2, 10)
    assert torch.equal(recognizer.logits(windows), recognizer.model(windows[:, None]))
    assert recognizer.channel_axis is True
    assert len(recognizer.predict(torch.randn(300).numpy())) == 3
    expected = recognizer.predict(torch.ones(300))
    for same in (torch.ones(1, 300), [1.0] * 300, np.ones(300)[::-1], np.ones(300, ">f4")):
        assert recognizer.predict(same) == expected
    double = copy.deepcopy(recognizer).double().predict(np.ones(300))
    assert double == pytest.approx(expected, abs=1e-5)


def test_a_network_in_training_is_asked_without_its_statistics_and_random_numbers() -> None:
    model = Images().train()
    recognizer = Recognizer(frontend=Frontend(), model=model, instruments="abc")
    torch.manual_seed(0)
    expected = torch.randn(1, 2, 10), torch.rand(3)
    torch.manual_seed(0)
    windows = torch.randn(1, 2, 10)
    recognizer.settle(windows, nn.Sequential(nn.Dropout(), model))
    assert torch.equal(torch.rand(3), expected[1])
    assert recognizer.channel_axis is True
    assert model.training
    assert model.body[1].num_batches_tracked == 0


def test_of_a_long_sound_some_windows_are_heard_at_once(monkeypatch) -> None:
    recognizer, sizes = toy(), []
    heard = recognizer.logits
    monkeypatch.setattr(recognizer, "logits", lambda x: sizes.append(len(x)) or heard(x))
    ramp = torch.arange(1000.0)[None, None].repeat(2, 2, 1)
    found = recognizer.window_logits(ramp)
    assert found[1, :, 0].tolist() == [*range(0, 995, 5)][:199]
    assert len(sizes) > 10
    assert max(sizes) <= 32


# What the outputs mean


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_probabilities_sum_to_one(output: str) -> None:
    logits = torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(0)) * 10
    probabilities = toy(output).probabilities(logits)
    assert probabilities.shape == logits.shape
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 5))


def test_sigmoids_are_divided_by_their_sum_and_scores_are_not() -> None:
    logits = torch.tensor([-3.0, 0.5, 2.0])
    sigmoids = [1 / (1 + math.exp(-x)) for x in logits]
    expected = torch.tensor([math.log(s / sum(sigmoids)) for s in sigmoids])
    torch.testing.assert_close(toy("sigmoid").log_probabilities(logits), expected)
    assert torch.equal(toy("sigmoid").scores(logits), torch.sigmoid(logits))
    assert torch.equal(toy().scores(logits), torch.softmax(logits, -1))


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


def test_a_network_can_give_probabilities_itself() -> None:
    given = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.4, 0.4, 0.8]])
    recognizer = Recognizer(frontend=Frontend(), model=Model(), output="probabilities")
    assert recognizer.scores(given) is given
    expected = given / given.sum(dim=1, keepdim=True)
    torch.testing.assert_close(recognizer.probabilities(given), expected)
    assert recognizer.log_probabilities(given).isfinite().all()


def test_what_the_outputs_are() -> None:
    named = nn.Sequential()
    named.output = nn.Linear(2, 2)
    for model in (nn.Identity(), named):  # a layer of that name does not say it
        assert Recognizer(frontend=Frontend(), model=model).output == "softmax"
    windows = torch.rand(2, 2, 10)
    logits = toy(temperature=2.0).logits(windows)  # divided, but probabilities are not
    torch.testing.assert_close(logits, toy().logits(windows) / 2)
    for temperature in (1.0, 2.0):
        as_they_are = Recognizer(
            frontend=Frontend(), model=Model(), instruments="abc", output="probabilities",
            temperature=temperature,
        )  # fmt: skip
        assert torch.equal(as_they_are.logits(windows), toy().logits(windows))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: toy("relu"), r"Model.output='relu'; expected 'softmax' or 'sigmoid'"),
        (lambda: Recognizer(frontend=nn.Identity(), model=Model()),
         r"Identity has no sample_rate_hz and no hop_samples; set .*, frontend.hop_samples = 512"),
        (lambda: toy(window_seconds=0.09), "window_seconds=0.09; expected at least a frame, 0.1 s"),
        (lambda: toy(window_seconds=math.nan), "window_seconds=nan; expected a number above 0"),
        (lambda: toy(temperature=0.0), "temperature=0.0; expected a number above 0"),
        (lambda: Recognizer(frontend=Frontend(), model=Model),  # type: ignore[arg-type]
         r"model=<class '.*Model'>; expected a torch.nn.Module"),
        (lambda: Recognizer(frontend=None, model=Model()),  # type: ignore[arg-type]
         "frontend=None; expected a torch.nn.Module"),
        (lambda: toy().predict(torch.zeros(2, 100)),
         r"sound of shape \(2, 100\); expected one channel: \(samples,\); take the channels' mean"),
        (lambda: toy().predict(np.ones(300, "int16")), r"type torch.int16; .* 16-bit integers"),
        (lambda: toy().predict([np.nan] * 300), r"sound has values that are not finite; replace t"),
        (lambda: window_starts(42, 43, 21),
         "42 frames are too short; expected at least one window of 43"),
    ],
)  # fmt: skip
def test_what_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_layers_are_listed_with_their_types_and_shapes() -> None:
    made = Recognizer(frontend=HanLogMel(**SMALL), model=Network(), instruments=["a", "b"])
    made.train()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    table = made.layers()
    assert dict(zip(table.index, table["type"], strict=True)) == {
        "body": "Sequential", "body.0": "Conv2d", "body.1": "BatchNorm2d", "gru": "GRU",
        "unused": "ReLU", "head": "Linear",
    }  # fmt: skip
    assert table["output"].tolist() == ["6 x 10 x 23", "6 x 10 x 23", "6 x 10 x 23", "", "", "2"]
    assert made.training
    assert not any(module._forward_hooks for module in made.model.modules())
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    made.model.head = nn.Linear(7, 2)  # that does not fit
    assert made.layers()["output"].tolist()[:2] == ["6 x 10 x 23", "6 x 10 x 23"]
    assert made.layers()["output"].tolist()[-1] == ""


class Network(nn.Module):
    """(batch, 12, 25) -> (batch, 2), with a layer that gives a tuple and one that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6))
        self.gru, self.unused, self.head = nn.GRU(60, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, log_mel: Tensor) -> Tensor:
        found, _ = self.gru(self.body(log_mel[:, None]).flatten(1, 2).mT)
        return self.head(found[:, -1])


SMALL: Settings = {"sample_rate_hz": 1000, "n_fft": 128, "hop_samples": 40, "n_mels": 12}
