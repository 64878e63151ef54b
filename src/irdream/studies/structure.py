"""Which structure of a network makes its dreams last as sound and be heard by others?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from irdream.arguments import Positive
from irdream.attribution import GradientXInput
from irdream.attribution.sanity import cascade
from irdream.dreaming.parametrizations import LogMel
from irdream.measures.table import BAR
from irdream.recognizer import Recognizer
from irdream.sonification import StftGain
from irdream.studies.dreams import ITSELF, STEP_DB, dream, heard_by, joined, rows_for
from irdream.studies.report import Tables
from irdream.studies.runner import Runner, Variant


def structure(
    runner: Runner, *, networks: Mapping[str, Mapping[str, str]], size_db: Positive = 4.0
) -> Tables:
    """Train and dream.

    Args:
        networks: arguments of the model, by name.
        size_db: of the dreams that judges hear, RMSE of the log-mel.
    """
    heard, survived, right, sane = [], [], [], []
    for one in runner.networks([Variant(name, model=model) for name, model in networks.items()]):
        at_size = partial(runner.at_sizes, sizes_db=[size_db])
        heard.append(runner.measured(one, "heard", at_size, [size_db]))
        survived.append(runner.measured(one, "survival", partial(survival, runner)))
        right.append(runner.measured(one, "accuracy", runner.accuracy))
        sane.append(runner.measured(one, "sanity", partial(sanity, runner)))
    tables = {"heard": heard, "survived": survived, "right": right, "sane": sane}
    return {name: joined(some) for name, some in tables.items()}


def survival(runner: Runner, recognizer: Recognizer) -> pd.DataFrame:
    """Dream log-mels to 0.9, and ask whether their WAVs, by a gain, have it, too: `survived`."""
    tables = []
    for batch in runner.batches:
        how = {"step_size": STEP_DB, "steps": 6 * runner.steps, "confidence": BAR}
        dreams = dream(recognizer, batch, LogMel(), **how)
        sound = StftGain()(
            dream=dreams.log_mel, original=recognizer.log_mel(batch.waveform),
            waveform=batch.waveform, frontend=recognizer.frontend,
        )  # fmt: skip
        table = heard_by({ITSELF: recognizer}, batch, sound)
        reached = dreams.reached.double().cpu().numpy()
        lasts = (table["on_top"] > 0) & (table["probability"] >= BAR)
        tables.append(
            table.assign(reached=reached, survived=lasts.astype(float).where(reached > 0))
        )
    return joined(tables)


def sanity(runner: Runner, recognizer: Recognizer) -> pd.DataFrame:
    """Compare attributions with those of the same network, all weights shuffled: `correlation`."""
    tables = []
    for batch in runner.batches:
        log_mel = recognizer.log_mel(batch.waveform).detach()
        found = [*cascade(GradientXInput(), recognizer, log_mel, batch.indices).values()][-1]
        tables.append(rows_for(batch).assign(correlation=[abs(one) for one in found]))
    return joined(tables)
