"""Say what a recognizer listened to: relevance of each mel band and frame, as picture and sound.

Files in `output_dir`: those of docs/attribution.md. Of each sound there is what the mask lets
through and what it does not, which add up to it. The controls are masks of equal area, a random one
and one of edges.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from annotated_types import Gt, Le
from torch import Tensor

from irdream import instruments
from irdream.arguments import Natural, checked
from irdream.attribution import Attribution, check_method, with_sound
from irdream.attribution.sanity import cascade, left
from irdream.audio import write_wav
from irdream.audio.stft import DB_PER_NATURAL, with_mel_mask
from irdream.datasets.base import Excerpt, counted, warn_long, warn_skipped
from irdream.datasets.starts import Start
from irdream.dreaming.best import Answer
from irdream.dreaming.probe import probing
from irdream.dreaming.targets import Item, batches, parse_targets
from irdream.errors import InputError
from irdream.measures import attribution as measures
from irdream.progress import Stopwatch, track
from irdream.recognizer import Recognizer
from irdream.reports.attributions import (
    methods_table,
    print_attributions,
    summary,
    write_attributions_page,
    write_map,
)
from irdream.reports.dream_page import PROBABILITIES
from irdream.reports.dreams import (
    answer_rows,
    file_names,
    fitting_judge,
    independent_judge,
    of_label,
    predict_file,
)
from irdream.reports.figures import attribution_figure, save_figure
from irdream.reports.tables import CURVES, save_table
from irdream.tasks.common import log_results, plan_items, read_start
from irdream.tracking import Tracker

logger = logging.getLogger(__name__)

FILES = (
    "index.html", "attributions.csv", PROBABILITIES, CURVES, "sanity.csv", "spectrograms", "maps",
    "sounds", "layers",
)  # fmt: skip

GB_A_MINUTE = 0.2  # of one sound
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
    command: Sequence[str] = (),
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Explain the recognizer's answer on every excerpt of `start`, for every target.

    Arguments that conf/config.yaml has as keys of `attribute` are explained there.

    Args:
        recognizer: left as it was; see `irdream.attribution.base` where it gets no log-mel.
        target: an instrument, several, `all`, `correct` or `incorrect`; None: what the recognizer
            predicts; of dreams the originals' labels and the targets.
        judge: is asked about what the mask lets through; None, or the recognizer again: none.
        share: of the bins (mel band x frame); fewer where fewer speak for the target. Not used
            where the method gives a mask.
        command: the words that were typed, for the page.

    Returns `attribute/count`; `attribute/<measure>`, a mean; `attribute/random/<measure>` and
    `attribute/edges/<measure>`, those of the controls; `attribute/sanity`, what is left of the maps
    with all weights shuffled. Raises InputError for a front end that gives no bands, a method that
    does not suit the network, a bad target, or nothing to explain.
    """
    stopwatch = stopwatch or Stopwatch()
    if not hasattr(recognizer.stft_grid, "mel_basis"):
        raise InputError(
            f"front end {type(recognizer.frontend).__name__} has an n_fft and no mel_basis to "
            "explain bands by; expected both, such as HanLogMel, or none, such as Waveform"
        )
    targets = None if target is None else parse_targets(target, recognizer.instruments)
    method = type(attribution).__name__
    of_dreams = hasattr(start, "wanted")
    toward = "the originals' labels and the targets" if of_dreams else "what is predicted"
    toward = toward if targets is None else ", ".join(targets)
    name = getattr(start, "name", "the start")
    print(f"attribute: {name}, {method} of {toward}, {recognizer.where}", flush=True)
    check_method(attribution, recognizer)
    judge = judge and independent_judge(judge, recognizer)
    if info:
        return {}
    with stopwatch("reading audio"):
        excerpts, bad = read_start(start, recognizer, "explain")
    warn_long(excerpts, recognizer.sample_rate_hz, gb_a_minute=GB_A_MINUTE)
    with stopwatch("predicting"):
        items = _items(recognizer, start, excerpts, targets, seed)
    lengths = [len(one.waveform) for one in excerpts]
    seconds = [length / recognizer.sample_rate_hz for length in lengths]
    judge = fitting_judge(judge, (item.target for item in items), seconds)
    written = _Written(
        recognizer=recognizer, judge=judge, start=start, excerpts=excerpts, items=items,
        method=method, share=None if getattr(attribution, "gives_mask", False) else share,
        with_curves=curves, figures=figures, seed=seed, folder=output_dir, stopwatch=stopwatch,
    )  # fmt: skip
    most, shuffled = BATCH_SECONDS * recognizer.sample_rate_hz, dict[str, list[float]]()
    parts = [*batches(items, lengths, most)]
    for batch in track(parts, "explaining", total=len(parts)):
        sounds = [excerpts[item.excerpt].waveform for item in batch]
        classes = [recognizer.instruments.index(item.target) for item in batch]
        waveform = torch.stack(sounds).to(recognizer.device)
        wanted = torch.tensor(classes, device=recognizer.device)
        with torch.no_grad():
            log_mel = recognizer.stft_grid(waveform)
        with stopwatch("attribution"):
            relevance = with_sound(attribution, waveform)(recognizer, log_mel, wanted)
        written.add(batch, waveform, log_mel, wanted, relevance)
        if getattr(attribution, "layers", None):
            with stopwatch("layers"):
                written.add_layers(batch, waveform, log_mel, attribution)
        if lacking := sanity - len(next(iter(shuffled.values()), [])):
            with stopwatch("sanity check"):
                some = with_sound(attribution, waveform[:lacking])
                first = (log_mel[:lacking], wanted[:lacking])
                for name, values in cascade(some, recognizer, *first, seed=seed).items():
                    shuffled[name] = shuffled.get(name, []) + values
    metrics = written.finish(tracker, shuffled, command)
    warn_skipped(bad)
    return metrics


