"""What is dreamed in `python -m benchmarks.dream`, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.report import ROOT
from irdream.audio.stft import NATURAL_PER_DB
from irdream.checkpoint_folder import load_recognizer, new_recognizer
from irdream.datasets.soundfont import SoundFont
from irdream.datasets.starts import ExcerptStart
from irdream.dreaming.targets import item_seed, plan
from irdream.recognizer import Recognizer

N_MELS, FRAMES = 128, 43  # of a window
LEAST, MOST = -100.0 * NATURAL_PER_DB, 20.0 * NATURAL_PER_DB  # of LogMel, by default
MODELS = {"han2016": "irdream.models.Han2016", "han2016_bn": "irdream.models.Han2016BatchNorm"}
ITEM_STEPS = {"cpu": 264}  # of a timing, shared by the items of a batch
ITEM_STEPS_ELSEWHERE = 8448
LEAST_STEPS = 3
MIDDLE = 88  # items where one batch size has to do


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be dreamed.

    Attributes:
        recognizer: in eval mode; a contender that needs its model otherwise copies it.
        start: log-mels of one window each, (items, n_mels, frames), within LEAST and MOST.
        targets: instrument indices, (items,).
        step_db: RMS of a step.
    """

    recognizer: Recognizer
    start: Tensor
    targets: Tensor
    step_db: float = 0.25

    @property
    def step(self) -> float:
        """Return the length of a step in the unit of the log-mels."""
        return self.step_db * NATURAL_PER_DB

    def score(self, logits: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return log p of the targets, (items,)."""
        targets = self.targets if targets is None else targets
        return self.recognizer.log_probabilities(logits).gather(1, targets[:, None])[:, 0]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the parts need to know.

    Attributes:
        device: where all of them compute.
        contenders: names in `contenders.CONTENDERS`.
        rounds: turns that the contenders take.
        batches: numbers of items.
        model: of the parts that take random weights, a key of MODELS.
        most_steps: in a timing.
        overhead_steps: in a timing of the near-empty model.
        matrix: rows of the product that measures what the machine can do.
        dreams: items of the parts that dream to the confidence.
        dream_steps: the most that they take.
        step_sizes_db: of the frontier.
        skipped: what could not run and why, for the report.
    """

    device: torch.device
    contenders: Sequence[str]
    rounds: int = 3
    batches: Sequence[int] = (1, 11, 88, 704)
    model: str = "han2016"
    most_steps: int = 32
    overhead_steps: int = 100
    matrix: int = 3072
    dreams: int = 88
    dream_steps: int = 200
    step_sizes_db: Sequence[float] = (0.1, 0.25, 0.5, 1.0)
    skipped: dict[str, str] = field(default_factory=dict)

    def steps(self, items: int) -> int:
        """Return the steps of a timing: fewer for a larger batch."""
        item_steps = ITEM_STEPS.get(self.device.type, ITEM_STEPS_ELSEWHERE)
        return min(max(item_steps // items, LEAST_STEPS), self.most_steps)

    def middle(self) -> int:
        """Return the batch size where one has to do: the largest up to MIDDLE."""
        return max((b for b in self.batches if b <= MIDDLE), default=min(self.batches))


class NearEmpty(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits: the mean over time, and a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(N_MELS, 11)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.linear(log_mel.mean(dim=2))


def random_recognizer(model: str, device: torch.device) -> Recognizer:
    """Return a recognizer with the same random weights each time; `model` is a key of MODELS."""
    torch.manual_seed(0)
    return new_recognizer(
        frontend={"_target_": "irdream.frontends.HanLogMel"},
        model={"_target_": MODELS[model]},
        device=device,
    ).eval()


def near_empty_recognizer(device: torch.device) -> Recognizer:
    """Return a recognizer whose model takes next to no time."""
    frontend = random_recognizer("han2016", device).frontend
    return Recognizer(frontend=frontend, model=NearEmpty()).eval().to(device)


def random_problem(recognizer: Recognizer, items: int) -> Problem:
    """Return log-mels of noise about as loud as music, each with one of the targets in turn."""
    generator = torch.Generator().manual_seed(0)
    start = (torch.randn(items, N_MELS, FRAMES, generator=generator) * 2 - 6).clamp(LEAST, MOST)
    return Problem(
        recognizer=recognizer,
        start=start.to(recognizer.device),
        targets=torch.arange(items, device=recognizer.device) % len(recognizer.instruments),
    )


def excerpt_problem(settings: Settings) -> tuple[Problem, list[int]]:
    """Return the first second of excerpts of the embedded test part, each with a wrong target."""
    recognizer = load_recognizer("shipped", device=settings.device)
    start = ExcerptStart(
        dataset=SoundFont(root=ROOT / "data" / "soundfont"), count=settings.dreams, seconds=1.0
    )
    excerpts, _ = start.excerpts(sample_rate_hz=recognizer.sample_rate_hz, min_seconds=1.0)
    names = [excerpt.name for excerpt in excerpts]
    items = plan(["incorrect"], names, [excerpt.labels for excerpt in excerpts], seed=0)
    targets = torch.tensor([recognizer.instruments.index(item.target) for item in items])
    waveforms = torch.stack([excerpt.waveform for excerpt in excerpts]).to(settings.device)
    with torch.no_grad():
        log_mel = recognizer.log_mel(waveforms)
    seeds = [item_seed(0, names[item.excerpt], item.target) for item in items]
    problem = Problem(recognizer=recognizer, start=log_mel, targets=targets.to(settings.device))
    return problem, seeds
