"""Checkpoints in the layout of the Hugging Face hub: find the folder, read its settings, read its weights.

Weights come from safetensors. `pytorch_model.bin` is read only where a folder has nothing else (old
checkpoints such as HuBERT's were published so), and then by torch's loader that accepts tensors and no code.
"""

import json
import os
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from multimodal_ser.errors import InputError
from multimodal_ser.models.packaged import package_hint, packaged_folder

SETTINGS = ("config.json", "preprocessor_config.json")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # owner/name
SAFE_WEIGHTS, SAFE_INDEX, TORCH_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
)
_REASON = 300  # signs of a hub's reason
_HUB_SAFE_WEIGHTS = (SAFE_WEIGHTS, SAFE_INDEX, "model-*.safetensors")


def find_pretrained(
    name_or_folder: str, revision: str | None = None, settings: Sequence[str] = SETTINGS
) -> Path:
    """The folder of a checkpoint: a local one as it is, a hub name by way of a package or the hub's cache.

    settings: file names or patterns wanted beside the weights. HF_HUB_OFFLINE=1 stops at the cache. A
    package that carries the published weights comes first, since they need no network.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or name_or_folder.startswith(".") or name_or_folder.count("/") > 1:
        raise InputError(f"there is no checkpoint folder {name_or_folder}")
    if revision is None and (packaged := packaged_folder(name_or_folder)) is not None:
        return packaged
    found = _download(name_or_folder, revision, [*settings, *_HUB_SAFE_WEIGHTS])
    if not any((found / name).exists() for name in (SAFE_WEIGHTS, SAFE_INDEX)):
        found = _download(name_or_folder, revision, [*settings, TORCH_WEIGHTS])
    return found


def settings_of(name_or_folder: str) -> dict[str, Any]:
    """The `config.json` of a checkpoint, without fetching its weights."""
    folder = Path(name_or_folder)
    if not folder.is_dir():
        folder = packaged_folder(name_or_folder) or _download(name_or_folder, None, ["config.json"])
    return read_settings(folder)


def _download(name: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        endpoint = os.environ.get("HF_ENDPOINT")
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, endpoint=endpoint))
    except hub_errors() as error:
        raise InputError(
            f"{name!r} is no folder here, and the model hub does not give it ({hub_reason(error)}). "
            f"Where the hub can be reached, run `multimodal-ser fetch {name} -o FOLDER` once, "
            "then give that folder instead of the name." + package_hint(name)
        ) from error


def hub_errors() -> tuple[type[BaseException], ...]:
    """What the hub's client raises, and its network library, which is another in other versions of it."""
    from huggingface_hub.errors import HfHubHTTPError

    known = [kind for kind in HfHubHTTPError.__mro__ if kind not in (Exception, BaseException, object)]
    return (*known, ValueError)


def hub_reason(error: BaseException) -> str:
    """What an error of the hub says, short enough for a line."""
    return " ".join(str(error).split())[:_REASON]


def read_settings(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """One JSON file of a checkpoint folder."""
    path = folder / name
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} has no {name}, so it is no complete checkpoint folder") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path} must hold a JSON object, not {type(settings).__name__}")
    return settings


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a checkpoint folder by name, on the CPU; safetensors are mapped from the file."""
    if (folder / SAFE_WEIGHTS).exists():
        return _read_safetensors(folder / SAFE_WEIGHTS)
    if (folder / SAFE_INDEX).exists():
        return _read_shards(folder)
    if (folder / TORCH_WEIGHTS).exists():
        return _read_torch_file(folder / TORCH_WEIGHTS)
    raise InputError(f"{folder} has no weights: none of {SAFE_WEIGHTS}, {SAFE_INDEX}, {TORCH_WEIGHTS}")


def _read_shards(folder: Path) -> dict[str, Tensor]:
    shards = read_settings(folder, SAFE_INDEX).get("weight_map", {})
    weights: dict[str, Tensor] = {}
    for name in sorted(set(shards.values())):
        if Path(name).name != name:
            raise InputError(f"{folder / SAFE_INDEX} names a file outside its own folder: {name!r}")
        weights |= _read_safetensors(folder / name)
    return weights


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read as safetensors ({error}); it is probably incomplete, fetch it again"
        ) from error


def _read_torch_file(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} cannot be read as a file of tensors alone ({str(error).splitlines()[0]}); "
            "it is incomplete, or it holds code, which is refused. Ask for a safetensors version."
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{path} must hold a dictionary of tensors and nothing else")
    return weights
