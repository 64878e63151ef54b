"""A data set of IRMAS's size from beginning to end:  python -m benchmarks.train --irmas-sized

6705 excerpts of 3 s and 2874 of 5 to 20 s, 44.1 kHz and stereo (`benchmarks.irmas_sized`), are
prepared, trained on for an epoch, with the augmentation of log-mels and with that of waveforms,
and evaluated on, by the real commands, each in a process of its own. What each takes is told
beside something else of the same run:

- preparing with a decoding thread for each core: beside the same with one thread;
- windows a second of training: beside a bare PyTorch loop (`benchmarks.train`), before and after;
- windows a second of listening to the test part, decoding included: beside bare forward passes;
- memory: what grows with the number of excerpts (the same stage is run with few) as a share of
  the decoded audio; 1 would be holding all of it.

It takes about 13 minutes on two cores and 17 GB of disk, in a temporary folder that is
deleted at the end, unless --folder names one. --excerpts and --test-excerpts make it smaller. It
writes results/benchmark_scale.json.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from benchmarks import irmas_sized, train
from benchmarks.report import count, heading, parser, seconds, write
from benchmarks.stages import Stage, run_job, run_module
from irdream import runtime
from irdream.datasets.base import Excerpts
from irdream.datasets.identity import split_excerpts
from irdream.datasets.irmas import Irmas
from irdream.recognizer import Recognizer, window_starts

FEW = 64, 8  # excerpts to train and to test on; a batch is full with them
BATCH_SIZE, VALIDATION_SHARE = 128, 0.15  # conf/config.yaml's
AUGMENTATIONS = ("spectrogram", "waveform")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; return what was written."""
    runtime.keep_memory()
    options = _options(arguments)
    threads = runtime.set_threads(options.threads)
    device = runtime.choose_device(options.device)
    report = heading(device, threads)
    with _folder(options.folder) as folder:
        report |= _measured(options, device, threads, folder)
    write(report, options.output)
    return report


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("scale", __doc__)
    for name, default in (
        ("excerpts", irmas_sized.TRAINING_EXCERPTS),
        ("test-excerpts", irmas_sized.TEST_EXCERPTS),
    ):
        made.add_argument(f"--{name}", type=count, default=default, help=f"by default {default}")
    made.add_argument("--folder", type=Path, help="a new one, which is kept")
    made.add_argument("--bare-batches", type=count, default=12, help="of a bare loop")
    made.add_argument("--model", default="han2016_bn", choices=train._choices("model"))
    return made.parse_args(arguments)


@contextlib.contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    if named is not None:
        named.mkdir(parents=True)
        yield named.resolve()
        return
    folder = tempfile.mkdtemp(prefix="irdream-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measured(
    options: argparse.Namespace, device: torch.device, threads: int, folder: Path
) -> dict[str, Any]:
    bare = Bare(options.model, device, options.bare_batches)
    shared = [f"threads={threads}", f"device={options.device}", f"model={options.model}"]
    few = _run_stages(_made(folder / "few", *FEW), shared, threads)
    root = _made(folder / "all", options.excerpts, options.test_excerpts)
    bare.take_turn()
    stages = {"few": few, "all": _run_stages(root, shared, threads)}
    bare.take_turn()
    settings = {key: vars(options)[key] for key in ("excerpts", "test_excerpts", "model")}
    tree = Irmas(root=root, official_counts=False)
    return {"settings": settings, **figures(stages, tree, bare, threads)}


def _made(folder: Path, excerpts: int, test_excerpts: int) -> Path:
    """Return the root of a new tree."""
    _say(f"writing {excerpts} excerpts to train on and {test_excerpts} to test on")
    irmas_sized.make(folder / "irmas", excerpts=excerpts, test_excerpts=test_excerpts)
    return folder / "irmas"


def _run_stages(root: Path, shared: Sequence[str], threads: int) -> dict[str, Stage]:
    """Return what each stage took; those after the first find the log-mels of it."""
    stages, cache, device = {}, root.with_name("cache"), shared[1].partition("=")[2]
    for workers in sorted({1, threads}):
        shutil.rmtree(cache, ignore_errors=True)
        _say(f"preparing, decoding threads: {workers}")
        stages[f"prepare {workers}"] = run_module([
            "benchmarks.prepare", str(root), str(cache), "--workers", str(workers),
            "--threads", str(threads), "--device", device,
        ])  # fmt: skip
    found = ["dataset=irmas", f"dataset.root={root}", f"cache_dir={cache}", *shared]
    for augmentation in AUGMENTATIONS:
        _say(f"training, augmentation={augmentation}")
        words = ["task=train", "train.epochs=1", f"augmentation={augmentation}", *found]
        stages[f"train {augmentation}"] = run_job(root.with_name(augmentation), words)
    checkpoint = root.with_name(AUGMENTATIONS[0]) / "0" / "checkpoint"
    _say("evaluating")
    stages["evaluate"] = run_job(
        root.with_name("evaluate"), ["task=evaluate", f"checkpoint={checkpoint}", *found]
    )
    return stages


