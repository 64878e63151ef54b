"""Noises toward every instrument: their distances, their patterns, and steps without a stop."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_samples

from irdream.audio.stft import DB_PER_NATURAL
from irdream.errors import InputError
from irdream.instruments import CODES
from irdream.paper.noise import (
    NoiseFindings,
    by_noise,
    consistency,
    dream_noise,
    recurring_bands,
    sound_distances,
)
from irdream.paper.study import Found
from irdream.progress import Stopwatch
from irdream.reports.tables import rows_of


def found(**arrays: list[np.ndarray]) -> Found:
    """Return dreams whose log-mels are given in dB."""
    natural = {
        name.replace("_", "-"): [one / DB_PER_NATURAL for one in values]
        for name, values in arrays.items()
    }
    return Found(items=[], table=pd.DataFrame(), arrays=natural)


def log_mel(*values: float) -> np.ndarray:
    """Return a log-mel of two bands and two frames."""
    return np.array(values, float).reshape(2, 2)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# Distances --------------------------------------------------------------------------------------


def test_one_noise_after_the_other_each_toward_all_targets() -> None:
    values = np.arange(6.0 * 4).reshape(6, 2, 2)
    ordered = by_noise(values, 2)
    assert ordered.shape == (2, 3, 2, 2)
    for i, target in itertools.product(range(2), range(3)):
        assert (ordered[i, target] == values[3 * i + target]).all()


def test_distances_by_hand() -> None:
    """Two noises toward two targets; the means over the frames decide the profile."""
    first, second = log_mel(0, 0, 0, 0), log_mel(4, 0, 0, 0)
    sounds = [log_mel(2, 2, 0, 0), log_mel(2, -2, 0, 0), log_mel(4, 0, 0, 0), log_mel(0, 4, 0, 0)]
    table = sound_distances(
        found(original=[first, first, second, second], wav_gain=sounds, dream=[first * 99] * 4), 2
    )

    half = np.sqrt(2)  # of the profiles (2, 0) and (0, 0): the root of (4 + 0) / 2
    expected = [
        ("dream and its noise", half, half),
        ("dream and its noise", half, 0.0),
        ("two targets, one noise", 2.0, half),
        ("dream and its noise", 0.0, 0.0),
        ("dream and its noise", np.sqrt(8), 0.0),
        ("two targets, one noise", np.sqrt(8), 0.0),
        ("two noises", 2.0, half),
        ("one target, two noises", half, 0.0),
        ("one target, two noises", np.sqrt(10), half),
    ]
    expected = pd.DataFrame(expected, columns=["pair", "rmse_db", "profile_db"])
    pd.testing.assert_frame_equal(table, expected, atol=1e-12)


# Patterns ---------------------------------------------------------------------------------------


def of_two_patterns() -> np.ndarray:
    """Two noises dreamed toward two targets, with patterns at right angles."""
    patterns = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    return np.stack([patterns, 3 * patterns + 5]).reshape(2, 2, 2, 2)


def test_two_patterns_by_hand() -> None:
    one = consistency(of_two_patterns(), permutations=999)
    assert (one.within, one.between) == pytest.approx((1, 0))
    assert one.silhouette == pytest.approx(1)  # at 0 from their own, at 1 from the other
    assert np.isnan(one.d)  # pairs without any spread
    # Of the four orders of two targets for two noises, two keep the pairs together.
    assert one.p == 0.5
    exchanged = of_two_patterns()
    exchanged[1] = exchanged[1, ::-1]
    other = consistency(exchanged, permutations=99)
    assert (other.within, other.between) == pytest.approx((0, 1))
    assert (other.silhouette, other.p) == pytest.approx((-1, 1))


def test_it_is_what_a_plain_loop_computes() -> None:
    residuals = noise(0, 4, 3, 6, 5) + noise(1, 1, 3, 6, 5)
    within, between = [], []
    for n, m in itertools.combinations(range(4), 2):
        for t, u in itertools.product(range(3), range(3)):
            pair = residuals[n, t].ravel(), residuals[m, u].ravel()
            (within if t == u else between).append(np.corrcoef(*pair)[0, 1])
    one = consistency(residuals, permutations=50)
    assert one.within == pytest.approx(np.mean(within))
    assert one.between == pytest.approx(np.mean(between))
    pooled = np.sqrt((17 * np.var(within, ddof=1) + 35 * np.var(between, ddof=1)) / 52)
    assert one.d == pytest.approx((one.within - one.between) / pooled)


def test_the_silhouette_is_that_of_each_residual_among_those_of_other_noises() -> None:
    residuals = noise(0, 4, 3, 6, 5) + noise(1, 1, 3, 6, 5) + noise(2, 4, 1, 6, 5)
    distances = 1 - np.corrcoef(residuals.reshape(12, -1))
    np.fill_diagonal(distances, 0)
    noises, targets = np.divmod(np.arange(12), 3)
    expected = []
    for i in range(12):
        kept = np.flatnonzero((noises != noises[i]) | (np.arange(12) == i))
        samples = silhouette_samples(
            distances[np.ix_(kept, kept)], targets[kept], metric="precomputed"
        )
        expected.append(samples[kept == i])
    one = consistency(residuals, permutations=20)
    assert one.silhouette == pytest.approx(np.mean(expected))


def test_patterns_are_found_and_shared_noise_is_none() -> None:
    patterned = consistency(noise(0, 5, 4, 8, 6) + noise(1, 1, 4, 8, 6), permutations=500)
    assert patterned.p == pytest.approx(1 / 501)
    assert patterned.d > 2
    shared = consistency(noise(3, 5, 4, 8, 6) + 3 * noise(2, 5, 1, 8, 6), permutations=500)
    assert abs(shared.within - shared.between) < 0.05
    assert shared.p > 0.05
    assert abs(shared.silhouette) < 0.1


def test_p_values_of_pure_noise_are_uniform() -> None:
    p_values = [
        consistency(noise(seed, 3, 4, 5, 4) + 2 * noise(seed + 1000, 3, 1, 5, 4), permutations=99).p
        for seed in range(300)
    ]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=0.07)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_residual_without_correlation_is_refused(value: float) -> None:
    residuals = noise(0, 2, 2, 4, 4)
    residuals[1, 0] = value
    with pytest.raises(InputError, match="constant or not finite for some noise and target"):
        consistency(residuals, permutations=20)


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Return profiles (5, 4, 60) and which bands were changed: of two brighter, of one darker."""
    profiles = 0.3 * noise(0, 5, 4, 60) + noise(1, 5, 1, 60)
    bands = np.zeros((4, 60), bool)
    bands[0, 5:13] = bands[1, 20:30] = bands[2, 40:48] = True
    sign = np.array([1, 1, -1, 1])[:, None]
    return profiles + 4.0 * sign * bands, bands


