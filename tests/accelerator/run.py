"""Every setting on a device that is not the CPU, and on the CPU; a line of JSON for each.

    python -m tests.accelerator.run dreams    # every ascent, and a training with its test
    python -m tests.accelerator.run tasks     # training, evaluating and dreaming, all choices

`test_accelerator.py` reads the lines.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn

from irdream.dreaming.ascent import Ascent
from irdream.dreaming.constraints import Consistency, Constraint
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel, StftGain, Waveform
from irdream.dreaming.transforms import Jitter
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.runtime import set_seed
from irdream.tracking import NullTracker
from tests.accelerator import device

CONF = Path(__file__).parents[2] / "conf"
STEPS = 2


class Net(nn.Module):
    """As deep as the yamls' layers, and with all that is simplified."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.LeakyReLU(0.3), nn.MaxPool2d(2),
            *(nn.Identity() for _ in range(12)), nn.Conv2d(6, 8, (2, 3)), nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(), nn.LeakyReLU(), nn.Linear(8, 11)
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        features = self.features(log_mel[:, None] / 3 + 1).mean(dim=(2, 3))
        return 6.0 * self.classifier(features)


@functools.cache
def recognizer(on: torch.device) -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=2000, n_fft=64, hop_samples=40, n_mels=9)
    return Recognizer(frontend=frontend, model=Net(), window_seconds=0.2).to(on)


def sounds() -> Tensor:
    """Return three tones in noise, (3, 1000)."""
    time, hz = torch.arange(1000) / 2000, torch.tensor([[150.0], [300.0], [700.0]])
    noise = torch.randn(3, 1000, generator=torch.Generator().manual_seed(1))
    return 0.3 * torch.sin(2 * torch.pi * hz * time) + 0.1 * noise


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def text(group: str, choice: str) -> str:
    return (CONF / group / f"{choice}.yaml").read_text()


def built(group: str, choice: str, *words: str) -> Any:
    config = compose("config", ["task=dream", f"{group}={choice}", *words])
    return instantiate(config[group], _convert_="all")


