import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from irdream.checkpoint_folder import load_recognizer, new_recognizer
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.training import losses as loss_module
from irdream.training.augmentation import SpectrogramAugmentation
from irdream.training.data import WindowBatches
from irdream.training.loop import Fit, Metrics
from irdream.training.losses import Loss, Robust
from irdream.training.schedules import Averaging, planned

WINDOW = 25
MY_NET = {"_target_": "my_package.MyNet"}
TRAIN = [2.4210581345991655, 2.2672190232710405, 2.134050716053356]  # before there were switches
VAL = [2.3968935012817383, 2.374785379929976, 2.3403697447343306]


Make = Callable[..., Fit]


class Constant(nn.Module):
    """The same logits whatever comes in."""

    def __init__(self, logits: list[float], output: str) -> None:
        super().__init__()
        self.output = output
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.logits.expand(len(log_mel), -1)


class Bands(nn.Module):
    """Instrument i is as probable as band i is loud."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.scale * log_mel[:, :11].mean(2)


def savable(model: nn.Module) -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=1000, n_fft=128, hop_samples=40, n_mels=12)
    spec = {"frontend": {"_target_": "never.Built"}, "model": {"_target_": "never.Built"}}
    return Recognizer(frontend=frontend, model=model, spec=spec)


class Script:
    """Stands for validation: the losses to be found, one after the other."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = iter(losses)

    def __call__(self) -> Metrics:
        return {"val/loss": next(self.losses), "val/top1": 0.5}


@pytest.fixture
def parts(in_memory) -> dict[str, WindowBatches]:
    """Instrument i is loud in band i; two training excerpts and one to validate on of each."""
    generator = torch.Generator().manual_seed(0)
    log_mels = [torch.randn(12, 60, generator=generator) * 0.3 - 7 for _ in range(33)]
    for e, log_mel in enumerate(log_mels):
        log_mel[e % 11] += 2
    labels = torch.eye(11).repeat(3, 1)
    cut = partial(
        WindowBatches,
        log_mels=in_memory(log_mels), labels=labels, window_frames=WINDOW, batch_size=8,
    )  # fmt: skip
    return {"training": cut(excerpts=range(22)), "validation": cut(excerpts=range(22, 33))}


@pytest.fixture
def fit(
    parts: dict[str, WindowBatches], tiny_frontend: dict[str, Any], my_package: ModuleType,
    tmp_path: Path,
) -> Callable[..., Fit]:  # fmt: skip
    """Make a run with all that is random in it: dropout, augmentation, shuffling, starts."""

    def fit(*, initial: int = 0, lr: float = 1e-2, folder: str = "run", **settings: Any) -> Fit:
        torch.manual_seed(initial)
        recognizer = settings.pop("recognizer", None) or new_recognizer(
            frontend=tiny_frontend, model=MY_NET, trust=["my_package"]
        )
        optimizer = AdamW(recognizer.model.parameters(), lr=lr)
        schedule = settings.pop("schedule", partial(CosineAnnealingLR, T_max=4))
        epochs = max(1, settings.get("epochs", 4))
        defaults: dict[str, Any] = {
            "plan": planned(AdamW([nn.Parameter(torch.zeros(1))], lr=lr), schedule, epochs),
            "augment": SpectrogramAugmentation(noise_db=(20.0, 40.0), equalizer_db=2.0),
            "random_start": True, "epochs": 4, "patience": 9, "seed": 3, "mixed_precision": False,
        } | parts  # fmt: skip
        return Fit(
            recognizer=recognizer, optimizer=optimizer, folder=tmp_path / folder,
            **{**defaults, **settings},
        )  # fmt: skip

    return fit


def weights(recognizer: Recognizer) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in recognizer.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def no_leftovers(folder: Path) -> bool:
    return not list(folder.rglob("*.part")) + list(folder.rglob(".*"))


