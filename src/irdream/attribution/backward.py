"""Methods that send something else than the gradient back through a network.

What a network calls is exchanged while it runs (`torch.overrides.TorchFunctionMode`), so that
layers and plain functions are treated alike. Max-pooling needs no rule: its gradient goes to the
place of the maximum, which is deconvolution's unpooling by switches, and LRP's winner takes all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from irdream.arguments import Amount, Positive, checked
from irdream.attribution.base import (
    Baseline,
    FromBaseline,
    baseline_of,
    check_single,
    convolutions,
    mean_gradient,
    over_windows,
    parts_of,
    watching,
)
from irdream.dreaming.network import check_layers, frozen, simplified
from irdream.ensemble import members_of
from irdream.errors import InputError
from irdream.networks import unwrapped
from irdream.recognizer import Recognizer

LEAST = 1e-20  # of what is divided by
Rules = Mapping[Callable[..., Any], Callable[..., Any]]


class _Exchanged(TorchFunctionMode):
    """Calls a rule in place of each function that has one; counts the calls."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules, self.calls = rules, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = self.rules.get(func)
        self.calls += rule is not None
        return (rule or func)(*args, **(kwargs or {}))

    def check_called(self, method: object, recognizer: Recognizer, functions: str) -> None:
        """Raise an InputError where no rule was used, so that nothing but a gradient was found."""
        if not self.calls:
            raise InputError(
                f"{type(method).__name__} of {type(members_of(recognizer)[0].model).__name__}, "
                f"which calls {functions}, or hides it as scripted: it would be the plain "
                "gradient; choose attribution=gradient_x_input"
            )


# Deconvolution and guided back-propagation ----------------------------------------------------


class _Rectified(torch.autograd.Function):
    """LeakyReLU whose gradient is rectified like a signal, and by the input too if guided."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, guided: bool) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        ctx.slope, ctx.guided = slope, guided
        return F.leaky_relu(x, slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        sent = torch.where(gradient > 0, gradient, ctx.slope * gradient)
        return (torch.where(x > 0, sent, ctx.slope * sent) if ctx.guided else sent), None, None


def _rectifiers(guided: bool) -> Rules:
    def leaky(x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
        if inplace:  # what follows may use x again
            return x.copy_(leaky(x.clone(), negative_slope))
        return _Rectified.apply(x, negative_slope, guided)  # type: ignore[return-value]

    def relu(x: Tensor, inplace: bool = False) -> Tensor:
        return leaky(x, 0.0, inplace)

    return {
        **dict.fromkeys((F.relu, torch.relu, Tensor.relu), relu),
        **dict.fromkeys((torch.relu_, Tensor.relu_), partial(relu, inplace=True)),
        F.leaky_relu: leaky,
        F.leaky_relu_: partial(leaky, inplace=True),
    }


class _RectifiedGradient(FromBaseline):
    """What the two below share."""

    guided: bool

    def gradient(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return what comes back; InputError without ReLU and LeakyReLU."""
        mode = _Exchanged(_rectifiers(self.guided))

        def logits(given: Tensor) -> Tensor:
            with mode:
                return recognizer.window_logits(given)

        gradient = mean_gradient(recognizer, log_mel, targets, logits=logits)
        mode.check_called(self, recognizer, "neither ReLU nor LeakyReLU")
        return gradient


