import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.browser import browser  # noqa: F401

MY_PACKAGE = '''
import torch
from torch import nn


class MyNet(nn.Module):
    """A network that irdream does not know: two convolutions, batch norm, dropout."""

    def __init__(self, *, n_mels=12, width=16, output="softmax"):
        super().__init__()
        self.output = output
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, width, (n_mels, 1)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Dropout(0.1), nn.Linear(width, 11),
        )

    def forward(self, log_mel):
        return self.layers(log_mel.unsqueeze(1) / 10 + 0.5)


class OnWaveforms(nn.Module):
    """A network on waveforms that does not say what its outputs are."""

    def __init__(self, width, *, classes=3):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            nn.Conv1d(1, width, 64, stride=16), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
            nn.Linear(width, classes),
        )

    def forward(self, waveform):
        return self.layers(waveform.unsqueeze(1))


class Gain(nn.Module):
    """What a network needs an argument for that it does not keep."""

    def __init__(self, net, db):
        super().__init__()


class Tied(MyNet):
    """Two names for one weight."""

    def __init__(self):
        super().__init__()
        self.again = self.layers[8].weight
'''


@pytest.fixture
def my_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """A user's own package on sys.path, with a network that is not ours."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text(MY_PACKAGE)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("my_package")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("my_package", None)


@pytest.fixture
def tiny_frontend() -> dict[str, object]:
    """How to build a front end for 1000 Hz: 12 mels, 25 frames a second."""
    return {
        "_target_": "irdream.frontends.HanLogMel",
        "sample_rate_hz": 1000, "n_fft": 128, "hop_samples": 40, "n_mels": 12,
    }  # fmt: skip
