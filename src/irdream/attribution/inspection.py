"""Networks that get no log-mel, such as those on waveforms, explained by the log-mel of the sound.

A virtual inspection layer (Vielhaben, Lapuschkin, Montavon and Samek 2024, "Explainable AI for time
series via virtual inspection layers", section 3, for the DFT and STFT): a log-mel is made a sound,
and this is what the network gets. Every method that asks for logits and their gradient then
explains bands and frames, although the network knows none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from irdream.audio.stft import with_mel_gain
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.recognizer import Recognizer


class Inspected(Ensemble):
    """A recognizer of the log-mels of one sound, around a member that gets anything.

    A log-mel is heard as the sound with a gain on each bin of its spectrum, the difference to the
    sound's own log-mel, with its phase; see `irdream.audio.stft.with_mel_gain`. It is a single
    window, as long as the sound, of which the logits of all the member's windows are given.

    Args:
        recognizer: the member.
        sound: (1, samples), at its sample rate.
    """

    def __init__(self, recognizer: Recognizer, sound: Tensor) -> None:
        super(Ensemble, self).__init__(
            frontend=recognizer.stft_grid,
            model=nn.ModuleList([recognizer]),
            instruments=recognizer.instruments,
            output=recognizer.output,
            window_seconds=sound.shape[-1] / recognizer.sample_rate_hz,
        )
        self.sound, self.own = sound, self.frontend(sound).detach()
        self.window_frames = self.own.shape[-1]

    def window_logits(
        self,
        log_mel: Tensor,
        hop_frames: int | None = None,
        *,
        ask: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the member's logits (batch, windows, instruments) of (batch, n_mels, frames)."""
        (member,), sounds = self.members, self.sound.expand(len(log_mel), -1)
        given = member.log_mel(with_mel_gain(sounds, log_mel - self.own, self.frontend))
        return ask(0, given) if ask else member.window_logits(given)


def inspected(
    recognizer: Recognizer, waveform: Tensor | None
) -> Iterator[tuple[Recognizer, slice]]:
    """Yield what gives logits of log-mels of `recognizer.stft_grid`, and of which of the items.

    It is the recognizer itself, for all items, where it gets such log-mels, or there is no sound.
    """
    if waveform is None or recognizer.stft_grid is recognizer.frontend:
        yield recognizer, slice(None)
        return
    for i in range(len(waveform)):
        yield Inspected(recognizer, waveform[i : i + 1]), slice(i, i + 1)


OTHERS = (
    "choose gradient_x_input, integrated_gradients, smoothgrad, occlusion, deconvolution, "
    "guided_backprop or mask"
)


def check_single(recognizer: Recognizer, what: str, remedy: str = OTHERS) -> None:
    """Raise an InputError for what knows the layers of a single network on log-mels alone."""
    if isinstance(recognizer, Inspected):
        frontend = type(recognizer.members[0].frontend).__name__
        raise InputError(
            f"{what} of a network that gets no log-mel (front end {frontend}); {remedy}"
        )
    if isinstance(recognizer, Ensemble):
        raise InputError(f"{what} of several networks; expected a single one: checkpoint=robust")
