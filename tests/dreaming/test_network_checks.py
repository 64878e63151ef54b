"""Networks and starts of all kinds, given to `dream`: dreamed, warned of, or refused in a line."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream import attribute, dream
from irdream.dreaming.best import Dreams
from irdream.dreaming.objectives import ForwardOutput, Layer
from irdream.dreaming.parametrizations import LogMel, Waveform
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer

START = torch.linspace(-9, 0, 2 * 12 * 20).view(2, 12, 20).sin() - 4


class Net(nn.Module):
    """log-mel (batch, 12, frames) -> logits (batch, 5), and what `answer` makes of them.

    `before` changes the input, and with `images` that is (batch, 1, 12, frames).
    """

    def __init__(
        self,
        answer: Callable[[Tensor], Any] = lambda logits: logits,
        *,
        before: Callable[[Tensor], Tensor] = lambda log_mel: log_mel,
        images: bool = False,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()
        )
        self.head, self.answer, self.before, self.images = nn.Linear(6, 5), answer, before, images

    def forward(self, log_mel: Tensor) -> Any:
        log_mel = self.before(log_mel)
        log_mel = log_mel if self.images else log_mel[:, None]
        return self.answer(3 * self.head(self.body(log_mel / 4 + 1).mean(dim=(2, 3))))


class NoBackward(torch.autograd.Function):
    """A function that gives its input, and no gradient of it."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, *slope: Tensor) -> Any:
        raise KeyError("slope")


class FrontEnd(nn.Module):
    """Any function as a front end."""

    sample_rate_hz, hop_samples = 4000, 100

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.forward = function


class NoGrad(Net):
    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Any:
        return super().forward(log_mel)


def in_place(log_mel: Tensor) -> Tensor:
    log_mel -= 0.1
    return log_mel.mul_(1.0)


def broken(log_mel: Tensor) -> Tensor:
    raise KeyError("speaker")


def root(log_mel: Tensor) -> Tensor:
    return (0 * log_mel).sqrt()


def of_one_size(log_mel: Tensor) -> Tensor:
    return log_mel.view(8, 12, 20)


def deeper(logits: Tensor) -> Tensor:
    return logits[..., None]


def overwriting(log_mel: Tensor) -> Tensor:
    shares = log_mel.sigmoid()
    product = shares * shares
    shares += 1.0
    return product


def compiled_in_place() -> Net:
    net = Net()
    net.compile(backend="eager")
    return net


def compiled(net: nn.Module) -> Any:
    return torch.compile(net, backend="eager")


def scripted(*, freeze: bool = False) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace(Net().eval(), torch.zeros(2, 12, 20))
        return torch.jit.freeze(traced) if freeze else traced


@torch.inference_mode()
def in_inference() -> nn.Module:
    return Net()


def short(model: Any, start: Any = START, **settings: Any) -> Dreams:
    plain = {"step_size": 1.0, "steps": 3, "confidence": None, "progress": False}
    return dream(model, start, 3, **{**plain, **settings})


