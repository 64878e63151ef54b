from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.datasets.base import ExcerptFile
from irdream.datasets.split import split_by_recording
from irdream.errors import InputError


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
    recordings = []
    for label, count in (("cel", 120), ("flu", 150), ("voi", 260)):
        recordings += [((label,), 1 + r % 5) for r in range(count)]
    return files_of(recordings)


@pytest.mark.parametrize("share", [0.1, 0.15, 0.5, 0.8])
def test_each_label_gets_its_share(share):
    files = irmas_like()
    _, validation = split_by_recording(files, validation_share=share, seed=3)
    totals = Counter(file.labels[0] for file in files)
    for label, count in label_counts(files, validation).items():
        assert count == pytest.approx(share * totals[label], abs=5)  # one recording
    assert len(validation) == pytest.approx(share * len(files), abs=2.5)


def test_same_seed_same_split_another_seed_another():
    files = irmas_like()
    first = split_by_recording(files, validation_share=0.15, seed=1)
    assert split_by_recording(files, validation_share=0.15, seed=1) == first
    assert split_by_recording(files, validation_share=0.15, seed=2) != first


def test_order_of_the_files_does_not_matter():
    files = irmas_like()
    _, validation = split_by_recording(files, validation_share=0.15, seed=1)
    _, mirrored = split_by_recording(files[::-1], validation_share=0.15, seed=1)
    assert {files[i].name for i in validation} == {files[::-1][i].name for i in mirrored}


def test_a_label_with_one_recording_stays_in_training():
    files = files_of([(("cel",), 2), *[(("flu",), 2)] * 6, *[(("cla", "voi"), 1)] * 6])
    for seed in range(20):
        training, _ = split_by_recording(files, validation_share=0.5, seed=seed)
        assert set(label_counts(files, training)) == {"cel", "flu", "cla", "voi"}


def test_unlabelled_excerpts_are_split_too():
    training, validation = split_by_recording(
        files_of([((), 1)] * 20), validation_share=0.2, seed=0
    )
    assert (len(training), len(validation)) == (16, 4)


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
def test_a_split_covers_all_and_separates_no_recording(recordings, share, seed):
    files = files_of(recordings)
    training, validation = split_by_recording(files, validation_share=share, seed=seed)
    assert sorted(training + validation) == list(range(len(files)))
    assert training
    assert validation
    assert not {files[i].recording for i in training} & {files[i].recording for i in validation}


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_share_out_of_range(share):
    with pytest.raises(InputError, match=r"validation_share=.* is out of range; expected"):
        split_by_recording(irmas_like(), validation_share=share, seed=0)


@pytest.mark.parametrize("recordings", [[], [(("cel",), 3)]])
def test_too_few_recordings(recordings):
    with pytest.raises(InputError, match=r"found [01] recordings; .* needs at least 2"):
        split_by_recording(files_of(recordings), validation_share=0.15, seed=0)
