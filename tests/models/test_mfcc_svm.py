"""The support vector machine in torch is that of scikit-learn, and can be dreamed on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC
from torch import Tensor

from irdream import dream
from irdream.errors import InputError
from irdream.models import MfccSvm
from irdream.models.mfcc_svm import folds_of


def music(windows: int = 120) -> tuple[Tensor, Tensor, list[str]]:
    """Windows of three instruments that overlap, two of each recording."""
    generator = torch.Generator().manual_seed(2)
    sounds, labels = torch.randn(windows, 16, 9, generator=generator), torch.zeros(windows, 11)
    recordings = [f"{i // 2}" for i in range(windows)]
    which = torch.tensor([int(name) % 3 for name in recordings])
    labels[torch.arange(windows), which] = 1.0
    sounds[:, :5] += 0.4 * which[:, None, None]
    return sounds, labels, recordings


@pytest.mark.parametrize("balanced", [False, True])
def test_it_says_what_scikit_learn_says(balanced: bool) -> None:
    sounds, labels, recordings = music()
    model = MfccSvm(coefficients=6, penalty=3.0, balanced=balanced)
    statistics = model.statistics(sounds)
    model.fit(statistics, labels, recordings, seed=5)
    x = ((statistics - model.mean) / model.scale).numpy()
    with torch.no_grad():
        decisions = model.decisions(torch.from_numpy(x)).numpy()
        probabilities = model(sounds).sigmoid().numpy()
    settings: dict[str, Any] = {"C": 3.0, "gamma": 1 / 24}
    settings["class_weight"] = "balanced" if balanced else None
    for i in range(3):
        present = labels[:, i].numpy() > 0
        svc = SVC(**settings)
        folds = folds_of(present, recordings, seed=5)
        assert folds is not None
        cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(3)]
        theirs = CalibratedClassifierCV(svc, cv=cv, ensemble=False)  # type: ignore[arg-type]
        theirs.fit(x, present)
        expected = svc.fit(x, present).decision_function(x)
        np.testing.assert_allclose(decisions[:, i], expected, atol=1e-4)
        np.testing.assert_allclose(probabilities[:, i], theirs.predict_proba(x)[:, 1], atol=1e-4)
    assert decisions[:, 3:].tolist() == np.zeros((120, 8)).tolist()


def test_folds_keep_recordings_whole_and_have_both_kinds() -> None:
    _, labels, recordings = music(60)
    present = labels[:, 1].numpy() > 0
    folds = folds_of(present, recordings, seed=0)
    assert folds is not None
    assert set(folds) == {0, 1, 2}
    for fold in range(3):
        assert set(present[folds == fold]) == {True, False}
    whole = {(name, fold) for name, fold in zip(recordings, folds, strict=True)}
    assert len(whole) == len(set(recordings))
    assert folds_of(present, ["one"] * 60, seed=0) is None
    other = folds_of(present, recordings, seed=1)
    assert other is not None
    assert (other != folds).any()


def test_one_recording_of_an_instrument_is_heard_without_a_sigmoid() -> None:
    sounds, labels, _ = music()
    recordings = [str(int(one)) for one in labels.argmax(1)]
    model = MfccSvm(coefficients=6)
    model.fit(model.statistics(sounds), labels, recordings, seed=0)
    assert model.sigmoid_scale.tolist() == [1.0] * 11
    assert model.sigmoid_offset[:3].tolist() == [0.0] * 3
    with torch.no_grad():
        assert (model(sounds).argmax(1) == labels.argmax(1)).float().mean() > 0.9


def test_its_gradient_is_that_of_small_changes_and_a_dream_raises_its_score() -> None:
    sounds, labels, recordings = music()
    model = MfccSvm(coefficients=6).eval()
    model.fit(model.statistics(sounds), labels, recordings, seed=0)
    dreams = dream(model, sounds[:4], 2, step_size=1.0, steps=5, confidence=None, progress=False)
    assert (dreams.after.probabilities[:, 2] > dreams.before.probabilities[:, 2]).all()
    double = MfccSvm(coefficients=6).double()
    double.load_state_dict(model.state_dict())
    log_mel = sounds[:1].double().requires_grad_()
    (gradient,) = torch.autograd.grad(double(log_mel)[0, 2], log_mel)
    change = 1e-6 * gradient / gradient.norm()
    with torch.no_grad():
        difference = double(log_mel + change)[0, 2] - double(log_mel - change)[0, 2]
    assert difference.item() == pytest.approx(2e-6 * gradient.norm().item(), rel=1e-3)


@pytest.mark.parametrize("name", ["penalty", "gamma"])
def test_bad_settings(name: str) -> None:
    with pytest.raises(InputError, match=rf"model.{name}=0.0; expected a number above 0"):
        MfccSvm(**{name: 0.0})  # type: ignore[arg-type]
