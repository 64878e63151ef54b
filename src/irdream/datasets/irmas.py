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

mirdata reads IRMAS too; it was left out because it brings 740 MB of packages and its index
lacks 45 training excerpts.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from functools import cached_property
from pathlib import Path

from irdream.audio import sounds_below
from irdream.datasets.base import ExcerptFile, Excerpts, PartName, folders_of
from irdream.datasets.cache import audio_loader
from irdream.datasets.download import Archive, fetch_archives
from irdream.datasets.duplicates import equal_files, forget, recordings_of, unique_names
from irdream.errors import InputError
from irdream.files import ExistingPath
from irdream.instruments import CODES

OFFICIAL_TRAINING: dict[str, int] = dict(
    zip(CODES, (388, 505, 451, 637, 760, 682, 721, 626, 577, 580, 778), strict=True)
)
OFFICIAL_TEST_EXCERPTS = 2874
GENRES = ("cla", "cou_fol", "jaz_blu", "lat_sou", "pop_roc")
SOURCE = "Zenodo record 1290750, about 9 GB unzipped, licence CC BY-NC-SA 3.0"
ARCHIVES = [
    Archive(
        url=f"https://zenodo.org/records/1290750/files/{name}.zip?download=1",
        md5=md5,
        folder=name,
        sounds=sounds,
    )
    for name, md5, sounds in (
        ("IRMAS-TrainingData", "4fd9f5ed5a18d8e2687e6360b5f60afe", 6705),
        ("IRMAS-TestingData-Part1", "5a2e65520dcedada565dff2050bb2a56", 807),
        ("IRMAS-TestingData-Part2", "afb0c8ea92f34ee653693106be95c895", 1301),
        ("IRMAS-TestingData-Part3", "9b3fb2d0c89cdc98037121c25bd5b556", 766),
    )
]
DOWNLOAD = "python main.py task=prepare dataset=irmas dataset.root=... dataset.download=true"

logger = logging.getLogger(__name__)


