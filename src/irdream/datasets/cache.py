"""The log-mels of a whole data set, computed once, in one file that is mapped, not read.

A second run opens it at once, and memory stays the size of a batch. Its layout is (total_frames,
n_mels), so that a window is one contiguous block of 22 kB. Its name is a fingerprint of the sounds
and of what decodes and analyzes them; files that are no longer used may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from irdream.datasets.base import Excerpt, Excerpts, decoding
from irdream.errors import InputError
from irdream.files import as_text, content_of, remember_in, replacing
from irdream.fingerprint import UnknowableError, fingerprint_of
from irdream.progress import track

Analyze = Callable[[Tensor], Tensor]


_FORMAT = 3
_MAX_BATCH, _MAX_BATCH_SAMPLES = 64, 2**22
_UNREADABLE = (OSError, ValueError, EOFError)

logger = logging.getLogger(__name__)


class LogMels:
    """The log-mel spectrograms of many excerpts, in one mapped file.

    The file is int64 (excerpts, n_mels, the number of frames of each excerpt), and then the rows.

    Attributes:
        rows: (total_frames, n_mels).
        offsets: the first row of each excerpt, and the end, (excerpts + 1,) int64.
        frames: the number of frames of each excerpt, (excerpts,) int64.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = np.memmap(path, mode="c")  # copy on write: torch warns of what it cannot write to
        count, n_mels = data[:16].view("<i8").tolist()
        first = 8 * (2 + count)
        self.frames = np.array(data[16:first].view("<i8"))
        rows = data[first:].view("<f4").reshape(-1, n_mels)
        if len(self.frames) != count or len(rows) != self.frames.sum():
            raise ValueError(f"{path} is not a whole file of log-mels")
        self.rows = torch.from_numpy(rows)
        self.offsets = np.append(0, self.frames.cumsum())

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> Tensor:
        """Return the log-mel spectrogram of excerpt `i`, (n_mels, frames)."""
        i = range(len(self))[i]
        return self.rows[self.offsets[i] : self.offsets[i + 1]].T

    def windows(
        self,
        excerpt_indices: Sequence[int] | np.ndarray | Tensor,
        start_frames: Sequence[int] | np.ndarray | Tensor,
        window_frames: int,
    ) -> Tensor:
        """Cut windows (batch, n_mels, window_frames); raise IndexError for one beyond its end."""
        excerpts, starts = np.asarray(excerpt_indices), np.asarray(start_frames)
        if np.any((starts < 0) | (starts + window_frames > self.frames[excerpts])):
            raise IndexError(f"a window of {window_frames} frames does not lie in its excerpt")
        firsts = torch.from_numpy(self.offsets[excerpts] + starts)
        rows = (firsts[:, None] + torch.arange(window_frames)).flatten()
        gathered = self.rows.index_select(0, rows)
        return gathered.view(len(firsts), window_frames, -1).transpose(1, 2).contiguous()


def log_mels(
    excerpts: Excerpts,
    analyze: Analyze,
    *,
    cache_dir: str | Path | None,
    device: str | torch.device = "cpu",
    workers: int | None = None,
) -> LogMels:
    """Analyze all excerpts once, and only open the result when nothing has changed since.

    `analyze` is a front end, or another function of up to 64 excerpts of one length, (batch,
    samples), that returns (batch, n_mels, frames). Without `cache_dir` the result is in a temporary
    file of this process. `workers` are threads that decode. Raises InputError when there are no
    excerpts, and for the first one that cannot be read.
    """
    if not len(excerpts):
        raise InputError("this part of the data set has no excerpts; check dataset.root")

    @torch.no_grad()
    def analyzed(batch: list[Tensor]) -> np.ndarray:
        return analyze(torch.stack(batch).to(device)).transpose(1, 2).float().cpu().numpy()

    def write(path: Path) -> LogMels:
        with replacing(path) as file, decoding(excerpts, workers) as decoded:
            shown = track(decoded, "analyzing", total=len(excerpts))
            _pack(file, map(analyzed, _batches(shown)), len(excerpts))
        return LogMels(path)

    if cache_dir is None:
        return _temporary(write)
    try:
        folder = Path(cache_dir).expanduser()
        path = folder / "log_mels" / f"{_key(excerpts, analyze, folder)}.bin"
        with contextlib.suppress(*_UNREADABLE):
            return LogMels(path)
        return write(path)
    except (OSError, UnknowableError) as error:
        logger.warning("log-mels are not cached: %s", error)
        return _temporary(write)


def _temporary(write: Callable[[Path], LogMels]) -> LogMels:
    """Have log-mels written into a folder that goes with them."""
    folder = tempfile.mkdtemp(prefix="irdream-")
    try:
        packed = write(Path(folder, "log_mels.bin"))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(packed, shutil.rmtree, folder, ignore_errors=True)
    return packed


def _batches(decoded: Iterable[Future[Excerpt]]) -> Iterator[list[Tensor]]:
    """Yield runs of excerpts of one length, in order."""
    batch: list[Tensor] = []
    for excerpt in decoded:
        waveform = excerpt.result().waveform
        full = len(batch) == _MAX_BATCH or (len(batch) + 1) * len(waveform) > _MAX_BATCH_SAMPLES
        if batch and (full or len(batch[0]) != len(waveform)):
            yield batch
            batch = []
        batch.append(waveform)
    yield batch


def _pack(file: BinaryIO, batches: Iterator[np.ndarray], excerpts: int) -> None:
    """Write what `LogMels` reads, of batches (items, frames, n_mels); the head comes last."""
    frames: list[int] = []
    n_mels = 0
    file.seek(8 * (2 + excerpts))
    for batch in batches:
        file.write(np.ascontiguousarray(batch, dtype="<f4").data)
        n_mels = batch.shape[2]
        frames += [batch.shape[1]] * len(batch)
    file.seek(0)
    file.write(np.array([excerpts, n_mels, *frames], dtype="<i8").data)


def _key(excerpts: Excerpts, analyze: Analyze, cache_dir: Path) -> str:
    """Return the fingerprint of sounds, of how they are read, and of the analysis."""
    remember_in(cache_dir)
    contents = []
    for file in excerpts.files:
        try:
            contents.append(content_of(file.path))
        except OSError as error:
            where = as_text(file.path)
            raise InputError(f"cannot read {where!r}: {error.strerror}; check it") from None
    return fingerprint_of([_FORMAT, analyze, excerpts.load, contents])