KINDS: dict[str, Callable[[], nn.Module]] = {
    "compiled": lambda: compiled(Net()),
    "compiled images": lambda: compiled(Net(images=True)),
    "compiled chain": lambda: compiled(nn.Sequential(Net())),
    "compiled in place": compiled_in_place,
    "scripted": scripted,
    "scripted and frozen": lambda: scripted(freeze=True),
    "data parallel": lambda: nn.DataParallel(Net()),
    "tuple": lambda: Net(lambda y: (y, None)),
    "dict": lambda: Net(lambda y: {"loss": 1.0, "logits": y, "more": y}),
    "axis of channels": lambda: Net(images=True),
    "axis of channels, list": lambda: Net(lambda y: [y], images=True),
    "fixed weights": lambda: Net().requires_grad_(False),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_networks_of_other_kinds_are_dreamed_as_plain_ones(make) -> None:
    dreams = short(make())
    torch.testing.assert_close(dreams.signal, short(Net()).signal, atol=1e-5, rtol=0)
    assert (dreams.probability_curve[-1] > dreams.probability_curve[0]).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_networks_of_another_type_are_dreamed_in_single_precision_at_least(dtype) -> None:
    dreams, plain = short(Net().to(dtype)), short(Net())
    assert dreams.signal.dtype == torch.promote_types(dtype, torch.float32)
    assert (dreams.probability_curve[-1] > dreams.probability_curve[0]).all()
    first, expected = (one.probability_curve[0].float() for one in (dreams, plain))
    torch.testing.assert_close(first, expected, atol=0.02, rtol=0)


def test_a_network_may_overwrite_its_input() -> None:
    start = START.clone()
    dreams = short(Net(before=in_place), start)
    assert torch.equal(start, START)
    assert (dreams.probability_curve[-1] > dreams.probability_curve[0]).all()


def test_networks_on_sounds_may_want_an_axis_of_channels() -> None:
    net = nn.Sequential(nn.Conv1d(1, 5, 9), nn.AdaptiveMaxPool1d(1), nn.Flatten())
    dreams = dream(net, torch.randn(2, 400), 3, steps=3, confidence=None, progress=False)
    assert (dreams.probability_curve[-1] > dreams.probability_curve[0]).all()


@pytest.mark.parametrize("kind", ["compiled", "compiled in place", "data parallel"])
def test_layers_of_wrapped_networks_have_their_own_names(kind) -> None:
    model = KINDS[kind]()
    model(START)  # a compiled one does not see hooks that are set later
    dreams = short(model, objective=Layer("body.0"))
    expected = short(Net(), objective=Layer("body.0"))
    torch.testing.assert_close(dreams.objective_curve, expected.objective_curve)


def test_layers_of_a_scripted_network_are_refused() -> None:
    with pytest.raises(InputError, match=r"layer 'head' of a scripted network; expected the modul"):
        short(scripted(), objective=Layer("head"))


def test_dreaming_works_where_gradients_are_off() -> None:
    net = Net()
    expected = short(net).signal
    with torch.no_grad():
        assert torch.equal(short(net).signal, expected)
    with torch.inference_mode():
        assert torch.equal(short(net, START + 0.0).signal, expected)


def test_a_front_end_is_left_as_it_was() -> None:
    frontend = HanLogMel(sample_rate_hz=4000, n_fft=128, hop_samples=100, n_mels=12)
    dreams = short(Net().double(), torch.randn(2, 2000), frontend=frontend)
    assert dreams.signal.dtype == torch.float64
    assert frontend.mel_basis.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (NoGrad, r"NoGrad's outputs have no gradient with respect to its input; expected a forw"),
        (lambda: Net(lambda y: y.detach()), r"Net's outputs have no gradient with respect to its"),
        (lambda: Net(lambda y: nn.functional.one_hot(y.argmax(1), 5)), r"Net's outputs have no gr"),
        (lambda: Net(lambda y: y * torch.nan), r"Net gives values that are not finite for the sta"),
        (lambda: Net(lambda y: y / 0), r"Net gives values that are not finite for the start; chec"),
        (lambda: Net(before=root), r"the gradient of Net is not finite for the start; check for"),
        (lambda: Net(before=overwriting), r"Net cannot be differentiated \(RuntimeError: one of"),
        (lambda: Net(before=NoBackward.apply), r"Net cannot be differentiated \(KeyError: 'slope'"),
        (lambda: Net(before=of_one_size), r"Net failed on \(2, 12, 20\) \(RuntimeError: shape .*"),
        (lambda: Net(before=broken), r"Net failed on \(2, 12, 20\) \(KeyError: 'speaker'\); exp"),
        (lambda: Net(Tensor.squeeze), r"Net gave \(5,\) for windows \(1, 12, 20\); expected \(1, "),
        (lambda: Net(lambda y: y[0]), r"Net gave \(5,\) for windows \(2, 12, 20\); expected \(2, "),
        (lambda: Net(deeper), r"Net gave \(2, 5, 1\) for windows \(2, 12, 20\); e"),
        (lambda: Net(deeper, images=True), r"Net gave \(2, 5, 1\) for windows \(2, 1, 12"),
        (lambda: Net(lambda y: (y, y)), r"Net gave a tuple of \(2, 5\), \(2, 5\) for windows \(2,"),
        (lambda: Net(lambda y: y[:, :1]),
         r"Net gave \(1, 1\), a single class, .* of one logit z give \(z / 2, -z / 2\), whose"),
        (lambda: nn.Linear(99, 5), r"Linear failed on \(2, 12, 20\) \(RuntimeError: mat1 and mat2"),
        (lambda: nn.LazyLinear(5), r"LazyLinear has weights without values; load them, or call it"),
        (lambda: Net().to("meta"), r"Net has weights without values; load them, or call it once"),
        (lambda: torch.export.export(Net().eval(), (START,)).module(), r"GraphModule cannot be he"),
        (in_inference, r"Net cannot be held in .*; expected one that can: .* torch.inference_mode"),
        (lambda: Net, r"model is the class Net; expected an object: Net\(...\)"),
        (lambda: Net().forward, r"model is forward; expected a torch.nn.Module, whose weights and"),
        (lambda: functools.partial(Net()), r"model is partial; expected a torch.nn.Module, whose "),
        (lambda: None, r"model is NoneType; expected a torch.nn.Module, whose weights and eval mo"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_dreamed_on_are_refused(make, told) -> None:
    with pytest.raises(InputError, match=rf"^{told}"):
        short(make())


@pytest.mark.parametrize("share", [lambda y: y.softmax(1), lambda y: y.sigmoid()])
def test_probabilities_in_place_of_logits_are_warned_of(share) -> None:
    net, told = Net(share), r"Net's outputs lie between 0 and 1.*, or give output='probabilities' f"
    with pytest.warns(UserWarning, match=told) as warned:
        short(net)
    assert warned[0].filename == __file__
    short(net, output="softmax")  # says that they are logits
    net.output = "softmax"  # type: ignore[assignment]
    short(net)

    with pytest.warns(UserWarning, match=r"Net's outputs lie between 0 and 1") as warned:
        attribute(Net(share), START)
    assert warned[0].filename == __file__


def test_outputs_that_change_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"Net gives other outputs each time .* training=self\.tr"):
        short(Net(F.dropout))
    with pytest.warns(UserWarning, match=r"Net gives other outputs each time it gets the same"):
        attribute(Net(F.dropout), START)


def over_the_batch(log_mel: Tensor) -> Tensor:
    return (log_mel - log_mel.mean()) / log_mel.std()


def of_the_batch() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(12, track_running_stats=False), Net())


