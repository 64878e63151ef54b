import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from irdream.checkpoint_folder import load_recognizer, new_recognizer, save_recognizer
from irdream.errors import InputError
from irdream.models import AttentionPooling, Han2016, Han2016BatchNorm, Han2016Body, Transfer
from irdream.recognizer import Recognizer

Settings = dict[str, Any]
BODY: Settings = {"_target_": "irdream.models.Han2016Body"}
TRANSFER: Settings = {"_target_": "irdream.models.Transfer", "embedding": BODY, "features": 256}
MINE = TRANSFER | {"embedding": {"_target_": "my_package.MyNet"}, "features": 11}


class Embedding(nn.Module):
    """Batch norm and dropout, (batch, 5) of any log-mel."""

    def __init__(self, *, output: int = 5) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(1), nn.Dropout(0.5)
        self.linear = nn.Linear(1, output)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.linear(self.dropout(self.norm(log_mel.mean((1, 2))[:, None])))


def changed(model: Transfer) -> set[str]:
    """Train a little and return the names of what changed."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 4, 4)).square().sum().backward()
        optimizer.step()
    return {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}


def test_a_frozen_embedding_stays_as_it_was_to_the_averages() -> None:
    model = Transfer(embedding=Embedding(), features=5, hidden=4)
    assert {key.split(".")[0] for key in changed(model)} == {"head"}
    assert not model.embedding.training
    assert model.head.training


def test_a_tuned_embedding_learns_too() -> None:
    model = Transfer(embedding=Embedding(), features=5, frozen=False)
    names = changed(model)
    assert {"embedding.linear.weight", "embedding.norm.running_mean"} <= names
    assert model.embedding.training
    assert not model.eval().embedding.training


@pytest.mark.parametrize(("hidden", "layers"), [(0, 1), (7, 2)])
def test_heads(hidden: int, layers: int) -> None:
    model = Transfer(embedding=Embedding(), features=5, hidden=hidden, dropout=0.3)
    assert len([m for m in model.head if isinstance(m, nn.Linear)]) == layers
    assert [m.p for m in model.head if isinstance(m, nn.Dropout)] == [0.3] * layers


def test_maps_are_averaged() -> None:
    model = Transfer(embedding=nn.Identity(), features=4).eval()
    log_mel = torch.randn(2, 4, 6)
    torch.testing.assert_close(model(log_mel), model(log_mel.mean(2, keepdim=True)))


def test_a_recognizer_leaves_features_in_their_unit() -> None:
    frontend = {"_target_": "irdream.frontends.LogMel", "n_mels": 20, "scale": "db"}
    spec = {"frontend": frontend | {"coefficients": 8}, "model": TRANSFER}
    recognizer, features = new_recognizer(**spec).eval(), torch.randn(2, 256)
    head = recognizer.model.get_submodule("head")
    torch.testing.assert_close(recognizer.logits(features), head(features))


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (Embedding(), r"Embedding gave \(2, 5\) for a log-mel \(2, 4, 6\); expected \(batch, 6\)"),
        (nn.Flatten(0), r"Flatten gave \(48,\) .* set model.features"),
    ],
)
def test_an_embedding_of_another_size(embedding: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Transfer(embedding=embedding, features=6)(torch.zeros(2, 4, 6))


# First weights


def test_first_weights_come_from_a_checkpoint_and_are_not_needed_again(
    tmp_path: Path, tiny_frontend: Settings
) -> None:
    source = new_recognizer(
        frontend=tiny_frontend, model={"_target_": "irdream.models.Han2016BatchNorm"}
    )
    save_recognizer(source, tmp_path / "source")
    weights = tmp_path / "source" / "weights.safetensors"
    made = new_recognizer(frontend=tiny_frontend, model=TRANSFER | {"weights": str(weights)})
    state = source.model.state_dict()
    embedding = made.model.get_submodule("embedding")
    assert all(torch.equal(value, state[key]) for key, value in embedding.state_dict().items())
    weights.unlink()
    save_recognizer(made, tmp_path / "made")
    assert "weights" not in load_recognizer(tmp_path / "made").spec["model"]


def test_first_weights_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    save_file(Embedding(output=6).state_dict(), tmp_path / "other")
    refusals = {
        "none": r"weights='.*none'; expected a safetensors file: ",
        "text": r"weights='.*text'; expected a safetensors file: ",
        "other": r"fit Embedding; .* shape for linear.weight \(2 of 7 are missing or differ\)",
    }
    for name, message in refusals.items():
        with pytest.raises(InputError, match=message):
            Transfer(embedding=Embedding(), features=5, weights=str(tmp_path / name))


# Networks within networks, in a checkpoint


def made(spec: Settings, frontend: Settings, **settings: Any) -> Recognizer:
    return new_recognizer(frontend=frontend, model=spec, **settings)


@pytest.mark.usefixtures("my_package")
def test_an_embedding_of_ones_own_comes_back(tmp_path: Path, tiny_frontend: Settings) -> None:
    recognizer = made(MINE, tiny_frontend, trust=["my_package"]).eval()
    save_recognizer(recognizer, tmp_path)
    loaded = load_recognizer(tmp_path, trust=["my_package"])
    assert loaded.spec["model"] == MINE
    assert type(loaded.model.get_submodule("embedding")).__name__ == "MyNet"
    log_mel = torch.randn(1, 12, 25)
    with torch.no_grad():
        assert torch.equal(loaded.logits(log_mel), recognizer.logits(log_mel))


def test_an_embedding_must_be_trusted_as_well(
    tmp_path: Path, tiny_frontend: Settings, my_package: ModuleType
) -> None:
    save_recognizer(made(MINE, tiny_frontend, trust=[my_package.__name__]), tmp_path)
    message = r"'my_package.MyNet' is not trusted; .* to allow it add 'trust=\[my_package\]'"
    with pytest.raises(InputError, match=message):
        load_recognizer(tmp_path)
    with pytest.raises(InputError, match=message):
        made(MINE, tiny_frontend)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"_target_": "os.system", "command": "true"}, "^'os.system' is not trusted"),
        ({"_target_": None}, "^'None' is not trusted"),
        ({"_target_": ["os.system"]}, "is not trusted"),
        (TRANSFER | {"embedding": {"_target_": "builtins.eval"}}, "^'builtins.eval' is not trus"),
        ({"_target_": "torch.nn.init.zeros_"}, "zeros_ cannot be built; expected a class of"),
        ({"_target_": "torch.nn.Linear"}, "cannot build torch.nn.Linear: .*in_features"),
        ({"_target": "torch.nn.Identity"}, "Transfer: embedding={.*expected a torch.nn"),
        ("os.system", "cannot build .*Transfer: embedding='os.system'; expected a torch.nn.Modul"),
        ({"_target_": "torch.nn.Sequential", "args": [{"_target_": "os.system"}]},
         r"cannot build torch\.nn\.Sequential"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_embedding(
    tmp_path: Path, tiny_frontend: Settings, inner: Any, message: str
) -> None:
    save_recognizer(made(TRANSFER, tiny_frontend), tmp_path)
    path = tmp_path / "recognizer.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"model": TRANSFER | {"embedding": inner}}))
    with pytest.raises(InputError, match=message) as error:
        load_recognizer(tmp_path)
    assert "\n" not in str(error.value)


# Attention over time


class Bands(nn.Module):
    """Each band is a channel, each frame one of the maps."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel


