"""IRMAS: instrument recognition in musical audio signals (Bosch et al. 2012).

Zenodo record 1290750, licence CC BY-NC-SA 3.0. 44.1 kHz, 16 bit, stereo.

    training  6705 excerpts of 3 s from 2273 recordings, one label, that of the folder
    test      2874 excerpts of 5 to 20 s in three parts (807, 1301, 766), 4917 labels, in a
              .txt beside each .wav: one `code TAB LF` a line

    IRMAS-TrainingData/<code>/[cel][cla]0001__1.wav     instrument, genre, recording, excerpt
    IRMAS-TrainingData/<code>/008__[cel][nod][cla]0058__1.wav    drums: dru, nod, --- or none
    IRMAS-TestingData-Part1/Part1, -Part2/IRTestingData-Part2, -Part3/Part3

The genre `cla` (classical) looks like the instrument `cla` (clarinet): the label is taken
from the folder, the genre from the last bracket. Excerpts __1 __2 __3 of a recording belong
together, and 56 pairs of training files are equal byte for byte (9 of them labelled both
gac and gel): all such files count as one recording, so that a split cannot leak.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from irdream.audio import sounds_below
from irdream.datasets.base import ExcerptFile, Excerpts, PartName, audio_loader, folders_of
from irdream.datasets.download import Archive, Downloadable
from irdream.datasets.identity import equal_files, recordings_of, unique_names
from irdream.errors import InputError
from irdream.files import ExistingPath
from irdream.instruments import CODES

OFFICIAL_TRAINING: dict[str, int] = dict(
    zip(CODES, (388, 505, 451, 637, 760, 682, 721, 626, 577, 580, 778), strict=True)
)
OFFICIAL_TEST_EXCERPTS = 2874
GENRES = ("cla", "cou_fol", "jaz_blu", "lat_sou", "pop_roc")
_ARCHIVES = (  # name, MD5, sound files
    ("IRMAS-TrainingData", "4fd9f5ed5a18d8e2687e6360b5f60afe", 6705),
    ("IRMAS-TestingData-Part1", "5a2e65520dcedada565dff2050bb2a56", 807),
    ("IRMAS-TestingData-Part2", "afb0c8ea92f34ee653693106be95c895", 1301),
    ("IRMAS-TestingData-Part3", "9b3fb2d0c89cdc98037121c25bd5b556", 766),
)

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Irmas(Downloadable):
    """The unzipped tree of IRMAS below `root`, whole or partial, or any tree like it."""

    root: ExistingPath | None  # the folder that holds the unzipped archives, at any depth
    download: bool = False  # let `prepare()` fetch what is missing
    official_counts: bool = True  # compare with the counts of the published data set
    name: str = "irmas"  # what the data set is called in tables

    title, choice = "IRMAS", "irmas"
    source = "Zenodo record 1290750, about 9 GB unzipped, licence CC BY-NC-SA 3.0"
    about = "recordings in the tree of IRMAS (IRMAS itself: CC BY-NC-SA 3.0)"

    def archives(self) -> list[Archive]:
        """Return the four archives of the Zenodo record."""
        url = "https://zenodo.org/records/1290750/files/{}.zip?download=1"
        return [
            Archive(url=url.format(name), md5=md5, folder=name, sounds=sounds)
            for name, md5, sounds in _ARCHIVES
        ]

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part; raise InputError without a root, an IRMAS tree or a good annotation."""
        files = self._training if name == "training" else self._test
        return Excerpts(files, audio_loader(sample_rate_hz))

    def summary(self) -> str:
        """Say in one line what was found."""
        groups = self._equal_groups
        pairs = sum(len(group) - 1 for group in groups)
        conflicts = sum(len({path.parent.name for path in group}) > 1 for group in groups)
        found = self._found(len(self._paths["training"]), len(self._paths["test"]))
        return (
            f"{found} below {self.existing_root()}; {pairs} byte-equal pairs, "
            f"{conflicts} of them under two labels"
        )

    def _found(self, training: int, test: int) -> str:
        if not self.official_counts:
            return f"found {training} training and {test} test excerpts"
        return (
            f"found {training} of {sum(OFFICIAL_TRAINING.values())} training excerpts and "
            f"{test} of {OFFICIAL_TEST_EXCERPTS} test excerpts"
        )

    @cached_property
    def _paths(self) -> dict[PartName, list[Path]]:
        """The sound files of each part; scanned once."""
        root = self.existing_root()
        paths = sorted(sounds_below(root), key=lambda path: (path.parent.name, path.name, path))
        found: dict[PartName, list[Path]] = {"training": [], "test": []}
        ignored = []
        for path in paths:
            if path.with_suffix(".txt").is_file():
                found["test"].append(path)
            else:
                (found["training"] if path.parent.name in CODES else ignored).append(path)
        if ignored:
            where = f"{len(ignored)} sound files below {str(root)!r} are neither in a folder"
            where += f" named by a code ({' '.join(CODES)}) nor beside a .txt"
            logger.warning("%s: %s", where, folders_of(ignored))
        training, test = len(found["training"]), len(found["test"])
        if not training and not test:
            raise InputError(f"no IRMAS tree below {str(root)!r}; {self.where()}")
        whole = (sum(OFFICIAL_TRAINING.values()), OFFICIAL_TEST_EXCERPTS)
        if self.official_counts and (training, test) != whole:
            logger.warning("not the whole of IRMAS: %s", self._found(training, test))
        return found

    @cached_property
    def _equal_groups(self) -> list[tuple[Path, ...]]:
        return equal_files(self._paths["training"])

    @cached_property
    def _training(self) -> list[ExcerptFile]:
        paths = self._paths["training"]
        recordings = recordings_of(paths, self._equal_groups)
        return [
            ExcerptFile(
                path=path,
                name=name,
                labels=(path.parent.name,),
                recording=recording,
                genre=genre_of(path.stem),
            )
            for path, name, recording in zip(paths, unique_names(paths), recordings, strict=True)
        ]

    @cached_property
    def _test(self) -> list[ExcerptFile]:
        paths = self._paths["test"]
        return [
            ExcerptFile(path=path, name=name, labels=read_annotation(path), recording=name)
            for path, name in zip(paths, unique_names(paths), strict=True)
        ]


def genre_of(name: str) -> str:
    """Return the genre in the last of a name's brackets; the first is the instrument's."""
    brackets = re.findall(r"\[([^\]]*)\]", name)
    return brackets[-1] if len(brackets) > 1 and brackets[-1] in GENRES else ""


def read_annotation(sound: Path) -> tuple[str, ...]:
    """Read the labels of a test excerpt, one code a line; raise InputError for a bad file."""
    path = sound.with_suffix(".txt")
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}; check it") from None
    codes: list[str] = []
    for number, code in enumerate(map(str.strip, lines), start=1):
        if code and code not in CODES:
            expected = f"expected one of {' '.join(CODES)}"
            raise InputError(f"{str(path)!r} line {number}: unknown code {code!r}; {expected}")
        codes += [code] if code else []
    if not codes:
        raise InputError(f"{str(path)!r} names no instrument; expected one code a line")
    return tuple(dict.fromkeys(codes))
