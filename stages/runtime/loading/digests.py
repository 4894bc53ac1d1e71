"""The digest that DVC gives to a file or folder; the one name of a table or a model."""

import hashlib
import json
from pathlib import Path


def dvc_md5(path: Path) -> str:
    """The md5 that DVC writes to dvc.lock for a file, or for a folder (ending in .dir)."""
    if not path.exists():
        raise FileNotFoundError(path)  # else it would have the digest of an empty folder
    if path.is_file():
        return file_md5(path)
    files = sorted((p.relative_to(path).as_posix(), p) for p in path.rglob("*") if p.is_file())
    manifest = [{"md5": file_md5(p), "relpath": name} for name, p in files]
    return hashlib.md5(json.dumps(manifest, sort_keys=True).encode()).hexdigest() + ".dir"


def file_md5(file: Path) -> str:
    """The md5 of a file's bytes."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def weight_digests(folder: Path) -> set[str]:
    """The md5 of each file of weights (*.safetensors) in a model folder, whatever else is there."""
    return {file_md5(file) for file in folder.rglob("*.safetensors")}
