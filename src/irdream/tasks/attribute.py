"""Say what a recognizer listened to: relevance of each mel band and frame, as picture and sound.

Files in `output_dir`: attributions.csv (a row for each map: the method's, and two controls of equal
area, a random one and one of edges), curves.csv and curves.png (insertion and deletion),
sanity.csv (correlations with the maps of shuffled weights, by layer),
`spectrograms/NAME.png`, and `sounds/NAME-original.wav`, `-relevant.wav`, `-rest.wav`: what the mask
lets through, and what it does not; the two add up to the original.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from annotated_types import Gt, Le
from torch import Tensor

from irdream import instruments
from irdream.arguments import Natural, checked
from irdream.attribution import Attribution, baseline_of, with_sound
from irdream.attribution.sanity import PASSED_BELOW, cascade, left
from irdream.audio import write_wav
from irdream.audio.stft import with_mel_mask
from irdream.datasets.base import Excerpt, counted, tell_skipped
from irdream.datasets.starts import Start
from irdream.dreaming.probe import probing
from irdream.dreaming.record import Answer
from irdream.dreaming.targets import Item, parse_targets, plan
from irdream.errors import InputError
from irdream.measures import attribution as measures
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.progress import track
from irdream.recognizer import Recognizer
from irdream.reports.dreams import another, file_names, predict_file
from irdream.reports.figures import save_figure
from irdream.reports.tables import save_table
from irdream.stopwatch import Stopwatch
from irdream.tracking import Tracker

FILES = (
    "attributions.csv", "curves.csv", "curves.png", "sanity.csv", "spectrograms", "sounds",
)  # fmt: skip
BATCH_SECONDS = 32.0  # of sound at once: how often the bar moves; the probe slices further


@checked
def attribute(
    *,
    recognizer: Recognizer,
    start: Start,
    attribution: Attribution,
    tracker: Tracker,
    output_dir: Path,
    target: str | Sequence[str] | None = None,
    judge: Recognizer | None = None,
    share: Annotated[float, Gt(0), Le(1)] = 0.2,
    curves: bool = True,
    sanity: Natural = 0,
    figures: Natural = 4,
    seed: int = 0,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Explain the recognizer's answer on every excerpt of `start`, for every target.

    Args:
        recognizer: with a front end that has `n_fft` and `mel_basis`; left as it was.
        start: gives the excerpts.
        attribution: the method.
        tracker: gets metrics and files.
        output_dir: where the files are written.
        target: an instrument, several, `all`, `correct` or `incorrect`; None: what the recognizer
            predicts.
        judge: is asked about what the mask lets through; None, or the recognizer again: none.
        share: of the bins (mel band x frame) that the mask keeps, the most relevant ones; fewer
            where fewer speak for the target. Not used where the method gives a mask.
        curves: also measure insertion and deletion.
        sanity: excerpts on which the layers' weights are shuffled; 0: none.
        figures: at most so many spectrogram figures.
        seed: of random targets and maps.
        info: only say what would be done.
        stopwatch: counts where the time goes.

    Returns:
        `attribute/count`; `attribute/<measure>`, a mean; `attribute/random/<measure>` and
        `attribute/edges/<measure>`, those of the controls; `attribute/sanity`, what is left of the
        maps with all weights shuffled.

    Raises:
        InputError: a front end that gives no spectrogram, a bad target, nothing to explain.
    """
    stopwatch = stopwatch or Stopwatch()
    if not recognizer.is_invertible:
        raise InputError(
            f"front end {type(recognizer.frontend).__name__} gives no spectrogram to explain; "
            "expected one with n_fft and mel_basis, such as HanLogMel"
        )
    targets = None if target is None else parse_targets(target, recognizer.instruments)
    method = type(attribution).__name__
    toward = "what is predicted" if targets is None else ", ".join(targets)
    name = getattr(start, "name", "the start")
    print(f"attribute: {name}, {method} of {toward}, {recognizer.where}", flush=True)
    judge = judge and another(judge, recognizer)
    if info:
        return {}
    with stopwatch("reading audio"):
        excerpts, bad = start.excerpts(
            sample_rate_hz=recognizer.sample_rate_hz, min_seconds=recognizer.window_seconds
        )
    if not excerpts:
        raise InputError(f"nothing to explain: {[*bad, 'no excerpts'][0]}")
    with stopwatch("predicting"):
        items = _items(recognizer, excerpts, targets, seed)
    if not items:
        raise InputError(
            f"target={toward} and no excerpt has such a label; expected an instrument that the "
            f"recognizer knows: {instruments.in_words(recognizer.instruments)}"
        )
    kept = None if getattr(attribution, "gives_mask", False) else share
    written = _Written(
        recognizer, judge, excerpts, items, method, kept, curves, figures, seed, output_dir,
        stopwatch,
    )  # fmt: skip
    batches = [*_batches(excerpts, items, recognizer.sample_rate_hz)]
    shuffled: dict[str, list[float]] = {}
    for batch in track(batches, "explaining", total=len(batches)):
        waveform, log_mel, wanted = _given(recognizer, excerpts, batch)
        with stopwatch("attribution"):
            relevance = with_sound(attribution, waveform)(recognizer, log_mel, wanted)
        written.add(batch, waveform, log_mel, wanted, relevance)
        if sanity and not shuffled:
            with stopwatch("sanity check"):
                some = with_sound(attribution, waveform[:sanity])
                first = (log_mel[:sanity], wanted[:sanity])
                shuffled = cascade(some, recognizer, *first, seed=seed)
    metrics = written.finish(tracker, shuffled)
    tell_skipped(bad)
    return metrics


