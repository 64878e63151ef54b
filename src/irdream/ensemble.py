"""Several recognizers as one, which gives the geometric mean of their probabilities.

A dream toward an instrument must then be heard by each of them. Each hears in its own way: by its
front end, at its sample rate and pitch, in its windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream.audio import resample
from irdream.errors import InputError
from irdream.frontends import Waveform
from irdream.instruments import find
from irdream.recognizer import Recognizer

_BATCH = 32  # windows at once, each of which is several to some members


class Ensemble(Recognizer):
    """Logits are the mean of the members' log probabilities; a softmax normalizes them.

    The classes are those that all members know (see `instruments.find`), by the names and in the
    order of the first one. Where the front ends are equal the log-mel is theirs; otherwise what
    stands for it is the waveform, at the highest of their sample rates.

    Args:
        members: one or more, on one device.

    Raises:
        InputError: when they have fewer than two labels in common.
    """

    model: nn.ModuleList

    def __init__(self, members: Sequence[Recognizer]) -> None:
        known = [[find(x, one.instruments) for x in members[0].instruments] for one in members]
        common = [own for own in zip(*known, strict=True) if all(own)]  # each in its own words
        labels = [own[0] for own in common]
        if len(labels) < 2:
            lists = "; ".join(", ".join(one.instruments) for one in members)
            raise InputError(f"networks with the labels {lists}; expected two or more in common")
        first, *others = (one.frontend for one in members)
        rate_hz = max(one.sample_rate_hz for one in members)
        is_shared = all(_are_alike(first, other) for other in others)
        is_shared &= all(one.sample_rate_hz == first.sample_rate_hz for one in members)
        super().__init__(
            frontend=first if is_shared else Waveform(sample_rate_hz=rate_hz),
            model=nn.ModuleList(members),
            instruments=labels,
            output="softmax",
            window_seconds=max(one.window_seconds for one in members),
        )
        of_each = zip(members, zip(*common, strict=True), strict=True)
        places = [[*map(one.instruments.index, own)] for one, own in of_each]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.to(members[0].device)

    places: Tensor  # of the classes in each member's, (members, instruments)

    @property
    def members(self) -> list[Recognizer]:
        return list(self.model)  # type: ignore[arg-type]

    @property
    def where(self) -> str:
        """Return in words what its probabilities are, and where it computes."""
        several = f"{len(self.model)} networks (geometric mean of probabilities), "
        return several * (len(self.model) > 1) + super().where

    def window_logits(
        self,
        log_mel: Tensor,
        hop_frames: int | None = None,
        *,
        ask: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the mean log probabilities (batch, windows, instruments), not normalized.

        `log_mel` is (batch, n_mels, frames), or waveforms (batch, samples). There are as many
        windows as the member with most of them has, which overlap by half; those of the others are
        interpolated in time. `ask` returns the window logits of a member, by its place, on its
        log-mels.
        """
        found = []
        for i, one in enumerate(self.members):
            given = log_mel
            if isinstance(self.frontend, Waveform):
                rates = {"from_hz": self.sample_rate_hz, "to_hz": one.sample_rate_hz}
                given = one.log_mel(resample(log_mel, **rates))
            logits = ask(i, given) if ask else one.window_logits(given)
            found.append(one.log_probabilities(logits).index_select(-1, self.places[i]))
        return _mean(found)

    def window_probabilities(self, waveform: Tensor) -> Tensor:
        """Return (batch, windows, instruments) for waveforms (batch, samples), cut by each member.

        Raises InputError when they are shorter than a window.
        """
        return _mean([_log(shares) for shares in self._of_members(waveform)]).softmax(dim=-1)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return (batch, instruments) of (batch, samples): the geometric mean of the members'.

        Each member's are the mean over its own windows first, so that it decides on the whole.
        """
        of_each = [_log(shares.mean(dim=1)) for shares in self._of_members(waveform)]
        return torch.stack(of_each).mean(dim=0).softmax(dim=-1)

    def _of_members(self, waveform: Tensor) -> Iterator[Tensor]:
        """Yield each member's (batch, its windows, instruments)."""
        for one, places in zip(self.members, self.places, strict=True):
            sound = resample(waveform, from_hz=self.sample_rate_hz, to_hz=one.sample_rate_hz)
            yield one.window_probabilities(sound).index_select(-1, places)

    def logits(self, windows: Tensor, network: nn.Module | None = None) -> Tensor:
        """Return (batch, instruments) for windows (batch, n_mels, frames) or (batch, samples)."""
        return torch.cat([self.window_logits(some).mean(dim=1) for some in windows.split(_BATCH)])


def as_one(recognizers: Sequence[Recognizer]) -> Recognizer:
    """Return a single recognizer as it is; several, or one that is transposed, as an `Ensemble`.

    Raises InputError when there is none, or they have too few labels in common.
    """
    if not recognizers:
        raise InputError("no network is given; expected one or more")
    first, *others = recognizers
    is_plain = not others and first.sample_rate_hz == first.frontend.sample_rate_hz
    return first if is_plain else Ensemble(recognizers)


def members_of(recognizer: Recognizer) -> list[Recognizer]:
    """Return the members of an ensemble, or a single recognizer."""
    return recognizer.members if isinstance(recognizer, Ensemble) else [recognizer]


def _are_alike(one: nn.Module, other: nn.Module) -> bool:
    """Say whether two front ends give the same."""
    plain = [
        {name: value for name, value in vars(each).items() if isinstance(value, int | float | str)}
        for each in (one, other)
    ]
    kept = [dict((*each.named_buffers(), *each.named_parameters())) for each in (one, other)]
    return (
        (type(one), plain[0], kept[0].keys()) == (type(other), plain[1], kept[1].keys())
        and all(torch.equal(value, kept[1][name]) for name, value in kept[0].items())
    )  # fmt: skip


def _log(shares: Tensor) -> Tensor:
    return shares.clamp(min=torch.finfo(shares.dtype).tiny).log()


def _mean(several: Sequence[Tensor]) -> Tensor:
    """Return the mean of (batch, windows, instruments), interpolated to the most windows."""
    windows, spread = max(logs.shape[1] for logs in several), []
    for logs in several:
        if logs.shape[1] < windows:
            logs = F.interpolate(logs.mT, size=windows, mode="linear", align_corners=True).mT
        spread.append(logs)
    return torch.stack(spread).mean(dim=0)
