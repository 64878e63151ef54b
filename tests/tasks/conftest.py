from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from irdream.checkpoint_folder import new_recognizer
from irdream.datasets.folder import Folder
from irdream.tasks.train import train
from irdream.tracking import NullTracker
from irdream.training.augmentation import SpectrogramAugmentation

RATE_HZ = 1000
PITCHES_HZ = {"cel": 60.0, "flu": 150.0, "voi": 330.0}


def write_notes(root: Path, pitches_hz: dict[str, float], *, seconds: float) -> Path:
    """Write six notes for each of some labels, in noise."""
    rng, time = np.random.default_rng(0), np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    for label, pitch_hz in pitches_hz.items():
        (root / label).mkdir()
        for take in range(6):
            note = np.sin(2 * np.pi * pitch_hz * rng.uniform(0.97, 1.03) * time)
            sound = 0.5 * note + 0.05 * rng.standard_normal(len(time))
            soundfile.write(root / label / f"{label}{take}.wav", sound, RATE_HZ)
    return root


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six notes of 1.6 s for each of three instruments, in noise."""
    return write_notes(tmp_path_factory.mktemp("sounds"), PITCHES_HZ, seconds=1.6)


@pytest.fixture
def run(
    sounds: Path, tiny_frontend: dict[str, Any], my_package: ModuleType, tmp_path: Path
) -> Callable[..., dict[str, float]]:
    def run(output: str = "run", *, lr: float = 0.02, **settings: Any) -> dict[str, float]:
        torch.manual_seed(settings.get("seed", 0))
        defaults: dict[str, Any] = {
            "recognizer": new_recognizer(
                frontend=tiny_frontend, model={"_target_": "my_package.MyNet"}, trust=["my_package"]
            ),
            "dataset": Folder(root=sounds, name="notes"),
            "optimizer": partial(torch.optim.Adam, lr=lr),
            "scheduler": None,
            "augmentation": SpectrogramAugmentation(),
            "tracker": NullTracker(),
            "epochs": 6,
            "batch_size": 4,
            "validation_share": 0.34,
            "trust": ["my_package"],
        }
        return train(output_dir=tmp_path / output, **{**defaults, **settings})

    return run
