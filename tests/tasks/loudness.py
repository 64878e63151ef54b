"""A recognizer that tells loudness: level (i + 1) / 12 is instrument i."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.errors import InputError
from irdream.instruments import CODES
from irdream.measures.scoring import Scoring
from irdream.recognizer import Recognizer

RATE_HZ = 1000
LEVELS = (torch.arange(11.0) + 1) / 12


class LoudnessFrontend(nn.Module):
    sample_rate_hz, hop_samples = RATE_HZ, 20

    def forward(self, waveform):
        levels = waveform.unfold(-1, 20, 20).mean(-1)  # (batch, frames)
        return -((levels[:, None] - LEVELS[:, None]) ** 2) * 2000  # (batch, 11, frames)


class LoudnessModel(nn.Module):
    """One that is confused takes cellos for flutes, and flutes for cellos."""

    output = "softmax"

    def __init__(self, *, is_confused: bool = False) -> None:
        super().__init__()
        self.order = [2, 1, 0, *range(3, 11)] if is_confused else [*range(11)]

    def forward(self, log_mel):
        return (log_mel.softmax(1).mean(-1)[:, self.order] + 1e-9).log()


def loudness_recognizer(*, is_confused: bool = False) -> Recognizer:
    return Recognizer(
        frontend=LoudnessFrontend(),
        model=LoudnessModel(is_confused=is_confused),
        thresholds={"s1": 0.2, "s2": 0.5},
    ).eval()


class ToyData:
    """Excerpts from descriptions such as `cel`, `cel+flu`, `cel as flu`, `unlabelled cel`."""

    def __init__(self, test=(), training=(), name="toy"):
        self.name = name
        self.descriptions = {"test": tuple(test), "training": tuple(training)}

    def part(self, name, *, sample_rate_hz):
        assert sample_rate_hz == RATE_HZ
        files = [self._file(i, text) for i, text in enumerate(self.descriptions[name])]
        return Excerpts(files, self._load)

    def _file(self, i, text):
        sounds, _, labels = text.partition(" as ")
        codes = labels or sounds
        labels = () if codes.startswith(("unlabelled", "broken")) else tuple(codes.split("+"))
        labels = labels if not codes.startswith("broken ") else (codes.split()[1],)
        return ExcerptFile(
            path=Path(sounds), name=f"[x]{i}", labels=labels, recording=f"{text} {i // 2}"
        )

    def _load(self, path):
        words = path.name.split()
        if words[0] == "broken":
            raise InputError(f"'{path}.wav' is cut off; copy it again")
        if words[0] == "short":
            return torch.zeros(RATE_HZ // 2)
        seconds = [LEVELS[CODES.index(code)].repeat(RATE_HZ) for code in words[-1].split("+")]
        return torch.cat([*seconds, seconds[-1][:310]])


def scored_by(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a task, with those of its scoring in one."""
    own = {name: x for name, x in settings.items() if name in Scoring.__dataclass_fields__}
    others = {name: x for name, x in settings.items() if name not in own}
    return {"scoring": Scoring(**own), **others}
