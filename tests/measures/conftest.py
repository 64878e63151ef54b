from collections.abc import Callable, Hashable, Sequence

import numpy as np
import pytest

from irdream.measures import bootstrap
from irdream.measures.bootstrap import Interval, between, numbered


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the number of draws."""
    return lambda count: monkeypatch.setattr(bootstrap, "RESAMPLES", count)


@pytest.fixture
def plain_bootstrap() -> Callable[..., Interval]:
    """The bootstrap as it is defined: the statistic of the rows of each draw of whole groups."""

    def interval(
        statistic: Callable[[np.ndarray], float], groups: Sequence[Hashable], seed: int = 0
    ) -> Interval:
        numbers, count = numbered(groups)
        rows = [np.flatnonzero(numbers == group) for group in range(count)]
        draws = np.random.default_rng(seed).integers(count, size=(bootstrap.RESAMPLES, count))
        results = [statistic(np.concatenate([rows[group] for group in drawn])) for drawn in draws]
        return between(float(statistic(np.arange(len(numbers)))), np.array(results), count)

    return interval