def test_planted_bands_are_found_at_their_place() -> None:
    profiles, bands = planted()
    recurring = recurring_bands(profiles, permutations=300)
    assert (recurring.shape, recurring.dtype) == ((4, 60), bool)
    for t in range(3):
        assert (recurring[t] & bands[t]).sum() > 0.7 * bands[t].sum()
    assert (recurring & ~bands).sum() < 0.3 * bands.sum()
    assert (recurring_bands(-profiles, permutations=300) == recurring).all()


def test_bands_that_change_for_every_target_set_none_apart() -> None:
    profiles = noise(0, 5, 4, 30)
    profiles[:, :, 10:20] += 5
    assert not recurring_bands(profiles, permutations=200).any()


def test_in_pure_noise_nothing_is_found_but_seldom(monkeypatch) -> None:
    monkeypatch.setattr("irdream.paper.noise.LEAST_BANDS", 1)
    trials = 300
    found = [
        recurring_bands(
            noise(seed, 4, 3, 40) + noise(seed + 1000, 4, 1, 40), permutations=59, seed=seed
        ).any()
        for seed in range(trials)
    ]
    assert 0 < sum(found) <= 0.08 * trials  # 0.05 and two standard errors


def test_few_bands_are_dropped_and_signs_do_not_join(monkeypatch) -> None:
    monkeypatch.setattr("irdream.paper.noise.SMOOTH_BANDS", 0.01)  # none
    profiles = 0.1 * noise(0, 10, 4, 20)
    profiles[:, 0, 3:7] += 5  # four bands brighter, beside four darker ones
    profiles[:, 0, 7:11] -= 5
    for least, count in ((4, 8), (5, 0)):
        monkeypatch.setattr("irdream.paper.noise.LEAST_BANDS", least)
        assert recurring_bands(profiles, permutations=200)[0].sum() == count


# The whole --------------------------------------------------------------------------------------


@pytest.fixture
def dream(study):
    def dream(**changes) -> NoiseFindings:
        settings = {"count": 2, "steps": 3, "permutations": 20}
        small = study(second=None, dreamed=changes.pop("dreamed", ("log_mel",)))
        hasty = replace(small.ascents["log_mel"], step_size=changes.pop("step_size", 2.0))
        small = replace(small, ascents={**small.ascents, "log_mel": hasty})
        return dream_noise(small, stopwatch=Stopwatch(), **settings | changes)

    return dream


def test_every_noise_meets_every_target_and_takes_all_steps(dream) -> None:
    result = dream(dreamed=("log_mel", "stft_gain", "waveform"), steps=5)

    table = result.table[result.table["kind"] == "dream"]
    assert (table["steps"] == 5).all()
    assert (table["steps_to_0.9"] < 5).any()  # some were there before, and went on
    both = list(itertools.product(("white", "pink"), ("log_mel", "stft_gain")))
    assert list(result.found) == both
    for (color, ascent), dreams in result.found.items():
        rows = table[(table["color"] == color) & (table["ascent"] == ascent)]
        assert rows["excerpt"].tolist() == [f"{color}-{i}" for i in range(2) for _ in CODES]
        assert rows["target"].tolist() == list(CODES) * 2
        assert [(item.excerpt, item.target) for item in dreams.items] == list(
            itertools.product(range(2), CODES)
        )
        originals = by_noise(dreams.of("original"), 2)
        assert (originals == originals[:, :1]).all()
        assert not np.allclose(originals[0], originals[1])
        names = {path.stem.partition("-to-")[0] for one in dreams.sounds for path in one.iterdir()}
        assert names == {f"{color}-0"}  # sounds are kept of the first noise
    patterns = result.patterns[["noise", "dreamed", "compared"]].itertuples(index=False)
    places = ("in place", "over the bands")
    assert [tuple(row) for row in patterns] == [(*one, place) for one in both for place in places]
    white = result.found["white", "log_mel"]
    change_db = DB_PER_NATURAL * by_noise(white.of("dream") - white.of("original"), 2)
    expected = consistency(change_db, permutations=20)
    assert result.patterns.iloc[0]["within"] == pytest.approx(expected.within)
    assert (result.count, result.steps, result.bands["white"].shape) == (2, 5, (11, 12))


def test_the_last_iterate_is_taken_also_where_it_is_not_the_best(dream) -> None:
    table = rows_of(dream(step_size=30.0, steps=4).table, kind="dream")
    assert set(table["steps"]) == {4}
    assert min(table["target_probability"]) < 0.9
