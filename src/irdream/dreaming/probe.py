"""The recognizer as the loop uses it: frozen, simplified, listened to at its layers.

Nothing of that is left afterwards, also not after an exception: no hooks, no gradients in the
weights, modes and `requires_grad` as before.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from irdream.dreaming.network import simplified, unwrapped
from irdream.dreaming.random_streams import item_keys, normal
from irdream.errors import InputError, nearest
from irdream.recognizer import Recognizer

CHECKPOINTED = {"cpu": 128}  # windows, by device; elsewhere:
CHECKPOINTED_ELSEWHERE = 1024
AGREEMENT = 1e-4  # of the largest output, and of the norm of the gradient; rounding is 1e-6
_COMPARED = 3  # windows, at most
# What the model's own code may raise with modules that were replaced or a layout that changed.
_MISFITS = (AttributeError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
logger = logging.getLogger(__name__)


class _EarlyExitError(Exception):
    """Not an error: all layers were heard, and the rest of the network need not run."""


class Probe:
    """Hears log-mels: what the network says, and what its layers do.

    Args:
        recognizer: in eval mode.
        networks: what may compute its logits, the best first; the first one that agrees with the
            model does.
        layers: names of modules to be listened to.
        reads_output: False: the network is left after the last of the layers.
        mixed_precision: on CUDA, the network in bfloat16.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        networks: Sequence[nn.Module],
        *,
        layers: Sequence[str],
        reads_output: bool = True,
        mixed_precision: bool = False,
    ) -> None:
        self.recognizer = recognizer
        self.network = self._model = unwrapped(recognizer.model)
        self._networks = list(networks)
        self.layers, self.reads_output = tuple(layers), reads_output
        self.mixed_precision = mixed_precision
        self._taps: dict[str, Any] = {}

    def __call__(
        self, log_mel: Tensor, *, output: bool | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return logits (items, windows, instruments) and activations (items, windows, ...).

        Of more windows than `CHECKPOINTED` the activations inside the network, some 8 MB a
        window, are not kept but computed again for the gradient.

        Args:
            log_mel: (items, n_mels, frames).
            output: whether the logits are wanted; None: as the probe was made.
        """
        output = self.reads_output if output is None else output
        windows = self.recognizer.windows(log_mel)
        shape, windows = windows.shape[:2], windows.flatten(0, 1)
        if self._networks:
            self.network = self._chosen(windows[:1])
        most = CHECKPOINTED.get(log_mel.device.type, CHECKPOINTED_ELSEWHERE)
        if len(windows) <= most:
            heard = self._hear(windows, output)
        elif torch.is_grad_enabled():
            parts = [
                checkpoint(self._hear, part, output, use_reentrant=False)
                for part in windows.split(most // 4)
            ]
            heard = [torch.cat(part) for part in zip(*parts, strict=True)]  # type: ignore[arg-type]
        else:
            parts = [self._hear(part, output) for part in windows.split(most)]
            heard = [torch.cat(part) for part in zip(*parts, strict=True)]
        heard = [values.unflatten(0, shape) for values in heard]
        logits = heard.pop(0) if output else None
        return logits, dict(zip(self.layers, heard, strict=True))

    def activations(self, log_mel: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the activations of some layers, without gradients, for `Objective.prepare`."""
        with torch.no_grad():
            heard = self(log_mel, output=False)[1]
        return {name: heard[name] for name in layers}

    def tap(self, name: str, output: Any) -> None:
        """Keep a layer's output of this pass; its first one, where a module is used again."""
        if name in self._taps:
            return
        while isinstance(output, tuple | list) and output:  # of recurrent layers: not the state
            output = output[0]
        # A clone, since what follows may overwrite it.
        self._taps[name] = output.clone() if isinstance(output, Tensor) else output

    @torch.enable_grad()
    def _chosen(self, window: Tensor) -> nn.Module:
        """Return the first of the networks that agrees with the model, or the model.

        A model can take the modules of a chain one by one, overwrite what a chain gives, or need
        a layout of its activations.
        """
        networks, self._networks = self._networks, []
        mixed_precision, self.mixed_precision = self.mixed_precision, False
        chosen, reason = self._model, "it has other values or another gradient"
        for network in networks:
            try:
                with _full_precision(window.device):
                    if self._agrees(network, window.detach()):
                        chosen = network
                        break
            except _MISFITS as error:
                reason = f"{type(error).__name__}: {error}"
            logger.debug("a simplified %s is not used: %s", type(self._model).__name__, reason)
        self.mixed_precision = mixed_precision
        return chosen

    def _agrees(self, network: nn.Module, window: Tensor) -> bool:
        """Say whether a network gives the model's values and, of a window at least, its gradient.

        Where two values are nearly the largest, rounding can choose the other one and change the
        gradient of a window; a gradient that is wrong is so in all windows.
        """
        noise = normal(item_keys([*range(_COMPARED)], window.device), 0, *window.shape[1:])
        for one in (window + 0.1 * noise.to(window)).split(1):
            found, gradient = self._with_gradient(one, network)
            expected, true_gradient = self._with_gradient(one, self._model)
            if not all(_near(a, b) for a, b in zip(found, expected, strict=True)):
                return False
            if bool((gradient - true_gradient).norm() <= AGREEMENT * true_gradient.norm()):
                return True
        return False

    def _with_gradient(self, window: Tensor, network: nn.Module) -> tuple[list[Tensor], Tensor]:
        """Return what is heard of a window, and the gradient of a mixture of it."""
        self.network, window = network, window.detach().requires_grad_()
        heard = self._hear(window, True)
        weights = [torch.arange(part.numel(), device=part.device).cos() for part in heard]
        mixture = sum((part.flatten() * by).sum() for part, by in zip(heard, weights, strict=True))
        return heard, torch.autograd.grad(mixture, window)[0]  # type: ignore[arg-type]

    def _hear(self, windows: Tensor, output: bool) -> list[Tensor]:
        """Return logits, where wanted, and activations of windows (windows, n_mels, frames)."""
        self._taps = {}
        self._leaves = not output
        try:
            with self._precision(windows.device):
                logits = self.recognizer.logits(windows, self.network)
        except _EarlyExitError:
            logits = windows  # not used
        taps, self._taps = self._taps, {}
        if missing := [name for name in self.layers if name not in taps]:
            raise InputError(
                f"layer {missing[0]!r} was not reached by {type(self.network).__name__}.forward; "
                "choose one that it calls"
            )
        for name in self.layers:
            shape = tuple(getattr(taps[name], "shape", ()))
            if shape[:1] != (len(windows),):
                raise InputError(
                    f"layer {name!r} gave {shape or type(taps[name]).__name__} for {len(windows)} "
                    "windows; expected a tensor with an axis of windows first: choose another layer"
                )
        activations = [taps[name].to(windows.dtype) for name in self.layers]
        return [logits.to(windows.dtype), *activations] if output else activations

    def _precision(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        if not self.mixed_precision:
            return contextlib.nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def exit_early(self) -> None:
        """Leave the network if the logits are not wanted and all layers were heard."""
        if self._leaves and len(self._taps) == len(self.layers):
            raise _EarlyExitError


@contextlib.contextmanager
def probing(
    recognizer: Recognizer,
    *,
    layers: Sequence[str] = (),
    reads_output: bool = True,
    mixed_precision: bool = False,
) -> Iterator[Probe]:
    """Give a probe; the recognizer is left as it was, whatever happens.

    Raises:
        InputError: when the network has no such layer.
    """
    model = unwrapped(recognizer.model)
    check_layers(model, layers)
    with frozen(recognizer), contextlib.ExitStack() as stack:
        networks = [simplified(model, untouched=layers) for _ in range(2)]
        networks = [network for network in networks if network is not model]
        for module in networks[0].modules() if networks else ():
            if isinstance(module, nn.Conv2d):  # in the layout that is a third faster on a CPU
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        probe = Probe(
            recognizer,
            networks,
            layers=layers,
            reads_output=reads_output,
            mixed_precision=mixed_precision,
        )
        for name in layers:

            def hook(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                probe.tap(name, output)
                probe.exit_early()

            for network in (model, *networks):
                handle = network.get_submodule(name).register_forward_hook(hook)
                stack.callback(handle.remove)
        yield probe


@contextlib.contextmanager
def frozen(recognizer: nn.Module) -> Iterator[None]:
    """Hold a recognizer in eval mode, without gradients in its weights and uncompiled.

    What is compiled would be compiled anew for each number of items, and does not call hooks.
    """
    modes = [(module, module.training) for module in recognizer.modules()]
    weights = [(weight, weight.requires_grad) for weight in recognizer.parameters()]
    with contextlib.ExitStack() as stack:
        eagerly = getattr(torch.compiler, "set_stance", None)  # since torch 2.6
        if eagerly and "torch._dynamo" in sys.modules:  # whose import takes seconds
            stack.enter_context(eagerly("force_eager"))
        try:
            recognizer.eval()
            for weight, _ in weights:  # module.requires_grad_ is refused by a scripted one
                weight.requires_grad_(False)
            yield
        finally:
            for module, training in modes:
                module.training = training
            for weight, requires_grad in weights:
                weight.requires_grad_(requires_grad)


def check_layers(model: nn.Module, layers: Sequence[str]) -> None:
    """Raise an InputError with all names when the model has no such layer."""
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for layer in layers:
        if layer not in names:
            raise InputError(
                f"unknown layer {layer!r} of {type(model).__name__}; expected one of "
                f"{', '.join(names)}{nearest(layer, names)}"
            )


def _near(found: Tensor, expected: Tensor) -> bool:
    """Say whether values are the same but for rounding."""
    same = found.shape == expected.shape
    return same and bool(((found - expected).abs() <= AGREEMENT * expected.abs().amax()).all())


def _full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Compute convolutions on CUDA in float32, not in TF32."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    )
