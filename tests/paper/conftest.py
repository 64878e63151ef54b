"""The paper's two experiments in seconds: 8000 Hz, twelve mel bands, tones, a tiny network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.dreaming.parametrizations import LogMel, StftGain, Waveform
from irdream.errors import InputError
from irdream.paper.study import Study
from irdream.recognizer import Recognizer
from irdream.sonification import GriffinLim
from irdream.sonification import StftGain as Gain
from irdream.tasks.paper import paper
from tests.tiny import RATE_HZ, Notebook, tiny_ascent, tiny_recognizer

FIGURES = [
    "reports.recognition.scores_figure", "reports.recognition.confusion_figure",
    "paper.figures.targets_figure", "paper.figures.ways_figure", "paper.figures.noise_figure",
]  # fmt: skip


class Gullible(nn.Module):
    """A network that a change of some decibels convinces of anything."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(16, 1, 12, 3, generator=random))
        self.last = nn.Parameter(torch.randn(11, 16, generator=random))

    def forward(self, log_mel: Tensor) -> Tensor:
        features = torch.conv2d(log_mel.unsqueeze(1) / 10 + 0.5, self.first).tanh()
        return 2.0 * features.mean(dim=(2, 3)) @ self.last.T


class Music:
    """Tones from descriptions such as `cel`, `cel+pia`, `1.5 s cel`, `broken cel`, `unlabelled`.

    Both parts have all of them; each is a recording of its own.
    """

    name, about = "music", "tones of a test"

    def __init__(self, *descriptions: str) -> None:
        self.descriptions = descriptions

    def part(self, name: str, *, sample_rate_hz: int) -> Excerpts:
        files = []
        for i, text in enumerate(self.descriptions):
            word = text.split()[-1]
            labels = () if word == "unlabelled" else tuple(word.split("+"))
            files.append(
                ExcerptFile(
                    path=Path(f"{i} {text}"), name=f"{word}-{i}", labels=labels, recording=str(i)
                )
            )
        return Excerpts(files, self._load)

    def _load(self, path: Path) -> Tensor:
        number, *words = path.name.split()
        if words[0] == "broken":
            raise InputError(f"'{words[1]}.wav' is cut off; copy it again")
        seconds = float(words[0]) if "s" in words else 1.0
        time = torch.arange(round(seconds * RATE_HZ)) / RATE_HZ
        hz = 200.0 * (1 + int(number) / 3)
        partials = [torch.sin(2 * torch.pi * hz * k * time) / k for k in range(1, 5)]
        noise = torch.randn(len(time), generator=torch.Generator().manual_seed(int(number)))
        return 0.3 * torch.stack(partials).sum(dim=0) + 0.01 * noise


@dataclass
class Finished:
    """A study, where it wrote, what it returned and what its tracker got."""

    study: Study
    folder: Path
    metrics: dict[str, float] = field(default_factory=dict)
    tracker: Notebook = field(default_factory=Notebook)


def make_recognizer(seed: int) -> Recognizer:
    thresholds = {"s1": 0.2, "s2": 0.5}
    return tiny_recognizer(Gullible(seed), thresholds=thresholds, window_seconds=0.5)


def make_study(
    cache_dir: Path | None, *, dreamed: Sequence[str] = ("log_mel", "stft_gain"), **changes: Any
) -> Study:
    """Return a study that dreams in these ways; other arguments are the study's."""
    kinds = {"log_mel": LogMel(), "stft_gain": StftGain(), "waveform": Waveform()}
    ascents = {name: tiny_ascent(kinds[name], step_size=2.0, steps=40) for name in dreamed}
    settings = {
        "recognizer": make_recognizer(0),
        "second": make_recognizer(1),
        "ascents": ascents,
        "sonifications": {
            "gain": Gain(),
            "fast_griffin_lim": GriffinLim(iterations=1, mel_iterations=2),
        },
        "cache_dir": cache_dir,
    }
    return Study(**settings | changes)


def run_study(study: Study, dataset: Music, folder: Path, **changes: Any) -> Finished:
    """Run the task with small numbers."""
    finished = Finished(study, folder)
    settings: dict[str, Any] = {
        "per_instrument": 1, "grid_per_instrument": 1, "steps": 4, "seconds": 1.0, "noises": 2,
        "noise_steps": 3, "permutations": 20,
    }  # fmt: skip
    finished.metrics = paper(
        study=study, dataset=dataset, tracker=finished.tracker, output_dir=folder,
        **settings | changes,
    )  # fmt: skip
    return finished


def leave_undrawn(patch: pytest.MonkeyPatch) -> None:
    """Save a picture of one pixel for every figure, and lay none out."""
    blank = Figure(figsize=(1, 1))
    for name in FIGURES:
        patch.setattr(f"irdream.{name}", lambda *_, **__: blank)
    for module in ("reports.recognition", "paper.report"):
        patch.setattr(
            f"irdream.{module}.save_figure", lambda figure, path: figure.savefig(path, dpi=1)
        )


@pytest.fixture
def music() -> type[Music]:
    return Music


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    """Make a study that keeps its stages below the test's folder."""
    return lambda **changes: make_study(**{"cache_dir": tmp_path / "cache", **changes})


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Finished]:
    """Run a study on music; other arguments are the task's."""
    return lambda study, dataset, **changes: run_study(
        study, dataset, changes.pop("folder", tmp_path / "run"), **changes
    )


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_undrawn(monkeypatch)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Both experiments, once, on three excerpts of two lengths, published; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        leave_undrawn(patch)
        return run_study(
            make_study(folder / "cache", dreamed=("log_mel", "stft_gain", "waveform")),
            Music("cel", "flu+pia", "0.8 s sax"),
            folder / "run",
            publish=folder / "published",
        )
