"""Score a recognizer on one part of a data set: predictions, thresholds, a temperature.

The scores of an excerpt's windows are made one by three aggregations, after Han et al.: s1, the
mean; s2, the sum divided by its maximum over the instruments; max, as s2, of the maxima over four
windows in a row. s1 and s2 are those of arXiv:1605.09507v1, s2 and max those of IEEE/ACM TASLP
25(1), 2017, which does not say over how many windows. A fourth, "network", is track-level
prediction: a network with `any_length = True` gets the whole excerpt.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from irdream.arguments import Count, Share, checked
from irdream.datasets.base import (
    DataSet,
    ExcerptFile,
    Excerpts,
    PartName,
    decoding,
    has_no_test,
    listed,
    multi_hot,
    unlabelled_words,
)
from irdream.datasets.identity import Split, seen, seen_words, split_excerpts, unknown_words
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.measures.recognition import (
    Array,
    Flags,
    Report,
    choose_threshold,
    fit_temperature,
    temperature_scaled,
)
from irdream.progress import Stopwatch, track
from irdream.recognizer import Recognizer

AGGREGATIONS = ("s1", "s2", "max")
NETWORK = "network"
POOLED_WINDOWS = 4

logger = logging.getLogger(__name__)


@dataclass
class Predictions:
    """The window scores of the excerpts that could be read, and why others could not."""

    instruments: tuple[str, ...]
    files: list[ExcerptFile] = field(default_factory=list)
    windows: list[Array] = field(default_factory=list)
    unwindowed: list[Array] = field(default_factory=list)  # whole excerpts, where asked for
    skipped: list[str] = field(default_factory=list)

    @property
    def truth(self) -> Flags:
        """Return the labels, (excerpts, instruments)."""
        return multi_hot([file.labels for file in self.files], self.instruments).numpy() > 0

    def scores(self) -> dict[str, Array]:
        """Return the scores (excerpts, instruments) by each aggregation that there is."""
        found = {by: aggregate(self.windows, by) for by in AGGREGATIONS}
        return found | ({NETWORK: np.stack(self.unwindowed)} if self.unwindowed else {})


@checked
@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a recognizer is scored.

    The threshold "checkpoint" is the recognizer's own, or as "validation" when it has none;
    "validation" is the best on the validation split of the training part, on which a temperature
    is fitted, too; a number is for `aggregation` alone. Raises InputError for an argument out of
    range.
    """

    part: PartName = "test"  # of the data set
    threshold: Literal["checkpoint", "validation"] | Annotated[float, Ge(0), Le(1)] = "checkpoint"
    aggregation: Literal["s1", "s2", "max", "network"] = "s1"  # of the headline scores, see above
    batch_windows: Count = 128  # the most in one forward pass
    validation_share: Share = 0.15  # where the card does not tell what it was validated on
    seed: int = 0  # of that split

    def files(self, recognizer: Recognizer, dataset: DataSet) -> Sequence[ExcerptFile]:
        """Return the files that will be scored, also of a part that is still to be rendered."""
        if self.aggregation == NETWORK:
            check_any_length(recognizer)
        return listed_part(dataset, self.part, recognizer)

    def score(
        self, recognizer: Recognizer, dataset: DataSet, stopwatch: Stopwatch
    ) -> tuple[Report, int, list[str]]:
        """Return the scores, how many excerpts could not be read, and all such reasons.

        Raises InputError for an empty part, without labels or anything that can be read, and by the
        aggregation "network" for a network that does not take whole excerpts.
        """
        with stopwatch("finding excerpts"):
            self.files(recognizer, dataset)
            excerpts = dataset.part(self.part, sample_rate_hz=recognizer.sample_rate_hz)
        rate_hz, others = recognizer.sample_rate_hz, None
        has_parts = self.part != "test" or not has_no_test(dataset, excerpts.files, rate_hz)
        thresholds, chosen_on = self._known_thresholds(recognizer)
        if not thresholds:
            with stopwatch("predicting"):
                others = self._predict_validation(recognizer, dataset)
            labelled = others.truth.any(axis=1)
            thresholds = {
                by: choose_threshold(scores[labelled], others.truth[labelled])[0]
                for by, scores in others.scores().items()
            }
        with stopwatch("predicting"):
            found = self._predict(recognizer, excerpts, dataset)
        where = f"{self.part} part" if has_parts else "all excerpts, for it has no test part"
        is_training = self.part != "test" or not has_parts
        report = Report(
            dataset=f"{dataset.name}, {where}",
            instruments=recognizer.instruments,
            names=tuple(file.name for file in found.files),
            truth=found.truth,
            scores=found.scores(),
            thresholds=thresholds,
            aggregation=self.aggregation,
            chosen_on=chosen_on,
            recordings=tuple(file.recording for file in found.files),
            genres=tuple(file.genre for file in found.files),
            seen=seen(recognizer.card, found.files),
            has_parts=has_parts,
            doubts=_doubts(recognizer, dataset.name, is_training, found, others),
        )
        if others is None:
            return report, len(found.skipped), found.skipped
        report = _temperature_scaled(report, recognizer, others, found)
        return report, len(found.skipped), others.skipped + found.skipped

    def _known_thresholds(self, recognizer: Recognizer) -> tuple[dict[str, float], str]:
        """Return thresholds by aggregation, none if they are to be chosen, and their source."""
        if isinstance(self.threshold, float | int):
            return {self.aggregation: float(self.threshold)}, "given"
        used = {*AGGREGATIONS, self.aggregation}
        known = {by: x for by, x in recognizer.thresholds.items() if by in used}
        if self.threshold == "checkpoint" and self.aggregation in known:
            return known, "checkpoint"
        if self.threshold == "checkpoint":
            logger.info("the checkpoint has no threshold: choosing one on the validation split")
        return {}, "validation"

    def _predict_validation(self, recognizer: Recognizer, dataset: DataSet) -> Predictions:
        listed_part(dataset, "training", recognizer)
        training = dataset.part("training", sample_rate_hz=recognizer.sample_rate_hz)
        share, seed = self.validation_share, self.seed
        some = validation_of(training, recognizer, dataset.name, share, seed)
        return self._predict(recognizer, some, dataset)

    def _predict(self, recognizer: Recognizer, excerpts: Excerpts, dataset: DataSet) -> Predictions:
        """Return the window scores of all excerpts that can be read, which are not held."""
        found = Predictions(recognizer.instruments)

        def windows() -> Iterator[Tensor]:
            for file, excerpt in zip(excerpts.files, shown, strict=True):
                try:
                    waveform = excerpt.result().waveform
                    recognizer.check_length(waveform, file.name)
                    log_mel = recognizer.log_mel(waveform[None].to(recognizer.device))
                    cut = recognizer.windows(log_mel)[0]
                except InputError as error:
                    found.skipped.append(f"{file.name}: {error}")
                    continue
                found.files.append(file)
                if isinstance(recognizer, Ensemble):  # its members decide on the whole excerpt
                    found.windows.append(
                        recognizer(waveform[None].to(recognizer.device)).numpy(force=True)
                    )
                    continue
                if self.aggregation == NETWORK:
                    found.unwindowed.append(unwindowed_scores(recognizer, log_mel[0]))
                yield cut

        with decoding(excerpts) as decoded:
            shown = track(decoded, "predicting", total=len(excerpts))
            scores = window_scores(recognizer, windows(), batch_windows=self.batch_windows)
            found.windows.extend(scores)
        if not any(file.labels for file in found.files):
            reason = f"; the first: {found.skipped[0]}" if found.skipped else ""
            raise InputError(
                f"none of {len(excerpts)} excerpts of {dataset.name!r} is readable and labelled"
                f"{reason}"
            )
        return found


