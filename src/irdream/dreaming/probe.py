"""The recognizer as the loop uses it: frozen, simplified, read at its layers, in slices.

Nothing of that is left afterwards, also not after an exception: no hooks, no gradients in the
weights, modes and `requires_grad` as before.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from irdream.dreaming.network import simplified, unwrapped
from irdream.dreaming.random_streams import item_keys, normal
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.recognizer import Recognizer, window_starts

SLICE_WINDOWS = {"cpu": 12, "cuda": 512}  # in one forward pass, by device; elsewhere:
SLICE_WINDOWS_ELSEWHERE = 128
CHECKPOINTED = {"cpu": 128}  # windows, by device; elsewhere:
CHECKPOINTED_ELSEWHERE = 1024
AGREEMENT = 1e-4  # of the largest output, and of the norm of the gradient; rounding is 1e-6
LISTED = 20  # layers in a message
_COMPARED = 3  # windows, at most
# What the model's own code may raise with modules that were replaced or a layout that changed.
_MISFITS = (AttributeError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)


View = Callable[[Tensor, int], Tensor]  # of log-mels, for a network by its place among several


class _EarlyExitError(Exception):
    """Not an error: all layers were read, and the rest of the network need not run."""


class Probe:
    """Gives what the network says of log-mels, and what its layers do.

    Args:
        recognizer: in eval mode.
        networks: what may compute its logits, the best first; the first one that agrees with the
            model does.
        layers: names of modules that are read.
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
        self._precision = contextlib.nullcontext()
        if mixed_precision and recognizer.device.type == "cuda":
            self._precision = torch.autocast("cuda", torch.bfloat16)
        self._taps: dict[str, Any] = {}
        self._exits_early = False

    def __call__(
        self, log_mel: Tensor, *, output: bool | None = None, view: View | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (items, windows, instruments) and activations (items, windows, ...).

        Where the logits are not wanted they are empty.

        Of more windows than `CHECKPOINTED` the activations inside the network, some 8 MB a
        window, are not kept but computed again for the gradient.

        Args:
            log_mel: (items, n_mels, frames).
            output: whether the logits are wanted; None: as the probe was made.
            view: what the network gets of the log-mels.
        """
        output = self.reads_output if output is None else output
        log_mel = log_mel if view is None else view(log_mel, 0)
        windows = self.recognizer.windows(log_mel)
        shape, windows = windows.shape[:2], windows.flatten(0, 1)
        if self._networks:
            self.network = self._agreeing(windows[:1])
        most = CHECKPOINTED.get(log_mel.device.type, CHECKPOINTED_ELSEWHERE)
        if len(windows) <= most:
            found = self._forward(windows, output)
        else:
            parts = [
                checkpoint(self._forward, part, output, use_reentrant=False)
                for part in windows.split(most // 4)
            ]
            found = [torch.cat(part) for part in zip(*parts, strict=True)]  # type: ignore[arg-type]
        found = [values.unflatten(0, shape) for values in found]
        logits = found.pop(0) if output else log_mel.new_empty(len(log_mel), 0, 0)
        return logits, dict(zip(self.layers, found, strict=True))

    @torch.no_grad()
    def activations(self, log_mel: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the activations of some layers, without gradients, for `Objective.prepare`."""
        found = self(log_mel, output=False)[1]
        return {name: found[name] for name in layers}

    def slices(
        self, log_mel: Tensor, windows: int | None = None, groups: Tensor | None = None
    ) -> list[slice]:
        """Return slices of items of about so many windows, which keep to the CPU's cache.

        Args:
            log_mel: of all items, (items, n_mels, frames).
            windows: in one forward pass; None: by the device.
            groups: (items,); where they are given, a group stays in one slice.
        """
        recognizer, device, count = self.recognizer, log_mel.device.type, len(log_mel)
        hop_frames = max(1, recognizer.window_frames // 2)
        each = len(window_starts(log_mel.shape[-1], recognizer.window_frames, hop_frames))
        most = windows or SLICE_WINDOWS.get(device, SLICE_WINDOWS_ELSEWHERE)
        size = max(1, most // each)
        if groups is None or count <= size:
            size = math.ceil(count / math.ceil(count / size))  # slices of one size
            return [slice(first, first + size) for first in range(0, count, size)]
        numbers, firsts = groups.tolist(), [0]
        ends = [i for i in range(1, count) if numbers[i] != numbers[i - 1]]
        for end, following in itertools.pairwise([*ends, count, count + size]):
            if following - firsts[-1] > size:
                firsts.append(end)
        return [slice(first, end) for first, end in itertools.pairwise(firsts)]

    def tap(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """Keep a layer's output of this pass; its first one, where a module is used again.

        Once all layers are read the network is left, where its output is not wanted.
        """
        if name not in self._taps:
            while isinstance(output, tuple | list) and output:  # of recurrent layers: no state
                output = output[0]
            # A clone, since what follows may overwrite it.
            self._taps[name] = output.clone() if isinstance(output, Tensor) else output
        if self._exits_early and len(self._taps) == len(self.layers):
            raise _EarlyExitError

    def _forward(self, windows: Tensor, output: bool) -> list[Tensor]:
        """Return logits, where wanted, and activations of windows (windows, n_mels, frames)."""
        self._taps, self._exits_early = {}, not output
        try:
            with self._precision:
                logits = self.recognizer.logits(windows, self.network)
        except _EarlyExitError:
            logits = windows  # not used
        taps, self._taps = self._taps, {}
        if missing := [name for name in self.layers if name not in taps]:
            raise InputError(
                f"layer {missing[0]!r} was not reached by {type(self.network).__name__}.forward; "
                "choose one that it calls"
            )
        for name, tapped in taps.items():
            shape = tuple(getattr(tapped, "shape", ()))
            if shape[:1] != (len(windows),):
                raise InputError(
                    f"layer {name!r} gave {shape or type(tapped).__name__} for {len(windows)} "
                    "windows; expected a tensor with an axis of windows first: choose another layer"
                )
        activations = [taps[name].to(windows.dtype) for name in self.layers]
        return [logits.to(windows.dtype), *activations] if output else activations

    # Which network --------------------------------------------------------------------------

    @torch.enable_grad()
    def _agreeing(self, window: Tensor) -> nn.Module:
        """Return the first of the networks that agrees with the model, or the model.

        A model can take the modules of a chain one by one, overwrite what a chain gives, or need
        a layout of its activations.
        """
        networks, self._networks = self._networks, []
        precision, self._precision = self._precision, contextlib.nullcontext()
        chosen = self._model
        for network in networks:
            with contextlib.suppress(*_MISFITS), _full_precision(window.device):
                if self._agrees(network, window.detach()):
                    chosen = network
                    break
        self._precision = precision
        return chosen

    def _agrees(self, network: nn.Module, window: Tensor) -> bool:
        """Say whether a network gives the model's values and, of a window at least, its gradient.

        Where two values are nearly the largest, rounding can choose the other one and change the
        gradient of a window; a gradient that is wrong is so in all windows.
        """
        noise = normal(item_keys([*range(_COMPARED)], window.device), 0, *window.shape[1:])
        for one in (window + 0.1 * noise.to(window)).split(1):
            values, gradient = self._with_gradient(one, network)
            expected, true_gradient = self._with_gradient(one, self._model)
            if not all(_near(a, b) for a, b in zip(values, expected, strict=True)):
                return False
            if bool((gradient - true_gradient).norm() <= AGREEMENT * true_gradient.norm()):
                return True
        return False

    def _with_gradient(self, window: Tensor, network: nn.Module) -> tuple[list[Tensor], Tensor]:
        """Return what a network gives of a window, and the gradient of a mixture of it."""
        self.network, window = network, window.detach().requires_grad_()
        found = self._forward(window, True)
        values = torch.cat([part.flatten() for part in found])
        mixture = values @ torch.arange(len(values), device=values.device).cos().to(values)
        return found, torch.autograd.grad(mixture, window)[0]


class EnsembleProbe(Probe):
    """Gives what several networks say of log-mels or waveforms; each has a probe and view."""

    def __init__(self, recognizer: Ensemble, probes: Sequence[Probe]) -> None:
        super().__init__(recognizer, [], layers=())
        self.recognizer: Ensemble = recognizer
        self.probes = probes

    def __call__(
        self, log_mel: Tensor, *, output: bool | None = None, view: View | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (items, windows, instruments), and no activations."""

        def ask(member: int, own: Tensor) -> Tensor:
            return self.probes[member](own if view is None else view(own, member))[0]

        return self.recognizer.window_logits(log_mel, ask=ask), {}


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
        InputError: when the network has no such layer; for layers of several networks.
    """
    if isinstance(recognizer, Ensemble):
        if layers:
            raise InputError(
                f"layer {layers[0]!r} of several networks; expected a single one: checkpoint=robust"
            )
        with contextlib.ExitStack() as stack:
            one_by_one = (probing(m, mixed_precision=mixed_precision) for m in recognizer.members)
            yield EnsembleProbe(recognizer, [stack.enter_context(one) for one in one_by_one])
        return
    model = unwrapped(recognizer.model)
    check_layers(recognizer, layers)
    with frozen(recognizer), contextlib.ExitStack() as stack:
        copies = [simplified(model, untouched=layers) for _ in range(2)]
        networks = [copied for copied in copies if copied is not model]
        for module in networks[0].modules() if networks else ():
            if isinstance(module, nn.Conv2d):  # in the layout that is a third faster on a CPU
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        reads = {"reads_output": reads_output, "mixed_precision": mixed_precision}
        probe = Probe(recognizer, networks, layers=layers, **reads)
        for network, name in itertools.product((model, *networks), layers):
            module = network.get_submodule(name)
            handle = module.register_forward_hook(functools.partial(probe.tap, name))
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


def check_layers(recognizer: Recognizer, layers: Sequence[str]) -> None:
    """Raise an InputError with the nearest layers when the network has no such layer."""
    model = unwrapped(recognizer.model)
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for layer in layers:
        if layer not in names:
            table = recognizer.layers()
            near = difflib.get_close_matches(layer, table.index, n=LISTED, cutoff=0.0)
            more = f"\n... and {len(table) - LISTED} more" if len(table) > LISTED else ""
            raise InputError(
                f"unknown layer {layer!r} of {type(model).__name__}; expected one of these, with "
                f"the shapes of their outputs for a window:\n{table.loc[near].to_string()}{more}"
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
