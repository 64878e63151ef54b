"""Checkpoints that live in the tracking store: fetched by address, registered under a name.

A local store's folder is used where it lies; a server's is copied to a temporary folder that is
removed at exit. Files are only found or copied, nothing in them is opened.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from pathlib import Path

from irdream.errors import InputError
from irdream.tracking.database import DATABASE, exists
from irdream.tracking.store import Store, open_store

_RUN = re.compile(r"runs:/(?P<run_id>\w+)/(?P<path>.+)")
_MODEL = re.compile(r"models:/(?P<name>[^@/]+)(@(?P<alias>[\w\-]+)|/(?P<version>\d+))")


def fetch_checkpoint(uri: str, *, root: Path, uri_server: str | None = None) -> Path:
    """Return the local folder behind `runs:/<run id>/<path>` or `models:/NAME@alias`.

    `models:/NAME/3`, a version's number, is understood too.

    Args:
        uri: the checkpoint's address.
        root: the folder of the local store.
        uri_server: the address of a tracking server, asked in place of `root`.

    Raises:
        InputError: when the address has another form, or nothing is there.
    """
    if not (_RUN.fullmatch(uri) or _MODEL.fullmatch(uri)):
        raise InputError(
            f"cannot read the checkpoint address {uri!r}; expected 'runs:/<run id>/checkpoint' "
            "or 'models:/<name>@<alias>'"
        )
    if not uri_server and not exists(Path(root) / DATABASE):
        raise InputError(
            f"there is no tracking store in {root} to find {uri} in; name the checkpoint's folder "
            "instead, or the store's"
        )
    return _fetch(uri, open_store(root=root, uri=uri_server))


def register_checkpoint(
    *,
    root: Path,
    run_id: str,
    name: str,
    path: str = "checkpoint",
    alias: str = "champion",
    uri: str | None = None,
) -> str:
    """Make a run's checkpoint the version of `name` that `alias` points to; return its address."""
    from mlflow.exceptions import MlflowException

    store = open_store(root=root, uri=uri)
    source = f"runs:/{run_id}/{path}"
    _fetch(source, store)
    try:
        store.patiently(store.client.create_registered_model, name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = store.patiently(store.client.create_model_version, name, source, run_id)
    store.patiently(store.client.set_registered_model_alias, name, alias, str(version.version))
    return f"models:/{name}@{alias}"


def _fetch(uri: str, store: Store) -> Path:
    from mlflow.exceptions import MlflowException

    try:
        folder = _local_folder(uri, store)
    except (MlflowException, OSError) as error:
        raise _missing(uri, store) from error
    if not folder.is_dir():
        raise _missing(uri, store)
    return folder


def _missing(uri: str, store: Store) -> InputError:
    return InputError(
        f"no checkpoint folder at {uri} in the tracking store {store.where}; see the run's "
        "artifacts, or the registered models, in the MLflow UI"
    )


def _local_folder(uri: str, store: Store) -> Path:
    if model := _MODEL.fullmatch(uri):
        return _local_folder(_source(model, store), store)
    if run := _RUN.fullmatch(uri):
        artifacts = store.patiently(store.client.get_run, run["run_id"]).info.artifact_uri
        return _download(f"{artifacts}/{run['path']}", store)
    return _download(uri, store)


def _source(model: re.Match[str], store: Store) -> str:
    """Return where the registry says that a version's files lie."""
    client, name, version = store.client, model["name"], model["version"]
    if version is None:
        found = store.patiently(client.get_model_version_by_alias, name, model["alias"])
        version = str(found.version)
    return store.patiently(client.get_model_version_download_uri, name, version)


def _download(address: str, store: Store) -> Path:
    from mlflow.artifacts import download_artifacts

    local = address.startswith("file:")
    return Path(
        download_artifacts(
            artifact_uri=address,
            dst_path=None if local else _temporary_folder(),
            tracking_uri=store.client.tracking_uri,
        )
    )


def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="irdream_checkpoint_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
