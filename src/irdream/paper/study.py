"""How the paper's experiments dream: in batches, each of which is kept once it is finished.

A batch is kept in one file, below a folder named by the fingerprint of all that decides it:
settings, weights, seed, code. The file is named by the fingerprint of the sounds and of what is
known of them.
"""

from __future__ import annotations

import json
import logging
import secrets
import shlex
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.files import replacing
from irdream.fingerprint import UnknowableError, fingerprint_of
from irdream.paper.trial import KINDS, Keep, Trial
from irdream.processes import keeping
from irdream.progress import track
from irdream.recognizer import Recognizer
from irdream.reports.dreams import Sonify, file_names

logger = logging.getLogger(__name__)
BATCH = 22  # dreams; a killed study loses one batch at most
Stage = tuple[pd.DataFrame, dict[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What all batches of one set of dreams gave, see `Trial`."""

    items: list[Item]  # the dreams, in order
    table: pd.DataFrame  # a row for each way, kind and item
    arrays: Mapping[str, Sequence[np.ndarray]]  # for each name one an item
    sounds: Sequence[Path] = ()  # the folders of the WAVs that were kept, one of each batch

    def copy_sounds(self, folder: Path) -> None:
        """Copy the WAVs that were kept of these dreams into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in (path for sounds in self.sounds for path in sounds.glob("*.wav")):
            shutil.copy(path, folder / path.name)

    def of(self, name: str) -> np.ndarray:
        """Return the arrays of one name, (items, ...); all items must be of one length."""
        return np.stack(self.arrays[name])


@dataclass(frozen=True, kw_only=True)
class Study:
    """How the experiments dream, and where their batches are kept.

    Raises InputError when "log_mel" or "gain" is missing, or the ascent has no confidence.
    """

    recognizer: Recognizer  # whose output for the target is raised
    second: Recognizer | None  # another one, trained apart; None: no transfer is measured
    ascents: Mapping[str, Ascent]  # ways to dream, by name, "log_mel" among them
    sonifications: Mapping[str, Sonify]  # from a log-mel to sound, by name, "gain" among them
    cache_dir: str | Path | None = None  # of the batches; None: to be given before dreaming
    seed: int = 0  # of targets and dreams

    def __post_init__(self) -> None:
        for what, given, needed in (
            ("ascents", self.ascents, "log_mel"),
            ("sonifications", self.sonifications, "gain"),
        ):
            if needed not in given:
                names = ", ".join(given) or "none"
                raise InputError(f"task.study.{what} has {names}; add {needed!r}")
        if self.ascents["log_mel"].confidence is None:
            raise InputError("dream.confidence=None; expected a number between 0 and 1")
        assert self.fingerprints  # as the parts are now: use may change them

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """Of each recognizer, ascent and sonification, by name."""
        parts: dict[str, Any] = {"recognizer": self.recognizer, "second": self.second}
        parts |= {f"ascents.{name}": ascent for name, ascent in self.ascents.items()}
        parts |= {f"sonifications.{name}": way for name, way in self.sonifications.items()}
        return {name: _fingerprint(part) for name, part in parts.items()}

    def run(
        self,
        description: str,
        ascent: str,
        excerpts: Sequence[Excerpt],
        items: Sequence[Item],
        *,
        ways: Sequence[str] | None = None,
        steps: int | None = None,
        keep: Keep = lambda item, kind: False,
    ) -> Found:
        """Dream all items in batches, each of which is kept once it is done.

        Args:
            ascent: name of the way to dream.
            excerpts: what the items' numbers mean.
            ways: names of the sonifications, where dreams are not sound; None: all.
            steps: take so many and keep the last iterate; None: stop at the confidence.
            keep: whether the WAVs of an item and a kind are kept.
        """
        how = self.ascents[ascent]
        if steps is not None:
            how = replace(how, confidence=None, patience=None, keep="last", steps=steps)
        parts, names = ["recognizer", "second", f"ascents.{ascent}"], [ascent]
        sonify: dict[str, Sonify | None] = {ascent: None}
        if "sound" not in how.parametrization.kinds:
            names = list(ways or self.sonifications)
            sonify = {way: self.sonifications[way] for way in names}
            parts += [f"sonifications.{way}" for way in names]
        trial = Trial(
            recognizer=self.recognizer, second=self.second, ascent=how, ways=sonify, seed=self.seed
        )
        known = [self.fingerprints[part] for part in parts]
        signature = [Trial, known, steps, names, self.seed]
        folder = Path(self.cache_dir or ".").expanduser() / "paper" / _fingerprint(signature)[:16]
        batches = _batches(excerpts, items)
        paths = [folder / f"{self._name(excerpts, one, keep)}.safetensors" for one in batches]
        sounds = [folder / "sounds" / path.stem for path in paths]
        done = sum(path.is_file() for path in paths)
        text = f"{description}: {len(items)} dreams" + (f", {done} batches done" if done else "")
        logger.info(text)
        tables, arrays = [], defaultdict(list)
        again = shlex.quote(f"cache_dir={self.cache_dir or '.'}")
        resume = f"finished batches of dreams are kept; to resume type the same line with {again}"
        with keeping(lambda: resume):
            for i, batch in enumerate(track(batches, description, total=len(batches))):
                table, of_batch = kept(
                    paths[i],
                    lambda batch=batch, i=i: trial(excerpts, batch, folder=sounds[i], keep=keep),
                )
                tables.append(table)
                for name, values in of_batch.items():
                    arrays[name] += list(values)
        return Found(
            items=[item for batch in batches for item in batch],
            table=pd.concat(tables, ignore_index=True),
            arrays=arrays,
            sounds=sounds,
        )

    def _name(self, excerpts: Sequence[Excerpt], batch: Sequence[Item], keep: Keep) -> str:
        """Return the name of a batch: a hash of its sounds, items, file names and kept WAVs."""
        files = file_names(excerpts, batch, self.recognizer.instruments)
        known = [
            [*vars(excerpts[item.excerpt]).values(), *vars(item).values(), file]
            + [kind for kind in KINDS if keep(item, kind)]
            for item, file in zip(batch, files, strict=True)
        ]
        return fingerprint_of(known)[:16]


def _batches(excerpts: Sequence[Excerpt], items: Sequence[Item]) -> list[list[Item]]:
    """Return the items in batches of one length of sound each."""
    by_length: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        by_length[len(excerpts[item.excerpt].waveform)].append(item)
    return [g[i : i + BATCH] for g in by_length.values() for i in range(0, len(g), BATCH)]


def _fingerprint(value: Any) -> str:
    """Return a value's fingerprint; one that nothing else has where it cannot be known."""
    try:
        return fingerprint_of(value)
    except UnknowableError as error:
        logger.warning("a study that is killed cannot be resumed: %s", error)
        return secrets.token_hex()


def kept(path: Path, make: Callable[[], Stage]) -> Stage:
    """Return the table and the arrays of a file; make them where there is none or it is damaged."""
    if path.is_file():
        try:
            with safetensors.safe_open(path, framework="np") as file:
                table = pd.DataFrame(json.loads((file.metadata() or {})["table"]))
                return table, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            logger.warning("%s is damaged (%s) and is made anew", path, error)
    table, arrays = make()
    whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    text = json.dumps(table.to_dict("list"))
    with replacing(path) as file:
        file.write(safetensors.numpy.save(whole, metadata={"table": text}))
    return table, arrays