class Bare:
    """Loops over windows in memory, which do nothing else.

    Args:
        model: of conf/model.
        device: where they compute.
        batches: in a turn.
    """

    def __init__(self, model: str, device: torch.device, batches: int) -> None:
        self.recognizer = train._recognizer(model, device)
        packed = train._packed(batches * BATCH_SIZE // 3 + 1, self.recognizer)
        labels = torch.eye(11)[torch.arange(len(packed)) % 11]
        self.train = train._bare(self.recognizer, packed, labels, BATCH_SIZE)
        self.windows = torch.randn(batches * BATCH_SIZE, 128, self.recognizer.window_frames)
        self.speeds: dict[str, list[float]] = {"train": [], "listen": []}

    def take_turn(self) -> None:
        """Measure how many windows a second each does."""
        _say("bare loops")
        self.train()  # once to warm up
        self.speeds["train"].append(self.train())
        for _ in range(2):
            taken = seconds(lambda: _listen(self.recognizer, self.windows), self.recognizer.device)
        self.speeds["listen"].append(len(self.windows) / taken)


@torch.no_grad()
def _listen(recognizer: Recognizer, windows: Tensor) -> None:
    recognizer.eval()
    for batch in windows.split(BATCH_SIZE):
        recognizer.scores(recognizer.logits(batch.to(recognizer.device))).cpu()


def figures(
    stages: dict[str, dict[str, Stage]], tree: Irmas, bare: Bare, threads: int
) -> dict[str, Any]:
    """Return the report of stages.

    Args:
        stages: by size, "few" and "all", and by name.
        tree: of "all".
        bare: which took its turns.
        threads: decoding threads, beside one.
    """
    trained, heard, megabytes = _amounts(tree, bare.recognizer)
    rows = {
        name: stage.row(few=stages["few"][name], audio_megabytes=megabytes[name == "evaluate"])
        for name, stage in stages["all"].items()
    }
    speeds = {name: sum(values) / len(values) for name, values in bare.speeds.items()}
    told = {name: stage.told for name, stage in stages["all"].items()}
    for augmentation in AUGMENTATIONS:
        name = f"train {augmentation}"
        _add_speed(rows[name], trained, told[name]["phases"]["training"], speeds["train"])
    _add_speed(rows["evaluate"], heard, told["evaluate"]["phases"]["predicting"], speeds["listen"])
    for workers in sorted({1, threads}):
        taken = told[f"prepare {workers}"]["seconds"]
        of_one = round(taken / told["prepare 1"]["seconds"], 3)
        rows[f"prepare {workers}"] |= {"working_seconds": taken, "of_one_thread": of_one}
    return {"bare_windows_per_second": {n: round(v, 1) for n, v in speeds.items()}, "stages": rows}


def _amounts(tree: Irmas, recognizer: Recognizer) -> tuple[int, int, tuple[float, float]]:
    """Return the windows trained on in an epoch, those heard, and the MB of both parts' audio.

    Windows of the validation part come on top of those trained on.
    """
    rate_hz, hop, size = recognizer.sample_rate_hz, recognizer.hop_samples, recognizer.window_frames
    training, test = (tree.part(name, sample_rate_hz=rate_hz) for name in ("training", "test"))
    lengths, test_lengths = _samples(training, rate_hz), _samples(test, rate_hz)
    used, _ = split_excerpts(training.files, "recording", validation_share=VALIDATION_SHARE, seed=0)
    trained = sum(lengths[i] // hop // size for i in used)
    heard = sum(len(window_starts(samples // hop, size, size // 2)) for samples in test_lengths)
    return trained, heard, (sum(lengths) * 4 / 1e6, sum(test_lengths) * 4 / 1e6)


def _add_speed(row: dict[str, Any], windows: int, taken: float, bare: float) -> None:
    row |= {
        "windows": windows,
        "working_seconds": taken,
        "windows_per_second": round(windows / taken, 1),
        "of_bare": round(windows / taken / bare, 3),
    }


def _samples(part: Excerpts, rate_hz: int) -> list[int]:
    """Return the length of each excerpt once it is decoded."""
    lengths = (soundfile.info(file.path) for file in part.files)
    return [-(-info.frames * rate_hz // info.samplerate) for info in lengths]


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    main()
