import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

import irdream
from irdream.tracking import create_store
from irdream.tracking.store import Store, open_store


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One empty store, made once (2 s)."""
    root = tmp_path_factory.mktemp("store") / "mlruns"
    create_store(root)
    return root


@pytest.fixture
def root(new_store: Path, tmp_path: Path) -> Path:
    """A store of the test's own."""
    return Path(shutil.copytree(new_store, tmp_path / "mlruns"))


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(root=root)


@pytest.fixture
def fails_first(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the first call of a client's method fail, before or after it is done."""

    def fails_first(client: Any, name: str, message: str, *, is_done: bool, **code: Any) -> None:
        call, failures = getattr(client, name), [message]

        def failing(*arguments: Any, **named: Any) -> Any:
            answer = call(*arguments, **named) if is_done or not failures else None
            if failures:
                raise MlflowException(failures.pop(), **code)
            return answer

        monkeypatch.setattr(client, name, failing)

    return fails_first


@pytest.fixture
def child_environment() -> dict[str, str]:
    """For processes that import irdream: where it is, and no sign of pytest."""
    source = str(Path(irdream.__file__).parents[1])
    kept = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    return kept | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