def _doubts(
    recognizer: Recognizer,
    name: str,
    is_training: bool,
    found: Predictions,
    others: Predictions | None,
) -> tuple[str, ...]:
    """Say why the scores are not those of a test."""
    labelled = [file for file in found.files if file.labels]
    validation = {file.path for file in others.files} if others else set()
    chosen = sum(file.path in validation for file in labelled)
    doubts = (
        seen_words(seen(recognizer.card, labelled)),
        unknown_words(recognizer.card, name) if is_training else "",
        f"no test: the threshold was chosen on {chosen} of these excerpts" if chosen else "",
    )
    return tuple(filter(None, doubts))


def _temperature_scaled(
    report: Report, recognizer: Recognizer, others: Predictions, found: Predictions
) -> Report:
    """Return the report with a temperature that was fitted on other excerpts."""
    labelled = others.truth.any(axis=1)
    windows = [others.windows[i] for i in np.flatnonzero(labelled)]
    temperature = fit_temperature(others.truth[labelled], windows, recognizer.output)
    scores = temperature_scaled(found.windows, temperature, recognizer.output)
    return dataclasses.replace(report, temperature=temperature, temperature_scaled=scores)


def validation_of(
    excerpts: Excerpts, recognizer: Recognizer, name: str, validation_share: float, seed: int
) -> Excerpts:
    """Return some excerpts of a training part that the recognizer was not trained on.

    Those that it was validated on, by its card; where the card only tells how it divided a data set
    of this name, these are divided so. Otherwise whole recordings are drawn.
    """
    card: dict[str, Any] = recognizer.card
    uses = seen(card, excerpts.files)
    if "validation" in uses:
        return excerpts.subset([i for i, use in enumerate(uses) if use == "validation"])
    by: Split = "recording"
    if card.get("data", {}).get("name") == name and "split" in card:
        by, validation_share = card["split"]["by"], card["split"]["validation_share"]
        seed = card["seed"]
    _, chosen = split_excerpts(excerpts.files, by, validation_share=validation_share, seed=seed)
    return excerpts.subset(chosen)


