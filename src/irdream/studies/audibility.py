"""How far can a dream stay below what is heard, and still be heard by the network and by others?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch

from irdream.arguments import Positive
from irdream.audio.masking import masking_violation
from irdream.audio.pitch import pitch_hz
from irdream.dreaming.constraints import MaskingProjection, RmseBudget, SnrFloor
from irdream.dreaming.parametrizations import Harmonic, StftGain, Waveform
from irdream.dreaming.parametrizations.sound import LEAST_VOICED
from irdream.recognizer import Recognizer
from irdream.studies.dreams import ITSELF, MAX_GAIN_DB, Batch, dream, heard_by, joined, rows_for
from irdream.studies.report import Tables
from irdream.studies.runner import Runner, Variant

MASKED = "gain, masked"


def audibility(
    runner: Runner,
    *,
    gains_db: Sequence[Positive],
    ratios_db: Sequence[Positive],
    harmonics_db: Sequence[Positive],
) -> Tables:
    """Train and dream.

    Args:
        gains_db: RMSE of a gain on the spectrum.
        ratios_db: least signal-to-noise ratios of a waveform.
        harmonics_db: RMSE of gains on harmonics and bands, of sounds with one pitch at a time.
    """
    ways = [list(gains_db), list(ratios_db), list(harmonics_db)]
    make = partial(_frontier, runner, ways=ways)
    plain = runner.networks([Variant("plain")])
    table = joined([runner.measured(one, "frontier", make, ways) for one in plain])
    sizes = [f" {db:g}" if db else "" for db in table["held_db"]]
    table["variant"] = table["way"] + sizes
    middle = table.groupby(["data", "variant"])["noise_to_mask_db"].transform("mean")
    table = table.assign(mean_noise_to_mask_db=middle.round(2))
    return {"heard": joined([table, runner.controls([])])}


def _frontier(
    runner: Runner, recognizer: Recognizer, *, ways: Sequence[Sequence[float]]
) -> pd.DataFrame:
    frontend: Any = recognizer.frontend
    grid = {"n_fft": frontend.n_fft, "hop_samples": frontend.hop_samples}
    tables = []
    for whole in runner.batches:
        for way, held_db, batch, how in _ways(whole, recognizer, ways):
            if not len(batch.targets):
                continue
            dreams = dream(
                recognizer, batch, **how, steps=runner.steps, confidence=None, keep="last"
            )
            assert dreams.waveform is not None
            heard = heard_by({ITSELF: recognizer, **runner.judges}, batch, dreams.waveform)
            beyond = masking_violation(
                batch.waveform, dreams.waveform, **grid, sample_rate_hz=recognizer.sample_rate_hz
            )
            masks = rows_for(batch)[["excerpt", "target"]].assign(
                noise_to_mask_db=beyond.noise_to_mask_db.tolist(), violation=beyond.share.tolist()
            )
            tables.append(
                heard.merge(masks, on=["excerpt", "target"]).assign(way=way, held_db=held_db)
            )
    return joined(tables)


def _ways(
    batch: Batch, recognizer: Recognizer, ways: Sequence[Sequence[float]]
) -> Iterator[tuple[str, float, Batch, dict[str, Any]]]:
    """Yield name, size, items and settings of each way to dream a batch."""
    gain = {"parametrization": StftGain(max_gain_db=MAX_GAIN_DB)}
    yield MASKED, 0.0, batch, gain | {"step_size": 0.5, "constraint": MaskingProjection()}
    for db in ways[0]:
        yield "gain", db, batch, gain | {"step_size": db / 8, "constraint": RmseBudget(db=db)}
    for db in ways[1]:
        percent = 100.0 * 10.0 ** (-db / 20.0)
        how = {"parametrization": Waveform(), "constraint": SnrFloor(db=db)}
        yield "waveform", db, batch, how | {"step_size": percent / 8}
    pitch = pitch_hz(batch.waveform.cpu(), sample_rate_hz=recognizer.sample_rate_hz)
    voiced = (torch.isfinite(pitch).double().mean(dim=1) >= LEAST_VOICED).nonzero()[:, 0]
    for db in ways[2]:
        how = {"parametrization": Harmonic(), "constraint": RmseBudget(db=db)}
        yield "harmonic", db, batch.of(voiced.tolist()), how | {"step_size": db / 8}
