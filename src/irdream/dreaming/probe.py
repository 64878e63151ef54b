"""The recognizer as the loop uses it: frozen, simplified, read at its layers, in slices.

Afterwards, also after an exception, it is as before: hooks, gradients, modes, `requires_grad`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from irdream.dreaming.network import agreeing, check_layers, frozen, simplified_copies
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.networks import unwrapped
from irdream.recognizer import Recognizer, window_starts

SLICE_WINDOWS = {"cpu": 12, "cuda": 512}  # in one forward pass, by device; elsewhere:
SLICE_WINDOWS_ELSEWHERE = 128
CHECKPOINTED = {"cpu": 128}  # windows, by device; elsewhere:
CHECKPOINTED_ELSEWHERE = 1024
View = Callable[[Tensor, int], Tensor]  # of log-mels, for a network by its place among several


class _EarlyExitError(Exception):
    """Not an error: all layers were read, and the rest of the network need not run."""


class Probe:
    """Gives the network's logits and its layers' activations for log-mels; see `probing`.

    Of `networks` the first one that agrees with the recognizer's own computes the logits.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        networks: Sequence[nn.Module],
        *,
        layers: Sequence[str] = (),
        reads_output: bool = True,
        mixed_precision: bool = False,
    ) -> None:
        self.recognizer, self.network = recognizer, unwrapped(recognizer.model)
        self.layers, self.reads_output, self._networks = tuple(layers), reads_output, networks
        self._precision = contextlib.nullcontext()
        if mixed_precision and recognizer.device.type == "cuda":
            self._precision = torch.autocast("cuda", torch.bfloat16)
        self._taps: dict[str, Any] = {}
        self._exits_early = False

    def __call__(
        self, log_mel: Tensor, *, output: bool | None = None, view: View | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (items, windows, instruments) and activations (items, windows, ...).

        Where the logits are not wanted they are empty. Of more windows than `CHECKPOINTED` the
        activations inside the network, some 8 MB a window, are computed again for the gradient.

        Args:
            log_mel: (items, n_mels, frames).
            output: whether the logits are wanted; None: as the probe was made.
            view: what the network gets of the log-mels.
        """
        output = self.reads_output if output is None else output
        log_mel = log_mel if view is None else view(log_mel, 0)
        windows = self.recognizer.windows(log_mel)
        shape, windows = windows.shape[:2], windows.flatten(0, 1)
        self.recognizer.settle(windows, self.network)  # before the layers are read
        if self._networks:
            precision, self._precision = self._precision, contextlib.nullcontext()
            answer = functools.partial(self._forward, output=True)
            self.network = agreeing(self.network, self._networks, answer, windows[:1])
            self._networks, self._precision = [], precision
        most = CHECKPOINTED.get(log_mel.device.type, CHECKPOINTED_ELSEWHERE)
        if len(windows) <= most:
            found = self._forward(windows, self.network, output)
        else:
            parts = [
                checkpoint(self._forward, part, self.network, output, use_reentrant=False)
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
        """Return slices of log-mels (items, n_mels, frames) that keep to the CPU's cache.

        They have about so many windows, None: by the device, and do not split `groups` (items,).
        """
        recognizer, device, count = self.recognizer, log_mel.device.type, len(log_mel)
        hop_frames = max(1, recognizer.window_frames // 2)
        each = len(window_starts(log_mel.shape[-1], recognizer.window_frames, hop_frames))
        most = windows or SLICE_WINDOWS.get(device, SLICE_WINDOWS_ELSEWHERE)
        size = max(1, most // each)
        if groups is None or count <= size:
            size = math.ceil(count / math.ceil(count / size))  # slices of one size
            return [slice(first, first + size) for first in range(0, count, size)]
        edges, firsts = (groups.diff().nonzero()[:, 0] + 1).tolist(), [0]
        for end, following in itertools.pairwise([*edges, count, count + size]):
            if following - firsts[-1] > size:
                firsts.append(end)
        return list(itertools.starmap(slice, itertools.pairwise(firsts)))

    def tap(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """Keep a layer's first output of this pass; leave the network when no more is wanted."""
        if name not in self._taps:
            while isinstance(output, tuple | list) and output:  # of recurrent layers: no state
                output = output[0]
            # A clone, since what follows may overwrite it.
            self._taps[name] = output.clone() if isinstance(output, Tensor) else output
        if self._exits_early and len(self._taps) == len(self.layers):
            raise _EarlyExitError

    def _forward(self, windows: Tensor, network: nn.Module, output: bool) -> list[Tensor]:
        """Return logits, where wanted, and activations of windows (windows, n_mels, frames)."""
        self._taps, self._exits_early = {}, not output
        try:
            with self._precision:
                logits = self.recognizer.logits(windows, network)
        except _EarlyExitError:
            logits = windows  # not used
        taps, self._taps, self._exits_early = self._taps, {}, False  # others may call it, too
        if missing := [name for name in self.layers if name not in taps]:
            raise InputError(
                f"layer {missing[0]!r} was not reached by {type(network).__name__}.forward; "
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


class EnsembleProbe(Probe):
    """Gives what several networks say of log-mels or waveforms; each has a probe and view."""

    def __init__(self, recognizer: Ensemble, probes: Sequence[Probe]) -> None:
        super().__init__(recognizer, [])
        self.recognizer: Ensemble = recognizer
        self.probes = probes

    def __call__(
        self, log_mel: Tensor, *, output: bool | None = None, view: View | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (items, windows, instruments), and no activations."""
        views = view or (lambda own, member: own)
        logits = self.recognizer.window_logits(
            log_mel, ask=lambda member, own: self.probes[member](views(own, member))[0]
        )
        return logits, {}


@contextlib.contextmanager
def probing(
    recognizer: Recognizer,
    *,
    layers: Sequence[str] = (),
    reads_output: bool = True,
    mixed_precision: bool = False,
) -> Iterator[Probe]:
    """Give a probe; the recognizer is left as it was, whatever happens.

    Args:
        recognizer: in any mode.
        layers: names of modules that are read.
        reads_output: False: the network is left after the last of the layers.
        mixed_precision: on CUDA, the network in bfloat16.

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
    check_layers(recognizer, layers)
    model = unwrapped(recognizer.model)
    with frozen(recognizer), contextlib.ExitStack() as stack:
        networks = simplified_copies(model, untouched=layers)
        probe = Probe(
            recognizer, networks, layers=layers, reads_output=reads_output,
            mixed_precision=mixed_precision,
        )  # fmt: skip
        for network, name in itertools.product((model, *networks), layers):
            module = network.get_submodule(name)
            handle = module.register_forward_hook(functools.partial(probe.tap, name))
            stack.callback(handle.remove)
        yield probe
