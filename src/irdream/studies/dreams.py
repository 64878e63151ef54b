"""Dreams of an experiment: sounds in batches, one way to dream, and who hears the target."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from irdream.audio import write_wav
from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.best import Dreams
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import Parametrization
from irdream.dreaming.targets import item_seed, plan
from irdream.measures.dreams import snr_db
from irdream.recognizer import Recognizer
from irdream.reports.dreams import of_label, predict_file, scaled

BATCH = 22  # dreams at once
ITSELF = "itself"  # the listener that dreams
UNKNOWN = (math.nan, math.nan)  # of a target that a listener lacks
STEP_DB, MAX_GAIN_DB = 0.25, 24.0  # of dreams until the target is on top


class Batch(NamedTuple):
    """Sounds of one data set that are dreamed at once."""

    data: str
    excerpts: Sequence[Excerpt]
    targets: Sequence[str]
    waveform: Tensor  # (items, samples)
    indices: Tensor  # of the targets, (items,)
    seeds: Sequence[int]
    sample_rate_hz: int

    def of(self, rows: Sequence[int]) -> Batch:
        """Return some of the items."""
        return self._replace(
            excerpts=[self.excerpts[i] for i in rows],
            targets=[self.targets[i] for i in rows],
            seeds=[self.seeds[i] for i in rows],
            waveform=self.waveform[rows],
            indices=self.indices[rows],
        )


def batches_of(data: str, excerpts: Sequence[Excerpt], recognizer: Recognizer) -> list[Batch]:
    """Return excerpts of one length in batches, each toward a random other label."""
    labels, device, rate_hz = (
        recognizer.instruments, recognizer.device, recognizer.sample_rate_hz
    )  # fmt: skip
    names, own = [one.name for one in excerpts], [one.labels for one in excerpts]
    items = plan(["incorrect"], names, own, seed=0, known=labels)
    found = []
    for first in range(0, len(items), BATCH):
        some = items[first : first + BATCH]
        chosen, targets = [excerpts[i.excerpt] for i in some], [i.target for i in some]
        waveform = torch.stack([one.waveform for one in chosen]).to(device)
        indices = torch.tensor([labels.index(one) for one in targets]).to(device)
        seeds = [item_seed(0, e.name, t) for e, t in zip(chosen, targets, strict=True)]
        found.append(Batch(data, chosen, targets, waveform, indices, seeds, rate_hz))
    return found


def dream(
    recognizer: Recognizer, batch: Batch, parametrization: Parametrization, **ascent: Any
) -> Dreams:
    """Dream a batch: log p of the targets, steps of fixed size, no random views."""
    how = Ascent(
        parametrization=parametrization, objective=LogProbability(), optimizer=NormalizedAscent(),
        **ascent,
    )  # fmt: skip
    return how.run(recognizer, batch.waveform, batch.indices, batch.seeds)


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all tables; `judged` where the listener did not dream itself."""
    table = pd.concat(tables, ignore_index=True)
    return table.assign(judged=table["listener"] != ITSELF) if "listener" in table else table


def rows_for(batch: Batch) -> pd.DataFrame:
    """Return a row for each item of a batch: data, excerpt, recording, target."""
    return pd.DataFrame(
        {
            "data": batch.data,
            "excerpt": [one.name for one in batch.excerpts],
            "recording": [one.recording or one.name for one in batch.excerpts],
            "target": list(batch.targets),
        }
    )


def heard_by(listeners: Mapping[str, Recognizer], batch: Batch, sounds: Tensor) -> pd.DataFrame:
    """Write sounds as 16-bit WAVs and ask the listeners.

    Returns:
        A row for each listener and sound: those of `rows_for`, and listener, probability and on_top
        of the target, NaN where the listener lacks it, and snr_db, NaN where nothing changed.
    """
    ratio_db = snr_db(batch.waveform, sounds)
    known = rows_for(batch).assign(
        snr_db=ratio_db.masked_fill(ratio_db.isinf(), torch.nan).tolist()
    )
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.wav") for i in range(len(sounds))]
        for path, sound in zip(paths, sounds.cpu(), strict=True):
            write_wav(path, scaled(sound), sample_rate_hz=batch.sample_rate_hz)
        for listener, one in listeners.items():
            known_by = one.instruments
            answers = [
                of_label(predict_file(path, x, one), x, known_by) if x in known_by else UNKNOWN
                for path, x in zip(paths, batch.targets, strict=True)
            ]
            probability, on_top = np.array(answers, dtype=float).T
            tables.append(known.assign(listener=listener, probability=probability, on_top=on_top))
    return pd.concat(tables, ignore_index=True)
