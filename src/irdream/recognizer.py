"""A recognizer: front end, windows, model, and what its outputs mean.

It cuts a waveform of any length into windows of one second with 50 % overlap, as Han, Kim and
Lee (2016) test theirs, and says for each window how probable each instrument is. Everything
else in irdream (training, dreams, evaluation) goes through this class, so a network of
one's own needs no more than `forward(log_mel) -> logits` to be trained, dreamed and measured.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from irdream.arguments import Positive, check
from irdream.audio import load_audio
from irdream.audio.masking import bins_hz
from irdream.errors import InputError
from irdream.files import as_text
from irdream.frontends import LogMel, Waveform
from irdream.instruments import CODES, labels_of
from irdream.networks import check_network, in_eval, logits_among, shapes, unwrapped

if TYPE_CHECKING:
    import pandas as pd

_BATCH_WINDOWS = 32
Output = Literal["softmax", "sigmoid", "probabilities"]


class Recognizer(nn.Module):
    """Says of waveforms and log-mels which instruments are predominant.

    Args:
        frontend: waveform (batch, samples) -> log-mel (batch, n_mels, frames).
        model: log-mel windows (batch, n_mels, window_frames) -> logits (batch, instruments).
        instruments: the labels on the axis `instruments`, see `labels_of`; none: not known.
        output: how logits become probabilities; None: as `model.output` says, or "softmax".
            "probabilities", as an argument alone: the model gives these in place of logits.
        window_seconds: what the model sees; 1 s is 43 frames of the default front end.
        temperature: what the model's logits are divided by, so that probabilities can be taken
            as such; chosen on a validation part (Guo et al. 2017).
        thresholds: for the aggregations "s1", "s2" and "max", chosen on a validation part.
        card: how it was made and how well it does; kept in the checkpoint as it is.
        spec: `_target_` and arguments of frontend and model, needed to save it.
    """

    def __init__(
        self,
        *,
        frontend: nn.Module,
        model: nn.Module,
        instruments: Sequence[str] = CODES,
        output: Output | None = None,
        window_seconds: float = 1.0,
        temperature: float = 1.0,
        thresholds: Mapping[str, float] | None = None,
        card: Mapping[str, Any] | None = None,
        spec: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        check_network("frontend", frontend)
        check_network("model", model)
        numbers = {"window_seconds": window_seconds, "temperature": temperature}
        check({name: (value, Positive) for name, value in numbers.items()})
        self.frontend = frontend
        self.model = model
        self.instruments: tuple[str, ...] = ()
        if len(instruments):
            self.instruments = labels_of(instruments)
        own = getattr(model, "output", None)  # or a layer of that name
        self.output: Output = output or (own if isinstance(own, str) else "softmax")  # type: ignore[assignment]
        known = get_args(Output) if output else ("softmax", "sigmoid")
        if self.output not in known:
            raise InputError(
                f"{type(model).__name__}.output={self.output!r}; expected "
                f"{' or '.join(map(repr, known))}"
            )
        needed = {"sample_rate_hz": 22_050, "hop_samples": 512}
        if lacking := [name for name in needed if not hasattr(frontend, name)]:
            remedy = ", ".join(f"frontend.{name} = {needed[name]}" for name in lacking)
            raise InputError(
                f"frontend {type(frontend).__name__} has no {' and no '.join(lacking)}; set "
                f"what is true of it, such as {remedy}"
            )
        self.window_seconds = window_seconds
        self.sample_rate_hz = int(frontend.sample_rate_hz)  # type: ignore[arg-type]
        self.hop_samples = int(frontend.hop_samples)  # type: ignore[arg-type]
        self.window_frames = round(window_seconds * self.sample_rate_hz) // self.hop_samples
        if self.window_frames < 1:
            raise InputError(
                f"window_seconds={window_seconds}; expected at least a frame, "
                f"{self.hop_samples / self.sample_rate_hz:.3g} s"
            )
        self.temperature = temperature
        self.thresholds = dict(thresholds or {})
        self.card = dict(card or {})
        self.spec = {part: dict(values) for part, values in (spec or {}).items()}
        self.not_kept: dict[str, Any] = {}  # arguments of the model that are not in its spec

    @cached_property
    def channel_axis(self) -> bool | None:
        """Whether the model takes windows (batch, 1, n_mels, window_frames); None: not asked yet.

        It is found out in use (`settle`), and so no setting: see `fingerprint_of`.
        """
        return False if type(self.model).__module__.startswith("irdream.") else None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Of waveforms: as the front end's buffers, or the weights, but not below float32."""
        tensors = (x for part in (self.frontend.buffers(), self.parameters()) for x in part)
        kinds = (x.dtype for x in tensors if x.is_floating_point())
        return torch.promote_types(next(kinds, torch.float32), torch.float32)

    @property
    def where(self) -> str:
        """Return in words where it computes, and whose probabilities it gives if not its own."""
        return f"on {self.device}"

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Return the log-mel (batch, n_mels, frames) of a waveform (batch, samples)."""
        return self.frontend(waveform)

    def network_input(self, windows: Tensor) -> Tensor:
        """Return windows (batch, n_mels, window_frames) in the unit that the network wants.

        Features (batch, features) of a frozen embedding, and waveforms, are left as they are.
        """
        in_unit = getattr(self.frontend, "for_network", None)
        return windows if in_unit is None or windows.ndim == 2 else in_unit(windows)

    def logits(self, windows: Tensor, network: nn.Module | None = None) -> Tensor:
        """Return (batch, instruments) for windows (batch, n_mels, window_frames).

        The model, or `network` in its place, gets a copy in the type of its weights. It may give
        several tensors: see `logits_among`. Raises InputError when it gives another shape.
        """
        network = self.model if network is None else network  # which may be empty, and so false
        self.settle(windows, network)
        given = self._given(windows, network, self.channel_axis is True)
        output = network(given)
        classes = len(self.instruments) or None
        logits = logits_among(output, len(windows), classes)
        if logits is None:
            several = "" if isinstance(output, Tensor) else ", alone or named 'logits'"
            raise InputError(
                f"{type(self.model).__name__} gave {shapes(output)} for windows "
                f"{tuple(given.shape)}; expected ({len(windows)}, {classes or 'classes'}): "
                f"(batch, labels){several}"
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # of a half network
        return logits if self.output == "probabilities" else logits / self.temperature

    def _given(self, windows: Tensor, network: nn.Module, channel_axis: bool) -> Tensor:
        weights = (w for w in network.parameters() if not is_lazy(w))
        dtypes = (w.dtype for w in weights if w.is_floating_point())
        given = self.network_input(windows)
        given = given.to(next(dtypes, given.dtype), copy=True)  # it may overwrite its input
        return given.unsqueeze(1) if channel_axis else given

    @torch.no_grad()
    def settle(self, windows: Tensor, network: nn.Module) -> None:
        """Find out once whether a network takes two windows with an axis of channels alone."""
        if self.channel_axis is not None:
            return
        pair, answered = windows[:1].expand(2, *windows.shape[1:]), {}
        for channel_axis in (False, True):
            # Whatever the user's own code raises; a training's random numbers are not used up.
            with contextlib.suppress(Exception), in_eval(network), torch.random.fork_rng([]):
                output = network(self._given(pair, network, channel_axis))
                answered[channel_axis] = logits_among(output, 2, len(self.instruments) or None)
                if answered[channel_axis] is not None:
                    break
        fit = [axis for axis, logits in answered.items() if logits is not None]
        self.channel_axis = [*fit, *answered, False][0]

    def window_logits(self, log_mel: Tensor, hop_frames: int | None = None) -> Tensor:
        """Return (batch, windows, instruments) for log-mels (batch, n_mels, frames).

        Windows overlap by half unless `hop_frames` says otherwise; a last one is aligned with the
        end where frames are left over. Raises InputError for less than one window.
        """
        windows = self.windows(log_mel, hop_frames)
        batches = windows.flatten(0, 1).split(_BATCH_WINDOWS)  # of long sounds some at once
        return torch.cat([*map(self.logits, batches)]).unflatten(0, windows.shape[:2])

    def transposed(self, semitones: float) -> Recognizer:
        """Return one that hears sounds higher by `semitones`, played faster by as much.

        It takes sounds at another sample rate, rounded to 100 Hz, for those of the network's own.
        The weights are shared.
        """
        if not semitones:
            return self
        other, ratio = copy.copy(self), 2 ** (semitones / 12)
        other.sample_rate_hz = max(100, round(self.sample_rate_hz / ratio / 100) * 100)
        other.window_seconds = self.window_seconds * ratio
        return other

    def check_length(self, waveform: Tensor, name: str | Path) -> None:
        """Check a sound (samples,) against the window; raise InputError when it is shorter."""
        samples = (waveform.shape[-1], self.window_frames * self.hop_samples)
        if samples[0] < samples[1]:
            seconds, least = (one / self.sample_rate_hz for one in samples)
            raise InputError(
                f"{as_text(name)!r} is too short: {seconds:.3f} s, at least {least:.3f} s "
                "expected, the length of a window; take a longer recording or shorter windows"
            )

    def windows(self, log_mel: Tensor, hop_frames: int | None = None) -> Tensor:
        """Cut (batch, windows, n_mels, window_frames) from (batch, n_mels, frames)."""
        return cut_windows(log_mel, self.window_frames, hop_frames)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return the logarithm of `probabilities`, finite for any finite logits."""
        if self.output == "softmax":
            return F.log_softmax(logits, dim=-1)
        if self.output == "sigmoid":
            logs = F.logsigmoid(logits)
        else:
            logs = logits.clamp(min=torch.finfo(logits.dtype).tiny).log()
        return logs - logs.logsumexp(dim=-1, keepdim=True)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities that sum to one: a softmax, or the sigmoids over their sum."""
        return self.log_probabilities(logits).exp()

    def scores(self, logits: Tensor) -> Tensor:
        """Return the network's own outputs: the softmax, or the sigmoids as they are."""
        if self.output == "probabilities":
            return logits
        return logits.softmax(dim=-1) if self.output == "softmax" else logits.sigmoid()

    def window_probabilities(self, waveform: Tensor) -> Tensor:
        """Return `probabilities` (batch, windows, instruments) of waveforms (batch, samples)."""
        return self.probabilities(self.window_logits(self.log_mel(waveform.to(self.device))))

    def forward(self, waveform: Tensor) -> Tensor:
        """Return probabilities (batch, instruments) of (batch, samples), the mean over windows."""
        return self.window_probabilities(waveform).mean(dim=1)

    @torch.no_grad()
    def predict(
        self, sound: str | Path | Tensor | np.ndarray | Sequence[float]
    ) -> dict[str, float]:
        """Return the probability of each label, the highest first.

        `sound` is a file, which is scaled to a peak of 1 as in training, or a waveform (samples,)
        at `sample_rate_hz`, which is taken as it is. Raises InputError when it cannot be read, or
        is shorter than a window.
        """
        if isinstance(sound, str | Path):
            rate_hz, least = self.sample_rate_hz, self.window_seconds
            waveform = load_audio(sound, sample_rate_hz=rate_hz, min_seconds=least)
        else:
            waveform = tensor_of(sound, "sound").squeeze()
            if not waveform.is_floating_point():
                raise InputError(
                    f"a sound of type {waveform.dtype}; expected floating point with a full scale "
                    "of 1: divide 16-bit integers by 32768"
                )
        if waveform.ndim != 1:
            raise InputError(
                f"a sound of shape {tuple(waveform.shape)}; expected one channel: (samples,); "
                "take the channels' mean"
            )
        with in_eval(self):
            probabilities = self(waveform[None].to(self.dtype))[0].tolist()
        found = dict(zip(self.instruments, probabilities, strict=True))
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @torch.no_grad()
    def layers(self) -> pd.DataFrame:
        """Return the network's layers in a table: name, type, and shape of the output.

        A name is what `Layer` and other objectives take. The shape is that of the output for one
        window of silence, without the axis of the batch; "" where a layer gives no tensor or is not
        reached, and for a network whose input is not known.
        """
        import pandas as pd

        named = {name: module for name, module in unwrapped(self.model).named_modules() if name}
        shapes = dict.fromkeys(named, "")

        def keep(name: str, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes[name] = " x ".join(map(str, output.shape[1:]))

        hooks = [
            module.register_forward_hook(lambda *given, name=name: keep(name, given[-1]))
            for name, module in named.items()
        ]
        samples = math.ceil(self.window_seconds * self.sample_rate_hz)
        silence = torch.zeros(1, samples, dtype=self.dtype, device=self.device)
        try:
            # Of a front end or a network of the user's.
            with contextlib.suppress(Exception), in_eval(self):
                self.logits(self.windows(self.log_mel(silence))[:, 0])
        finally:
            for hook in hooks:
                hook.remove()
        types = [type(module).__name__ for module in named.values()]
        return pd.DataFrame({"type": types, "output": shapes.values()}, index=list(named))

    @cached_property
    def analysis(self) -> Any:
        """What gives log-spectrograms for figures and measures: the front end, where it gives any.

        For a network on waveforms it is `stft_grid`.
        """
        return self.stft_grid if isinstance(self.frontend, Waveform) else self.frontend

    @cached_property
    def stft_grid(self) -> Any:
        """What gains on a short-time spectrum, and its masking threshold, are defined on.

        It is the front end where this has an `n_fft` and its windows overlap, or where no sample
        rate is known; otherwise a log-mel with Hann windows of some 46 ms, which overlap by half.
        """
        n_fft = getattr(self.frontend, "n_fft", 0)
        overlaps = getattr(self.frontend, "window_samples", n_fft) > self.hop_samples
        if overlaps or self.sample_rate_hz == 1:
            return self.frontend
        n_fft = max(256, 2 ** round(math.log2(self.sample_rate_hz / 21.5)))
        rate_hz = self.sample_rate_hz
        mel = LogMel(sample_rate_hz=rate_hz, n_fft=n_fft, hop_samples=n_fft // 2)
        return mel.to(self.device)

    @property
    def is_invertible(self) -> bool:
        """Say whether a sonification can make sound of what the front end gives."""
        return self.stft_grid is self.frontend and hasattr(self.frontend, "mel_basis")

    def centers_hz(self, grid: Any = None) -> Tensor | None:
        """Return the center of each band of `grid`, or `analysis`, in Hz, (bands,), on the CPU.

        They are what it says, or centers of gravity; None for bands of a front end of one's own
        that has neither `centers_hz` nor `mel_basis`.
        """
        grid = self.analysis if grid is None else grid
        if (centers := getattr(grid, "centers_hz", None)) is not None:
            return cast(Tensor, centers).cpu()
        if (basis := getattr(grid, "mel_basis", None)) is None:
            return None
        basis = cast(Tensor, basis).cpu()
        return basis @ bins_hz(basis.shape[1], self.sample_rate_hz, basis) / basis.sum(dim=1)


def tensor_of(values: Any, name: str) -> Tensor:
    """Return an array of any make as a tensor of its own; InputError, which calls it `name`."""
    try:
        if not isinstance(values, Tensor):
            array = np.array(values)
            values = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        tensor: Tensor = values
        if tensor.is_meta or tensor.is_nested or tensor.layout is not torch.strided:
            raise TypeError("it is sparse, nested or without values")
        tensor = tensor.detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{name} cannot be read, a {type(values).__name__} ({reason}); expected an array of "
            "floating-point numbers or the path of a sound file"
        ) from error
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"{name} has values that are not finite; replace them")
    return tensor


def same_weights(one: Recognizer, other: Recognizer) -> bool:
    """Say whether two recognizers are the same network, however they were loaded."""
    if one is other or not (one.spec and one.spec == other.spec):
        return one is other
    weights = other.model.state_dict()
    return all(torch.equal(x, weights[key].to(x)) for key, x in one.model.state_dict().items())


def cut_windows(log_mel: Tensor, width: int, hop_frames: int | None = None) -> Tensor:
    """Cut (batch, windows, n_mels, width), see `Recognizer.windows`."""
    frames = log_mel.shape[-1]
    if frames == width:
        return log_mel.unsqueeze(1)
    starts = window_starts(frames, width, hop_frames or max(1, width // 2))
    return torch.stack([log_mel[..., first : first + width] for first in starts], dim=1)


def window_starts(frames: int, window_frames: int, hop_frames: int) -> list[int]:
    """Return where windows start: every `hop_frames`, and one aligned with the end."""
    last = frames - window_frames
    if last < 0:
        raise InputError(
            f"{frames} frames are too short; expected at least one window of {window_frames}"
        )
    return sorted({*range(0, last + 1, hop_frames), last})
