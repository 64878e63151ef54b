"""What `dream` returns: the dreams, and their way to sounds, pictures, files and a notebook."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from irdream import instruments
from irdream.datasets.base import Excerpt, counted
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.batch import joined
from irdream.dreaming.best import Answer, Dreams
from irdream.dreaming.network import frozen
from irdream.dreaming.objectives import as_objective
from irdream.dreaming.parametrizations import LogMel
from irdream.dreaming.parametrizations.base import Wrapper
from irdream.dreaming.targets import Item
from irdream.errors import InputError
from irdream.measures.table import BAR
from irdream.recognizer import Recognizer
from irdream.reports.dreams import (
    FinishedDream,
    figure_of,
    file_names,
    one_by_one,
    predict_file,
    write_sounds,
)
from irdream.sonification import GriffinLim, StftGain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = 4  # dreams in a notebook
LISTED = 8  # dreams in a repr


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DreamResult(Dreams):
    """The dreams of one call. A notebook shows their pictures and plays their sounds."""

    recognizer: Recognizer  # that dreamed; `recognizer.predict(sound)` asks it again
    ascent: Ascent  # how
    start: Tensor  # the originals, (items, samples) or log-mels (items, n_mels, frames)
    targets: Tensor  # indices of the classes, (items,)
    names: Sequence[str]  # of the originals: one for all, or one for each item
    file: Path | None = None  # of the start; `save` writes its rate and all of its channels
    step_sizes: Sequence[float] | None = None  # of each item; None: the ascent's
    judge: Recognizer | None = None  # that had no part in the dreams; None: there is none

    def sound(self) -> Tensor:
        """Return the dreams' waveforms (items, samples), on the CPU, at the recognizer's rate.

        Where spectrograms were dreamed they are made into sound: by a gain on the original's
        spectrum, or by Griffin-Lim where there is no original sound. Raises InputError when the
        spectrograms are not those of a short-time spectrum.
        """
        return self._sounds[1]

    def save(self, folder: str | Path, *, figures: int | None = None) -> pd.DataFrame:
        """Write what `task=dream` writes, and return the table.

        `index.html`, a page to hear and see them; `dreams.csv`, `probabilities.csv`, `curves.csv`,
        `curves.png`, `spectrograms/*.png`, and in `sounds/` the WAVs of originals, dreams and
        differences; what is predicted of the WAVs is in the table.

        At most so many `figures` of spectrograms; None: one for each dream. Raises InputError as
        `sound`, and OSError from the system (full disk, no permission).
        """
        import pandas as pd

        from irdream.reports.dream_page import PROBABILITIES, write_run_page
        from irdream.reports.dream_table import write_dream, write_tables
        from irdream.reports.tables import save_table

        folder, dreamt = Path(folder).expanduser(), self._finished(*self._sounds)
        rows, probabilities = [], []
        with frozen(self.recognizer), frozen(self.judge or self.recognizer):
            for i, one in enumerate(dreamt):
                how: Any = {"judge": self.judge, "is_drawn": figures is None or i < figures}
                row, answers = write_dream(one, self.recognizer, GriffinLim(), folder, **how)
                rows.append(row)
                probabilities += answers
        table = pd.DataFrame(rows)
        write_tables(table, dreamt, folder)
        save_table(pd.DataFrame(probabilities), folder / PROBABILITIES)
        write_run_page(table, folder, labels=self.recognizer.instruments)
        return table

    def show(self, item: int = 0) -> Figure:
        """Return a figure: original, dream, their difference, and the probabilities."""
        one = self._finished(*(self._sounds if self._has_sound else ()))[item]
        bar = BAR if one.item.target else None
        return figure_of(one, self.recognizer, title=self._line(item), bar=bar)

    @property
    def judge_before(self) -> Answer | None:
        """What the judge predicts of the originals, as 16-bit WAVs; None without a judge."""
        return self._judged[0] if self.judge else None

    @property
    def judge_after(self) -> Answer | None:
        """What the judge predicts of the dreams, likewise."""
        return self._judged[1] if self.judge else None

    def __repr__(self) -> str:
        lines = [self._line(i) for i in range(min(len(self.steps), LISTED))]
        more = len(self.steps) - len(lines)
        return "\n".join([*lines, *([f"... and {more} more dreams"] if more else [])])

    def _repr_html_(self) -> str | None:
        """Return pictures and players of the first dreams; None where they cannot be sound."""
        if not self._has_sound:
            return None
        from irdream.reports.dream_table import write_dream
        from irdream.reports.pages import render_html

        dreamt = self._finished(*self._sounds)[:SHOWN]
        with tempfile.TemporaryDirectory() as name, frozen(self.recognizer):
            folder = Path(name)
            for one in dreamt:
                write_dream(one, self.recognizer, GriffinLim(), folder)
            shown = [(one.name, self._line(i)) for i, one in enumerate(dreamt)]
            more = len(self.steps) - len(shown)
            return render_html("dreams.html.j2", scripts=[], shown=shown, folder=folder, more=more)

    def _line(self, i: int) -> str:
        """Say what came of a dream."""
        name, step = self.names[min(i, len(self.names) - 1)], int(self.steps[i])
        steps = counted(step, "step")
        if not self._has_target:
            curve = self.objective_curve[:, i]
            return f"{name}: objective {curve[0]:.4g} → {curve[step]:.4g}, {steps}"
        target = self.recognizer.instruments[self.targets[i]]
        before, after = (answer.of_target(self.targets)[i] for answer in (self.before, self.after))
        line = f"{name} toward {instruments.name(target)}: {before:.2f} → {after:.2f}"
        labels = self.judge.instruments if self.judge and self._has_sound else ()
        if known := instruments.find(target, labels):
            place = labels.index(known)
            before, after = (answer.probabilities[i, place] for answer in self._judged)
            line += f", judge {before:.2f} → {after:.2f}"
        return f"{line}, {steps}"

    @property
    def _has_target(self) -> bool:
        return as_objective(self.ascent.objective).reads_output

    @property
    def _has_sound(self) -> bool:
        needed, dreamed = ("n_fft", "mel_basis"), self.ascent.parametrization
        while isinstance(dreamed, Wrapper):
            dreamed = dreamed.of
        is_log = not isinstance(dreamed, LogMel) or dreamed.range_db is not None
        is_stft = all(hasattr(self.recognizer.frontend, name) for name in needed)
        return self.waveform is not None or (is_stft and is_log)

    @cached_property
    def _sounds(self) -> tuple[Tensor, Tensor]:
        """The originals and the dreams as waveforms (items, samples), on the CPU."""
        if not self._has_sound:
            raise InputError(
                f"the dreams are spectrograms of {type(self.recognizer.frontend).__name__}, which "
                "cannot become sound; expected a front end with n_fft and mel_basis that gives the "
                "natural log of magnitudes, such as frontend=HanLogMel(), or waveforms and "
                "parametrization=Waveform()"
            )
        start, frontend = self.start, self.recognizer.frontend
        if self.waveform is not None:
            return start.cpu(), self.waveform.cpu()
        if start.ndim == 2:
            is_gain = self.ascent.parametrization.from_original
            arguments = {"original": self.recognizer.log_mel(start), "waveform": start}
            sonify: Any = StftGain() if is_gain else GriffinLim()
            return start.cpu(), sonify(dream=self.log_mel, **arguments, frontend=frontend).cpu()
        silence = start.new_zeros(len(start), start.shape[-1] * self.recognizer.hop_samples)
        of_log_mels = [
            GriffinLim()(dream=x, original=x, waveform=silence, frontend=frontend).cpu()
            for x in (start, self.log_mel)
        ]
        return of_log_mels[0], of_log_mels[1]

    def _finished(
        self, originals: Tensor | None = None, dreams: Tensor | None = None
    ) -> list[FinishedDream]:
        """Return the dreams one by one, with their sounds."""
        excerpts, items = [], []
        for i, target in enumerate(self.targets.tolist()):
            place = min(i, len(self.names) - 1)
            label = self.recognizer.instruments[target] if self._has_target else ""
            item = Item(place, label, self.step_sizes[i] if self.step_sizes else None)
            same = sum(replace(other, variation=0) == item for other in items)
            items.append(replace(item, variation=same))
            sound = torch.empty(0) if originals is None else originals[i]
            name = self.names[place]
            excerpts.append(Excerpt(waveform=sound, labels=(), name=name, path=self.file))
        finished = one_by_one(
            self,
            self.recognizer,
            names=file_names(excerpts[: len(self.names)], items, self.recognizer.instruments),
            items=items,
            excerpts=excerpts,
            original=self.start if self.start.ndim == 3 else self.recognizer.analysis(self.start),
            step_sizes=self.step_sizes or [self.ascent.step_size] * len(items),
            parametrization=self.ascent.parametrization,
        )
        sounds = [None] * len(items) if dreams is None else list(dreams)
        return [replace(one, waveform=x) for one, x in zip(finished, sounds, strict=True)]

    @cached_property
    def _judged(self) -> tuple[Answer, Answer]:
        """The judge's answers on originals and dreams, as WAVs."""
        judge, pairs = cast(Recognizer, self.judge), []
        with tempfile.TemporaryDirectory() as folder, frozen(self.recognizer), frozen(judge):
            for one in self._finished(*self._sounds):
                _, path = write_sounds(one, self.recognizer, GriffinLim(), Path(folder))
                first = path.with_name(f"{one.name}-original.wav")
                target = instruments.find(one.item.target, judge.instruments) or ""
                pairs.append([predict_file(sound, target, judge) for sound in (first, path)])
        before, after = (joined(list(answers)) for answers in zip(*pairs, strict=True))
        return before, after
