"""How much of the machine the training loop uses:  python -m benchmarks.train

Windows per second of `irdream.training.loop.Fit` as `task=train` runs it (windows cut from
packed log-mels on disk, shuffled, augmented, validated on one excerpt, checkpoints written)
beside a bare PyTorch loop over a tensor of windows in memory, which has none of that. Both
train the same model with the same optimizer, loss, batch size, threads, memory format, memory
settings (`runtime.keep_memory`) and precision. They take turns in one process, the first of
a round alternating, so that other load on the machine hits both; the ratio is the median
over rounds. Data are random, so that nothing has to be downloaded.

It takes about 3 minutes on two cores and writes results/benchmark_train.json. With
--irmas-sized it is `python -m benchmarks.scale` instead, with the options of that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.report import ROOT, count, heading, parser, ratio, summary, take_turns, write
from irdream import runtime
from irdream.checkpoint_folder import new_recognizer
from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.datasets.cache import LogMels, log_mels
from irdream.recognizer import Recognizer
from irdream.training.data import WindowBatches
from irdream.training.loop import Fit

FRAMES = 129  # of an excerpt of 3 s: three windows
IRMAS_SIZED = "--irmas-sized"
Contender = Callable[[], float]  # trains an epoch, returns windows per second


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; return what was written."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if IRMAS_SIZED in words:
        from benchmarks import scale

        return scale.main([word for word in words if word != IRMAS_SIZED])
    runtime.keep_memory()
    options = _options(arguments)
    threads = runtime.set_threads(options.threads)
    runtime.set_seed(0)
    device = runtime.choose_device(options.device)
    report = heading(device, threads)
    with tempfile.TemporaryDirectory(prefix="irdream-") as folder:
        contenders = _contenders(options, device, folder=Path(folder))
        speeds = take_turns(contenders, rounds=options.rounds)
    report |= {
        "settings": {
            key: vars(options)[key] for key in ("rounds", "batches", "batch_size", "model")
        },
        "windows_per_second": {name: summary(values) for name, values in speeds.items()},
        "ratio": ratio(speeds["irdream"], speeds["bare"]),
    }
    write(report, options.output)
    return report


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("train", __doc__, rounds=5)
    made.add_argument(IRMAS_SIZED, action="store_true", help="a data set from end to end")
    made.add_argument("--batches", type=count, default=24, help="in a round")
    made.add_argument("--batch-size", type=count, default=128, help="windows in a batch")
    made.add_argument("--model", default="han2016_bn", choices=_choices("model"))
    return made.parse_args(arguments)


def _contenders(
    options: argparse.Namespace, device: torch.device, *, folder: Path
) -> dict[str, Contender]:
    ours, other = (_recognizer(options.model, device) for _ in range(2))
    packed = _packed(max(options.batches * options.batch_size // 3, 1) + 1, ours)
    labels = torch.eye(11)[torch.arange(len(packed)) % 11]
    contenders = {
        "irdream": _ours(ours, packed, labels, options.batch_size, folder),
        "bare": _bare(other, packed, labels, options.batch_size),
    }
    few = min(len(packed) - 1, 4)  # to warm up on
    _ours(ours, packed, labels, options.batch_size, folder / "warm", excerpts=few)()
    _bare(other, packed, labels, options.batch_size, excerpts=few)()
    return contenders


def _ours(
    recognizer: Recognizer,
    packed: LogMels,
    labels: Tensor,
    batch_size: int,
    folder: Path,
    *,
    excerpts: int | None = None,
) -> Contender:
    """Return irdream's own loop; each call trains an epoch."""
    last = len(packed) - 1  # to validate on
    training, validation = (
        WindowBatches(
            log_mels=packed, excerpts=part, labels=labels,
            window_frames=recognizer.window_frames, batch_size=batch_size,
        )
        for part in (range(min(excerpts or last, last)), [last])
    )  # fmt: skip
    fit = Fit(
        recognizer=recognizer, optimizer=_optimizer(recognizer), plan=None,
        training=training, validation=validation, augment=_configured("augmentation/spectrogram"),
        random_start=True, epochs=1, patience=10**9, seed=0, folder=folder,
    )  # fmt: skip

    def epoch() -> float:
        began = time.perf_counter()
        fit.run()
        return len(training) / (time.perf_counter() - began)

    return epoch


def _bare(
    recognizer: Recognizer,
    packed: LogMels,
    labels: Tensor,
    batch_size: int,
    *,
    excerpts: int | None = None,
) -> Contender:
    """Return a loop over tensors in memory that does nothing else than train."""
    device, model = recognizer.device, recognizer.model
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(recognizer)
    chosen = torch.arange(excerpts or len(packed) - 1).repeat_interleave(3)
    starts = torch.arange(len(chosen)) % 3 * recognizer.window_frames
    windows = packed.windows(chosen, starts, recognizer.window_frames).to(device)
    shares = labels[chosen].to(device)

    def epoch() -> float:
        began = time.perf_counter()
        model.train()
        for x, y in zip(windows.split(batch_size), shares.split(batch_size), strict=True):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=runtime.has_bfloat16(device)):
                logits = model(x)
            loss = -(y * recognizer.log_probabilities(logits.float())).sum(dim=1).mean()
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device
        return len(windows) / (time.perf_counter() - began)

    return epoch


def _packed(excerpts: int, recognizer: Recognizer) -> LogMels:
    """Return random log-mels, packed in a file as those of a data set are."""
    generator = torch.Generator().manual_seed(0)
    files = [
        ExcerptFile(path=Path(str(i)), name=str(i), labels=(), recording=str(i))
        for i in range(excerpts)
    ]
    return log_mels(
        Excerpts(files, lambda path: torch.zeros(1)),
        lambda batch: torch.randn(len(batch), 128, FRAMES, generator=generator) * 2 - 6,
        cache_dir=None,
    )


def _recognizer(model: str, device: torch.device) -> Recognizer:
    runtime.set_seed(0)
    parts = {
        part: OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / part / f"{choice}.yaml"))
        for part, choice in (("frontend", "han_logmel"), ("model", model))
    }
    return new_recognizer(**parts, device=device)  # type: ignore[arg-type]


def _optimizer(recognizer: Recognizer) -> torch.optim.Optimizer:
    return _configured("optimizer/adamw")(recognizer.model.parameters())


def _configured(choice: str) -> Any:
    return instantiate(OmegaConf.load(ROOT / "conf" / f"{choice}.yaml"), _convert_="all")


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


if __name__ == "__main__":
    main()