def test_an_instrument_in_one_frame_is_not_averaged_away() -> None:
    """With weights set by hand: band k is instrument k, and loud bands count."""
    pooling = AttentionPooling(body=Bands(), channels=3, hidden=3, instruments=3).eval()
    for name, scale in (("frame.0", 1.0), ("evidence", 1.0), ("attention", 5.0)):
        layer = pooling.get_submodule(name)
        layer.load_state_dict({"weight": scale * torch.eye(3)[:, :, None], "bias": torch.zeros(3)})
    log_mel = torch.zeros(1, 3, 40)
    log_mel[0, 0, 7] = 4.0
    log_mel[0, 1, 30] = 4.0
    with torch.no_grad():
        assert pooling(log_mel)[0].tolist() == pytest.approx([4.0, 4.0, 0.0], abs=0.01)


@pytest.mark.parametrize("whole", [Han2016(), Han2016BatchNorm()], ids=lambda m: type(m).__name__)
def test_the_body_is_hans(whole: nn.Module) -> None:
    body = Han2016Body(batch_norm=isinstance(whole, Han2016BatchNorm)).eval()
    wanted = body.state_dict()
    body.load_state_dict({key: whole.state_dict()[key] for key in wanted})
    assert set(whole.state_dict()) - set(wanted) == {
        f"classifier.{i}.{part}" for i in (0, 3) for part in ("weight", "bias")
    }
    log_mel = torch.randn(1, 24, 17)
    with torch.no_grad():
        pooled = whole.eval().get_submodule("features")(log_mel[:, None])
        assert torch.equal(body(log_mel).amax((2, 3)), pooled)


@pytest.mark.parametrize(
    ("body", "channels", "message"),
    [
        (Bands(), 7, r"Bands gave \(1, 6, 4\) .* expected \(batch, 7, mels, frames\): set model"),
        (nn.Flatten(), 24, r"Flatten gave \(1, 24\) for a log-mel \(1, 6, 4\); expected"),
        (nn.ZeroPad1d((-4, 0)), 6, r"gave \(1, 6, 0\) .* or give longer windows"),
        ("Han2016Body", 256, r"body='Han2016Body'; expected a torch.nn.Module; in a yaml give"),
    ],
    ids=["channels", "axes", "no frame", "no network"],
)
def test_what_cannot_be_pooled(body: Any, channels: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        AttentionPooling(body=body, channels=channels)(torch.zeros(1, 6, 4))
