"""What many tests are made of: a small network, a short ascent, a tracker that remembers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import torch

from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.tracking import NullTracker

if TYPE_CHECKING:
    from mlflow.entities import Run

    from irdream.tracking.store import Store

RATE_HZ = 8000


def write_noise(path: Path, *, seed: int = 0, seconds: float = 1.0, channels: int = 2) -> Path:
    """Write noise of its own for each seed, at 8000 Hz, into a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (round(seconds * RATE_HZ), channels)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, shape), RATE_HZ)
    return path


def peak_hz(sound: np.ndarray, rate_hz: int = 22_050) -> float:
    """Return where the spectrum of a sound (samples,) is largest."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 16 * len(sound)))
    return float(spectrum.argmax()) * rate_hz / (16 * len(sound))


def tiny_recognizer(model: Any, *, rate_hz: int = RATE_HZ, **changes: Any) -> Recognizer:
    """Return a recognizer in eval mode, of twelve mel bands and 40 frames a second at 8000 Hz."""
    frontend = HanLogMel(sample_rate_hz=rate_hz, n_fft=256, hop_samples=200, n_mels=12)
    return Recognizer(frontend=frontend, model=model, **changes).eval()


def my_net(package: Any, seed: int = 0, **changes: Any) -> Recognizer:
    """Return one of `my_package.MyNet`, with random weights of this seed."""
    torch.manual_seed(seed)
    return tiny_recognizer(package.MyNet(), **changes)


def tiny_ascent(parametrization: Any = None, **changes: Any) -> Ascent:
    settings = {
        "parametrization": parametrization or LogMel(), "objective": LogProbability(),
        "optimizer": NormalizedAscent(), "steps": 4, "step_size": 1.0,
    }  # fmt: skip
    return Ascent(**settings | changes)


def write_tone(path: Path, *, seconds: float = 1.5, hz: float = 440.0) -> Path:
    """Write a tone with overtones, at 22,050 Hz."""
    at = np.arange(round(seconds * 22_050)) / 22_050
    partials = [np.sin(2 * np.pi * hz * k * at) / k for k in range(1, 6)]
    soundfile.write(path, 0.3 * np.sum(partials, axis=0), 22_050)
    return path


def sweep_runs(store: Store) -> tuple[Run, list[Run]]:
    """Return the parent run of the one sweep in a store, and the runs below it."""
    runs = store.client.search_runs([store.experiment("irdream")])
    (parent,) = [run for run in runs if run.data.tags.get("irdream.kind") == "sweep"]
    of_jobs = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, of_jobs


class Notebook(NullTracker):
    """Remembers what it was given; interrupts the run at the step `last`."""

    def __init__(self, *, last: int | None = None) -> None:
        self.last = last
        self.metrics: dict[str, float] = {}  # the last value of each
        self.steps: dict[int, dict[str, float]] = {}
        self.files: list[str] = []
        self.tags: dict[str, str] = {}
        self.data: list[tuple[Any, ...]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self.metrics |= metrics
        self.steps[step] = {**self.steps.get(step, {}), **metrics}
        if step == self.last:
            raise KeyboardInterrupt

    def log_file(self, path: Path, folder: str = "") -> None:
        assert path.exists()
        self.files.append((Path(folder) / path.name).as_posix())

    def log_data(self, name: str, digest: str, **about: Any) -> None:
        self.data.append((name, digest, about))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.tags |= tags

    def over_steps(self, name: str) -> list[float]:
        return [metrics[name] for metrics in self.steps.values() if name in metrics]
