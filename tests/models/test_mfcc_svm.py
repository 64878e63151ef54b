"""The support vector machine in torch is that of scikit-learn, and can be dreamed on."""

import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import safetensors.torch
import scipy.fft
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.mixture import GaussianMixture
from sklearn.svm import SVC
from torch import Tensor

from irdream import dream
from irdream.checkpoint_folder import load_recognizer, new_recognizer, save_recognizer
from irdream.errors import InputError
from irdream.models import MfccSvm
from irdream.models.mfcc_svm import folds_of, mfcc


def log_mels(batch: int = 2, n_mels: int = 24, frames: int = 17) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, n_mels, frames, generator=generator) * 2 - 5


def music(windows: int = 90, louder: float = 1.5) -> tuple[Tensor, Tensor, list[str]]:
    """Windows of three instruments, one louder below than the other; three of each recording."""
    sounds, labels = log_mels(windows), torch.zeros(windows, 11)
    recordings = [str(i // 3) for i in range(windows)]
    which = torch.tensor([int(name) % 3 for name in recordings])
    labels[torch.arange(windows), which] = 1.0
    sounds[:, :6] += louder * which[:, None, None]
    return sounds, labels, recordings


def fitted() -> MfccSvm:
    model = MfccSvm(coefficients=8)
    sounds, labels, recordings = music()
    model.fit(model.statistics(sounds), labels, recordings, seed=0)
    return model.eval()


def test_mfccs_are_those_of_scipy_and_librosa() -> None:
    sounds = log_mels(n_mels=128, frames=43)
    found = mfcc(sounds, 20).numpy()
    exact = np.asarray(scipy.fft.dct(sounds.double().numpy(), type=2, axis=1, norm="ortho"))
    np.testing.assert_allclose(found, exact[:, :20], atol=1e-4)  # of values up to 60
    theirs = librosa.feature.mfcc(S=sounds[0].numpy(), n_mfcc=20)
    np.testing.assert_allclose(found[0], theirs, atol=1e-4)


def test_statistics_are_means_and_deviations_of_the_mfccs_and_their_changes() -> None:
    sounds = log_mels()
    series = mfcc(sounds, 8).numpy()
    changes = np.diff(series, axis=2)
    expected = [series.mean(2), series.std(2), changes.mean(2), changes.std(2)]
    found = MfccSvm(coefficients=8).statistics(sounds)
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-4)


def test_statistics_of_silence_have_a_gradient() -> None:
    silence = torch.full((1, 24, 17), -11.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(MfccSvm(coefficients=8).statistics(silence).sum(), silence)
    assert gradient.isfinite().all()


def test_it_says_nothing_before_it_is_fitted_and_refuses_what_is_too_small() -> None:
    model = MfccSvm(coefficients=8).eval()
    assert torch.equal(model(log_mels(3)), torch.zeros(3, 11))
    assert torch.equal(model(log_mels(2, 8, 2)), torch.zeros(2, 11))
    for size in ((2, 7, 17), (2, 24, 1), (24, 17)):
        with pytest.raises(InputError, match="at least 8 mel bands and 2 frames"):
            model(torch.zeros(size))


@pytest.mark.parametrize("classifier", ["knn", "gmm"])
def test_other_classifiers_predict_what_they_were_fitted_to_and_can_be_dreamed_on(
    classifier: Any, tmp_path: Path, tiny_frontend: dict[str, Any]
) -> None:
    given = {"coefficients": 8, "classifier": classifier, "components": 2, "temporal": True}
    spec = {"_target_": "irdream.models.MfccSvm", **given}
    recognizer = new_recognizer(frontend=tiny_frontend | {"n_mels": 24}, model=spec).eval()
    sounds, labels, recordings = music()
    model: Any = recognizer.model
    assert torch.equal(model(sounds), torch.zeros(90, 11))
    model.fit(model.statistics(sounds), labels, recordings, seed=0)
    assert (model(sounds).argmax(1) == labels.argmax(1)).float().mean() > 0.95
    save_recognizer(recognizer, tmp_path)
    assert torch.equal(load_recognizer(tmp_path).model(sounds), model(sounds))
    wrong = sounds[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(wrong)[:, 2].sum(), wrong)
    assert gradient.isfinite().all()
    assert classifier == "knn" or gradient.any()


def test_mixtures_are_those_of_scikit_learn_and_neighbors_count() -> None:
    sounds, labels, recordings = music()
    mixture = MfccSvm(coefficients=8, classifier="gmm", components=1)
    statistics = mixture.statistics(sounds)
    mixture.fit(statistics, labels, recordings, seed=0)
    x = ((statistics - mixture.mean) / mixture.scale).double().numpy()
    has = labels[:, 1].numpy() > 0
    how: dict[str, Any] = {"covariance_type": "diag", "reg_covar": 1e-2, "random_state": 0}
    present, absent = (GaussianMixture(1, **how).fit(x[rows]) for rows in (has, ~has))
    expected = present.score_samples(x) - absent.score_samples(x) + np.log(31 / 61)
    found = mixture(sounds)[:, 1].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)
    nearest = MfccSvm(coefficients=8, classifier="knn", neighbors=1)
    nearest.fit(statistics, labels, recordings, seed=0)
    odds = np.where(labels.numpy() > 0, np.log(3.0), -np.log(3.0))  # 1.5 of 2 against 0.5
    np.testing.assert_allclose(nearest(sounds).detach().numpy(), odds, atol=1e-4)


def test_the_envelope_is_described_by_hand() -> None:
    sounds = torch.full((1, 8, 5), -20.0)
    sounds[0, 0] = torch.tensor([0.0, 3.0, 3.0, 1.0, 1.0])
    found = MfccSvm(coefficients=8, temporal=True).statistics(sounds)[0, -4:]
    level = np.array([0.0, 3.0, 3.0, 1.0, 1.0])
    energy = np.exp(level)
    centroid = (energy * np.linspace(0, 1, 5)).sum() / energy.sum()
    expected = [level.std(), 3.0, -2.0, centroid]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_full_precision_under_autocast_and_the_same_fit_for_the_same_seed() -> None:
    model, sounds = fitted(), log_mels()
    with torch.no_grad():
        expected = model(sounds)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(model(sounds), expected)
        assert torch.equal(fitted()(sounds), expected)


def test_a_checkpoint_comes_back_bit_for_bit_without_scikit_learn(
    tmp_path: Path, tiny_frontend: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"_target_": "irdream.models.MfccSvm", "coefficients": 8}
    recognizer = new_recognizer(frontend=tiny_frontend | {"n_mels": 24}, model=spec)
    recognizer.model.load_state_dict(fitted().state_dict())
    save_recognizer(recognizer.eval(), tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    loaded = load_recognizer(tmp_path)
    assert loaded.spec["model"] == spec
    assert loaded.output == "sigmoid"
    with torch.no_grad():
        sounds = log_mels(frames=40)
        assert torch.equal(loaded.window_logits(sounds), recognizer.window_logits(sounds))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("support_vectors", lambda x: x[:, 1:]),
        ("weights", lambda x: x[1:]),
        ("offset", lambda x: x[:3]),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    name: str, change: Any, tmp_path: Path, tiny_frontend: dict[str, Any]
) -> None:
    spec = {"_target_": "irdream.models.MfccSvm", "coefficients": 8}
    recognizer = new_recognizer(frontend=tiny_frontend, model=spec)
    recognizer.model.load_state_dict(fitted().state_dict())
    save_recognizer(recognizer, tmp_path)
    weights = {**recognizer.model.state_dict()}
    weights[name] = change(weights[name]).contiguous()
    safetensors.torch.save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=f"do not fit .*MfccSvm: .*{name}") as error:
        load_recognizer(tmp_path)
    assert "\n" not in str(error.value)


