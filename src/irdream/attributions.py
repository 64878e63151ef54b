"""What a network listened to, from Python in a few lines, see docs/attribution.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from irdream.api import Model, Start, _classes, _doubts, _network, _opened, _paired, _warn
from irdream.arguments import checked
from irdream.attribution import Attribution, SmoothGrad, with_sound
from irdream.audio.stft import DB_PER_NATURAL, with_mel_mask
from irdream.dreaming.network import frozen
from irdream.dreaming.network_checks import check_answers
from irdream.errors import InputError, no_class
from irdream.instruments import name as name_of
from irdream.measures.attribution import top_share
from irdream.recognizer import Output, Recognizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AttributionResult:
    """What was relevant in each item."""

    relevance: Tensor  # (items, n_mels, frames); positive speaks for the target
    log_mel: Tensor  # of `recognizer.stft_grid`, or what was given, the same shape
    targets: Tensor  # indices of the classes, (items,)
    probabilities: Tensor  # what the recognizer says, (items, classes)
    waveform: Tensor | None  # (items, samples); None where log-mels were given
    recognizer: Recognizer  # that was asked
    gives_mask: bool = False  # whether the relevance is a mask itself

    @property
    def _grid(self) -> Any:
        """Return what gave the log-mels."""
        return self.recognizer.frontend if self.waveform is None else self.recognizer.stft_grid

    @checked
    def mask(self, share: Annotated[float, Gt(0), Le(1)] = 0.2) -> Tensor:
        """Return 1 in the most relevant bins, this share of all, 0 elsewhere; or the mask found."""
        return self.relevance if self.gives_mask else top_share(self.relevance, share)

    def sound(self, share: float = 0.2) -> tuple[Tensor, Tensor]:
        """Return what the mask lets through and the rest, (items, samples) each.

        Raises InputError when there is no sound, or the front end is no short-time spectrum.
        """
        if self.waveform is None or not hasattr(self._grid, "mel_basis"):
            raise InputError(
                "there is no sound to be masked; expected waveforms or a sound file, and a front "
                "end with n_fft and mel_basis such as HanLogMel(), or without both"
            )
        relevant = with_mel_mask(self.waveform, self.mask(share), self._grid)
        return relevant, self.waveform - relevant

    def show(self, item: int = 0, share: float = 0.2) -> Figure:
        """Return a figure: what the network got, the relevance, and what a mask lets through."""
        from irdream.reports.figures import attribution_figure

        recognizer, values = self.recognizer, (self.log_mel, self.relevance, self.mask(share))
        log_mel, relevance, mask = (x[item].cpu().numpy() for x in values)
        level_db, gain_db = log_mel * DB_PER_NATURAL, 20 * np.log10(mask.clip(1e-20))
        label = name_of(recognizer.instruments[int(self.targets[item])])
        kept = ("what a mask lets through", np.maximum(level_db + gain_db, level_db.min()))
        grid, is_known = self._grid, hasattr(self._grid, "mel_basis")
        return attribution_figure(
            [[("original", level_db), (f"for {label}", relevance), kept]],
            hop_seconds=grid.hop_samples / grid.sample_rate_hz if is_known else None,
            centers_hz=recognizer.centers_hz(grid) if is_known else None,
        )


@torch.inference_mode(False)
def attribute(
    model: Model,
    start: Start,
    target: Any = None,
    *,
    method: Attribution | None = None,
    frontend: nn.Module | None = None,
    labels: Sequence[str] | None = None,
    output: Output | None = None,
    window_frames: int | None = None,
    sample_rate_hz: int = 22_050,
) -> AttributionResult:
    """Say what a network listened to.

    Args:
        model: as `irdream.dream` takes it; of a network that gets no log-mel the log-mel of the
            sound is explained, see `irdream.attribution.base`.
        start: likewise: waveforms, log-mels, or the path of a sound file.
        target: a class or one for each item; None: what is predicted.
        method: of `irdream.attribution`; None: `SmoothGrad()`.
        frontend, labels, output, window_frames, sample_rate_hz: of a network that is no recognizer,
            see `irdream.dream`.

    Raises:
        InputError: bad start, target or method; a network without the gradients that it needs.

    Warns:
        of a network that seems to give probabilities instead of logits, or whose answers change.
    """
    network = _network(model)
    recognizer, signal = _opened(
        network, start, sample_rate_hz, frontend=frontend, labels=labels, output=output,
        window_frames=window_frames,
    )  # fmt: skip
    method = SmoothGrad() if method is None else method
    no_class("method", method)
    if not callable(method):
        raise InputError(
            f"method={method!r}; expected one of irdream.attribution, such as SmoothGrad()"
        )
    check_answers(recognizer, signal, has_gradient=getattr(method, "needs_gradient", True))
    _warn(_doubts(network, recognizer, signal, output))
    with frozen(recognizer), torch.no_grad():
        is_sound = signal.ndim == 2
        logits = recognizer.window_logits(recognizer.log_mel(signal) if is_sound else signal)
        if (grid := recognizer.stft_grid) is not recognizer.frontend:
            grid.to(signal)  # its type
        log_mel = grid(signal) if is_sound else signal
    probabilities = recognizer.probabilities(logits).mean(dim=1)
    if target is None:
        targets = probabilities.argmax(dim=1)
    else:
        targets = _classes(target, recognizer).to(log_mel.device)
        log_mel, targets = _paired(log_mel, targets)
        probabilities = probabilities.expand(len(targets), -1)
        signal = signal.expand(len(targets), *signal.shape[1:])
    waveform = signal if is_sound else None
    relevance = with_sound(method, waveform)(recognizer, log_mel, targets)
    return AttributionResult(
        relevance=relevance, log_mel=log_mel, targets=targets, probabilities=probabilities,
        waveform=waveform, recognizer=recognizer, gives_mask=getattr(method, "gives_mask", False),
    )  # fmt: skip