@torch.no_grad()
def _items(
    recognizer: Recognizer, excerpts: Sequence[Excerpt], targets: list[str] | None, seed: int
) -> list[Item]:
    """Return which excerpt is explained for which target."""
    names, labels = [one.name for one in excerpts], [one.labels for one in excerpts]
    if targets is not None:
        return plan(targets, names, labels, seed=seed, known=recognizer.instruments)
    device = recognizer.device
    tops = [int(recognizer(one.waveform[None].to(device))[0].argmax()) for one in excerpts]
    return [Item(i, recognizer.instruments[top]) for i, top in enumerate(tops)]


def _batches(
    excerpts: Sequence[Excerpt], items: Sequence[Item], rate_hz: int
) -> Iterator[list[Item]]:
    """Yield items of one length, of `BATCH_SECONDS` at most."""
    lengths = [len(excerpts[item.excerpt].waveform) for item in items]
    for samples in dict.fromkeys(lengths):
        group = [item for item, length in zip(items, lengths, strict=True) if length == samples]
        size = max(1, int(BATCH_SECONDS * rate_hz / samples))
        yield from (group[first : first + size] for first in range(0, len(group), size))


@torch.no_grad()
def _given(
    recognizer: Recognizer, excerpts: Sequence[Excerpt], items: Sequence[Item]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return waveforms, log-mels and targets of items."""
    waveform = torch.stack([excerpts[one.excerpt].waveform for one in items]).to(recognizer.device)
    targets = [recognizer.instruments.index(one.target) for one in items]
    return waveform, recognizer.log_mel(waveform), torch.tensor(targets, device=waveform.device)


def _tell_sanity(shuffled: dict[str, list[float]], method: str) -> None:
    """Print whether a method passes the check, and the correlations layer by layer."""
    medians = {name: float(np.median(values)) for name, values in shuffled.items()}
    said = "passes" if left(shuffled) < PASSED_BELOW else "fails"
    count = counted(len(next(iter(shuffled.values()))), "excerpt")
    print(
        f"sanity check on {count}: {method} {said}; rank correlation with all weights shuffled "
        f"{[*medians.values()][-1]:.2f}\n  from the top: "
        + ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
    )


@dataclass
class _Written:
    """The maps that are made: their sounds and figures are files, each has a row."""

    recognizer: Recognizer
    judge: Recognizer | None
    excerpts: Sequence[Excerpt]
    items: Sequence[Item]
    method: str
    share: float | None  # that a mask keeps; None: the relevance is the mask
    with_curves: bool
    figures: int
    seed: int
    folder: Path
    stopwatch: Stopwatch
    rows: list[dict[str, Any]] = field(default_factory=list)
    points: list[pd.DataFrame] = field(default_factory=list)  # of the curves

    @torch.no_grad()
    def add(
        self,
        items: Sequence[Item],
        waveform: Tensor,
        log_mel: Tensor,
        targets: Tensor,
        relevance: Tensor,
    ) -> None:
        """Measure and write the maps of a batch, and the controls of equal area."""
        names = file_names(self.excerpts, items, self.recognizer.instruments)
        kept = relevance if self.share is None else measures.top_share(relevance, self.share)
        area = kept.mean(dim=(1, 2), keepdim=True)
        maps = {
            self.method: relevance,
            "random": measures.random_map(relevance, seed=self.seed),
            "edges": measures.edge_map(log_mel),
        }
        for kind, found in maps.items():
            mask = kept if kind == self.method else measures.top_share(found, area)
            with self.stopwatch("sound"), tempfile.TemporaryDirectory() as passing:
                folder = self.folder / "sounds" if kind == self.method else Path(passing)
                folder.mkdir(parents=True, exist_ok=True)
                sounds = with_mel_mask(waveform, mask, self.recognizer.frontend).cpu()
                groups = zip(items, names, waveform.cpu(), sounds, strict=True)
                rows = [self._row(item, kind, folder / name, *two) for item, name, *two in groups]
            about = {"sparsity": measures.gini(found), "area": mask.mean(dim=(1, 2))}
            if self.with_curves:
                about |= self._curves(names, kind, log_mel, targets, found)
            for i, row in enumerate(rows):
                row |= {name: float(values[i]) for name, values in about.items()}
                if kind == self.method and items[i] in self.items[: self.figures]:
                    with self.stopwatch("figures"):
                        heard = self.recognizer.log_mel(sounds[i : i + 1].to(log_mel.device))[0]
                        self._draw(row, log_mel[i], found[i], heard)
            self.rows += rows
        save_table(pd.DataFrame(self.rows), self.folder / "attributions.csv")

    def _row(
        self, item: Item, kind: str, stem: Path, original: Tensor, relevant: Tensor
    ) -> dict[str, Any]:
        """Write what a mask lets through, the rest and the original, and ask about the WAVs."""
        excerpt, labels = self.excerpts[item.excerpt], self.recognizer.instruments
        sounds = {"original": original, "relevant": relevant, "rest": original - relevant}
        scale = 1 / max(1.0, *(float(x.abs().max()) for x in sounds.values()))
        paths = {part: stem.with_name(f"{stem.name}-{part}.wav") for part in sounds}
        for part, path in paths.items():
            write_wav(path, sounds[part] * scale, sample_rate_hz=self.recognizer.sample_rate_hz)
        answers = [predict_file(path, item.target, self.recognizer) for path in paths.values()]
        index = torch.tensor([labels.index(item.target)])
        whole, kept, rest = (float(one.of_target(index)[0]) for one in answers)
        judged = None
        if self.judge and item.target in self.judge.instruments:
            place = torch.tensor([self.judge.instruments.index(item.target)])
            answer = predict_file(paths["relevant"], item.target, self.judge)
            judged = float(answer.on_top(place)[0])
        return {
            "name": excerpt.name,
            "labels": " ".join(excerpt.labels),
            "target": item.target,
            "map": kind,
            "prediction": labels[int(answers[0].top()[0])],
            "prediction_relevant": labels[int(answers[1].top()[0])],
            "probability": whole,
            "probability_relevant": kept,
            "probability_rest": rest,
            **measures.wav_measures(whole, kept, rest),
            "energy_share": float(relevant.square().sum() / original.square().sum()),
            "judge_agrees": judged,
            "file": stem.name,
            "insertion": None,
            "deletion": None,
        }

    def _curves(
        self, names: Sequence[str], kind: str, log_mel: Tensor, targets: Tensor, relevance: Tensor
    ) -> dict[str, Tensor]:
        """Return the areas under the insertion and deletion curves, which are kept."""
        with self.stopwatch("curves"), probing(self.recognizer) as probe:

            def probability(given: Tensor) -> Tensor:
                pairs = [(probe(given[p])[0], targets[p]) for p in probe.slices(given)]
                answers = [(Answer.of(self.recognizer, *pair), pair[1]) for pair in pairs]
                return torch.cat([answer.of_target(wanted) for answer, wanted in answers])

            base = baseline_of(self.recognizer, log_mel, "silence")
            both = measures.curves(probability, log_mel, relevance, base)
        found = dict(zip(("insertion", "deletion"), both, strict=True))
        for i, name in enumerate(names):
            points = {curve: values[i].tolist() for curve, values in found.items()}
            about = {"file": name, "map": kind, "share": measures.LEVELS}
            self.points.append(pd.DataFrame({**about, **points}))
        return {curve: measures.area(values) for curve, values in found.items()}

    def _draw(self, row: dict[str, Any], log_mel: Tensor, relevance: Tensor, heard: Tensor) -> None:
        from irdream.reports.attributions import attribution_figure

        (self.folder / "spectrograms").mkdir(parents=True, exist_ok=True)
        figure = attribution_figure(
            log_mel.cpu().numpy() * DB_PER_NATURAL,
            relevance.cpu().numpy(),
            heard.cpu().numpy() * DB_PER_NATURAL,
            hop_seconds=self.recognizer.hop_samples / self.recognizer.sample_rate_hz,
            centers_hz=self.recognizer.centers_hz(),
            title=f"{row['name']}, {instruments.name(row['target'])} by {self.method}: "
            f"{row['probability']:.2f}, relevant part {row['probability_relevant']:.2f}, "
            f"rest {row['probability_rest']:.2f}",
        )
        save_figure(figure, self.folder / "spectrograms" / f"{row['file']}.png")

    def finish(self, tracker: Tracker, shuffled: dict[str, list[float]]) -> dict[str, float]:
        """Write the curves, log and print what was measured, and return the metrics.

        Args:
            tracker: gets metrics and files.
            shuffled: correlations of the sanity check, of each layer; empty: it was not made.
        """
        from irdream.reports.attributions import curves_figure, print_attributions, summary

        table = pd.DataFrame(self.rows)
        metrics = summary(table, self.method)
        if self.points:
            curves = pd.concat(self.points, ignore_index=True)
            save_table(curves, self.folder / "curves.csv")
            save_figure(curves_figure(curves), self.folder / "curves.png")
        if shuffled:
            layers = pd.DataFrame(shuffled).T.rename_axis("layer").reset_index()
            save_table(layers, self.folder / "sanity.csv")
            metrics["attribute/sanity"] = left(shuffled)
        with self.stopwatch("tracking"):
            tracker.log_metrics(metrics)
            for name in FILES:
                if (self.folder / name).exists():
                    tracker.log_file(self.folder / name)
        print_attributions(table, self.method)
        if shuffled:
            _tell_sanity(shuffled, self.method)
        return metrics
