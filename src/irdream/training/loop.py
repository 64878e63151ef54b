"""The epoch loop: train, validate, keep the best and the last, stop when nothing improves.

After each epoch `state.pt` holds all that a resumed run needs, written whole or not at all. All
randomness of epoch e follows from (seed, e), so a run that was killed and resumed ends on the CPU
with the very weights of one that was not. What is validated and kept is the average of the weights
where there is one, and under attack where training is robust.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irdream.checkpoint_folder import save_recognizer
from irdream.errors import InputError
from irdream.files import replacing
from irdream.progress import track
from irdream.recognizer import Recognizer
from irdream.training.augmentation import Augmentation
from irdream.training.data import WindowBatches
from irdream.training.losses import ForwardPass, Loss, Robust
from irdream.training.schedules import Averaging, Plan, continued

Metrics = dict[str, float]
STATE = "state.pt"


@dataclass
class Progress:
    """How far a training is: epochs done, the best validation loss and when it was."""

    epoch: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[Metrics] = field(default_factory=list)

    @property
    def best(self) -> Metrics:
        return self.history[self.best_epoch - 1]


@dataclass(kw_only=True)
class Fit:
    """A training run of one recognizer, which is trained in place.

    Raises InputError in `run`, when a loss is no number, or `state` does not fit.
    """

    recognizer: Recognizer
    optimizer: torch.optim.Optimizer | None  # of the model's parameters; None: it makes no steps
    plan: Plan | None  # its settings in each epoch, see `schedules.planned`; None: as they are
    training: WindowBatches
    validation: WindowBatches
    augment: Augmentation | None  # random views of training batches
    random_start: bool  # move training windows within their excerpts
    epochs: int  # at most
    patience: int  # epochs without a lower validation loss before it ends
    seed: int  # of shuffling, augmentation and dropout
    folder: Path  # where `best/`, `last/` and `state.pt` are kept
    mixed_precision: bool = True  # bfloat16 where that is faster, see `runtime.has_bfloat16`
    loss: Loss = field(default_factory=Loss)
    averaging: Averaging | None = None
    clip_norm: float | None = None  # largest norm of the gradient
    robust: Robust | None = None
    settings: dict[str, Any] = field(default_factory=dict)  # kept for whoever resumes it
    state: Mapping[str, Any] | None = None  # what `state.pt` of the run held that this resumes

    def __post_init__(self) -> None:
        if self.averaging is not None:
            self.averaging.begin(self.recognizer.model)

    def run(
        self, on_epoch: Callable[[int, Metrics], None] = lambda epoch, metrics: None
    ) -> Progress:
        """Train, calling `on_epoch(epoch, metrics)` after each; epochs count from 1."""
        self.folder.mkdir(parents=True, exist_ok=True)
        progress = Progress() if self.state is None else self._restored(self.state)
        while progress.epoch < self.epochs:
            if progress.epoch - progress.best_epoch >= self.patience:
                break
            epoch = progress.epoch + 1
            metrics = {**self._train(epoch), **self._validate()}
            _check(metrics, epoch)
            progress.epoch = epoch
            progress.history.append(metrics)
            loss = metrics.get("val/robust_loss", metrics["val/loss"])
            with self._averaged():
                if loss < progress.best_loss:
                    progress.best_loss, progress.best_epoch = loss, epoch
                    save_recognizer(self.recognizer, self.folder / "best")
                save_recognizer(self.recognizer, self.folder / "last")
            self._save(progress)
            on_epoch(epoch, metrics)
        return progress

    def _train(self, epoch: int) -> Metrics:
        assert self.optimizer is not None
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, epoch))
        torch.manual_seed(epoch_seed(self.seed, epoch) + 1)  # dropout
        self.recognizer.train()
        if self.plan is not None:
            groups = zip(self.optimizer.param_groups, self.plan[epoch - 1], strict=True)
            for group, settings in groups:
                group.update(settings)
        if self.robust is not None:
            self.robust.begin_epoch(epoch)
        total = torch.zeros((), device=self.recognizer.device)
        rate = self.optimizer.param_groups[0]["lr"]
        size = self.training.batch_size
        count = max(1, math.ceil((len(self.training) - (size > 1)) / size))
        views = track(self._views(generator), f"epoch {epoch}/{self.epochs}", total=count)
        for windows, labels in views:
            steps = self._losses(windows, labels, generator)
            losses = [self._step(self.optimizer, loss) for loss in steps]
            total += sum(losses[1:], losses[0]) / len(losses) * len(windows)
        if self.averaging is not None:
            again = (windows for windows, _ in self._views(generator))
            self.averaging.after_epoch(self.recognizer.model, epoch, self.epochs, again)
        return {"train/loss": total.item() / len(self.training), "train/learning_rate": rate}

    def _views(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training windows of an epoch, shuffled, moved, augmented, on the device."""
        for windows, labels in self.training.batches(generator, random_start=self.random_start):
            windows, labels = self._to_device(windows), self._to_device(labels)
            if self.augment is not None:
                windows, labels = self.augment(windows, labels, generator)
            yield windows, labels

    def _losses(
        self, windows: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """Yield the loss of a batch for each step of the optimizer on it."""
        forward_pass = ForwardPass(self.recognizer, self.loss, self.mixed_precision)
        if self.robust is not None:
            yield from self.robust.losses(forward_pass, windows, labels, generator)
        else:
            yield forward_pass.loss(forward_pass.logits(windows), labels)

    def _step(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        if not loss.requires_grad:
            raise InputError(
                f"the outputs of {type(self.recognizer.model).__name__} have no gradient with "
                "respect to its weights; expected a forward without torch.no_grad, detach, argmax "
                "or a detour through NumPy"
            )
        loss.backward()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.recognizer.model.parameters(), self.clip_norm)
        optimizer.step()
        if self.averaging is not None:
            self.averaging.after_step(self.recognizer.model)
        return loss.detach()

    @torch.no_grad()
    def _validate(self) -> Metrics:
        """Return the loss over windows and the top-1 accuracy over excerpts."""
        self.recognizer.eval()
        network = None if self.averaging is None else self.averaging.network
        forward_pass = ForwardPass(self.recognizer, self.loss, self.mixed_precision, network)
        metrics = self._evaluated(forward_pass, None, "")
        if self.robust is not None:
            metrics |= self._evaluated(forward_pass, self.robust, "robust_")
        return metrics

    def _evaluated(self, forward_pass: ForwardPass, robust: Robust | None, prefix: str) -> Metrics:
        """Return the measures of the validation windows, unchanged or adversarial."""
        total, log_probabilities = 0.0, []
        for windows, labels in self.validation.batches():
            windows, labels = self._to_device(windows), self._to_device(labels)
            if robust is not None:
                windows = robust.adversarial(forward_pass, windows, labels)
            logits = forward_pass.logits(windows)
            total += float(self.loss(self.recognizer, logits, labels).sum())
            log_probabilities.append(self.recognizer.log_probabilities(logits).cpu())
        return {
            f"val/{prefix}loss": total / len(self.validation),
            f"val/{prefix}top1": self._top1(torch.cat(log_probabilities).exp()),
        }

    def _top1(self, probabilities: Tensor) -> float:
        """Return how many excerpts have their label on top of their windows' mean."""
        excerpts, group = torch.unique(
            torch.from_numpy(self.validation.excerpt_of), return_inverse=True
        )
        sums = torch.zeros(len(excerpts), probabilities.shape[1])
        sums.index_add_(0, group, probabilities)
        right = self.validation.labels[excerpts].gather(1, sums.argmax(dim=1, keepdim=True))
        return float((right > 0).float().mean())

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Give the recognizer the average of its weights where there is one."""
        model, averaging = self.recognizer.model, self.averaging
        self.recognizer.model = (averaging and averaging.network) or model
        try:
            yield
        finally:
            self.recognizer.model = model

    def _to_device(self, batch: Tensor) -> Tensor:
        return batch.to(self.recognizer.device, non_blocking=True)

    def _save(self, progress: Progress) -> None:
        state = {
            "model": self.recognizer.model.state_dict(),
            "optimizer": self.optimizer and self.optimizer.state_dict(),
            "plan": self.plan,
            "averaging": None if self.averaging is None else self.averaging.state_dict(),
            "progress": vars(progress),
            "settings": self.settings,
        }
        content = io.BytesIO()  # torch reports a full disk as no OSError
        torch.save(state, content)
        with replacing(self.folder / STATE) as file:
            file.write(content.getbuffer())

    def _restored(self, state: Mapping[str, Any]) -> Progress:
        """Take over weights, optimizer, averages and learning rates of a state."""
        try:
            progress = Progress(**state["progress"])
            self.recognizer.model.load_state_dict(state["model"])
            if self.optimizer is not None:
                self.optimizer.load_state_dict(state["optimizer"])
            if self.plan is not None:
                self.plan = continued(self.plan, state["plan"], progress.epoch)
            if self.averaging is not None:
                self.averaging.load_state_dict(state["averaging"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"the state to resume from does not fit: {reason}; expected that of a training "
                "with the same model and optimizer"
            ) from error
        return progress


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch; different epochs of different seeds do not meet."""
    return (seed * 1_000_003 + epoch) * 2 % 2**63


def _check(metrics: Metrics, epoch: int) -> None:
    for name, value in metrics.items():
        if name.endswith("loss") and not math.isfinite(value):
            raise InputError(
                f"{name} is {value} in epoch {epoch}; expected a finite number: lower optimizer.lr"
            )


# What is fitted at once


def is_fitted(recognizer: Recognizer) -> bool:
    """Say whether the recognizer's model is fitted at once to windows, as `MfccSvm` is.

    It has `max_windows`, and two methods:

        statistics(log_mel) -> Tensor                 (batch, ...), what `fit` needs of windows
        fit(statistics, labels, recordings, seed)     labels (windows, instruments)
    """
    return all(hasattr(recognizer.model, name) for name in ("statistics", "fit", "max_windows"))


def check_fitted(recognizer: Recognizer, asked: Mapping[str, object]) -> None:
    """Refuse what only networks that are trained in steps can be asked for."""
    if given := [name for name, value in asked.items() if value not in (None, False)]:
        raise InputError(
            f"{given[0]} is for networks that are trained in steps, and "
            f"{type(recognizer.model).__name__} is fitted at once; leave it out"
        )


@dataclass(kw_only=True)
class FitAtOnce(Fit):
    """A training of one epoch, in which the model is fitted; `recordings`: of all excerpts."""

    recordings: Sequence[str]

    def _train(self, epoch: int) -> Metrics:
        model: Any = self.recognizer.model
        generator = torch.Generator().manual_seed(self.seed)
        rows = self.training.drawn(generator)[: model.max_windows].numpy()
        excerpts = self.training.excerpt_of[rows]
        labels = self.training.labels[torch.from_numpy(excerpts)]
        statistics = torch.cat(
            [
                model.statistics(self.recognizer.network_input(some)).cpu()
                for some in self._windows(rows)
            ]
        )
        model.fit(statistics, labels, [self.recordings[i] for i in excerpts], self.seed)
        forward_pass = ForwardPass(self.recognizer, self.loss)
        with torch.no_grad():
            logits = torch.cat([forward_pass.logits(some).cpu() for some in self._windows(rows)])
        loss = self.loss(self.recognizer, logits, labels).sum(dim=1).mean()
        return {"train/loss": float(loss), "train/windows": float(len(rows))}

    def _windows(self, rows: np.ndarray) -> Iterator[Tensor]:
        """Yield some of the training windows, on the device."""
        for first in range(0, len(rows), self.training.batch_size):
            windows, _ = self.training.cut(rows[first : first + self.training.batch_size])
            yield self._to_device(windows)

    def _save(self, progress: Progress) -> None:
        """Keep nothing to resume from: there is one epoch."""