@checked
@dataclass(kw_only=True)
class Deconvolution(_RectifiedGradient):
    """The activation is applied to what comes back, in place of its derivative, x (input - base).

    Zeiler and Fergus 2014, section 2.1, for ReLU; for LeakyReLU of slope a, what comes back is
    multiplied by a where it is negative, so that a = 1, a linear layer, gives the gradient.
    """

    guided = False
    baseline: Baseline = "silence"
    layers: str | Sequence[str] | None = None  # that `layer_maps` gives; "all": the convolutions

    def check(self, recognizer: Recognizer) -> list[str]:
        """Return the layers; InputError for several networks, and where there are no such ones."""
        if not self.layers:
            return []
        key = "attribution.layers"
        check_single(recognizer, f"{key}={self.layers}", f"leave {key} out")
        names = [self.layers] if isinstance(self.layers, str) else list(self.layers)
        if names == ["all"]:
            return convolutions(recognizer, key)
        check_layers(recognizer, names)
        return names

    def layer_maps(
        self, recognizer: Recognizer, log_mel: Tensor
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield for each layer its name, its strongest channels, and what these saw of the input.

        The strongest channel of an item, (items,), exceeds in the mean most what it gives of
        silence. This excess alone is sent back (Zeiler and Fergus 2014; as sound: Choi et al. 2015,
        "Auralisation of deep convolutional neural networks"). Maps (items, n_mels, frames) are in
        units of their 99th percentile, 0 to 1.

        Raises:
            InputError: for several networks, an unknown layer, one without channels.
        """
        for name in self.check(recognizer):
            yield name, *self._layer_map(recognizer, log_mel, name)

    def _layer_map(
        self, recognizer: Recognizer, log_mel: Tensor, name: str
    ) -> tuple[Tensor, Tensor]:
        strongest = log_mel.new_zeros(len(log_mel), dtype=torch.long)
        mode = _Exchanged(_rectifiers(self.guided))

        with watching(recognizer, name, "attribution.layers") as activations:

            def explain(windows: Tensor, items: Tensor) -> Tensor:
                base = baseline_of(recognizer, log_mel, "silence").amin(dim=0)
                with torch.no_grad():
                    silent = activations(base.expand(windows.shape[1:])[None].contiguous())[1]
                    parts = [(activations(x)[1] - silent).relu() for x in parts_of(windows)]
                each = torch.cat([part.flatten(2).mean(dim=2) for part in parts])
                sums = each.new_zeros(len(log_mel), each.shape[1]).index_add_(0, items, each)
                strongest.copy_(sums.argmax(dim=1))
                found = []
                for x, item in zip(parts_of(windows), parts_of(items), strict=True):
                    x = x.detach().requires_grad_()
                    with mode, torch.enable_grad():
                        values = (activations(x)[1] - silent).relu()
                        one = values[torch.arange(len(x)), strongest[item]]
                        found.append(torch.autograd.grad(one.square().sum() / 2, x)[0])
                return torch.cat(found)

            found = over_windows(recognizer, log_mel, explain).relu()
        most = found.flatten(1).quantile(0.99, dim=1).clamp(min=LEAST)
        return strongest, (found / most[:, None, None]).clamp(max=1)


@checked
@dataclass(kw_only=True)
class GuidedBackprop(_RectifiedGradient):
    """Deconvolution's rule and the activation's derivative, both, x (input - baseline).

    Springenberg et al. 2015, section 4, for ReLU; for LeakyReLU as `Deconvolution`.
    """

    guided = True
    baseline: Baseline = "silence"


# Layer-wise relevance propagation -------------------------------------------------------------


@checked
@dataclass(kw_only=True)
class LRP:
    """Layer-wise relevance propagation (Bach et al. 2015), as gradient x input of changed layers.

    Convolutions by the gamma rule for inputs of both signs, dense layers by the epsilon rule
    (Montavon et al. 2019, "Layer-Wise Relevance Propagation: An Overview"; Andeol et al. 2021 for
    negative values). Batch norm is folded into the convolution before it where it follows one in a
    chain; elsewhere it passes relevance on, value by value. ReLU, LeakyReLU, and max- and
    mean-pooling need no rule. Relevance and what the biases take sum to the logit, but for epsilon.
    A product of activations, as attention has it, is not treated.
    """

    gamma: Amount = 0.25  # how much positive contributions are preferred; 0: not
    epsilon: Positive = 1e-6  # added to the magnitude of what is divided by

    def check(self, recognizer: Recognizer) -> None:
        """Raise an InputError for several networks, or one that gets no log-mel."""
        check_single(recognizer, "LRP")

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames); InputError for several networks."""
        self.check(recognizer)
        with frozen(recognizer):
            network = simplified(unwrapped(recognizer.model))
        mode = _Exchanged(self._rules())

        def logits(given: Tensor) -> Tensor:
            windows = recognizer.windows(given)
            with mode:
                found = recognizer.logits(windows.flatten(0, 1), network)
            return found.unflatten(0, windows.shape[:2])

        gradient = mean_gradient(recognizer, log_mel, targets, logits=logits)
        mode.check_called(self, recognizer, "neither convolution nor dense layer")
        return gradient * log_mel

    def _rules(self) -> Rules:
        convolutions = (torch.conv1d, torch.conv2d, torch.conv3d)
        rules: dict[Any, Any] = {one: self._convolution(one) for one in convolutions}
        return {**rules, F.linear: self._linear, F.batch_norm: self._norm}

    def _convolution(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def rule(
            x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **named: Any
        ) -> Tensor:
            y = function(x, weight, bias, *args, **named)
            if self.gamma == 0:
                return self._like(y, y)
            more, less = (self.gamma * w for w in (weight.clamp(min=0), weight.clamp(max=0)))
            louder, lower, z = x.clamp(min=0), x.clamp(max=0), []
            for agrees, differs, sign in ((more, less, 1), (less, more, -1)):  # for y > 0 and < 0
                own = None if bias is None else bias + self.gamma * sign * (sign * bias).relu()
                z.append(
                    function(louder, weight + agrees, own, *args, **named)
                    + function(lower, weight + differs, None, *args, **named)
                )
            return self._like(torch.where(y > 0, z[0], z[1]), y)

        return rule

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        y = F.linear(x, weight, bias)
        return self._like(y, y)

    def _norm(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._like(x, F.batch_norm(x, *args, **kwargs))

    def _like(self, z: Tensor, y: Tensor) -> Tensor:
        """Return y, with the gradient of z times y / z."""
        sign = torch.where(z < 0, -1.0, 1.0).to(z)
        scaled = z * (y / (z + self.epsilon * sign)).detach()
        return scaled + (y - scaled).detach()
