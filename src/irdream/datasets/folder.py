"""Any folder of sound files (see `irdream.audio.folders`) as a data set.

Labels come from a CSV, or from the names of the first-level subfolders (`kick/`, `snare/`), or
there are none, which is enough to dream on. Where all of them name instruments of IRMAS (`flute/`,
`sax/`), labels are its codes; otherwise the names as they are. Subfolders `training` (or `train`)
and `test` (or else `validation`, `valid` or `val`) are the two parts; without them each part is the
whole folder.

    file,label                      one header line; paths from the root of the data set
    takes/one.wav,flute             several labels: separated by `;`, or in several rows
    takes/two.wav,piano;voice
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from irdream.audio import audio_files
from irdream.datasets.base import ExcerptFile, Excerpts, PartName, audio_loader, folders_of
from irdream.datasets.identity import equal_files, recordings_of, unique_names
from irdream.errors import InputError
from irdream.files import ExistingPath, as_text, read_text
from irdream.instruments import find, parse

_PARTS = {  # folders, in any case; the last of a part is taken
    "train": "training", "training": "training",
    "val": "test", "valid": "test", "validation": "test", "test": "test",
}  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Folder:
    """The sound files below `root`."""

    root: ExistingPath | None  # a folder, or a single file
    labels_csv: ExistingPath | None = None  # labels of the files; when given, it alone says them
    name: str = "folder"  # what the data set is called in tables

    def __post_init__(self) -> None:
        self._scanned: dict[Path, list[ExcerptFile]] = {}

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part; InputError: no root, nothing there, a CSV that is not understood."""
        return Excerpts(self._files(name), audio_loader(sample_rate_hz))

    def summary(self) -> str:
        """Say in one line what was found."""
        training, test = (len(self._files(part)) for part in ("training", "test"))
        if not self._part_folders:
            return f"found {test} sound files below {self._root}, the same in both parts"
        return f"found {training} training and {test} test files in {self._root}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of its training part, sorted."""
        return tuple(sorted({label for file in self._files("training") for label in file.labels}))

    @property
    def _root(self) -> Path:
        if self.root is None:
            raise InputError("dataset.root is not set; expected a folder of sound files")
        return Path(self.root).expanduser()

    @cached_property
    def _part_folders(self) -> dict[str, Path]:
        """The folders of the two parts; none where there are not both."""
        folders = {p.name.lower(): p for p in sorted(self._root.glob("*")) if p.is_dir()}
        found = {part: folders[name] for name, part in _PARTS.items() if name in folders}
        return found if len(found) == 2 else {}

    def _files(self, name: str) -> list[ExcerptFile]:
        folder = self._part_folders.get(name, self._root)
        if folder not in self._scanned:
            paths = audio_files(folder)
            recordings = recordings_of(paths, equal_files(paths))
            self._scanned[folder] = [
                ExcerptFile(path=path, name=name, labels=labels, recording=recording)
                for path, name, labels, recording in zip(
                    paths, unique_names(paths), self._labels(paths, folder), recordings, strict=True
                )
            ]
        return self._scanned[folder]

    def _labels(self, paths: Sequence[Path], folder: Path) -> list[tuple[str, ...]]:
        if self.labels_csv is not None:
            given = [self._csv_labels.get(path.resolve(), ()) for path in paths]
            self._warn_of_unread(paths)
        else:
            given = [path.relative_to(folder).parts[:-1][:1] for path in paths]
        are_known = all(find(label) for labels in given for label in labels)
        name_of = parse if are_known else as_text
        return [tuple(dict.fromkeys(map(name_of, labels))) for labels in given]

    def _warn_of_unread(self, paths: Sequence[Path]) -> None:
        """Warn of labels that are lost, since their files are not read in either part."""
        read = {path.resolve() for path in paths}
        parts = [path.resolve() for path in self._part_folders.values()]
        unread = [path for path in self._csv_labels if path not in read]
        if lost := [path for path in unread if not any(map(path.is_relative_to, parts))]:
            where, words = as_text(self._root), folders_of(lost)
            logger.warning("%d labelled files are no sounds below %s: %s", len(lost), where, words)

    @cached_property
    def _csv_labels(self) -> dict[Path, tuple[str, ...]]:
        assert self.labels_csv is not None
        root = self._root if self._root.is_dir() else self._root.parent
        return read_labels(Path(self.labels_csv).expanduser(), root=root)


def read_labels(labels_csv: Path, *, root: Path) -> dict[Path, tuple[str, ...]]:
    """Read a CSV with the columns `file` and `label`; paths are relative to `root`.

    Raises InputError with the number of the line that cannot be understood.
    """
    rows = csv.DictReader(io.StringIO(read_text(labels_csv)), skipinitialspace=True)
    labels: dict[Path, tuple[str, ...]] = {}
    try:
        names = rows.fieldnames or ()
        rows.fieldnames = [name.strip().lower() for name in names]
        if not {"file", "label"} <= {*rows.fieldnames}:
            raise InputError(f"expected the header file,label, not {','.join(names) or 'nothing'}")
        for row in rows:
            if not any(row.values()):  # a spreadsheet's empty line
                continue
            file, label = row["file"], row["label"]
            if not file or label is None or None in row:
                raise InputError("expected two columns, file and label (several labels: a;b)")
            path = root / file.strip()
            if not path.is_file():  # perhaps written on Windows
                path = root / file.strip().replace("\\", "/")
            if not path.is_file():
                raise InputError(f"no such file: {str(path)!r}; paths start at dataset.root")
            codes = tuple(part.strip() for part in label.split(";") if part.strip())
            known = labels.get(path.resolve(), ())
            labels[path.resolve()] = tuple(dict.fromkeys(known + codes))
    except (InputError, csv.Error) as error:
        line = max(rows.line_num, 1) + isinstance(error, csv.Error)  # raised before it is counted
        raise InputError(f"{str(labels_csv)!r} line {line}: {error}") from None
    return labels
