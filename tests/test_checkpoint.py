import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from irdream import checkpoint
from irdream.checkpoint_folder import load_recognizer, save_recognizer
from irdream.errors import InputError
from irdream.fingerprint import fingerprint_of
from irdream.tracking import MlflowTracker
from irdream.tracking import store as checkpoints

MODEL = {"_target_": "my_package.MyNet"}
TRUST = ["my_package"]
SVM = "models.MfccSvm"


@pytest.fixture
def folder(tmp_path: Path, tiny_frontend: dict[str, Any], my_package: ModuleType) -> Path:
    """A checkpoint that knows its own name."""
    made = checkpoint.new(frontend=tiny_frontend, model=MODEL, device="cpu", trust=TRUST)
    made.card = {"data": {"name": "rendered"}}
    save_recognizer(made, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_a_new_one_is_where_it_was_asked_for(
    tiny_frontend: dict[str, Any], my_package: ModuleType
) -> None:
    made = checkpoint.new(frontend=tiny_frontend, model=MODEL, device="cpu", trust=TRUST)
    assert made.device == torch.device("cpu")
    assert made.spec == {"frontend": tiny_frontend, "model": MODEL}


@pytest.mark.parametrize(
    ("forward", "channel_axis", "expected"),
    [
        ("return windows.mean(-1) @ self.weight", False, ""),
        ("return nn.functional.conv2d(windows, self.kernel).mean((2, 3))", True, ""),
        ("return windows.mean(-1), windows.mean(-1) @ self.weight", False, ""),
        ("return (windows.mean(-1) @ self.weight)[:, :2]", False, r"Own gave \(2, 2\) for windows"),
        ("return windows / nothing", False, "Own failed on .*NameError: .*; expected a network"),
        ("return self.lazy(windows.mean(-1))", False, ""),
        ("return (windows.mean(-1) @ self.weight).softmax(1)", False, ""),
    ],
)
def test_a_model_of_ones_own_is_tried_before_it_is_trained(
    forward, channel_axis, expected, tmp_path, tiny_frontend, monkeypatch, caplog
) -> None:
    (tmp_path / "own_package.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Own(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        f"        self.weight = nn.Parameter(torch.ones({tiny_frontend['n_mels']}, 11))\n"
        "        self.kernel = nn.Parameter(torch.ones(11, 1, 3, 3))\n"
        f"        {'self.lazy = nn.LazyLinear(11)' * ('lazy' in forward)}\n\n"
        f"    def forward(self, windows):\n        {forward}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_package", raising=False)
    spec = {"frontend": tiny_frontend, "model": {"_target_": "own_package.Own"}}
    if expected:
        with pytest.raises(InputError, match=expected):
            checkpoint.new(**spec, device="cpu", trust=["own_package"])
        return
    made = checkpoint.new(**spec, device="cpu", trust=["own_package"])
    assert made.training
    assert ("add up to 1: probabilities, it seems" in caplog.text) == ("softmax" in forward)
    save_recognizer(made, tmp_path / "checkpoint")
    path = str(tmp_path / "checkpoint")
    caplog.clear()
    loaded = checkpoint.load(path=path, device="cpu", trust=["own_package"])
    assert ("add up to 1: probabilities, it seems" in caplog.text) == ("softmax" in forward)
    assert (made.channel_axis, loaded.channel_axis) == (channel_axis, channel_axis)


def test_an_embedding_of_ones_own_is_tried_as_well(tiny_frontend: dict[str, Any]) -> None:
    wrong = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 4}
    model = {"_target_": "irdream.models.Transfer", "embedding": wrong, "features": 4}
    with pytest.raises(InputError, match=r"Transfer failed on .* cannot be multiplied"):
        checkpoint.new(frontend=tiny_frontend, model=model, device="cpu")


def _light(frontend: dict[str, Any], **others: Any) -> Any:
    model = {"_target_": "irdream.models.Light", "width": 2}
    return checkpoint.new(frontend=frontend, model=model, device="cpu", **others)


def test_a_checkpoint_is_trained_further(tiny_frontend: dict[str, Any], tmp_path: Path) -> None:
    base = _light(tiny_frontend, window_seconds=0.5)
    base.temperature = 0.4
    save_recognizer(base, tmp_path / "base")
    made = _light({}, fine_tune=str(tmp_path / "base"))
    assert (made.window_seconds, made.temperature, made.spec) == (0.5, 1.0, base.spec)
    assert all((made.training, *(p.requires_grad for p in made.model.parameters())))
    theirs = base.model.state_dict()
    assert all(torch.equal(theirs[key], value) for key, value in made.model.state_dict().items())


def test_outputs_go_with_their_labels_and_others_start_anew(
    tiny_frontend: dict[str, Any], tmp_path: Path
) -> None:
    base = _light(tiny_frontend, labels=["snare", "hat", "ride"])
    save_recognizer(base, tmp_path / "base")
    made = _light({}, fine_tune=str(tmp_path / "base"), labels=["Hat", "kick", "snare", "bell"])
    assert made.instruments == ("Hat", "kick", "snare", "bell")
    *body, weight, bias = base.model.state_dict().values()
    *own_body, own_weight, own_bias = made.model.state_dict().values()
    assert all(map(torch.equal, body, own_body))
    assert torch.equal(own_weight[[0, 2]], weight[[1, 0]])
    assert torch.equal(own_bias[[0, 2]], bias[[1, 0]])
    assert not any(torch.equal(row, old) for row in own_weight[[1, 3]] for old in weight)


