from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from irdream.errors import InputError
from irdream.paper.patterns import band_profiles, pattern_consistency, recurring_regions


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def of_two_patterns() -> np.ndarray:
    """Two noises dreamed toward two targets, with patterns at right angles."""
    patterns = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    return np.stack([patterns, 3 * patterns + 5]).reshape(2, 2, 2, 2)


def test_two_patterns_by_hand() -> None:
    found = pattern_consistency(of_two_patterns(), permutations=999)
    assert (found.within, found.between, found.difference) == pytest.approx((1, 0, 1))
    assert (found.pairs_within, found.pairs_between) == (2, 2)
    assert found.silhouette == pytest.approx(1)  # at 0 from their own, at 1 from the other
    assert np.isnan(found.effect_size)  # pairs without any spread
    # Of the four orders of two targets for two noises, two keep the pairs together.
    assert found.p_value == pytest.approx(0.5, abs=0.06)


def test_exchanged_patterns_are_opposed() -> None:
    residuals = of_two_patterns()
    residuals[1] = residuals[1, ::-1]
    found = pattern_consistency(residuals, permutations=99)
    assert (found.difference, found.silhouette, found.p_value) == pytest.approx((-1, -1, 1))


def test_it_is_what_a_plain_loop_computes() -> None:
    residuals = noise(0, 4, 3, 6, 5) + noise(1, 1, 3, 6, 5)
    within, between = [], []
    for n in range(4):
        for m in range(n):
            for t in range(3):
                for u in range(3):
                    pair = residuals[n, t].ravel(), residuals[m, u].ravel()
                    (within if t == u else between).append(np.corrcoef(*pair)[0, 1])
    found = pattern_consistency(residuals)
    assert (found.pairs_within, found.pairs_between) == (len(within), len(between)) == (18, 36)
    assert found.within == pytest.approx(np.mean(within))
    assert found.between == pytest.approx(np.mean(between))
    pooled = np.sqrt((17 * np.var(within, ddof=1) + 35 * np.var(between, ddof=1)) / 52)
    assert found.effect_size == pytest.approx((found.within - found.between) / pooled)


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
    assert pattern_consistency(residuals).silhouette == pytest.approx(np.mean(expected))


def test_patterns_are_found_and_shared_noise_is_none() -> None:
    patterned = noise(0, 5, 4, 8, 6) + noise(1, 1, 4, 8, 6)
    found = pattern_consistency(patterned, permutations=500)
    assert found.p_value == 1 / 501
    assert found.effect_size > 2
    shared = pattern_consistency(noise(3, 5, 4, 8, 6) + 3 * noise(2, 5, 1, 8, 6), permutations=500)
    assert abs(shared.difference) < 0.05
    assert shared.p_value > 0.05
    assert abs(shared.silhouette) < 0.1


def test_p_values_of_pure_noise_are_uniform() -> None:
    p_values = [
        pattern_consistency(
            noise(seed, 3, 4, 5, 4) + 2 * noise(seed + 1000, 3, 1, 5, 4), permutations=99
        ).p_value
        for seed in range(300)
    ]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=0.07)


def test_level_and_size_of_a_residual_do_not_matter() -> None:
    residuals = noise(0, 3, 3, 6, 5)
    changed = residuals * np.array([1.0, 20.0, 0.1])[:, None, None, None] + 7
    first = pattern_consistency(residuals, permutations=50)
    second = pattern_consistency(changed, permutations=50)
    assert second.difference == pytest.approx(first.difference)
    assert second.p_value == first.p_value


def test_band_profiles_are_means_over_frames() -> None:
    residuals = np.arange(24.0).reshape(1, 2, 3, 4)
    assert band_profiles(residuals).tolist() == [[[[1.5], [5.5], [9.5]], [[13.5], [17.5], [21.5]]]]


