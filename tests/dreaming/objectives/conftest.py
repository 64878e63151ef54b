"""A tiny network with smooth activations in float64, output in two windows."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives import ForwardOutput, Objective

WINDOW = 5  # frames


class TinyNetwork:
    """Log-mels (items, n_mels, frames) to logits of 4 instruments and the activations of 2 layers.

    "spectrogram": (items, 2, 3 channels, n_mels, 5 frames); "features": (items, 2, 6).
    """

    instruments = 4

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(11)

        def weights(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.kernel, self.dense, self.last = weights(3, 1, 3, 3), weights(6, 3), weights(4, 6)

    def read_layers(self, log_mel: Tensor, layers: Sequence[str] = ("spectrogram", "features")):
        """Return activations by name."""
        windows = torch.stack([log_mel[..., :WINDOW], log_mel[..., -WINDOW:]], dim=1)
        flat = windows.flatten(0, 1)[:, None]
        maps = torch.conv2d(flat, self.kernel.to(log_mel), padding=1).tanh() + 0.1
        features = (maps.mean(dim=(2, 3)) @ self.dense.to(log_mel).T).sin()
        output = {"spectrogram": maps, "features": features}
        return {name: output[name].unflatten(0, windows.shape[:2]) for name in layers}

    def output(
        self,
        objective: Objective,
        log_mel: Tensor,
        *,
        start: Tensor | None = None,
        items: Tensor | None = None,
        groups: Tensor | None = None,
        run: Tensor | None = None,
    ) -> ForwardOutput:
        """Return what an objective is given.

        Args:
            objective: is prepared on all items of the run, as the loop does.
            log_mel: of the items output.
            start: their originals; None: zeros.
            items: their places among the items of the run; None: all of them.
            groups: theirs; None: each alone.
            run: the originals of all items of the run; None: `start`.
        """
        start = torch.zeros_like(log_mel) if start is None else start
        items = torch.arange(len(log_mel), device=log_mel.device) if items is None else items
        run = start if run is None else run
        with torch.no_grad():
            prepared = objective.prepare(
                self.read_layers, Originals(recognizer=None, log_mel=run, sound=run, keys=items)
            )
        activations = self.read_layers(log_mel)
        logits = activations["features"] @ self.last.to(log_mel).T
        return ForwardOutput(
            logits=logits,
            log_probabilities=logits.log_softmax(dim=-1),
            activations=activations,
            log_mel=log_mel,
            start=start,
            prepared={key: value[items] for key, value in prepared.items()},
            items=items,
            groups=items if groups is None else groups,
        )


@pytest.fixture(scope="session")
def network() -> TinyNetwork:
    return TinyNetwork()