def test_it_learns(fit: Make, parts: dict[str, WindowBatches]) -> None:
    run = fit(epochs=8, schedule=None)
    history = run.run().history
    assert [len(part) for part in parts.values()] == [44, 22]
    assert history[-1]["val/loss"] < 0.5 * history[0]["train/loss"]
    assert history[-1]["train/loss"] < 0.8 * history[0]["train/loss"]
    assert history[-1]["val/top1"] >= 0.8  # chance is 0.09


# Killed and resumed


def after_two_epochs(run: Fit, _: pytest.MonkeyPatch) -> None:
    def stop(epoch: int, __: Metrics) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    run.run(stop)


def within_the_third(run: Fit, _: pytest.MonkeyPatch) -> None:
    augment, calls = run.augment, []
    assert augment is not None

    def stop(*batch: Any) -> tuple[Tensor, Tensor]:
        calls.append(1)
        if len(calls) == 15:  # of 6 an epoch
            raise KeyboardInterrupt
        return augment(*batch)

    run.augment = stop
    run.run()


def while_saving_the_third(run: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = torch.save, []

    def stop(state: object, file: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            file.write(b"half of it")
            raise KeyboardInterrupt
        save(state, file)

    monkeypatch.setattr(torch, "save", stop)
    run.run()


def everything(parts: dict[str, WindowBatches], rule: Any) -> dict[str, Any]:
    parts["training"].balanced = True
    return {
        "averaging": Averaging(rule, start=0.25), "loss": Loss("categorical", 0.1),
        "clip_norm": 1.0, "robust": Robust("free", epsilon_db=1.0, steps=2, ramp_epochs=2),
        "augment": SpectrogramAugmentation(time_masks=1, band_masks=1, union=True),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kill", "rule"),
    [
        (after_two_epochs, None), (within_the_third, None), (while_saving_the_third, None),
        (after_two_epochs, 0.9), (after_two_epochs, "swa"),
    ],
)  # fmt: skip
def test_a_killed_run_ends_as_one_that_was_not(fit: Make, parts, kill, rule) -> None:
    """Also with everything on that can be switched on, and an average by a rule."""
    settings = (lambda: {}) if rule is None else (lambda: everything(parts, rule))
    whole, killed = (fit(folder=name, **settings()) for name in ("whole", "killed"))
    expected = whole.run()
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KeyboardInterrupt):
        kill(killed, monkeypatch)
    assert no_leftovers(killed.folder)
    torch.rand(3)  # another process has drawn other numbers
    resumed = fit(folder="killed", initial=99, state=state_of(killed), **settings())
    epochs: list[int] = []
    assert resumed.run(lambda epoch, _: epochs.append(epoch)) == expected
    assert epochs == [3, 4]
    assert same(weights(resumed.recognizer), weights(whole.recognizer))
    for name in ("best", "last"):
        for file in ("weights.safetensors", "recognizer.json"):
            assert (whole.folder / name / file).read_bytes() == (
                resumed.folder / name / file
            ).read_bytes()
    is_kept = same(weights(load(whole.folder / "last")), weights(whole.recognizer))
    assert is_kept == (rule is None)  # or the average


def state_of(run: Fit) -> dict[str, Any]:
    return torch.load(run.folder / "state.pt", weights_only=True)


def load(folder: Path) -> Recognizer:
    return load_recognizer(folder, trust=["my_package"])


def test_the_seed_decides(fit: Make) -> None:
    runs = [fit(folder=str(i), epochs=1, seed=seed) for i, seed in enumerate((0, 0, 1))]
    for run in runs:
        run.run()
    one, same_seed, other = (weights(run.recognizer) for run in runs)
    assert same(one, same_seed)
    assert not same(one, other)


# When to stop, what to keep


def test_patience_and_the_best_epoch(fit: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit(epochs=9, patience=2)
    monkeypatch.setattr(run, "_validate", Script([3.0, 1.0, 2.0, 1.0]))
    seen = []
    progress = run.run(lambda *_: seen.append(weights(run.recognizer)))
    assert (progress.epoch, progress.best_epoch, progress.best_loss) == (4, 2, 1.0)
    assert same(weights(load(run.folder / "best")), seen[1])
    assert same(weights(load(run.folder / "last")), seen[3])
    resumed = fit(epochs=9, patience=2, state=state_of(run))
    assert resumed.run() == progress  # it had stopped, and still does
    finished = fit(epochs=4, initial=99, state=state_of(run))
    assert finished.run() == progress
    assert same(weights(finished.recognizer), seen[3])


def test_metrics_of_an_epoch(fit: Make) -> None:
    run, calls = fit(lr=0.1), []
    progress = run.run(lambda epoch, metrics: calls.append((epoch, metrics)))
    assert calls == list(enumerate(progress.history, start=1))
    assert set(calls[0][1]) == {"train/loss", "train/learning_rate", "val/loss", "val/top1"}
    rates = [metrics["train/learning_rate"] for _, metrics in calls]
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * e / 4)) for e in range(4)])


