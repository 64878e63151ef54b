"""Statistics of MFCCs and a random forest, a classical baseline that is fitted in seconds.

    python main.py task=train model=mfcc_forest

The trees have an output for each instrument, present or not, so that one window may have several.
Where each has one, their criterion, the sum of the outputs' Gini impurities, is twice that of the
usual tree over classes: the trees are the same.

All trees lie one after the other in arrays of inner nodes and of leaves. A child is the number of
an inner node, or -1 - the number of a leaf; it always comes after its parent.

Source: L. Breiman, "Random forests", Machine Learning 45, 2001.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.models.mfcc import MfccModel, check_counts

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

_NODES = ("split_features", "thresholds", "left", "right")


class MfccForest(MfccModel):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), by the mean of trees.

    Its scores are steps: they have no gradient, and nothing can be dreamed toward.

    Args:
        coefficients: of the MFCCs; a log-mel needs as many mel bands.
        trees: in the forest. A share of them below a half of one is taken for a half of one, so
            that logits are finite.
        min_leaf_windows: least number of windows in a leaf.
        max_windows: that it is fitted on, at most.
        instruments: the number of outputs.

    Raises:
        InputError: when a number is below one.
    """

    roots: Tensor  # (trees,), as a child is given
    split_features: Tensor  # (nodes,)
    thresholds: Tensor  # (nodes,), to the left up to it
    left: Tensor  # (nodes,)
    right: Tensor  # (nodes,)
    leaves: Tensor  # (leaves, instruments), probabilities

    def __init__(
        self,
        *,
        coefficients: int = 20,
        trees: int = 300,
        min_leaf_windows: int = 2,
        max_windows: int = 20_000,
        instruments: int = 11,
    ) -> None:
        super().__init__(
            coefficients=coefficients, max_windows=max_windows, instruments=instruments
        )
        check_counts(trees=trees, min_leaf_windows=min_leaf_windows)
        self.trees, self.min_leaf_windows = trees, min_leaf_windows
        self.hold("roots", torch.full((1,), -1, dtype=torch.int32))
        for name, kind in zip(
            _NODES, (torch.int16, torch.float32, torch.int32, torch.int32), strict=True
        ):
            self.hold(name, torch.zeros(0, dtype=kind))
        self.hold("leaves", torch.full((1, instruments), 0.5))

    def probabilities(self, standardized: Tensor) -> Tensor:
        """Return the mean of the trees, (batch, instruments)."""
        nodes = self.roots.long().expand(len(standardized), -1)
        while bool((inner := nodes >= 0).any()):
            at = nodes.clamp(min=0)
            values = standardized.gather(1, self.split_features[at].long())
            goes_left = values <= self.thresholds[at]
            nodes = torch.where(
                inner, torch.where(goes_left, self.left[at], self.right[at]).long(), nodes
            )
        return self.leaves[-1 - nodes].mean(1)

    def classify(self, standardized: Tensor) -> Tensor:
        """Return the log-odds of each instrument; InputError where a gradient is wanted."""
        if standardized.requires_grad and torch.is_grad_enabled():
            raise InputError(
                "MfccForest has no gradient: its scores are steps, and nothing can be dreamed "
                "toward them; expected another checkpoint, such as one of model=mfcc_svm"
            )
        least = 0.5 / self.trees
        return torch.logit(self.probabilities(standardized).clamp(least, 1 - least))

    def _fit(
        self, standardized: np.ndarray, present: np.ndarray, recordings: Sequence[str], seed: int
    ) -> None:
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            self.trees,
            min_samples_leaf=self.min_leaf_windows,
            random_state=seed % 2**32,
            n_jobs=torch.get_num_threads(),
        ).fit(standardized, present.astype(int))
        self._copy(forest)

    def _copy(self, forest: RandomForestClassifier) -> None:
        """Keep the trees of a forest of scikit-learn."""
        nodes, leaves, roots = 0, 0, []
        parts: dict[str, list[np.ndarray]] = {name: [] for name in (*_NODES, "leaves")}
        for one in forest.estimators_:
            tree: Any = one.tree_
            inner = tree.children_left >= 0
            numbers = np.where(inner, nodes - 1 + inner.cumsum(), -leaves - (~inner).cumsum())
            roots.append(numbers[0])
            parts["split_features"].append(tree.feature[inner])
            parts["thresholds"].append(_below(tree.threshold[inner]))
            parts["left"].append(numbers[tree.children_left[inner]])
            parts["right"].append(numbers[tree.children_right[inner]])
            parts["leaves"].append(_present(tree.value[~inner], forest.classes_))
            nodes, leaves = nodes + int(inner.sum()), leaves + int((~inner).sum())
        self.keep("roots", roots)
        for name, arrays in parts.items():
            self.keep(name, np.concatenate(arrays))

    def misfit(self) -> str | None:
        """Return what is wrong with tensors that were loaded, if anything is."""
        count = len(self.left)
        if any(len(getattr(self, name)) != count for name in _NODES):
            return "its arrays of nodes are not of one length"
        after = torch.arange(count, device=self.left.device)
        children = torch.cat([self.left, self.right, self.roots])
        known = bool(((children >= -len(self.leaves)) & (children < count)).all())
        falls = all(bool(((x < 0) | (x > after)).all()) for x in (self.left, self.right))
        features = bool(((self.split_features >= 0) & (self.split_features < self.features)).all())
        if not (known and falls and features and len(self.roots)):
            return "its nodes do not make trees"
        return None


def _below(thresholds: np.ndarray) -> np.ndarray:
    """Return the largest single-precision numbers up to these: x <= t says the same with them."""
    rounded = thresholds.astype(np.float32)
    lower = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > thresholds, lower, rounded)


def _present(values: np.ndarray, classes: list[np.ndarray]) -> np.ndarray:
    """Return the shares of class 1, (leaves, instruments), of (leaves, instruments, classes)."""
    shares = values / values.sum(axis=2, keepdims=True)
    columns = [np.flatnonzero(found == 1) for found in classes]  # none where it was never present
    return np.stack([shares[:, i, at].sum(axis=1) for i, at in enumerate(columns)], axis=1)
