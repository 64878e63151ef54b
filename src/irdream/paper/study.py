"""What both experiments of the paper share: how to dream, the ways to sound, stages, batches."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.fingerprint import fingerprint_of
from irdream.interrupts import keeping
from irdream.measures.sounds import has_visqol
from irdream.paper.stages import Stage, Stages, known
from irdream.paper.trial import KINDS, Trial, without_stop
from irdream.progress import track
from irdream.recognizer import Recognizer
from irdream.reports.dreams import Sonify, file_names

logger = logging.getLogger(__name__)
BATCH = 22  # dreams; a killed study loses one batch at most


@dataclass(frozen=True, kw_only=True)
class Found:
    """What all batches of one trial gave.

    Attributes:
        items: the dreams, in order.
        table: a row for each item, way and kind.
        planes: for each name one array an item.
        sounds: the folders of the WAVs that were kept, one of each batch.
    """

    items: list[Item]
    table: pd.DataFrame
    planes: dict[str, list[np.ndarray]]
    sounds: Sequence[Path]

    def copy_sounds(self, folder: Path) -> None:
        """Copy the WAVs that were kept of these dreams into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in (path for sounds in self.sounds for path in sounds.glob("*.wav")):
            shutil.copy(path, folder / path.name)

    def of(self, name: str) -> np.ndarray:
        """Return the planes of one name, (items, ...); all items must be of one length."""
        return np.stack(self.planes[name])


@dataclass(frozen=True, kw_only=True)
class Study:
    """How the experiments dream, and where their parts are kept.

    Args:
        recognizer: what is to hear the targets.
        second: another recognizer, trained apart; None: no transfer is measured.
        ascents: ways to dream, by name; "log_mel" must be there.
        sonifications: ways from a dreamed log-mel to sound, by name; "gain" must be there.
        cache_dir: where the stages are kept; None: to be given before dreaming.
        seed: of targets and dreams.
        with_visqol: whether to ask ViSQOL.

    Raises:
        InputError: when "log_mel" or "gain" is missing, the ascent has no confidence, or ViSQOL
            is to be asked and not installed.
    """

    recognizer: Recognizer
    second: Recognizer | None
    ascents: Mapping[str, Ascent]
    sonifications: Mapping[str, Sonify]
    cache_dir: str | Path | None = None
    seed: int = 0
    with_visqol: bool = False

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
        if self.with_visqol and not has_visqol():
            raise InputError(
                "paper.visqol=true, and ViSQOL is not installed; run pip install 'irdream[visqol]'"
            )
        assert self.known  # as it is now: use may change the parts

    @cached_property
    def known(self) -> Mapping[str, str]:
        """The fingerprints of what it dreams with."""
        parts: dict[str, Any] = {"recognizer": self.recognizer, "second": self.second}
        parts |= {f"ascents.{name}": ascent for name, ascent in self.ascents.items()}
        parts |= {f"sonifications.{name}": way for name, way in self.sonifications.items()}
        return {name: known(part) for name, part in parts.items()}

    def trial(
        self, name: str, *, ways: Sequence[str] | None = None, steps: int | None = None
    ) -> Trial:
        """Return how a batch is dreamed and measured.

        Args:
            name: of the ascent.
            ways: of the sonifications that are wanted, where they are needed; None: all.
            steps: take so many, whatever is heard; None: stop at the confidence.
        """
        ascent = self.ascents[name]
        is_sound = "sound" in ascent.parametrization.kinds
        chosen = [] if is_sound else ways or list(self.sonifications)
        parts = ["recognizer", "second", f"ascents.{name}"]
        parts += [f"sonifications.{way}" for way in chosen]
        return Trial(
            recognizer=self.recognizer,
            second=self.second,
            ascent=ascent if steps is None else without_stop(ascent, steps=steps),
            ways={name: None} if is_sound else {way: self.sonifications[way] for way in chosen},
            seed=self.seed,
            with_visqol=self.with_visqol,
            known=[*(self.known[part] for part in parts), steps],
        )

    def run(
        self,
        description: str,
        trial: Trial,
        excerpts: Sequence[Excerpt],
        items: Sequence[Item],
        *,
        keep: Callable[[Item, str], bool] = lambda item, kind: False,
    ) -> Found:
        """Dream all items in batches, each of which is kept once it is done.

        Args:
            description: for the progress bar and the log.
            trial: how.
            excerpts: what the items' numbers mean.
            items: one dream each.
            keep: whether the WAVs of an item and a kind are kept.
        """
        stages = Stages(Path(self.cache_dir or ".").expanduser() / "paper", trial.signature)
        by_length: dict[int, list[Item]] = defaultdict(list)
        for item in items:
            by_length[len(excerpts[item.excerpt].waveform)].append(item)
        batches = [
            group[first : first + BATCH]
            for group in by_length.values()
            for first in range(0, len(group), BATCH)
        ]
        files = [file_names(excerpts, one, self.recognizer.instruments) for one in batches]
        names = [
            _batch_name(excerpts, batch, of_batch, keep)
            for batch, of_batch in zip(batches, files, strict=True)
        ]
        sounds = [stages.folder / "sounds" / name for name in names]
        done = sum(stages.has(name) for name in names)
        text = f"{description}: {len(items)} dreams" + (f", {done} batches done" if done else "")
        logger.info(text)
        with keeping(self._kept):
            found = [
                stages(name, partial(trial, excerpts, batch, folder=folder, keep=keep))
                for batch, name, folder in zip(
                    track(batches, description, total=len(batches)), names, sounds, strict=True
                )
            ]
        return _joined(found, [item for batch in batches for item in batch], sounds)

    def _kept(self) -> str:
        """Say how to resume."""
        again = shlex.quote(f"cache_dir={self.cache_dir or '.'}")
        return f"finished batches of dreams are kept; to resume type the same line with {again}"


def _batch_name(
    excerpts: Sequence[Excerpt],
    batch: Sequence[Item],
    files: Sequence[str],
    keep: Callable[[Item, str], bool],
) -> str:
    """Return a name that holds what is dreamed and kept: sounds and what is known of them."""
    known = []
    for item, file in zip(batch, files, strict=True):
        excerpt = excerpts[item.excerpt]
        kept = [kind for kind in KINDS if keep(item, kind)]
        about = (excerpt.name, excerpt.recording, excerpt.labels, astuple(item), kept, file)
        known.append((about, excerpt.waveform))
    return fingerprint_of(known)[:16]


def _joined(stages: Sequence[Stage], items: list[Item], sounds: list[Path]) -> Found:
    rows = [row for stage in stages for row in stage.rows]
    names = stages[0].planes if stages else {}
    return Found(
        items=items,
        table=pd.DataFrame(rows),
        planes={n: [plane for stage in stages for plane in stage.planes[n].numpy()] for n in names},
        sounds=sounds,
    )