def test_what_cannot_be_trained_further_is_refused(tmp_path: Path) -> None:
    frontend, model = ({"_target_": f"irdream.{one}"} for one in ("frontends.HanLogMel", SVM))
    save_recognizer(checkpoint.new(frontend=frontend, model=model, device="cpu"), tmp_path / "svm")
    with pytest.raises(InputError, match="svm is a MfccSvm, which is fitted at once; expected a"):
        _light({}, fine_tune=str(tmp_path / "svm"))
    with pytest.raises(InputError, match=r"second@-3: in training .* pitch; expected second$"):
        _light({}, fine_tune="second@-3")


def test_addresses_in_a_store(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    with MlflowTracker(root=store) as tracker:
        tracker.log_file(folder)
        by_name = tracker.register("net")
    assert by_name == "models:/net@champion"
    for path in (f"runs:/{tracker.run_id}/checkpoint", by_name, "models:/net/1"):
        loaded = checkpoint.load(path=path, device="cpu", trust=TRUST, store=str(store))
        assert loaded.card == {"data": {"name": "rendered"}}
    with pytest.raises(InputError, match=r"'my_package.MyNet' is not trusted"):
        checkpoint.load(path=by_name, device="cpu", store=store)
    with pytest.raises(InputError, match=r"no checkpoint folder at models:/other@champion"):
        checkpoint.load(path="models:/other@champion", device="cpu", store=store)


def test_the_jobs_of_a_sweep_share_it_while_its_files_are_the_same(folder: Path) -> None:
    checkpoint._loaded.cache_clear()
    first = checkpoint.load(path=str(folder), device="cpu", trust=TRUST)
    assert checkpoint.load(path=str(folder), device="cpu", trust=TRUST) is first
    with pytest.raises(InputError, match=r"'my_package.MyNet' is not trusted"):
        checkpoint.load(path=str(folder), device="cpu")

    first.card = {"data": {"name": "another"}}
    save_recognizer(first, folder)
    again = checkpoint.load(path=str(folder), device="cpu", trust=TRUST)
    assert again is not first
    assert again.card == {"data": {"name": "another"}}


def test_a_servers_is_copied_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = iter([folder])
    monkeypatch.setattr(checkpoints, "_copies", {})
    monkeypatch.setattr(checkpoints, "open_store", lambda **_: None)
    monkeypatch.setattr(checkpoints, "_fetch", lambda *_: next(copies))
    for _ in range(2):
        loaded = checkpoint.load(
            path="models:/net@champion", device="cpu", trust=TRUST, server="http://127.0.0.1:1"
        )
        assert loaded.card == {"data": {"name": "rendered"}}


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no tracking store in .*nothing to find runs:/"):
        checkpoint.load(path="runs:/abc/checkpoint", store=tmp_path / "nothing")


def test_none_is_loaded_where_none_is_wanted(folder: Path) -> None:
    assert checkpoint.load_optional(path=None, device="no such device") is None
    loaded = checkpoint.load_optional(path=str(folder), device="cpu", trust=TRUST)
    assert loaded is not None
    assert loaded.card == {"data": {"name": "rendered"}}
    with pytest.raises(InputError, match=r"no checkpoint at .*nothing"):
        checkpoint.load_optional(path=str(folder / "nothing"), device="cpu")


def test_the_second_one_is_another_network_on_the_same_sounds() -> None:
    first = checkpoint.load(path="shipped", device="cpu")
    second = checkpoint.load_optional(path="second", device="cpu")
    assert second is not None
    assert not second.training
    assert fingerprint_of(second.frontend) == fingerprint_of(first.frontend)
    assert second.instruments == first.instruments
    assert second.window_seconds == first.window_seconds
    assert type(second.model) is not type(first.model)
    log_mel = torch.zeros(1, 128, first.window_frames) - 3.0
    with torch.no_grad():
        probabilities = second.probabilities(second.window_logits(log_mel))
    assert probabilities.shape == (1, 1, 11)
    assert float(probabilities.sum()) == pytest.approx(1.0)


def test_one_alone_takes_sounds_at_another_rate() -> None:
    tone = torch.sin(torch.arange(2 * 44_100) * 2 * torch.pi * 440 / 44_100)
    lower = checkpoint.load(path="robust@-12", device="cpu")
    assert (lower.sample_rate_hz, lower.window_seconds) == (44_100, 0.5)
    assert lower.where == "on cpu"
    plain = load_recognizer("robust")
    torch.testing.assert_close(lower(tone[None]), plain(tone[None]), atol=1e-4, rtol=0)
    with torch.no_grad():
        found = load_recognizer("robust@-12").predict(tone)
    assert found == pytest.approx(plain.predict(tone), abs=1e-4)