@torch.no_grad()
def _items(
    recognizer: Recognizer,
    start: Start,
    excerpts: Sequence[Excerpt],
    targets: list[str] | None,
    seed: int,
) -> list[Item]:
    """Return which excerpt is explained for which target."""
    device, known = recognizer.device, recognizer.instruments
    if targets is not None:
        listed = [(one.name, one.labels) for one in excerpts]
        return plan_items(targets, listed, known=known, seed=seed)
    tops = [known[int(recognizer(x.waveform[None].to(device))[0].argmax())] for x in excerpts]
    wanted = getattr(start, "wanted", {})
    named = {label for labels in wanted.values() for label in labels if label}
    if unknown := sorted(label for label in named if instruments.find(label, known) is None):
        words = "the recognizer does not know %s: what it predicts is explained in their place"
        logger.warning(words, instruments.in_words(unknown))
    each = [
        [instruments.find(label, known) or top for label in wanted.get(name, [""])]
        for name, top in zip((one.name for one in excerpts), tops, strict=True)
    ]
    return [Item(i, code) for i, codes in enumerate(each) for code in dict.fromkeys(codes)]


# What is written ------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Written:
    """The maps that are made: their sounds and figures are files, each has a row."""

    recognizer: Recognizer
    judge: Recognizer | None
    start: Start
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
    probabilities: list[dict[str, object]] = field(default_factory=list)
    of_dreams: dict[str, list[Any]] = field(default_factory=dict)  # panels of their figures

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
                sounds = with_mel_mask(waveform, mask, self.recognizer.stft_grid).cpu()
                groups = zip(items, names, waveform.cpu(), sounds, mask, strict=True)
                rows = [self._row(item, kind, folder / name, *of) for item, name, *of in groups]
            about = {"sparsity": measures.gini(found), "area": mask.mean(dim=(1, 2))}
            if self.with_curves:
                about |= self._curves(names, kind, waveform, targets, found)
            for i, row in enumerate(rows):
                row |= {name: float(values[i]) for name, values in about.items()}
                if kind == self.method:
                    with self.stopwatch("figures"):
                        self._draw(items[i], row, log_mel[i], found[i], sounds[i])
            self.rows += rows
        save_table(pd.DataFrame(self.rows), self.folder / "attributions.csv")
        save_table(pd.DataFrame(self.probabilities), self.folder / PROBABILITIES)

    def _change_share(self, item: Item, mask: Tensor) -> float | None:
        """Return the share of a dream's change, by energy, that a mask lets through."""
        name, rate_hz = self.excerpts[item.excerpt].name, self.recognizer.sample_rate_hz
        change = getattr(self.start, "change", lambda *name, **rate: None)
        if (heard := change(name, sample_rate_hz=rate_hz)) is None or not heard.any():
            return None
        heard = heard[None].to(mask.device)
        part = with_mel_mask(heard, mask[None], self.recognizer.stft_grid)
        return float(part.square().sum() / heard.square().sum())

    def add_layers(
        self, items: Sequence[Item], waveform: Tensor, log_mel: Tensor, method: Any
    ) -> None:
        """Write the parts of the first sounds that excite the strongest channels of the layers."""
        names = file_names(self.excerpts, items, self.recognizer.instruments)
        drawn = [i for i, item in enumerate(items) if item in self.items[: self.figures]]
        if not drawn:
            return
        recognizer, waveform = self.recognizer, waveform[drawn]
        maps = method.layer_maps(recognizer, log_mel[drawn])
        for number, (layer, channels, gain) in enumerate(maps, start=1):
            sounds = with_mel_mask(waveform, gain, recognizer.frontend).cpu()
            for i, channel, sound in zip(drawn, channels.tolist(), sounds, strict=True):
                name = f"{number:02d}-{layer} channel {channel}.wav"
                path = self.folder / "layers" / names[i] / name
                sound = sound / max(1.0, float(sound.abs().max()))
                write_wav(path, sound, sample_rate_hz=recognizer.sample_rate_hz)

    def _row(
        self, item: Item, kind: str, stem: Path, original: Tensor, relevant: Tensor, mask: Tensor
    ) -> dict[str, Any]:
        """Write original, masked sound and rest as WAVs; return their predictions and measures."""
        excerpt, labels = self.excerpts[item.excerpt], self.recognizer.instruments
        sounds = {"original": original, "relevant": relevant, "rest": original - relevant}
        scale = 1 / max(1.0, *(float(x.abs().max()) for x in sounds.values()))
        paths = {part: stem.with_name(f"{stem.name}-{part}.wav") for part in sounds}
        for part, path in paths.items():
            write_wav(path, sounds[part] * scale, sample_rate_hz=self.recognizer.sample_rate_hz)
        answers = [predict_file(path, item.target, self.recognizer) for path in paths.values()]
        index = torch.tensor([labels.index(item.target)])
        whole, kept, rest = (float(one.of_target(index)[0]) for one in answers)
        told, is_own = {"recognizer": (labels, answers[0], answers[1])}, kind == self.method
        judge, judged = self.judge, dict[str, float]()
        if judge and (known := instruments.find(item.target, judge.instruments)):
            answer = predict_file(paths["relevant"], known, judge)
            judged["judge_agrees"] = float(of_label(answer, known, judge.instruments)[1])
            if is_own:
                before = predict_file(paths["original"], known, judge)
                judged["judge_whole"] = float(of_label(before, known, judge.instruments)[1])
                told["judge"] = (judge.instruments, before, answer)
        self.probabilities += answer_rows(stem.name, told) if is_own else []
        return {
            "name": excerpt.name,
            "labels": ";".join(excerpt.labels),
            "target": item.target,
            "map": kind,
            "prediction": labels[int(answers[0].top()[0])],
            "prediction_relevant": labels[int(answers[1].top()[0])],
            "probability": whole,
            "probability_relevant": kept,
            "probability_rest": rest,
            **measures.wav_measures(whole, kept, rest),
            "energy_share": float(relevant.square().sum() / original.square().sum()),
            "judge_whole": None,
            "judge_agrees": None,
            **judged,
            "file": stem.name,
            "change_share": self._change_share(item, mask),
        }

    def _curves(
        self, names: Sequence[str], kind: str, waveform: Tensor, targets: Tensor, relevance: Tensor
    ) -> dict[str, Tensor]:
        """Return the areas under the insertion and deletion curves, which are kept."""
        recognizer = self.recognizer
        with self.stopwatch("curves"), probing(recognizer) as probe:

            def probability(mask: Tensor) -> Tensor:
                given = recognizer.log_mel(with_mel_mask(waveform, mask, recognizer.stft_grid))
                logits = torch.cat([probe(given[part])[0] for part in probe.slices(given)])
                return Answer.of(recognizer, logits, targets).of_target(targets)

            both = measures.curves(probability, relevance)
        found = dict(zip(("insertion", "deletion"), both, strict=True))
        for i, name in enumerate(names):
            points = {curve: values[i].tolist() for curve, values in found.items()}
            about = {"file": name, "map": kind, "share": measures.LEVELS}
            self.points.append(pd.DataFrame({**about, **points}))
        return {curve: measures.area(values) for curve, values in found.items()}

    def _draw(
        self, item: Item, row: dict[str, Any], log_mel: Tensor, relevance: Tensor, sound: Tensor
    ) -> None:
        """Write a map's pictures; of the last one of a dream all of its maps, too."""
        grid, name, what = self.recognizer.stft_grid, row["file"], instruments.name(row["target"])
        centers_hz, values = self.recognizer.centers_hz(grid), relevance.cpu().numpy()
        assert centers_hz is not None  # of a front end with a mel basis
        path = self.folder / "maps" / f"{name}.png"
        write_map(path, values, centers_hz.numpy(), self.recognizer.sample_rate_hz)
        of_dreams = hasattr(self.start, "wanted")  # each has up to three maps
        if item not in self.items[: self.figures * (3 if of_dreams else 1)]:
            return
        dream, _, kind = str(row["name"]).rpartition("-")
        heard = grid(sound[None].to(log_mel.device))[0]
        in_db = [one.cpu().numpy() * DB_PER_NATURAL for one in (log_mel, heard)]
        panels = [
            (kind if of_dreams else "original", in_db[0]),
            (f"for {what}", values),
            ("what the mask lets through", in_db[1]),
        ]
        of_dream = self.of_dreams.setdefault(dream, [])
        of_dream.append(panels)
        title = (
            f"{row['name']}, {what} by {self.method}: {row['probability']:.2f}, relevant part "
            f"{row['probability_relevant']:.2f}, rest {row['probability_rest']:.2f}"
        )
        drawn = [(name, [panels], title)]
        if row["change_share"] is not None and len(of_dream) > 1:
            title = f"{dream}; of the change {row['change_share']:.0%} in what is relevant"
            drawn.append((f"{name}-evidence", of_dream, title))
        folder, hop_seconds = self.folder / "spectrograms", grid.hop_samples / grid.sample_rate_hz
        for file, rows, title in drawn:
            how: Any = {"hop_seconds": hop_seconds, "centers_hz": centers_hz, "title": title}
            save_figure(attribution_figure(rows, **how), folder / f"{file}.png")

    def finish(
        self, tracker: Tracker, shuffled: dict[str, list[float]], command: Sequence[str]
    ) -> dict[str, float]:
        """Write the curves, log and print the results, and return the metrics.

        `shuffled` are the sanity check's correlations, if it was made; `command` the words typed.
        """
        table = pd.DataFrame(self.rows)
        means = methods_table(
            {self.method: table}, {self.method: left(shuffled)} if shuffled else {}
        )
        metrics = summary(means)
        if self.points:
            save_table(pd.concat(self.points, ignore_index=True), self.folder / CURVES)
        if shuffled:
            layers = pd.DataFrame(shuffled).T.rename_axis("layer").reset_index()
            save_table(layers, self.folder / "sanity.csv")
        with self.stopwatch("figures"):
            write_attributions_page(table, self.folder, means=means, command=command)
        with self.stopwatch("tracking"):
            log_results(tracker, metrics, self.folder, FILES)
        print_attributions(table, means)
        if shuffled:
            count = counted(len(next(iter(shuffled.values()))), "excerpt")
            each = ", ".join(f"{name} {left({name: x}):.2f}" for name, x in shuffled.items())
            print(f"sanity check on {count}, left when shuffled from the top to: {each}")
        return metrics
