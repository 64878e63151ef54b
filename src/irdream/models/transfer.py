"""New heads on other networks: attention over time, and transfer learning from an embedding.

    python main.py task=train model=transfer model.embedding._target_=my_package.Embedding \
        model.features=512 model.frozen=true

The embedding takes log-mels (batch, n_mels, frames) and gives (batch, features); further axes,
(batch, features, ...), are averaged. It can score whole excerpts where it has `any_length = True`.
Frozen, it stays in eval mode: neither its weights nor the averages of its batch norms change, and
only the head learns. With augmentation=none it is then computed once for each window, and kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import safetensors
import safetensors.torch
from torch import Tensor, nn

from irdream.errors import InputError
from irdream.files import ExistingPath
from irdream.models.han2016 import SLOPE
from irdream.networks import check_network, check_size


class AttentionPooling(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), any number of frames.

    At each frame of a body's maps a network says how much every instrument is present there, and
    how much that is to count. The logits are the weighted mean of these, with weights that sum to
    one over time for each instrument, so that one that plays in some of the frames is not averaged
    away. It scores whole excerpts where the body has `any_length = True`.

    Sources: M. Ilse, J. Tomczak, M. Welling, "Attention-based deep multiple instance learning",
    ICML 2018; S. Gururani, M. Sharma, A. Lerch, "An attention mechanism for musical instrument
    recognition", ISMIR 2019, where every instrument has weights of its own.

    The body takes log-mels to maps (batch, channels, mels, frames) or (batch, channels, frames).
    Raises InputError when it is no network.
    """

    def __init__(
        self,
        *,
        body: nn.Module,
        channels: int = 256,  # of the maps
        hidden: int = 512,  # units between the maps and the logits of a frame
        output: str = "softmax",
        instruments: int = 11,
    ) -> None:
        super().__init__()
        check_network("body", body)
        self.output = output
        self.any_length = bool(getattr(body, "any_length", False))
        self.body, self.channels = body, channels
        self.frame = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), nn.LeakyReLU(SLOPE), nn.Dropout(0.5)
        )
        self.evidence = nn.Conv1d(hidden, instruments, 1)
        self.attention = nn.Conv1d(hidden, instruments, 1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window; InputError when the maps are not as said."""
        maps = self.body(log_mel)
        if maps.ndim not in (3, 4) or maps.shape[1] != self.channels or 0 in maps.shape[1:]:
            raise InputError(
                f"{type(self.body).__name__} gave {tuple(maps.shape)} for a log-mel "
                f"{tuple(log_mel.shape)}; expected (batch, {self.channels}, mels, frames): "
                "set model.channels, or give longer windows"
            )
        frames = self.frame(maps.amax(dim=2) if maps.ndim == 4 else maps)
        return (self.attention(frames).softmax(dim=2) * self.evidence(frames)).sum(dim=2)


class Transfer(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), through an embedding.

    `weights` is a safetensors file of the embedding's first weights, such as that of a checkpoint
    whose network has layers of these names; None: as it was built. A checkpoint of this network
    does not keep it, as all weights are in the checkpoint. Raises InputError when `embedding` is no
    network, or `weights` cannot be read or do not fit.
    """

    not_kept: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(
        self,
        *,
        embedding: nn.Module,  # log-mel -> (batch, features) or (batch, features, ...)
        features: int,  # of the embedding
        frozen: bool = True,  # keep the embedding as it is; or tune it as well
        hidden: int = 0,  # units of a layer between the embedding and the logits; 0: none
        dropout: float = 0.0,  # before each layer of the head
        weights: ExistingPath | None = None,
        output: str = "softmax",
        instruments: int = 11,
    ) -> None:
        super().__init__()
        check_network("embedding", embedding)
        self.output = output
        self.any_length = bool(getattr(embedding, "any_length", False))
        self.embedding, self.features, self.frozen = embedding, features, frozen
        if weights is not None:
            _load(embedding, Path(weights).expanduser())
        embedding.requires_grad_(not frozen)
        layers: list[nn.Module] = [nn.LayerNorm(features)]
        if hidden:
            layers += [nn.Dropout(dropout), nn.Linear(features, hidden), nn.GELU()]
        self.head = nn.Sequential(
            *layers, nn.Dropout(dropout), nn.Linear(hidden or features, instruments)
        )
        self.train(self.training)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window, or of its features (batch, features)."""
        if log_mel.ndim == 2 and log_mel.shape[1] == self.features:
            return self.head(log_mel)
        return self.head(embed(self.embedding, log_mel, self.features))

    def train(self, mode: bool = True) -> Transfer:
        """Switch to training; a frozen embedding stays in eval mode."""
        super().train(mode)
        self.embedding.train(mode and not self.frozen)
        return self


def embed(embedding: nn.Module, log_mel: Tensor, features: int) -> Tensor:
    """Return the features (batch, features) of log-mels; InputError when there are others."""
    check_size(log_mel, n_mels=1, frames=1)
    embedded = embedding(log_mel)
    if embedded.ndim < 2 or embedded.shape[1] != features:
        raise InputError(
            f"{type(embedding).__name__} gave {tuple(embedded.shape)} for a log-mel "
            f"{tuple(log_mel.shape)}; expected (batch, {features}): set model.features"
        )
    return embedded.flatten(2).mean(2) if embedded.ndim > 2 else embedded


def _load(embedding: nn.Module, path: Path) -> None:
    """Load weights by name; those of other layers are left out."""
    try:
        state = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"weights={str(path)!r}; expected a safetensors file: {error}") from error
    wanted = embedding.state_dict()
    wrong = [k for k, v in wanted.items() if k not in state or state[k].shape != v.shape]
    if wrong:
        raise InputError(
            f"weights={str(path)!r} do not fit {type(embedding).__name__}; expected one of the "
            f"right shape for {wrong[0]} ({len(wrong)} of {len(wanted)} are missing or differ)"
        )
    embedding.load_state_dict({key: state[key] for key in wanted})
