"""The forest in torch is that of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from irdream import dream
from irdream.errors import InputError
from irdream.models import MfccForest


def music(windows: int = 150) -> tuple[Tensor, Tensor, list[str]]:
    """Windows of three instruments that overlap."""
    generator = torch.Generator().manual_seed(2)
    sounds, labels = torch.randn(windows, 16, 9, generator=generator), torch.zeros(windows, 11)
    which = torch.arange(windows) % 3
    labels[torch.arange(windows), which] = 1.0
    sounds[:, :5] += 0.4 * which[:, None, None]
    return sounds, labels, [str(i) for i in range(windows)]


def heard(model: MfccForest, standardized: np.ndarray) -> np.ndarray:
    return model.probabilities(torch.from_numpy(standardized)).numpy()


@pytest.mark.parametrize("several", [False, True])
def test_it_says_what_scikit_learn_says(several: bool) -> None:
    sounds, labels, recordings = music()
    if several:
        labels[::4, 7] = 1.0
    model = MfccForest(coefficients=6, trees=20, min_leaf_windows=3)
    statistics = model.statistics(sounds)
    model.fit(statistics, labels, recordings, seed=5)
    x = ((statistics - model.mean) / model.scale).numpy()
    other = np.random.default_rng(0).standard_normal((500, 24)).astype(np.float32)
    theirs = RandomForestClassifier(20, min_samples_leaf=3, random_state=5)
    theirs.fit(x, labels.numpy() > 0)
    for these in (x, other):
        each = theirs.predict_proba(these)
        expected = np.stack([p[:, 1] if p.shape[1] > 1 else 0 * p[:, 0] for p in each], axis=1)
        np.testing.assert_allclose(heard(model, these), expected, atol=1e-6)
    logits = model(sounds)
    least = 0.5 / 20
    np.testing.assert_allclose(logits.sigmoid(), heard(model, x).clip(least, 1 - least), atol=1e-6)


def test_with_one_label_each_the_trees_are_those_over_classes() -> None:
    sounds, labels, recordings = music()
    model = MfccForest(coefficients=6, trees=10)
    statistics = model.statistics(sounds)
    model.fit(statistics, labels, recordings, seed=0)
    x = ((statistics - model.mean) / model.scale).numpy()
    theirs = RandomForestClassifier(10, min_samples_leaf=2, random_state=0)
    expected = theirs.fit(x, labels.argmax(1).numpy()).predict_proba(x)
    np.testing.assert_allclose(heard(model, x)[:, :3], expected, atol=1e-6)


def test_a_dream_toward_it_is_refused_in_one_line() -> None:
    model = MfccForest(coefficients=6)
    with pytest.raises(InputError, match=r"MfccForest has no gradient: .*mfcc_svm") as error:
        dream(model, torch.zeros(1, 16, 9), 2, steps=1, progress=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["trees", "min_leaf_windows"])
def test_bad_settings(name: str) -> None:
    with pytest.raises(InputError, match=rf"model.{name}=0; expected 1 or more"):
        MfccForest(**{name: 0})
