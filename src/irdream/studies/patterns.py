"""Is what noise is dreamed into the same in networks that were trained apart?

A profile is the mean over the frames of what a dream added to white noise, in dB. A target's excess
is the correlation of profiles toward it, less that of its profiles with those toward other targets:
of different noises within a network, of different networks between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from annotated_types import Ge

from irdream.arguments import Count, Positive
from irdream.audio.stft import DB_PER_NATURAL
from irdream.datasets.starts import NoiseStart
from irdream.dreaming.parametrizations import LogMel
from irdream.paper.noise import Array, by_noise, consistency
from irdream.paper.study import Stage
from irdream.recognizer import Recognizer
from irdream.studies.dreams import STEP_DB, Batch, dream
from irdream.studies.report import Tables
from irdream.studies.robust_dreams import robust
from irdream.studies.runner import Runner


def patterns(
    runner: Runner,
    *,
    others: Mapping[str, Sequence[str]],
    epsilon_db: Positive = 1.0,
    noises: Annotated[int, Ge(2)] = 6,
    permutations: Count = 2000,
) -> Tables:
    """Train and dream noise.

    Args:
        others: sets of checkpoints, to which the first plain network is added, by name; those with
            other labels or bands are left out.
        epsilon_db: of the robust networks beside the plain ones.
        noises: dreamed toward every label.
        permutations: of the targets, for p.
    """
    found: dict[str, Array] = {}
    for one in runner.networks([robust(db, "fgsm", 3) for db in (0.0, epsilon_db)]):
        found[f"{one.variant}, seed {one.seed}"] = _profiles(runner, one.recognizer, noises)
    names = list(found)
    half = len(names) // 2
    sets = {"plain": names[:half], "robust": names[half:], "plain and robust": names}
    for name in dict.fromkeys(itertools.chain(*others.values())):
        network = runner.load(path=name)
        if network.instruments == runner.labels:
            found[name] = _profiles(runner, network, noises)
    sets |= {title: [names[0], *some] for title, some in others.items()}
    rows = [(f"within {name}", "within networks", one) for name, one in found.items()]
    for title, members in sets.items():
        means = [found[name].mean(axis=0) for name in members if name in found]
        alike = [one for one in means if one.shape == means[0].shape]
        rows += [(title, "between networks", np.stack(alike))] if len(alike) > 1 else []
    tables = [
        _excess(one, runner.labels, permutations).assign(variant=name, data=kind)
        for name, kind, one in rows
    ]
    return {"patterns": pd.concat(tables, ignore_index=True)}


def _profiles(runner: Runner, network: Recognizer, noises: int) -> Array:
    """Return what dreams add to white noise, (noises, targets, bands), in dB."""

    def make() -> Stage:
        seconds, rate_hz = network.window_seconds, network.sample_rate_hz
        start = NoiseStart(count=noises, seconds=seconds, color="white")
        excerpts, _ = start.excerpts(sample_rate_hz=rate_hz, min_seconds=seconds)
        classes = len(network.instruments)
        waveform = torch.stack([one.waveform for one in excerpts]).to(network.device)
        waveform = waveform.repeat_interleave(classes, dim=0)
        targets = torch.arange(classes, device=network.device).repeat(noises)
        batch = Batch("noise", excerpts, (), waveform, targets, range(len(waveform)), rate_hz)
        how = {"step_size": STEP_DB, "steps": runner.steps, "confidence": None, "keep": "last"}
        dreams = dream(network, batch, LogMel(), **how)
        added = (dreams.log_mel - network.log_mel(waveform)).mean(dim=2) * DB_PER_NATURAL
        return pd.DataFrame({"noises": [noises]}), {"added": added.numpy(force=True)}

    _, arrays = runner.cell("noise", [noises], network, make)
    return by_noise(arrays["added"], noises)


def _excess(profiles: Array, labels: Sequence[str], permutations: int) -> pd.DataFrame:
    """Return a row for each target: same, other (correlations), excess; p, of all together."""
    n, targets = profiles.shape[:2]
    r = np.corrcoef(profiles.reshape(n * targets, -1)).reshape(n, targets, n, targets)
    pairs = list(itertools.permutations(range(n), 2))
    between = np.mean([r[i, :, j] for i, j in pairs], axis=0)  # (targets, targets)
    same = between.diagonal()
    other = (between.sum(axis=1) - same) / (targets - 1)
    p = consistency(profiles, permutations=permutations).p
    return pd.DataFrame(
        {"recording": labels, "same": same, "other": other, "excess": same - other, "p": p}
    ).assign(seed=None)
