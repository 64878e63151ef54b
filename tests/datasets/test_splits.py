from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.datasets.base import ExcerptFile
from irdream.datasets.identity import Split, split_excerpts
from irdream.errors import InputError


def split(
    files: list[ExcerptFile], share: float = 0.15, seed: int = 0, by: Split = "recording"
) -> tuple[list[int], list[int]]:
    return split_excerpts(files, by, validation_share=share, seed=seed)


def files_of(recordings: list[tuple[tuple[str, ...], int]]) -> list[ExcerptFile]:
    """One recording per (labels, number of excerpts)."""
    return [
        ExcerptFile(path=Path(f"{r}__{k}.wav"), name=f"{r}__{k}", labels=labels, recording=f"{r}")
        for r, (labels, count) in enumerate(recordings)
        for k in range(count)
    ]


def label_counts(files: list[ExcerptFile], indices: list[int]) -> Counter[str]:
    return Counter(label for i in indices for label in files[i].labels)


def irmas_like() -> list[ExcerptFile]:
    counts = (("cel", 120), ("flu", 150), ("voi", 260))
    return files_of([((label,), 1 + r % 5) for label, count in counts for r in range(count)])


@pytest.mark.parametrize("share", [0.15, 0.8])
def test_each_label_gets_its_share(share: float) -> None:
    files = irmas_like()
    _, validation = split(files, share, seed=3)
    totals = Counter(file.labels[0] for file in files)
    for label, count in label_counts(files, validation).items():
        assert count == pytest.approx(share * totals[label], abs=5)  # one recording
    assert len(validation) == pytest.approx(share * len(files), abs=2.5)


@pytest.mark.parametrize("by", ["recording", "excerpt"])
def test_a_split_follows_from_the_names_and_the_seed(by: Split) -> None:
    files = irmas_like()
    first = split(files, seed=1, by=by)
    assert split(files, seed=1, by=by) == first
    assert split(files, seed=2, by=by) != first
    _, mirrored = split(files[::-1], seed=1, by=by)
    assert {files[i].name for i in first[1]} == {files[::-1][i].name for i in mirrored}


def test_a_split_by_excerpt_has_the_share_and_separates_recordings() -> None:
    files = files_of([(("flu",), 3)] * 40)
    training, validation = split(files, by="excerpt")
    assert sorted(training + validation) == list(range(120))
    assert len(validation) == 18
    recordings = [{files[i].recording for i in some} for some in (training, validation)]
    assert len(recordings[0] & recordings[1]) > 10
    assert [len(some) for some in split(files[:2], 0.9, by="excerpt")] == [1, 1]


def test_a_label_with_one_recording_stays_in_training() -> None:
    files = files_of([(("cel",), 2), *[(("flu",), 2)] * 6, *[(("cla", "voi"), 1)] * 6])
    for seed in range(20):
        training, _ = split(files, 0.5, seed)
        assert set(label_counts(files, training)) == {"cel", "flu", "cla", "voi"}


@settings(deadline=None)
@given(
    recordings=st.lists(
        st.tuples(
            st.sets(st.sampled_from(["cel", "flu", "pia", "voi"])).map(lambda s: tuple(sorted(s))),
            st.integers(1, 4),
        ),
        min_size=2,
        max_size=30,
    ),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 100),
)
def test_a_split_covers_all_and_separates_no_recording(recordings, share, seed) -> None:
    files = files_of(recordings)
    training, validation = split(files, share, seed)
    assert sorted(training + validation) == list(range(len(files)))
    assert training
    assert validation
    assert not {files[i].recording for i in training} & {files[i].recording for i in validation}


@pytest.mark.parametrize(
    ("recordings", "share", "by", "message"),
    [
        (9, 0, "recording", "validation_share=0; expected a number between 0 and 1"),
        (9, 1.0, "excerpt", "validation_share=1.0; expected a number between 0 and 1"),
        (0, 0.15, "recording", r"found 0 recordings; .* needs at least 2"),
        (1, 0.15, "recording", r"found 1 recordings; .* needs at least 2"),
        (0, 0.5, "excerpt", "found 0 recordings"),
        (9, 0.15, "artist", "by=artist; expected recording or source or excerpt"),
    ],
)  # fmt: skip
def test_what_cannot_be_split(recordings: int, share: float, by: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(files_of([(("cel",), 3)] * recordings), share, by=by)