# What can be switched on


def test_the_average_is_what_is_validated_and_kept(fit: Make) -> None:
    run = fit(averaging=Averaging(0.9), epochs=2)
    model = run.recognizer.model
    history = run.run().history
    assert run.recognizer.model is model
    for name in ("best", "last"):
        kept = fit(folder="other", recognizer=load(run.folder / name), averaging=None)
        losses = [epoch["val/loss"] for epoch in history]
        assert kept._validate()["val/loss"] == (min(losses) if name == "best" else losses[-1])
    assert run.averaging is not None
    run.averaging = None
    assert run._validate()["val/loss"] != history[-1]["val/loss"]  # of the weights themselves


@pytest.mark.parametrize("method", ["fgsm", "free", "pgd", "trades"])
def test_robust_training_is_judged_under_attack(fit: Make, method: Any) -> None:
    run = fit(robust=Robust(method, epsilon_db=1.0, steps=2), epochs=3)
    progress = run.run()
    assert all(e["val/robust_loss"] > e["val/loss"] for e in progress.history)
    assert all(e["val/robust_top1"] <= e["val/top1"] + 1e-6 for e in progress.history)
    assert progress.best_loss == min(e["val/robust_loss"] for e in progress.history)


def test_a_gradient_is_cut_to_its_norm(fit: Make) -> None:
    moved = {}
    for clip in (None, 1e-3, 1e9):
        run = fit(folder=str(clip), epochs=1, clip_norm=clip)
        run.optimizer = torch.optim.SGD(run.recognizer.model.parameters(), lr=1.0)
        run.plan = None
        before = weights(run.recognizer)
        run.run()
        bias = "layers.8.bias"
        moved[clip] = (run.recognizer.model.state_dict()[bias] - before[bias]).norm().item()
    assert moved[None] == moved[1e9]
    assert moved[1e-3] <= 6 * 1e-3 + 1e-6  # six steps
    assert moved[1e-3] < moved[None]


def test_defaults_train_as_ever_and_in_half_precision_where_there_is_any(fit, monkeypatch) -> None:
    """But for a bias before a batch norm: Adam steps by the rounding that is its gradient."""
    runs = {}
    for name, has in (("full", False), ("half", True)):
        monkeypatch.setattr(loss_module, "has_bfloat16", lambda _, has=has: has)
        run = fit(epochs=3, folder=name, mixed_precision=True)
        run.recognizer.model.layers[0].bias.requires_grad_(False)
        runs[name] = run.run().history
    losses = {name: [epoch["train/loss"] for epoch in run] for name, run in runs.items()}
    assert losses["full"] == pytest.approx(TRAIN, rel=1e-5)
    assert [epoch["val/loss"] for epoch in runs["full"]] == pytest.approx(VAL, rel=1e-5)
    assert losses["half"] != pytest.approx(TRAIN, rel=1e-5)
    assert losses["half"] == pytest.approx(TRAIN, rel=0.02)