def test_profiles_show_a_pattern_that_comes_at_any_time() -> None:
    rng = np.random.default_rng(3)
    residuals = noise(0, 4, 3, 30, 40)
    for n, t in np.ndindex(4, 3):
        begin = rng.integers(36)
        residuals[n, t, 8 * t : 8 * t + 5, begin : begin + 4] += 12
    plane = pattern_consistency(residuals)
    profile = pattern_consistency(band_profiles(residuals))
    assert profile.within > 0.8
    assert profile.difference > 3 * plane.difference


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals (5, 4, 40, 30) and where blocks were planted: two brighter, one darker."""
    residuals = noise(seed, 5, 4, 40, 30) + noise(seed + 1, 5, 1, 40, 30)
    blocks = np.zeros((4, 40, 30), bool)
    blocks[0, 5:13, 4:12] = blocks[1, 20:30, 15:25] = blocks[2, 30:38, 2:9] = True
    sign = np.array([1, 1, -1, 1])[:, None, None]
    return residuals + 4.0 * sign * blocks, blocks


def test_planted_blocks_are_found_at_their_place() -> None:
    residuals, blocks = planted()
    found = recurring_regions(residuals, smooth=(1.0, 1.0), permutations=300)
    assert found.shape == (4, 40, 30)
    assert found.dtype == bool
    for t in range(3):
        assert (found[t] & blocks[t]).sum() > 0.7 * blocks[t].sum()
    assert (found & ~blocks).sum() < 0.3 * blocks.sum()
    assert (recurring_regions(-residuals, smooth=(1.0, 1.0), permutations=300) == found).all()


def test_a_region_for_every_target_sets_none_apart() -> None:
    residuals = noise(0, 5, 4, 30, 20)
    residuals[:, :, 10:20, 5:15] += 5
    assert not recurring_regions(residuals, permutations=200).any()


def test_bins_that_always_change_much_do_not_hide_the_rest() -> None:
    residuals, blocks = planted()
    residuals[:, :, 0] *= 100
    found = recurring_regions(residuals, smooth=(0.0, 0.0), permutations=200, least_bins=1)
    assert (found & blocks).sum() > 50


def test_in_pure_noise_nothing_is_found_but_seldom() -> None:
    trials = 200
    found = [
        recurring_regions(
            noise(seed, 4, 3, 10, 8) + noise(seed + 1000, 4, 1, 10, 8),
            permutations=59, least_bins=1, smooth=(1.0, 1.0), seed=seed,
        ).any()
        for seed in range(trials)
    ]  # fmt: skip
    assert 0 < sum(found) <= 0.085 * trials  # 0.05 and two standard errors


def test_small_regions_are_dropped_and_signs_do_not_join() -> None:
    residuals = 0.1 * noise(0, 10, 4, 20, 16)
    residuals[:, 0, 5:9, 3:7] += 5  # 16 bins brighter, touching 16 darker ones
    residuals[:, 0, 5:9, 7:11] -= 5
    settings = {"smooth": (0.0, 0.0), "permutations": 200}
    assert recurring_regions(residuals, least_bins=16, **settings)[0].sum() == 32
    assert not recurring_regions(residuals, least_bins=17, **settings).any()


def test_profiles_have_regions_too() -> None:
    residuals, _ = planted()
    found = recurring_regions(band_profiles(residuals), least_bins=3, permutations=300)
    assert found.shape == (4, 40, 1)
    assert found[1, 22:28].all()


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (3, 1, 4, 4), (3, 4, 4)])
def test_too_little_to_compare_is_refused(shape: tuple[int, ...]) -> None:
    for measure in (pattern_consistency, recurring_regions):
        with pytest.raises(InputError, match=r"residuals have shape .*at least 2 noises and 2"):
            measure(noise(0, *shape))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_residual_without_correlation_is_refused(value: float) -> None:
    residuals = noise(0, 2, 2, 4, 4)
    residuals[1, 0] = value
    with pytest.raises(InputError, match="constant or not finite for some noise and target"):
        pattern_consistency(residuals)


def test_too_few_permutations_are_refused() -> None:
    with pytest.raises(InputError, match=r"permutations=18; .*with level=0\.05"):
        recurring_regions(noise(0, 2, 2, 4, 4), permutations=18)
    recurring_regions(noise(0, 2, 2, 4, 4), permutations=19)
