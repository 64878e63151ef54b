"""The repair on packages that imitate torchaudio's loader: it fails while lib/*.so is there."""

from pathlib import Path

import pytest

from irdream import repair_torchaudio
from irdream.repair_torchaudio import repair

FAILS_WITH_LIBRARY = """
from pathlib import Path

for library in (Path(__file__).parent / "lib").glob("*.so"):
    raise OSError(f"Could not load this library: {library}")
"""
MISSING_CUDA = "raise OSError('libc10_cuda.so: cannot open shared object file')"


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """Return a function that writes the package `fakeaudio` with the given `__init__.py`."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> Path:
        lib = tmp_path / "fakeaudio" / "lib"
        lib.mkdir(parents=True)
        (lib / "_fakeaudio.abi3.so").write_bytes(b"not a library")
        (lib / "__init__.py").touch()
        (lib.parent / "__init__.py").write_text(source)
        return lib

    return write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_libraries_that_stop_the_import_are_removed_once(fake_package):
    lib = fake_package(FAILS_WITH_LIBRARY)
    removed = "fakeaudio works now, in pure Python: removed _fakeaudio.abi3.so"
    assert repair("fakeaudio", torch_has_cuda=False) == (True, removed)
    assert names(lib) == ["__init__.py"]
    nothing = "fakeaudio can be imported; nothing to repair"
    assert repair("fakeaudio", torch_has_cuda=False) == (True, nothing)


@pytest.mark.parametrize(
    ("source", "torch_has_cuda", "said"),
    [
        pytest.param("", False, "nothing to repair", id="import works"),
        pytest.param(FAILS_WITH_LIBRARY, True, "not known here: OSError", id="torch with CUDA"),
        pytest.param("import absent", False, "not known here: Module", id="other error"),
        pytest.param("raise OSError('full')", False, "not known here: OSError", id="other OSError"),
        pytest.param("import os; os._exit(3)", False, "exit status 3", id="silent failure"),
    ],
)
def test_otherwise_nothing_is_touched(fake_package, source, torch_has_cuda, said):
    lib = fake_package(source)
    repaired, line = repair("fakeaudio", torch_has_cuda=torch_has_cuda)
    assert repaired == (source == "")
    assert said in line
    assert "\n" not in line
    assert names(lib) == ["__init__.py", "_fakeaudio.abi3.so"]


def test_a_failure_that_outlives_the_libraries_is_told(fake_package):
    fake_package(MISSING_CUDA)
    repaired, line = repair("fakeaudio", torch_has_cuda=False)
    assert not repaired
    assert "even without its libraries: OSError: libc10_cuda.so" in line


def test_a_missing_package_is_told():
    repaired, line = repair("no_such_audio", torch_has_cuda=False)
    assert not repaired
    assert line.startswith("no_such_audio is not installed")


@pytest.mark.parametrize(("repaired", "status"), [(True, 0), (False, 1)])
def test_the_command_prints_one_line_and_returns_a_status(monkeypatch, capsys, repaired, status):
    monkeypatch.setattr(repair_torchaudio, "repair", lambda *_, **__: (repaired, "the line"))
    assert repair_torchaudio.main() == status
    printed = capsys.readouterr()
    assert (printed.out if repaired else printed.err) == "the line\n"
