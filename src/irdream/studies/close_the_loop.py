"""Does training on its own dreams, under their original labels, mend a network?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from irdream.arguments import Count, Positive
from irdream.audio import write_wav
from irdream.datasets.base import DataSet, Excerpts, PartName, audio_loader
from irdream.datasets.starts import evenly
from irdream.dreaming.parametrizations import StftGain
from irdream.measures.dreams import rmse_db
from irdream.measures.table import BAR
from irdream.paper.trial import random_change
from irdream.recognizer import Recognizer
from irdream.studies.dreams import MAX_GAIN_DB, batches_of, dream, joined, scaled
from irdream.studies.report import Tables
from irdream.studies.runner import Runner, Trained, Variant, weights_of
from irdream.training.robust import Robust

BEFORE, DREAMS, NOISE, FGSM, MORE = "before", "dreams", "noise", "FGSM", "more of the same"
STEP_DB = 0.5  # of a dream that is trained on


class Changed:
    """A data set whose training part has changed copies of some of its excerpts, too."""

    def __init__(self, dataset: DataSet, folder: Path, numbers: Sequence[int]) -> None:
        self.dataset, self.folder, self.numbers = dataset, folder, numbers
        self.name, self.classes = dataset.name, getattr(dataset, "classes", ())

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return a part; the copies have the labels and the recordings of their originals."""
        own = self.dataset.part(name, sample_rate_hz=sample_rate_hz)
        copies = {i: self.folder / f"{i}.wav" for i in self.numbers} if name == "training" else {}
        files = [
            replace(own.files[i], path=path, name=f"{own.files[i].name} changed")
            for i, path in copies.items()
        ]
        paths, read = set(copies.values()), audio_loader(sample_rate_hz)

        def load(path: Path) -> Tensor:
            return read(path) if path in paths else own.load(path)

        return Excerpts([*own.files, *files], load)


def close_the_loop(
    runner: Runner,
    *,
    copies: Count = 220,
    rounds: Count = 2,
    epochs: Count = 2,
    lr: Positive = 2e-4,
) -> Tables:
    """Train, dream, tune, and dream anew.

    A network is tuned on its dreams under their original labels beside all excerpts as they are, in
    each round on those of the network that the round before has made. Beside it: as many copies
    with random gains of the same sizes; FGSM with changes of the dreams' mean size; and as many
    epochs more of what it was trained on.

    Args:
        copies: excerpts that are dreamed and trained on, evenly over labels.
        rounds: of dreaming and tuning.
        epochs: of each round.
        lr: of the tuning.
    """
    needed, right = [], []
    how = {
        "optimizer": partial(runner.train.keywords["optimizer"], lr=lr), "scheduler": None,
    }  # fmt: skip
    once = how | {"epochs": epochs, "patience": epochs}
    whole = how | {"epochs": rounds * epochs, "patience": rounds * epochs}
    for seed in runner.seeds:
        first = runner.trained(Variant(BEFORE), seed)
        found, size_db = {BEFORE: first}, 0.0
        for kind in (DREAMS, NOISE):
            network = first
            for turn in range(rounds):
                source = network if kind == DREAMS else first
                dataset, mean_db = _changed(runner, source, kind, copies)
                size_db = size_db or mean_db
                words = f"{kind}, round {turn + 1}, seed {seed}"
                network = runner.fitted(words, network, seed, dataset=dataset, **once)
            found[kind] = network
        for kind, more in ((FGSM, {"robust": Robust("fgsm", epsilon_db=size_db)}), (MORE, {})):
            found[kind] = runner.fitted(f"{kind}, seed {seed}", first, seed, **whole, **more)
        for kind, network in found.items():
            one = Trained(kind, seed, network)
            needed.append(runner.measured(one, "needed", runner.needed))
            right.append(runner.measured(one, "accuracy", runner.accuracy))
    return {"needed": joined(needed), "right": joined(right)}


def _changed(
    runner: Runner, recognizer: Recognizer, kind: str, copies: int
) -> tuple[Changed, float]:
    """Write copies of training excerpts; return the data set with them and their mean size."""
    rate_hz = recognizer.sample_rate_hz
    own = runner.dataset.part("training", sample_rate_hz=rate_hz)
    numbers = evenly(own.files, count=copies, seed=0)
    folder = runner.folder / runner.name / f"{kind}-{weights_of(recognizer)[:16]}"

    def make() -> tuple[pd.DataFrame, dict[str, Any]]:
        folder.mkdir(parents=True, exist_ok=True)
        excerpts, places, sizes = [own[i] for i in numbers], iter(numbers), []
        same = max(len(one.waveform) for one in excerpts)
        excerpts = [
            replace(one, waveform=torch.as_tensor(np.resize(one.waveform, same)))
            for one in excerpts
        ]
        for batch in batches_of("training", excerpts, recognizer):
            gain = StftGain(max_gain_db=MAX_GAIN_DB)
            dreams = dream(
                recognizer, batch, gain, step_size=STEP_DB, steps=runner.steps, confidence=BAR
            )
            change = rmse_db(recognizer.log_mel(batch.waveform), dreams.log_mel)
            sound = dreams.waveform
            if kind == NOISE:
                sound = random_change(recognizer, gain, batch.waveform, change, batch.seeds)[1]
            assert sound is not None
            for one in sound.cpu():
                write_wav(folder / f"{next(places)}.wav", scaled(one), sample_rate_hz=rate_hz)
            sizes += change.tolist()
        return pd.DataFrame({"size_db": sizes}), {}

    table, _ = runner.cell(f"{kind} to train on", [copies], recognizer, make)
    return Changed(runner.dataset, folder, numbers), float(table["size_db"].mean())
