from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import pytest

from irdream.measures.bootstrap import Interval, between, draws_of, numbered


@pytest.fixture
def bootstrap() -> Callable[..., Interval]:
    """The plain bootstrap: the statistic of the rows of each draw of whole groups."""

    def bootstrap(
        statistic: Callable[[np.ndarray], float],
        groups: Sequence[Hashable],
        resamples: int,
        seed: int,
    ) -> Interval:
        numbers, count = numbered(groups)
        rows = [np.flatnonzero(numbers == group) for group in range(count)]
        draws = draws_of(count, resamples, seed)
        results = [statistic(np.concatenate([rows[group] for group in drawn])) for drawn in draws]
        return between(float(statistic(np.arange(len(numbers)))), np.array(results), count)

    return bootstrap
