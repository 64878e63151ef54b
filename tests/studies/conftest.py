"""Experiments in seconds: tones of three instruments as WAVs, networks of two filters."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from irdream.audio import write_wav
from irdream.checkpoint import new
from irdream.datasets.folder import Folder
from irdream.studies.runner import Runner
from irdream.tasks.train import train

RATE_HZ = 8000
LABELS = {"cel": 150.0, "flu": 400.0, "pia": 900.0}
FRONTEND = {
    "_target_": "irdream.frontends.HanLogMel",
    "sample_rate_hz": RATE_HZ, "n_fft": 256, "hop_samples": 200, "n_mels": 12,
}  # fmt: skip
NETWORK = partial(
    new, frontend=FRONTEND, model={"_target_": "irdream.models.Light", "width": 2},
    window_seconds=0.5, device="cpu",
)  # fmt: skip
TRAIN = partial(
    train, optimizer=partial(torch.optim.AdamW, lr=1e-2), scheduler=None, augmentation=None,
    epochs=2, patience=2, batch_size=8,
)  # fmt: skip


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training and a test part of three instruments."""
    root = tmp_path_factory.mktemp("tones")
    time = torch.arange(RATE_HZ) / RATE_HZ
    for i, (label, hz) in enumerate(LABELS.items()):
        for part, count in (("training", 6), ("test", 2)):
            (root / part / label).mkdir(parents=True)
            for k in range(count):
                noise = torch.randn(RATE_HZ, generator=torch.Generator().manual_seed(10 * i + k))
                sound = 0.4 * torch.sin(2 * torch.pi * hz * (1 + k / 20) * time) + 0.02 * noise
                path = root / part / label / f"{label}{part}{k}.wav"
                write_wav(path, sound, sample_rate_hz=RATE_HZ)
    return root


@pytest.fixture
def runner(tones: Path, tmp_path: Path) -> Callable[..., Runner]:
    """Make a runner of two seeds and a judge; changes are its arguments."""
    torch.manual_seed(9)
    judge = NETWORK(labels=tuple(LABELS)).eval()

    def make(name: str, **changes: Any) -> Runner:
        settings: dict[str, Any] = {
            "network": NETWORK, "train": TRAIN, "dataset": Folder(root=tones),
            "dreamed": {"rendered": Folder(root=tones)}, "judges": {"judge": judge},
            "load": lambda path: judge, "cache_dir": tmp_path / "cache", "seeds": (0, 1),
            "seconds": 0.6, "steps": 3,
        }  # fmt: skip
        return Runner(name=name, **settings | changes)

    return make
