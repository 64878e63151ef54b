"""The windows of a training, and the batches that they come in.

Excerpts that have labels and can be read are divided in two parts. Windows are cut from packed
log-mels; where the augmentation changes waveforms, training windows are cut from these instead.
Where a frozen embedding gets windows as they are, it is computed once, and kept as log-mels are.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from irdream.datasets.base import (
    DataSet,
    ExcerptFile,
    Excerpts,
    announce,
    counted,
    decoding,
    listed,
    multi_hot,
    unlabelled_words,
    warn_skipped,
    warn_unlabelled,
)
from irdream.datasets.cache import LogMels, log_mels
from irdream.datasets.identity import Split, split_excerpts
from irdream.errors import InputError
from irdream.frontends import Waveform
from irdream.instruments import first_of, in_words
from irdream.models.transfer import Transfer, embed
from irdream.recognizer import Recognizer, cut_windows
from irdream.training.augmentation import Augmentation, Draw, WaveformAugmentation

EMBEDDED_AT_ONCE = 2  # windows; more are no faster on a processor, and take gigabytes
FEW_STEPS = 8  # in an epoch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The windows of both parts, and the excerpts they are cut from."""

    excerpts: Excerpts
    log_mels: LogMels | Embedded | Waveforms  # or features of their windows, or waveforms
    labels: Tensor  # (excerpts, instruments), 1 for what is labelled
    training: WindowBatches
    validation: WindowBatches
    training_files: list[ExcerptFile]
    validation_files: list[ExcerptFile]
    validation_excerpts: list[int]  # their places among the excerpts
    augment: Augmentation | None  # makes views of training windows; None: as they are
    seconds: np.ndarray  # of each excerpt

    def windows(self, excerpt: int, recognizer: Recognizer) -> Tensor:
        """Return the network's inputs of an excerpt: windows that overlap by half."""
        found = self.log_mels
        if isinstance(found, Embedded):
            return found.packed[excerpt].T
        whole = found.packed[excerpt] if isinstance(found, Waveforms) else found[excerpt][None]
        return recognizer.windows(whole.to(recognizer.device))[0]