def test_what_cannot_be_fitted() -> None:
    model = MfccSvm(coefficients=8)
    statistics, labels = torch.zeros(3, 32), torch.zeros(3, 11)
    for windows, recordings in ((3, ["a"]), (0, [])):
        message = rf"{windows} windows, {windows} labels and \d recordings to fit; expected as many"
        with pytest.raises(InputError, match=message):
            model.fit(statistics[:windows], labels[:windows], recordings, 0)
    with pytest.raises(InputError, match="windows to fit have values that are not finite"):
        model.fit(statistics / 0, labels, ["a", "b", "c"], 0)


def test_what_is_always_or_never_there_has_its_log_odds() -> None:
    model, labels = MfccSvm(coefficients=8), torch.zeros(2, 11)
    labels[:, 4] = 1.0
    model.fit(model.statistics(log_mels(2)), labels, ["a", "b"], seed=0)
    expected = np.full((2, 11), -np.log(3))
    expected[:, 4] = np.log(3)
    with torch.no_grad():
        np.testing.assert_allclose(model(log_mels(2)), expected, rtol=1e-5)


@pytest.mark.parametrize("balanced", [False, True])
def test_it_says_what_scikit_learn_says(balanced: bool) -> None:
    sounds, labels, recordings = music(louder=0.5)
    model = MfccSvm(coefficients=6, penalty=3.0, balanced=balanced)
    statistics = model.statistics(sounds)
    model.fit(statistics, labels, recordings, seed=5)
    x = ((statistics - model.mean) / model.scale).numpy()
    with torch.no_grad():
        logits = model(sounds)
        decisions = ((logits - model.sigmoid_offset) / model.sigmoid_scale).numpy()
        probabilities = logits.sigmoid().numpy()
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


def test_one_recording_of_an_instrument_is_fitted_without_a_sigmoid() -> None:
    sounds, labels, _ = music(louder=0.5)
    recordings = [str(int(one)) for one in labels.argmax(1)]
    model = MfccSvm(coefficients=6)
    model.fit(model.statistics(sounds), labels, recordings, seed=0)
    assert model.sigmoid_scale.tolist() == [1.0] * 11
    assert model.sigmoid_offset[:3].tolist() == [0.0] * 3
    with torch.no_grad():
        assert (model(sounds).argmax(1) == labels.argmax(1)).float().mean() > 0.9


def test_its_gradient_is_that_of_small_changes_and_a_dream_raises_its_score() -> None:
    sounds, labels, recordings = music(louder=0.5)
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


@pytest.mark.parametrize("name", ["coefficients", "max_windows", "penalty", "gamma"])
def test_bad_settings(name: str) -> None:
    with pytest.raises(
        InputError, match=rf"{name}=0; expected a (whole number, at least 1|number above 0)"
    ):
        MfccSvm(**{name: 0})  # type: ignore[arg-type]