@pytest.mark.parametrize("make", [lambda: Net(before=over_the_batch), of_the_batch])
def test_outputs_that_depend_on_what_is_beside_are_warned_of(make) -> None:
    with pytest.warns(UserWarning, match=r"gives a window other outputs when another is beside"):
        short(make())
    short(Net(before=lambda x: (x - x.mean((1, 2), True)) / x.std((1, 2), keepdim=True)))


def test_a_softmax_of_ones_own_is_dreamed_as_that_of_logits() -> None:
    expected = short(Net())
    dreams = short(Net(lambda y: y.softmax(1)), output="probabilities")
    torch.testing.assert_close(dreams.signal, expected.signal, atol=1e-4, rtol=0)
    torch.testing.assert_close(dreams.after.scores, expected.after.scores, atol=1e-4, rtol=0)


def silent() -> Net:
    """A network whose layer body.2 is off."""
    net = Net()
    nn.init.constant_(net.body[1].bias, -99.0)  # type: ignore[arg-type]
    return net


def nothing(heard: ForwardOutput, targets: Tensor) -> Tensor:
    return 0.0 * heard.logits.sum((1, 2))


@pytest.mark.parametrize(
    ("model", "settings", "objective"),
    [
        (Net(Tensor.round), {}, "log_probability"),
        (silent(), {"keep": "last"}, "log_probability"),
        (silent(), {"objective": Layer("body.2")}, r"layer\('body.2'\)"),
        (Net(), {"objective": nothing}, "nothing"),
        (Net(), {"step_size": 1e-12}, "log_probability"),
    ],
)
def test_dreams_that_cannot_move_are_warned_of(model, settings, objective) -> None:
    told = rf"2 of 2 dreams did not move, such as item 0: the network or objective {objective} has"
    with pytest.warns(UserWarning, match=told) as warned:
        short(model, **settings)
    assert warned[0].filename == __file__


# Starts in another unit ---------------------------------------------------------------------


@pytest.mark.parametrize(("least", "most"), [(-80, 0), (0, 80), (0, 50), (0, 1), (-5, 20)])
def test_spectrograms_in_another_unit_are_dreamed_in_their_own_range(least, most) -> None:
    start = torch.linspace(least, most, 240).view(1, 12, 20)
    told = rf"spectrograms from {least} to {most} are no natural log of magnitudes: they are dre"
    with pytest.warns(UserWarning, match=told) as warned:
        dreams = short(Net(), start)
    assert warned[0].filename == __file__
    assert (dreams.signal - start).abs().max() < (most - least) / 4
    own = short(Net(), start, parametrization=LogMel(range_db=None))
    assert torch.equal(own.signal, dreams.signal)


def test_a_front_end_in_another_unit_is_dreamed_in_its_own_range() -> None:
    class Decibels(HanLogMel):
        def forward(self, waveform: Tensor) -> Tensor:
            return 8.686 * super().forward(waveform)

    frontend = Decibels(sample_rate_hz=4000, n_fft=128, hop_samples=100, n_mels=12)
    sounds = torch.randn(2, 2000) / 100
    told = r"spectrograms from -.* to -.* are no natural log of magn"
    with pytest.warns(UserWarning, match=told):
        dreams = short(Net(), sounds, frontend=frontend)
    assert (dreams.signal - frontend(sounds)).abs().max() < 20


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (-80 - START, r"log-mels from -\d+.* to -\d+.*; expected the natural log of magnitudes, a"),
        (START.repeat(1, 2, 1), r"start has 24 bands; expected 12, as front end HanLogMel gives t"),
        (torch.randn(2, 900) / 9, r"'start' is too short: 0.225 s, at least 1.000 s expected, the"),
        (1e4 * torch.randn(2, 4000), r"start reaches \S+; expected waveforms with a full scale of"),
    ],
)  # fmt: skip
def test_starts_that_a_recognizer_was_not_trained_on_are_refused(start, told) -> None:
    with pytest.raises(InputError, match=told):
        dream(known(), start, 3, progress=False)