def ascents(sounds: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name and the settings of an ascent, for every yaml that a dream can be made of."""
    data = ["dataset=folder", f"dataset.root={sounds}"]
    for choice in choices("objective"):
        settings = {"objective": built("objective", choice)}
        if choice == "mask":  # which needs a sound
            settings["parametrization"] = built("parametrization", "stft_mask")
        yield f"objective={choice}", settings
    for choice in choices("parametrization"):
        made = built("parametrization", choice, *data)
        yield f"parametrization={choice}", {"parametrization": made}
    for choice in choices("transform"):
        yield f"transform={choice}", {"transform": built("transform", choice)}
    for choice in choices("optimizer"):
        yield f"optimizer={choice}", {"optimizer": built("optimizer", choice)}
    for choice in choices("constraint"):
        made = built("constraint", choice)
        given = [made] if isinstance(made, Constraint) else made or []
        for signal in (LogMel(), StftGain(), Waveform()):
            if all(set(signal.kinds) & set(one.acts_on) for one in given):
                settings = {"constraint": made, "parametrization": signal}
                yield f"constraint={choice} on {type(signal).__name__}", settings
    for parametrization in (LogMel(), StftGain()):
        name = type(parametrization).__name__
        settings = {"parametrization": parametrization, "constraint": Consistency(every=2)}
        yield f"consistency of {name}", settings
    yield "masked objective of a sound", {
        "objective": built("objective", "masked"), "parametrization": Waveform(),
    }  # fmt: skip
    for changes in (
        {"keep": "last"}, {"confidence": None}, {"confidence": 0.3}, {"start_noise": 1.0},
        {"transform": Jitter(frames=3)}, {"patience": 1}, {"slice_windows": 3},
        {"mixed_precision": True},
    ):  # fmt: skip
        yield ", ".join(f"{name}={value}" for name, value in changes.items()), changes


def dream(settings: dict[str, Any], on: torch.device) -> dict[str, Any]:
    """Return the dreams, and how often the host waited in each step."""
    plain = {
        "parametrization": LogMel(), "objective": LogProbability(),
        "optimizer": NormalizedAscent(), "steps": STEPS, "octaves": 2, "confidence": 0.99,
    }  # fmt: skip
    waits: list[int] = []
    dreams = Ascent(**{**plain, **settings}).run(
        recognizer(on),
        sounds().to(on),
        torch.tensor([0, 3, 10], device=on),
        [1, 2, 3],
        lambda record: waits.append(device.waits.total()),
        groups=torch.tensor([0, 0, 1], device=on),
    )
    return {"signal": dreams.signal.cpu(), "waits": np.diff(waits).tolist()}


def tasks(sounds: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield a name and what would be typed, for whole tasks: training, evaluating, dreaming."""
    train = [
        "task=train",
        "train.epochs=2",
        "train.mixed_precision=false",
        "train.batch_size=3",
        "train.validation_share=0.34",
    ]
    # A second of 16 mel bands; the networks that ask for all of 128 get them.
    small = ["frontend.n_mels=16", "frontend.hop_samples=1024", "frontend.n_fft=2048"]
    for choice in choices("model"):
        own = ["frontend=musicnn"] if choice == "musicnn" else []
        yield f"model={choice}", [*train, f"model={choice}", "augmentation=none", *own]
    plain = [*train, *small, "model=light"]
    for group in ("augmentation", "scheduler", "optimizer"):
        for choice in choices(group):
            for_dreams = group == "optimizer" and "_partial_" not in text(group, choice)
            more = ["scheduler.warmup_epochs=1"] if choice == "warmup_cosine" else []
            if not for_dreams:
                yield f"{group}={choice}", [*plain, f"{group}={choice}", *more]
    for word in (
        "weight_averaging=0.9", "weight_averaging=swa", "clip_norm=1",
        "robust=fgsm", "robust=free", "robust=pgd", "robust=trades", "balanced=true",
        "label_smoothing=0.1", "test=true",
    ):  # fmt: skip
        yield f"train.{word}", [*plain, f"train.{word}"]
    yield "train.loss=binary", [*plain, "train.loss=binary", "model.output=sigmoid"]
    yield "task=evaluate", [
        "task=evaluate", "evaluate.part=training", "evaluate.threshold=validation",
        "evaluate.robust_db=[1]", "evaluate.robust_steps=2",
    ]  # fmt: skip
    yield "task=compare", ["task=compare", "evaluate.part=training", "compare.permutations=20"]
    for choice in choices("sonification"):
        yield f"sonification={choice}", [
            "experiment=paper_dream", "dream.steps=1", "dream.figures=0", f"sonification={choice}",
            "start=file", f"start.path={sounds / 'test' / 'flu'}",
        ]  # fmt: skip


def task(words: list[str], sounds: Path, on: torch.device) -> dict[str, float]:
    common = ["dataset=folder", f"dataset.root={sounds}", "cache_dir=null", f"device={on}"]
    set_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        made = instantiate(compose("config", [*common, *words]).task, _convert_="all")
        with contextlib.redirect_stdout(sys.stderr):
            return made(tracker=NullTracker(), output_dir=Path(folder))


def apart(found: Tensor | float, expected: Tensor | float) -> float:
    """Return the largest difference; 0 where both are NaN."""
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    if torch.equal(found.isnan(), expected.isnan()):
        return float((found.nan_to_num() - expected.nan_to_num()).abs().max())
    return math.inf


def compared(name: str, case: Callable[[torch.device], dict[str, Any]], on: torch.device) -> None:
    """Run a case on both devices, and write what went wrong and where they differ."""
    told: dict[str, Any] = {"name": name}
    try:
        expected, found = case(torch.device("cpu")), case(on)
        told["waits"] = found.pop("waits", [])
        told["differences"] = {key: apart(value, expected[key]) for key, value in found.items()}
    except Exception:
        told["error"] = traceback.format_exc()[-3000:]
    print(json.dumps(told), flush=True)


def tones(root: Path) -> None:
    """Write 3 tones of 1.2 s of each of two instruments, to train on and to test with."""
    rng = np.random.default_rng(0)
    time = np.arange(round(1.2 * 22_050)) / 22_050
    for part, (code, hz) in itertools.product(
        ("training", "test"), (("flu", 440.0), ("pia", 130.0))
    ):
        (root / part / code).mkdir(parents=True)
        for take in range(3):
            tone = np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time)
            noise = 0.2 * rng.standard_normal(len(time))
            path = root / part / code / f"{part}-{code}{take}.wav"
            soundfile.write(path, 0.4 * tone + noise, 22_050)


def main(part: str) -> None:
    with contextlib.ExitStack() as stack:
        sounds = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "sounds"
        tones(sounds)
        stack.enter_context(initialize_config_dir(config_dir=str(CONF), version_base="1.3"))
        on = stack.enter_context(device.device())
        if part == "dreams":
            for name, settings in ascents(sounds):
                compared(name, functools.partial(dream, settings), on)
        for name, words in tasks(sounds):
            if part == "tasks" or name == "train.test=true":
                compared(name, functools.partial(task, words, sounds), on)


if __name__ == "__main__":
    main(sys.argv[1])