def training_data(
    excerpts: Excerpts,
    recognizer: Recognizer,
    augmentation: Augmentation | None,
    *,
    embedded: bool = False,
    cache_dir: str | Path | None,
    split: Split,
    validation_share: float,
    batch_size: int,
    balanced: bool,
    seed: int,
) -> TrainingData:
    """Read the labelled excerpts of a training part and divide them; see `tasks.train.train`.

    `embedded`: compute a frozen embedding once, see `is_embedded`.
    """
    analyze = partial(log_mels, device=recognizer.device, cache_dir=cache_dir)
    on_samples = isinstance(recognizer.frontend, Waveform)
    analysis = _features(recognizer) if embedded else recognizer.frontend
    analysis = partial(_hops, hop=1) if on_samples else analysis
    least = 1 if embedded else recognizer.window_frames
    hop = 1 if on_samples else recognizer.hop_samples
    hop *= recognizer.window_frames / 2 if embedded else 1
    found = None
    with contextlib.suppress(InputError):
        found = analyze(excerpts, analysis)
    if found is None or found.frames.min() < least:
        excerpts = _readable(excerpts, recognizer)
        found = analyze(excerpts, analysis)
    packed = Embedded(found) if embedded else Waveforms(found, 0) if on_samples else found
    cut_from, augment = packed, augmentation
    if isinstance(augmentation, WaveformAugmentation):
        cut_from, augment = on_waveforms(augmentation, excerpts, recognizer, cache_dir)
    training, validation = split_excerpts(
        excerpts.files, split, validation_share=validation_share, seed=seed
    )
    labels = multi_hot([file.labels for file in excerpts.files], recognizer.instruments)
    for some, words in (
        (training, "no training excerpt of %s: nothing is learned of them"),
        (validation, "no validation excerpt of %s"),
    ):
        if absent := [recognizer.instruments[i] for i in (labels[some].sum(0) == 0).nonzero()]:
            logger.warning(words, first_of(absent))
    cut = partial(
        WindowBatches, labels=labels, window_frames=least, batch_size=batch_size, balanced=balanced
    )
    in_training = cut(log_mels=cut_from, excerpts=training)
    windows, steps = len(in_training), math.ceil(len(in_training) / batch_size)
    if steps < FEW_STEPS < windows and not hasattr(recognizer.model, "fit"):
        logger.warning(
            "%d windows in batches of %d are %s an epoch; a batch_size of %d learns more from them",
            windows, batch_size, counted(steps, "step"), max(2, windows // FEW_STEPS),
        )  # fmt: skip
    return TrainingData(
        excerpts=excerpts,
        log_mels=packed,
        labels=labels,
        training=in_training,
        validation=cut(log_mels=packed, excerpts=validation),
        training_files=[excerpts.files[i] for i in training],
        validation_files=[excerpts.files[i] for i in validation],
        validation_excerpts=validation,
        augment=augment,
        seconds=found.frames * hop / recognizer.sample_rate_hz,
    )


def labelled_part(dataset: DataSet, recognizer: Recognizer) -> Excerpts:
    """Return the excerpts of the training part that have labels."""
    excerpts = dataset.part("training", sample_rate_hz=recognizer.sample_rate_hz)
    announce(dataset)
    return excerpts.subset(_labelled(excerpts.files, dataset))


def training_words(
    dataset: DataSet, recognizer: Recognizer, split: Split, validation_share: float, seed: int
) -> str:
    """Say how many excerpts there are to be trained and validated on; nothing is decoded."""
    files = listed(dataset, "training", sample_rate_hz=recognizer.sample_rate_hz)
    warn_unlabelled(files, "left out of the training")
    files = [files[i] for i in _labelled(files, dataset)]
    if split == "source" and not any(file.source for file in files):
        raise InputError(
            f"split={split} and no excerpt of {dataset.name!r} says who plays it; expected "
            "recorded notes (dataset=notes), or split=recording"
        )
    parts = split_excerpts(files, split, validation_share=validation_share, seed=seed)
    trained, validated = ({x for i in part for x in files[i].labels} for part in parts)
    if split == "source" and (lost := sorted(validated - trained)):
        raise InputError(
            f"split={split} leaves no excerpt of {in_words(lost)} to train on, as each instrument "
            "has one player alone; expected notes of more players, or split=recording"
        )
    return f"{len(parts[0])} training and {counted(len(parts[1]), 'validation excerpt')}"


def _labelled(files: Sequence[ExcerptFile], dataset: DataSet) -> list[int]:
    """Return which files have labels."""
    labelled = [i for i, file in enumerate(files) if file.labels]
    if not labelled:
        words = unlabelled_words(files) or "expected labels by the names of folders or by a CSV"
        raise InputError(f"the training part of {dataset.name!r} has no labelled excerpts; {words}")
    return labelled


def _readable(excerpts: Excerpts, recognizer: Recognizer) -> Excerpts:
    """Return the excerpts that can be read and are as long as a window; list the others."""
    good, bad = [], []
    with decoding(excerpts) as decoded:
        for i, future in enumerate(decoded):
            try:
                recognizer.check_length(future.result().waveform, excerpts.files[i].path)
                good.append(i)
            except InputError as error:
                bad.append(str(error))
    if not good:
        raise InputError(f"none of {len(bad)} training excerpts can be read; the first: {bad[0]}")
    warn_skipped(bad)
    return excerpts.subset(good)


@dataclass(kw_only=True, eq=False)
class WindowBatches:
    """The windows of some excerpts, without overlap, in shuffled or fixed order.

    Raises InputError when there is nothing to use, or an excerpt is shorter than a window.
    """

    log_mels: LogMels | Waveforms | Embedded  # of all excerpts; see below
    excerpts: Sequence[int]  # those to use
    labels: Tensor  # of all excerpts, (excerpts, instruments)
    window_frames: int
    batch_size: int  # windows in a batch; in the last one there may be one more
    balanced: bool = False  # draw as many windows, so that the labels are equally frequent

    def __post_init__(self) -> None:
        if not len(self.excerpts):
            raise InputError("no excerpts to train on; expected at least one in each part")
        indices, width = np.asarray(self.excerpts), self.window_frames
        counts = self.log_mels.frames[indices] // width
        if counts.min() < 1:
            short = int(self.log_mels.frames[indices].min())
            raise InputError(
                f"an excerpt of {short} frames is too short; "
                f"expected at least one window of {width}"
            )
        self.excerpt_of = np.repeat(indices, counts)  # of each window
        self.starts = np.concatenate([np.arange(count) for count in counts]) * width

    def __len__(self) -> int:
        return len(self.excerpt_of)

    def batches(
        self, generator: torch.Generator | None = None, *, random_start: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield windows (batch, n_mels, window_frames) and labels (batch, instruments).

        `generator` shuffles, and moves windows by a part of their length where `random_start` says
        so.
        """
        drawn = self.drawn(generator).numpy()
        starts = self.starts[drawn]
        if generator is not None and random_start:
            shift = torch.rand(len(self), generator=generator).numpy() - 0.5
            shift = shift if self.balanced else shift[drawn]  # a window may be drawn again
            room = self.log_mels.frames[self.excerpt_of[drawn]] - self.window_frames
            starts = np.clip(starts + np.rint(shift * self.window_frames), 0, room).astype(int)
        # A single last window joins the batch before, as no batch norm could be trained on it.
        size = self.batch_size
        ends = [*range(size, len(drawn) - (size > 1), size), len(drawn)]
        for first, end in zip([0, *ends], ends, strict=False):
            yield self.cut(drawn[first:end], starts[first:end])

    def cut(self, rows: np.ndarray, starts: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Return some windows and their labels; `starts`: in frames, others than their own."""
        excerpts = self.excerpt_of[rows]
        starts = self.starts[rows] if starts is None else starts
        windows = self.log_mels.windows(excerpts, starts, self.window_frames)
        return windows, self.labels[torch.from_numpy(excerpts)]

    def drawn(self, generator: torch.Generator | None) -> Tensor:
        """Return which windows there are in an epoch, in their order.

        Balanced, a window's share of the draws is 1 / (windows with its label), the mean of these
        for several. Steps of equal length along the added-up shares give each its share to within
        one draw; independent draws would miss a third of the windows.
        """
        if generator is None:
            return torch.arange(len(self))
        order = torch.randperm(len(self), generator=generator)
        if not self.balanced:
            return order
        has = (self.labels[torch.from_numpy(self.excerpt_of)] > 0).double()
        each = has / has.sum(dim=0).clamp(min=1) / has.sum(dim=1, keepdim=True).clamp(min=1)
        shares = each.sum(dim=1)[order].cumsum(0)
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        steps = (torch.arange(len(order)) + offset) / len(order) * shares[-1]
        drawn = order[torch.searchsorted(shares, steps).clamp(max=len(order) - 1)]
        return drawn[torch.randperm(len(order), generator=generator)]


# Features of a frozen embedding


class Embedded:
    """Features (batch, features) of `packed` windows, which overlap by half; each is a frame."""

    def __init__(self, packed: LogMels) -> None:
        self.packed, self.frames = packed, packed.frames

    def windows(
        self, excerpt_indices: np.ndarray, start_frames: np.ndarray, window_frames: int
    ) -> Tensor:
        """Return (batch, features) of single windows."""
        return self.packed.windows(excerpt_indices, start_frames, window_frames).squeeze(2)


def is_embedded(
    recognizer: Recognizer, augmentation: Augmentation | None, robust: object | None
) -> bool:
    """Return whether each window's features are the same in all epochs."""
    frozen = isinstance(recognizer.model, Transfer) and recognizer.model.frozen
    return frozen and augmentation is None and robust is None


def _features(recognizer: Recognizer) -> Callable[[Tensor], Tensor]:
    """Return what makes features of windows (batch, features, windows) of (batch, samples).

    It does not hold the head, so that what is kept of it serves for any head.
    """
    model, frontend = cast(Transfer, recognizer.model).eval(), recognizer.frontend
    embedding, count, width = model.embedding, model.features, recognizer.window_frames
    in_unit = getattr(frontend, "for_network", lambda windows: windows)

    def features(waveform: Tensor) -> Tensor:
        windows = cut_windows(frontend(waveform), width)
        batches = windows.flatten(0, 1).split(EMBEDDED_AT_ONCE)
        found = torch.cat([embed(embedding, in_unit(batch), count) for batch in batches])
        return found.unflatten(0, windows.shape[:2]).mT

    return features


# Windows of waveforms


class Waveforms:
    """Windows of waveforms, (batch, samples), by excerpt and frame, cut as fast as log-mels.

    A row of the packed file is a hop of samples, so that row i begins where frame i of the log-mel
    is centered. A window has `context` frames on both sides, so that its frames are those of the
    whole excerpt; beyond it there is silence.
    """

    def __init__(self, packed: LogMels, context: int) -> None:
        self.packed, self.context, self.frames = packed, context, packed.frames

    def windows(
        self, excerpt_indices: np.ndarray, start_frames: np.ndarray, window_frames: int
    ) -> Tensor:
        """Return (batch, (window_frames + 2 context) hops)."""
        places = np.arange(-self.context, window_frames + self.context)
        hops = np.asarray(start_frames)[:, None] + places
        last = self.frames[excerpt_indices][:, None] - 1
        rows = self.packed.offsets[excerpt_indices][:, None] + np.clip(hops, 0, last)
        cut = self.packed.rows.index_select(0, torch.from_numpy(rows.flatten()))
        cut = cut.view(*hops.shape, -1)
        cut[torch.from_numpy((hops < 0) | (hops > last))] = 0.0
        return cut.flatten(1)


def on_waveforms(
    augmentation: WaveformAugmentation,
    excerpts: Excerpts,
    recognizer: Recognizer,
    cache_dir: str | Path | None,
) -> tuple[Waveforms, Augmentation]:
    """Return what windows are cut from, and what changes them and makes log-mels of them."""
    context = context_frames(recognizer, fastest=augmentation.semitones[1])

    @torch.no_grad()
    def augment(
        waveform: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        changed, labels = augmentation(waveform, labels, generator)
        inner = slice(context, context + recognizer.window_frames)
        windows = recognizer.log_mel(changed)[..., inner].contiguous()
        if windows.ndim == 2:  # waveforms, which get no masks
            return windows, labels
        return augmentation.masked(windows, Draw(windows, generator)), labels

    hops = partial(_hops, hop=recognizer.hop_samples)
    return Waveforms(log_mels(excerpts, hops, cache_dir=cache_dir), context), augment


def _hops(waveform: Tensor, *, hop: int) -> Tensor:
    """Return (batch, hop, frames) of (batch, samples), as a front end would."""
    count = waveform.shape[-1] // hop
    return waveform[..., : count * hop].unflatten(-1, (count, hop)).transpose(-1, -2)


def context_frames(recognizer: Recognizer, *, fastest: float) -> int:
    """Return how many frames a window needs on each side: for the transform, and for speed.

    `fastest` is how many semitones higher it may be played.
    """
    half = getattr(recognizer.frontend, "n_fft", 2 * recognizer.hop_samples) / 2
    samples = getattr(recognizer.frontend, "context_samples", half)
    transform = math.ceil(samples / recognizer.hop_samples)
    longer = 2 ** (max(fastest, 0) / 12) - 1
    return transform + math.ceil(longer * (recognizer.window_frames + 2 * transform) / 2)
