"""Does training on its own dreams, under their original labels, mend a network?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

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
from irdream.paper.study import Stage
from irdream.paper.trial import random_change
from irdream.recognizer import Recognizer
from irdream.reports.dreams import scaled
from irdream.studies.dreams import MAX_GAIN_DB, batches_of, dream, joined
from irdream.studies.report import Tables
from irdream.studies.runner import Runner, Trained, Variant, weights_of
from irdream.training.losses import Robust

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
        copied, size_db = changed(runner, first, copies)
        found = {BEFORE: first, DREAMS: first, NOISE: first}
        for turn in range(1, rounds + 1):
            for kind in (DREAMS, NOISE):
                words, dataset = f"{kind}, round {turn}, seed {seed}", copied[kind]
                found[kind] = runner.fitted(words, found[kind], seed, dataset=dataset, **once)
            if turn < rounds:
                again, _ = changed(runner, found[DREAMS], copies)
                copied[DREAMS] = again[DREAMS]
        for kind, more in ((FGSM, {"robust": Robust("fgsm", epsilon_db=size_db)}), (MORE, {})):
            found[kind] = runner.fitted(f"{kind}, seed {seed}", first, seed, **whole, **more)
        for kind, network in found.items():
            one = Trained(kind, seed, network)
            needed.append(runner.measured(one, "needed", runner.needed))
            right.append(runner.measured(one, "accuracy", runner.accuracy))
    return {"needed": joined(needed), "right": joined(right)}


def changed(
    runner: Runner, recognizer: Recognizer, copies: int
) -> tuple[dict[str, Changed], float]:
    """Dream training excerpts; return data sets with dreams and with noise, and the mean size."""
    rate_hz = recognizer.sample_rate_hz
    own = runner.dataset.part("training", sample_rate_hz=rate_hz)
    labelled = [i for i, file in enumerate(own.files) if file.labels]
    chosen = evenly([own.files[i] for i in labelled], count=copies, seed=0)
    numbers = [labelled[i] for i in chosen]
    folder = runner.folder / runner.name / f"copies-{weights_of(recognizer)[:16]}"
    folders = {kind: folder / kind for kind in (DREAMS, NOISE)}

    def make() -> Stage:
        excerpts, places, sizes = [own[i] for i in numbers], iter(numbers), []
        most = max(len(one.waveform) for one in excerpts)
        longest = [torch.as_tensor(np.resize(one.waveform, most)) for one in excerpts]
        pairs = zip(excerpts, longest, strict=True)
        excerpts = [replace(one, waveform=sound) for one, sound in pairs]
        for batch in batches_of("training", excerpts, recognizer):
            gain, how = StftGain(max_gain_db=MAX_GAIN_DB), {"step_size": STEP_DB, "confidence": BAR}
            dreams = dream(recognizer, batch, gain, steps=runner.steps, **how)
            size_db = rmse_db(recognizer.log_mel(batch.waveform), dreams.log_mel)
            _, noise = random_change(recognizer, gain, batch.waveform, size_db, batch.seeds)
            for sounds in zip(dreams.waveform, noise, strict=True):  # type: ignore[arg-type]
                name = f"{next(places)}.wav"
                for one, sound in zip(folders.values(), sounds, strict=True):
                    write_wav(one / name, scaled(sound.cpu()), sample_rate_hz=rate_hz)
            sizes += size_db.tolist()
        return pd.DataFrame({"size_db": sizes}), {}

    table, _ = runner.cell("copies to train on", [copies], recognizer, make)
    found = {kind: Changed(runner.dataset, one, numbers) for kind, one in folders.items()}
    return found, float(table["size_db"].to_numpy().mean())