# The loss


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_loss_is_the_cross_entropy_of_the_probabilities(fit, parts, output) -> None:
    logits = [0.3 * i - 2 for i in range(11)]
    strengths = [math.exp(x) if output == "softmax" else 1 / (1 + math.exp(-x)) for x in logits]
    logs = [math.log(s / sum(strengths)) for s in strengths]
    recognizer = savable(Constant(logits, output))
    parts["training"].labels = parts["training"].labels.clone()
    parts["training"].labels[0, 1] = 1.0  # excerpt 0 has two labels, each weighs half
    history = fit(recognizer=recognizer, lr=0.0, augment=None, epochs=1).run().history
    losses = [-(logs[0] + logs[1]) / 2] + [-logs[e % 11] for e in range(1, 22)]
    assert history[0]["train/loss"] == pytest.approx(sum(losses) / 22, rel=1e-5)
    assert history[0]["val/loss"] == pytest.approx(-sum(logs) / 11, rel=1e-5)
    assert history[0]["val/top1"] == pytest.approx(1 / 11)  # it always says the last one


def test_top1_is_of_excerpts_by_the_mean_of_their_windows(fit, in_memory) -> None:
    """Excerpt 0 is surely instrument 0 and then perhaps 1; excerpt 1 the other way round."""
    log_mels = torch.zeros(2, 12, 2 * WINDOW)
    log_mels[0, 0, :WINDOW], log_mels[0, 1, WINDOW:] = 9.0, 1.0
    log_mels[1, 0, :WINDOW], log_mels[1, 1, WINDOW:] = 1.0, 9.0
    validation = WindowBatches(
        log_mels=in_memory(list(log_mels)), excerpts=[1, 0], labels=torch.eye(11)[[0, 5]],
        window_frames=WINDOW, batch_size=3,
    )  # fmt: skip
    run = fit(recognizer=savable(Bands()), validation=validation)
    assert run._validate()["val/top1"] == 0.5
    validation.labels = torch.eye(11)[[0, 1]]
    assert run._validate()["val/top1"] == 1.0


# What goes wrong


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"model": {}}, r"Missing key\(s\) in state_dict"),
        ({"optimizer": {"param_groups": [], "state": {}}}, "different number of parameter groups"),
        ({"averaging": None}, ""),
        ({"progress": {"epochs": 3}}, "unexpected keyword argument"),
        ({"plan": None}, ""),
    ],
    ids=["model", "optimizer", "averaging", "progress", "plan"],
)
def test_a_state_that_does_not_fit(fit: Make, damage: dict[str, Any], reason: str) -> None:
    run = fit(epochs=1, averaging=Averaging(0.9))
    run.run()
    other = fit(epochs=2, averaging=Averaging(0.9), state={**state_of(run), **damage})
    message = rf"^the state to resume from does not fit: .*{reason}.*; expected that of a training"
    with pytest.raises(InputError, match=message) as error:
        other.run()
    assert "\n" not in str(error.value)


def test_a_loss_that_is_no_number(fit: Make) -> None:
    run = fit(lr=1e30)
    message = r"/loss is (nan|inf) in epoch \d; expected a finite number: lower optimizer.lr"
    with pytest.raises(InputError, match=message):
        run.run()
    assert not (run.folder / "best").exists()


class Detached(Bands):
    def forward(self, log_mel: Tensor) -> Tensor:
        return super().forward(log_mel).detach()


def test_outputs_without_a_gradient_are_refused(fit: Make) -> None:
    with pytest.raises(InputError, match="the outputs of Detached have no gradient with respect"):
        fit(recognizer=savable(Detached())).run()


class Normed(Bands):
    """With a batch norm over windows alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(11)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.norm(super().forward(log_mel))


def test_a_last_batch_of_one_window_is_none(fit: Make, parts: Any) -> None:
    parts["training"].batch_size = len(parts["training"]) - 1
    history = fit(recognizer=savable(Normed()), epochs=2).run().history
    assert history[1]["train/loss"] < history[0]["train/loss"]


def test_a_network_that_needs_several_windows_is_refused_with_the_remedy(fit, parts) -> None:
    parts["training"].batch_size = 1
    message = r"Normed has a batch norm that cannot be trained on 1 window at a time; give a larger"
    with pytest.raises(InputError, match=message):
        fit(recognizer=savable(Normed())).run()
    fit(recognizer=savable(Bands()), epochs=1).run()  # which needs no other