class Irmas:
    """The unzipped tree of IRMAS below `root`, whole or partial, or any tree like it.

    Args:
        root: the folder that holds the unzipped archives, at any depth.
        cache_dir: where decoded audio is kept; None: decode every time.
        download: let `prepare()` fetch what is missing.
        official_counts: compare with the counts of the published data set.
        name: what the data set is called in tables.
    """

    def __init__(
        self,
        *,
        root: ExistingPath | None,
        cache_dir: str | Path | None = None,
        download: bool = False,
        official_counts: bool = True,
        name: str = "irmas",
    ) -> None:
        self.root = None if root is None else Path(root).expanduser()
        self.cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self.download = download
        self.official_counts = official_counts
        self.name = name
        self.about = "recordings in the tree of IRMAS"

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part; a warning says when the tree is not whole.

        Raises:
            InputError: no root, no such folder, no IRMAS tree in it, a bad annotation.
        """
        files = self._training if name == "training" else self._test
        return Excerpts(files, audio_loader(self.cache_dir, sample_rate_hz=sample_rate_hz))

    def to_prepare(self) -> str:
        """Say what `prepare` would do; nothing where it was not asked to fetch anything.

        Raises:
            InputError: no root.
        """
        if not self.download:
            return ""
        if self.root is None:
            raise InputError(f"dataset.root is not set; name the folder for {SOURCE}")
        return f"fetches what {str(self.root)!r} lacks of {SOURCE}"

    def prepare(self) -> None:
        """Fetch and unpack what is missing, when `download` was asked for.

        Raises:
            InputError: no root; whatever hinders the download.
        """
        if self.to_prepare() and self.root is not None:
            fetch_archives(self.root, ARCHIVES)
            forget(self)

    def found(self) -> dict[str, int]:
        """Count the excerpts found: `training`, `test`, and the training ones by code."""
        by_code = Counter(path.parent.name for path in self._paths["training"])
        counts = {part: len(paths) for part, paths in self._paths.items()}
        return counts | {code: by_code[code] for code in CODES}

    def summary(self) -> str:
        """Say in one line what was found."""
        groups = self._equal_groups
        pairs = sum(len(group) - 1 for group in groups)
        conflicts = sum(len({path.parent.name for path in group}) > 1 for group in groups)
        found = self._found_line(len(self._paths["training"]), len(self._paths["test"]))
        return (
            f"{found} below {self.root}; {pairs} byte-equal pairs, "
            f"{conflicts} of them under two labels"
        )

    def _found_line(self, training: int, test: int) -> str:
        if not self.official_counts:
            return f"found {training} training and {test} test excerpts"
        return (
            f"found {training} of {sum(OFFICIAL_TRAINING.values())} training excerpts and "
            f"{test} of {OFFICIAL_TEST_EXCERPTS} test excerpts"
        )

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        """The sound files of each part; scanned once."""
        paths = sounds_below(self._existing_root())
        paths.sort(key=lambda path: (path.parent.name, path.name, path))
        test = [path for path in paths if path.with_suffix(".txt").is_file()]
        annotated = set(test)
        training = [p for p in paths if p not in annotated and p.parent.name in CODES]
        ignored = sorted(set(paths) - set(training) - annotated)
        if ignored:
            found = f"{len(ignored)} sound files below {str(self.root)!r} are neither in a folder"
            where = f"{found} named by a code ({' '.join(CODES)}) nor beside a .txt"
            logger.warning("%s: %s", where, folders_of(ignored))
        if not training and not test:
            raise InputError(f"no IRMAS tree below {str(self.root)!r}; get {SOURCE}: {DOWNLOAD}")
        self._warn_if_partial(len(training), len(test))
        return {"training": training, "test": test}

    def _existing_root(self) -> Path:
        if self.root is None:
            raise InputError(f"dataset.root is not set; IRMAS is {SOURCE}; fetch it: {DOWNLOAD}")
        if not self.root.is_dir():
            missing = f"no such folder: dataset.root={str(self.root)!r}"
            raise InputError(f"{missing}; IRMAS is {SOURCE}; fetch it: {DOWNLOAD}")
        return self.root

    def _warn_if_partial(self, training: int, test: int) -> None:
        whole = (sum(OFFICIAL_TRAINING.values()), OFFICIAL_TEST_EXCERPTS)
        if self.official_counts and (training, test) != whole:
            logger.warning("not the whole of IRMAS: %s", self._found_line(training, test))

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
                genre=genre_of(path),
            )
            for path, name, recording in zip(paths, unique_names(paths), recordings, strict=True)
        ]

    @cached_property
    def _test(self) -> list[ExcerptFile]:
        paths = self._paths["test"]
        return [
            ExcerptFile(
                path=path,
                name=name,
                labels=read_annotation(path.with_suffix(".txt")),
                recording=name,
            )
            for path, name in zip(paths, unique_names(paths), strict=True)
        ]


def genre_of(path: Path) -> str:
    """Return the genre in the last of a name's brackets; the first is the instrument's."""
    brackets = re.findall(r"\[([^\]]*)\]", path.stem)
    return brackets[-1] if len(brackets) > 1 and brackets[-1] in GENRES else ""


def read_annotation(path: Path) -> tuple[str, ...]:
    """Read the labels of a test excerpt, one code a line, each once, in the file's order.

    Raises:
        InputError: when it cannot be read, a line is no instrument's code, or there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}; check it") from None
    codes: list[str] = []
    for number, line in enumerate(lines, start=1):
        code = line.strip()
        if code and code not in CODES:
            expected = f"expected one of {' '.join(CODES)}"
            raise InputError(f"{str(path)!r} line {number}: unknown code {code!r}; {expected}")
        codes += [code] if code else []
    if not codes:
        raise InputError(f"{str(path)!r} names no instrument; expected one code a line")
    return tuple(dict.fromkeys(codes))