@pytest.mark.parametrize("start", [START + 9, START.exp()])
def test_log_mels_louder_than_full_scale_are_warned_of(start) -> None:
    with pytest.warns(UserWarning, match=r"are louder than a sound within full scale; expected"):
        dream(known(), start, 3, steps=2, progress=False)


def test_sounds_above_full_scale_are_dreamed_as_they_are() -> None:
    sounds, net = 30_000 * torch.randn(2, 400), nn.Linear(400, 5)
    dreams = dream(net, sounds, 3, steps=2, confidence=None, progress=False)
    assert ((dreams.signal - sounds).abs().amax() / sounds.abs().amax()) < 0.05


def known() -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=4000, n_fft=128, hop_samples=200, n_mels=12)
    return Recognizer(frontend=frontend, model=Net(), instruments="abcde")


@pytest.mark.parametrize(
    ("frontend", "told"),
    [
        (nn.Identity(), r"frontend Identity has no sample_rate_hz and no hop_samples; set what"),
        (torch.abs, r"frontend is a builtin_function_or_method; expected a torch.nn.Module, such"),
        (HanLogMel(n_fft=4096), r"a waveform of 2000 samples is too short; expected more than"),
        (FrontEnd(lambda x: x @ x), r"frontend FrontEnd failed on \(1, 2000\) \(RuntimeError: mat"),
        (FrontEnd(lambda x: x[:, None, None]), r"frontend FrontEnd gave \(1, 1, 1, 2000\) for \(1"),
        (FrontEnd(lambda x: (0 * x.view(-1, 10, 200)).log()), r"frontend FrontEnd gives values th"),
        (FrontEnd(lambda x: (x, x)), r"frontend FrontEnd gave tuple for \(1, 2000\); expected \(b"),
    ],
)  # fmt: skip
def test_front_ends_that_do_not_fit_are_refused(frontend, told) -> None:
    with pytest.raises(InputError, match=told):
        short(Net(), torch.randn(2, 2000), frontend=frontend)


@pytest.mark.parametrize(
    ("frontend", "told"),
    [
        (FrontEnd(lambda x: through_numpy(x.detach())), r"frontend FrontEnd has no gradient with"),
        (
            FrontEnd(lambda x: through_numpy(x)),
            r"frontend FrontEnd failed on .* numpy\(\) on Tenso",
        ),
    ],
)
def test_front_ends_without_a_gradient_make_log_mels_alone(frontend, told) -> None:
    sound = torch.randn(1, 2400)
    assert short(Net(), sound, frontend=frontend).signal.shape == (1, 12, 24)
    with pytest.raises(InputError, match=told):
        short(Net(), sound, frontend=frontend, parametrization=Waveform())
    with pytest.raises(InputError, match=told):
        attribute(Net(), sound, frontend=frontend, sample_rate_hz=4000)


def through_numpy(sounds: Tensor) -> Tensor:
    spectra = np.fft.rfft(sounds.numpy().reshape(len(sounds), -1, 100))[..., :12]
    return torch.from_numpy(np.log(np.abs(spectra) + 1e-3)).float().mT


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ([[1.0, 2.0], [1.0]], r"start cannot be read, a list \(setting an array element"),
        (None, r"start cannot be read, a NoneType \(can't convert"),
        (START.to_sparse(), r"start cannot be read, a Tensor \(it is sparse, nested or without va"),
        (START.to("meta"), r"start cannot be read, a Tensor \(it is sparse, nested or without val"),
        (START.to(torch.complex64), r"start has shape \(2, 12, 20\) and type torch.complex64; exp"),
    ],
)  # fmt: skip
def test_starts_that_are_no_numbers_are_refused(start, told) -> None:
    with pytest.raises(InputError, match=told):
        short(Net(), start)


@pytest.mark.parametrize(
    "change",
    [
        lambda start: start[:, ::-1],
        lambda start: start.astype(">f4"),
        lambda start: start.tolist(),
        lambda start: np.frombuffer(start.tobytes(), np.float32).reshape(start.shape),
        lambda start: tuple(torch.from_numpy(start)),
        lambda start: torch.from_numpy(start).requires_grad_(),
    ],
    ids=["negative stride", "order of bytes", "lists", "read-only", "tensors", "with gradient"],
)
def test_arrays_of_every_make_are_starts(change) -> None:
    start = change(START.numpy())
    expected = START.flip(1) if isinstance(start, np.ndarray) and min(start.strides) < 0 else START
    assert torch.equal(short(Net(), start).signal, short(Net(), expected).signal)
