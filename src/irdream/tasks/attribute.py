"""Say what a recognizer listened to: relevance of each mel band and frame, as picture and sound.

What is written: `irdream.reports.attribution_files`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from irdream import instruments
from irdream.arguments import Natural, checked
from irdream.attribution import Attribution, check_method, with_sound
from irdream.attribution.sanity import cascade
from irdream.datasets.base import Excerpt, tell_long, tell_skipped
from irdream.datasets.starts import Start
from irdream.dreaming.targets import Item, batches, parse_targets, plan
from irdream.errors import InputError
from irdream.progress import track
from irdream.recognizer import Recognizer
from irdream.reports.attribution_files import AttributionFiles
from irdream.reports.dreams import another, suited
from irdream.stopwatch import Stopwatch
from irdream.tracking import Tracker

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
        recognizer: left as it was; see `irdream.attribution.inspection` where it gets no log-mel.
        target: an instrument, several, `all`, `correct` or `incorrect`; None: what the recognizer
            predicts; of dreams the originals' labels and the targets.
        judge: is asked about what the mask lets through; None, or the recognizer again: none.
        share: of the bins (mel band x frame); fewer where fewer speak for the target. Not used
            where the method gives a mask.
        command: the words that were typed, for the page.

    Returns:
        `attribute/count`; `attribute/<measure>`, a mean; `attribute/random/<measure>` and
        `attribute/edges/<measure>`, those of the controls; `attribute/sanity`, what is left of the
        maps with all weights shuffled.

    Raises:
        InputError: a front end that gives no bands, a method that does not suit the network, a bad
            target, nothing to explain.
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
    judge = judge and another(judge, recognizer)
    if info:
        return {}
    with stopwatch("reading audio"):
        excerpts, bad = start.excerpts(
            sample_rate_hz=recognizer.sample_rate_hz, min_seconds=recognizer.window_seconds
        )
    if not excerpts:
        raise InputError(f"nothing to explain: {[*bad, 'no excerpts'][0]}")
    tell_long(excerpts, recognizer.sample_rate_hz, gb_a_minute=GB_A_MINUTE)
    with stopwatch("predicting"):
        items = _items(recognizer, start, excerpts, targets, seed)
    if not items:
        raise InputError(
            f"target={toward} and no excerpt has such a label; expected an instrument that the "
            f"recognizer knows: {instruments.in_words(recognizer.instruments)}"
        )
    lengths = [len(one.waveform) for one in excerpts]
    seconds = [length / recognizer.sample_rate_hz for length in lengths]
    judge = suited(judge, (item.target for item in items), seconds)
    kept = None if getattr(attribution, "gives_mask", False) else share
    written = AttributionFiles(
        recognizer, judge, start, excerpts, items, method, kept, curves, figures, seed, output_dir,
        stopwatch,
    )  # fmt: skip
    most, shuffled = BATCH_SECONDS * recognizer.sample_rate_hz, dict[str, list[float]]()
    parts = [*batches(items, lengths, most)]
    for batch in track(parts, "explaining", total=len(parts)):
        waveform, log_mel, wanted = _given(recognizer, excerpts, batch)
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
    tell_skipped(bad)
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
    names, labels = [one.name for one in excerpts], [one.labels for one in excerpts]
    if targets is not None:
        return plan(targets, names, labels, seed=seed, known=recognizer.instruments)
    device, known = recognizer.device, recognizer.instruments
    tops = [known[int(recognizer(x.waveform[None].to(device))[0].argmax())] for x in excerpts]
    wanted = getattr(start, "wanted", {})
    each = [
        [instruments.find(label, known) or top for label in wanted.get(name, [""])]
        for name, top in zip(names, tops, strict=True)
    ]
    return [Item(i, code) for i, codes in enumerate(each) for code in dict.fromkeys(codes)]


@torch.no_grad()
def _given(
    recognizer: Recognizer, excerpts: Sequence[Excerpt], items: Sequence[Item]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return waveforms, log-mels and targets of items."""
    waveform = torch.stack([excerpts[one.excerpt].waveform for one in items]).to(recognizer.device)
    targets = [recognizer.instruments.index(one.target) for one in items]
    return waveform, recognizer.stft_grid(waveform), torch.tensor(targets, device=waveform.device)
