"""What the experiments share: networks that are trained once, and measured once.

A network is kept in `cache_dir`/studies/networks, what was measured of it in a file beside: by the
settings, the sounds (by content), the seed and the weights that decide it. The code does not count:
after a change of it give another `cache_dir`. A training that was ended is taken up after its last
epoch.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from irdream import __version__
from irdream.checkpoint_folder import load_recognizer
from irdream.datasets.base import DataSet, Excerpt, Labelled, labels_of
from irdream.datasets.identity import described, fingerprint_of_sounds
from irdream.datasets.starts import ExcerptStart
from irdream.dreaming.constraints import RmseBudget
from irdream.dreaming.parametrizations import StftGain
from irdream.errors import InputError
from irdream.fingerprint import fingerprint_of
from irdream.measures.dreams import rmse_db
from irdream.measures.scoring import Scoring
from irdream.paper.study import Stage, kept
from irdream.paper.trial import at_size, gained, random_change
from irdream.progress import Stopwatch
from irdream.recognizer import Recognizer
from irdream.studies.dreams import (
    ITSELF,
    MAX_GAIN_DB,
    STEP_DB,
    Batch,
    batches_of,
    dream,
    heard_by,
    joined,
    rows_for,
)
from irdream.tracking import NullTracker
from irdream.training.loop import STATE
from irdream.training.resume import FOLDER, settings_of

NOT_SETTINGS = {"cache_dir", "resume", "register", "alias", "test", "test_robust_db", "trust"}


class Variant(NamedTuple):
    """A way to train: what differs from the settings of the network and of the training."""

    name: str
    model: Mapping[str, Any] = {}
    train: Mapping[str, Any] = {}


class Trained(NamedTuple):
    variant: str
    seed: int
    recognizer: Recognizer


@dataclass(frozen=True, kw_only=True)
class Runner:
    """How an experiment trains and dreams."""

    name: str  # of the experiment
    network: Callable[..., Recognizer]  # builds an untrained one, as `checkpoint.new`
    train: partial[dict[str, float]]  # trains it, as `tasks.train.train`
    dataset: DataSet  # whose training part networks are trained on
    dreamed: Mapping[str, DataSet]  # whose test parts are dreamed, by "rendered" or so
    load: Callable[..., Recognizer]  # loads a checkpoint by its name, as `checkpoint.load`
    judges: Mapping[str, Recognizer]  # that had no part in the dreams, by name
    cache_dir: Path  # where all is kept
    seeds: Sequence[int] = (0, 1, 2)  # of the trainings
    per_instrument: int = 2  # excerpts of each label, dreamed toward a random other one
    seconds: float = 1.5  # of each
    steps: int = 30  # of a dream of fixed size
    device: torch.device | str = "cpu"
    trust: Sequence[str] = ()  # packages of the networks that are loaded
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return labels_of(self.dataset)

    @property
    def folder(self) -> Path:
        return self.cache_dir / "studies"

    # Networks

    def networks(self, variants: Sequence[Variant]) -> Iterator[Trained]:
        """Yield a network for each variant and seed, trained or loaded."""
        for variant in variants:
            for seed in self.seeds:
                yield Trained(variant.name, seed, self.trained(variant, seed))

    def trained(self, variant: Variant, seed: int) -> Recognizer:
        """Return the network of a variant and a seed."""
        torch.manual_seed(seed)
        model = {**self.network.keywords.get("model", {}), **variant.model}  # type: ignore[attr-defined]
        return self.fitted(
            f"{variant.name}, seed {seed}",
            self.network(labels=self.labels, model=model),
            seed,
            **variant.train,
        )

    def fitted(self, words: str, recognizer: Recognizer, seed: int, **train: Any) -> Recognizer:
        """Return a recognizer after its training; `train`: other arguments of `train`."""
        given = {"dataset": self.dataset, **self.train.keywords, **train, "seed": seed}
        known = {name: x for name, x in given.items() if name not in {*NOT_SETTINGS, "dataset"}}
        parts = {name: known.pop(name) for name in ("optimizer", "scheduler", "augmentation")}
        files = given["dataset"].part("training", sample_rate_hz=recognizer.sample_rate_hz).files
        decides = [
            settings_of(recognizer, **parts, **known),
            described(files),
            weights_of(recognizer) if recognizer.card else "new",
            __version__,
        ]
        folder = self.folder / "networks" / fingerprint_of(json.dumps(decides))[:16]
        if not (folder / "checkpoint" / "recognizer.json").is_file():
            print(f"{self.name}: training, {words}", flush=True)
            resume = folder if (folder / FOLDER / STATE).is_file() else None
            more = {"tracker": NullTracker(), "output_dir": folder, "resume": resume, "seed": seed}
            given = {"dataset": self.dataset, **train, **more}
            with self.stopwatch("training"):
                folder.mkdir(parents=True, exist_ok=True)
                self.train(recognizer=copy.deepcopy(recognizer), **given)
        return load_recognizer(folder / "checkpoint", device=self.device, trust=self.trust)

    def measured(
        self, one: Trained, what: str, make: Callable[[Recognizer], pd.DataFrame], *decides: Any
    ) -> pd.DataFrame:
        """Return what `make` measures of a network, with its variant and seed; see `cell`."""
        words = f"{one.variant}, seed {one.seed}"
        table, _ = self.cell(
            what, decides, one.recognizer, lambda: (make(one.recognizer), {}), words
        )
        return table.assign(variant=one.variant, seed=one.seed)

    def cell(
        self,
        what: str,
        decides: Sequence[Any],
        recognizer: Recognizer | None,
        make: Callable[[], Stage],
        words: str = "",
    ) -> Stage:
        """Return the measurements of a recognizer, from their file where there is one.

        `decides` are plain numbers and texts, whatever decides it besides the recognizer, the
        sounds, the judges and the runner's own numbers.
        """
        network = "none" if recognizer is None else weights_of(recognizer)
        own = [self.per_instrument, self.seconds, self.steps, __version__]
        key = fingerprint_of([what, list(decides), network, self._given, own])
        path = self.folder / self.name / f"{key[:16]}.safetensors"
        if not path.is_file():
            print(f"{self.name}: {', '.join(filter(None, [words, what]))}", flush=True)
        with self.stopwatch("dreaming and measuring"):
            return kept(path, make)

    @cached_property
    def _given(self) -> list[Any]:
        """What all cells are measured on, and by whom."""
        sounds = [
            [b.data, fingerprint_of_sounds(b.excerpts), list(b.targets)] for b in self.batches
        ]
        rate_hz = self._like.sample_rate_hz
        tests = [one.part("test", sample_rate_hz=rate_hz).files for one in self.dreamed.values()]
        judges = [[name, weights_of(one)] for name, one in self.judges.items()]
        return [sounds, judges, list(map(described, tests))]

    # Sounds

    @cached_property
    def batches(self) -> list[Batch]:
        """The sounds that are dreamed, the same for all networks."""
        rate_hz, found = self._like.sample_rate_hz, []
        for data, dataset in self.dreamed.items():
            excerpts = self._excerpts(dataset, rate_hz)
            if not excerpts:
                raise InputError(
                    f"no labelled {data} excerpt of {self.seconds:g} s; expected some in the test "
                    "part: lower study.seconds"
                )
            found += batches_of(data, excerpts, self._like)
        return found

    def _excerpts(self, dataset: DataSet, rate_hz: int) -> list[Excerpt]:
        start = ExcerptStart(
            dataset=Labelled(dataset, self.labels, rate_hz),
            count=self.per_instrument * len(self.labels),
            seconds=self.seconds,
        )
        excerpts, _ = start.excerpts(sample_rate_hz=rate_hz, min_seconds=self.seconds)
        return [one for one in excerpts if one.labels]

    @cached_property
    def _like(self) -> Recognizer:
        return self.network(labels=self.labels)

    # Measures

    def accuracy(self, recognizer: Recognizer) -> pd.DataFrame:
        """Score the test parts: a row for each excerpt of one label, `right` where it is on top."""
        tables = []
        for data, dataset in self.dreamed.items():
            labelled = Labelled(dataset, recognizer.instruments, recognizer.sample_rate_hz)
            report, _, _ = Scoring(seed=0).score(recognizer, labelled, Stopwatch())
            right = report.scores["s1"].argmax(axis=1) == report.truth.argmax(axis=1)
            about = {"data": data, "excerpt": report.names, "recording": report.groups}
            table = pd.DataFrame(about | {"right": right.astype(float), "target": ""})
            table = table.assign(micro_f1=report.headline["micro_f1"])
            tables.append(table[report.truth.sum(axis=1) == 1])
        return joined(tables)

    def needed(self, recognizer: Recognizer) -> pd.DataFrame:
        """Dream until the target is on top: the least change, as the RMSE of the log-mel in dB.

        Columns: data, excerpt, recording, target, needed_db, flipped. A dream that never gets
        there counts with the change that it came to, so that means are bounds from below; one
        whose target was on top undreamed has none.
        """
        tables = []
        for batch in self.batches:
            dreams = dream(
                recognizer, batch, StftGain(max_gain_db=MAX_GAIN_DB), step_size=STEP_DB,
                steps=6 * self.steps, confidence=1e-6,
            )  # fmt: skip
            change = rmse_db(recognizer.log_mel(batch.waveform), dreams.log_mel)
            needed_db = change.masked_fill(dreams.steps == 0, torch.nan).tolist()
            flipped = dreams.reached.double().tolist()
            tables.append(rows_for(batch).assign(needed_db=needed_db, flipped=flipped))
        return joined(tables)

    def at_sizes(self, recognizer: Recognizer, sizes_db: Sequence[float]) -> pd.DataFrame:
        """Dream a gain on the spectrum to changes of a fixed size, and ask who hears the target.

        The RMSE of the gain is held to the size while dreaming; then all of it is scaled so that
        the log-mel of the sound has changed by just that.
        """
        tables = []
        for batch in self.batches:
            for size_db in sizes_db:
                dreams = dream(
                    recognizer, batch, StftGain(max_gain_db=MAX_GAIN_DB), step_size=size_db / 8,
                    steps=self.steps, confidence=None, keep="last",
                    constraint=RmseBudget(db=size_db),
                )  # fmt: skip
                make = gained(recognizer, batch.waveform, dreams.signal)
                wanted = torch.full_like(batch.waveform[:, 0], size_db)
                sound = at_size(recognizer, batch.waveform, make, wanted)
                listeners = {ITSELF: recognizer, **self.judges}
                tables.append(heard_by(listeners, batch, sound).assign(size_db=size_db))
        return joined(tables)

    def controls(self, sizes_db: Sequence[float]) -> pd.DataFrame:
        """Ask the judges about the variants "undreamed", of any size, and "random" gains."""

        def make() -> Stage:
            tables = []
            for batch in self.batches:
                undreamed = heard_by(self.judges, batch, batch.waveform)
                tables.append(undreamed.assign(size_db=0.0, kind="undreamed"))
                for size_db in sizes_db:
                    wanted = torch.full_like(batch.waveform[:, 0], size_db)
                    change = (self._like, StftGain(), batch.waveform, wanted, batch.seeds)
                    sound = random_change(*change)[1]
                    assert sound is not None
                    heard = heard_by(self.judges, batch, sound)
                    tables.append(heard.assign(size_db=size_db, kind="random"))
            return pd.concat(tables, ignore_index=True), {}

        table, _ = self.cell("controls", list(sizes_db), None, make)
        table = joined([table.rename(columns={"kind": "variant"}).assign(seed=None)])
        return table.assign(size_db=table["size_db"].where(table["variant"] == "random"))


def weights_of(recognizer: Recognizer) -> str:
    return fingerprint_of(dict(recognizer.model.state_dict()))