def listed_part(dataset: DataSet, part: PartName, recognizer: Recognizer) -> Sequence[ExcerptFile]:
    """Return the files of a part, rendered or not; refuse an empty part or no labels."""
    files = listed(dataset, part, sample_rate_hz=recognizer.sample_rate_hz)
    where = f"the {part} part of {dataset.name!r}"
    if not files:
        remedies = {
            "test": "try evaluate.part=training",
            "training": "give a number: evaluate.threshold=0.5",
        }
        raise InputError(f"{where} is empty; {remedies[part]}")
    if not any(file.labels for file in files):
        raise InputError(
            f"no excerpt in {where} has a label to score against; {unlabelled_words(files)}"
        )
    return files


# Windows and excerpts


def aggregate(window_scores: Sequence[Array], aggregation: str) -> Array:
    """Return the excerpts' scores (excerpts, instruments) by one of AGGREGATIONS.

    `window_scores` has for each excerpt an array (windows, instruments), at least one window.
    """
    windows = [np.asarray(scores, float) for scores in window_scores]
    if aggregation == "max":  # over all windows where there are fewer
        pooled = [min(POOLED_WINDOWS, len(scores)) for scores in windows]
        windows = [
            np.lib.stride_tricks.sliding_window_view(scores, size, axis=0).max(axis=-1)
            for scores, size in zip(windows, pooled, strict=True)
        ]
    means = np.stack([scores.mean(axis=0) for scores in windows])
    if aggregation == "s1":
        return means
    # The sum over the windows is their mean times their number, which the division removes.
    maxima = means.max(axis=1, keepdims=True)
    return np.divide(means, maxima, out=np.zeros_like(means), where=maxima > 0)


@torch.no_grad()
def window_scores(
    recognizer: Recognizer, excerpts: Iterable[Tensor], *, batch_windows: int
) -> Iterator[Array]:
    """Yield the scores (windows, instruments) of each excerpt, in order.

    Batches of at most `batch_windows` reach across excerpts, whose windows are (windows, n_mels,
    window_frames). They are not padded to one length: the last window would hold padding.
    """
    waiting: list[Tensor] = []
    for windows in excerpts:
        waiting.append(windows)
        if sum(map(len, waiting)) >= batch_windows:
            yield from _score(recognizer, waiting, batch_windows)
            waiting = []
    if waiting:
        yield from _score(recognizer, waiting, batch_windows)


def _score(recognizer: Recognizer, excerpts: list[Tensor], batch_windows: int) -> Iterator[Array]:
    windows = torch.cat(excerpts)
    batches = windows.chunk(math.ceil(len(windows) / batch_windows))
    logits = torch.cat([recognizer.logits(batch) for batch in batches])
    scores = recognizer.scores(logits).float().cpu()
    for of_excerpt in scores.split([len(windows) for windows in excerpts]):
        yield of_excerpt.numpy()


@torch.no_grad()
def unwindowed_scores(recognizer: Recognizer, log_mel: Tensor) -> Array:
    """Return the scores (instruments,) of a log-mel (n_mels, frames) that is given whole."""
    return recognizer.scores(recognizer.logits(log_mel[None]))[0].float().cpu().numpy()


def check_any_length(recognizer: Recognizer) -> None:
    """Raise InputError unless the network takes excerpts of any length."""
    if not getattr(recognizer.model, "any_length", False):
        raise InputError(
            "evaluate.aggregation=network gives whole excerpts to a network, and "
            f"{type(recognizer.model).__name__} takes windows of one length; take s1, s2 or max, "
            "or a network with any_length, such as model=attention"
        )
