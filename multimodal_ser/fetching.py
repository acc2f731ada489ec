"""`fetch`: gather weights once, where there is a connection, in folders that every verb takes for a name.

Each folder holds safetensors alone, whatever the hub gave, and `fetched.json`: which revision it was, the
SHA-256 of every file, and the licence that the hub states. A fetch that was stopped goes on; a folder that is
there is complete.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file

from multimodal_ser.cache import write_json
from multimodal_ser.errors import InputError
from multimodal_ser.models.hubert import DEFAULT_CHECKPOINT
from multimodal_ser.models.packaged import PACKAGED, packaged_folder, sha256
from multimodal_ser.models.pretrained import (
    SAFE_INDEX,
    SAFE_WEIGHTS,
    TORCH_WEIGHTS,
    hub_errors,
    hub_reason,
    read_settings,
    read_weights,
)
from multimodal_ser.models.text import CHECKPOINT_FILES, DEFAULT_ENCODER

DEFAULTS = (DEFAULT_CHECKPOINT, DEFAULT_ENCODER, "whisper:base")
RECORD = "fetched.json"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class Fetched(NamedTuple):
    """Weights that are here now."""

    name: str
    path: Path  # what to give instead of the name
    bytes: int
    new: bool  # False: it was there


def fetch(name: str, folder: Path, revision: str | None = None) -> Fetched:
    """Bring weights below `folder`; named are a hub's owner/name, whisper:SIZE or faster-whisper:SIZE."""
    kind, _, size = name.rpartition(":")
    if not _NAME.fullmatch(size) or kind not in _SOURCES:
        raise InputError(
            f"cannot fetch {name!r}: allowed are a hub's owner/name, such as {DEFAULT_CHECKPOINT}, "
            "whisper:SIZE (.pt, for --engine whisper) and faster-whisper:SIZE"
        )
    target = folder / kind / size if kind else folder / size
    if (target / RECORD).is_file():
        return Fetched(name, _entry(target), _bytes(target), new=False)
    part = target.with_name(target.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    try:
        origin = _SOURCES[kind](size, part, revision)
    except InputError:
        with contextlib.suppress(OSError):
            part.rmdir()  # if nothing came
        raise
    shutil.rmtree(part / ".cache", ignore_errors=True)  # where the hub's client keeps its own notes
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in sorted(part.iterdir())
    }
    write_json(part / RECORD, {"name": name, **origin, "files": files})
    os.replace(part, target)
    return Fetched(name, _entry(target), _bytes(target), new=True)


def _from_hub(name: str, folder: Path, revision: str | None) -> dict[str, Any]:
    if revision is None and (packaged := packaged_folder(name)) is not None:
        return _from_package(name, packaged, folder)
    from huggingface_hub import HfApi

    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        found = hub.model_info(name, revision=revision)
        files = [file.rfilename for file in found.siblings or []]
        wanted = [*CHECKPOINT_FILES, *_weight_files(name, files)]
        hub.snapshot_download(name, revision=found.sha, local_dir=folder, allow_patterns=wanted)
    except InputError:  # a ValueError too, which says already what is wrong
        raise
    except hub_errors() as error:
        raise InputError(
            f"{name}: the model hub does not give it ({hub_reason(error)}). Check the name and the "
            "connection; what came so far is kept, and the same command goes on"
        ) from error
    if not any((folder / weights).is_file() for weights in (SAFE_WEIGHTS, SAFE_INDEX)):
        _make_safe(folder)
    read_settings(folder)
    card = found.card_data.to_dict() if found.card_data else {}
    return {"source": "model hub", "revision": found.sha, "licence": card.get("license")}


def _from_package(name: str, packaged: Path, folder: Path) -> dict[str, Any]:
    for pattern in (*CHECKPOINT_FILES, SAFE_WEIGHTS):
        for path in packaged.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    return {"source": f"package {PACKAGED[name].distribution}", "revision": None, "licence": "apache-2.0"}


def _weight_files(name: str, files: list[str]) -> list[str]:
    """The files with weights that are wanted: safe ones if the hub has them."""
    if SAFE_WEIGHTS in files:
        return [SAFE_WEIGHTS]
    if SAFE_INDEX in files:
        return [file for file in files if re.fullmatch(r"model-[\d-]+of-\d+\.safetensors", file)]
    if TORCH_WEIGHTS in files:
        return [TORCH_WEIGHTS]
    raise InputError(
        f"{name} has no weights that can be read here; its files: {', '.join(files[:20]) or 'none'}"
    )


def _make_safe(folder: Path) -> None:
    """Old checkpoints are pickles: read the tensors once, without code, and keep those alone."""
    weights = {name: tensor.contiguous().clone() for name, tensor in read_weights(folder).items()}
    save_file(weights, folder / SAFE_WEIGHTS, metadata={"format": "pt"})
    (folder / TORCH_WEIGHTS).unlink()


def _from_whisper(size: str, folder: Path, revision: str | None) -> dict[str, Any]:
    import whisper

    _known(f"whisper:{size}", size, whisper.available_models())
    try:
        whisper._download(whisper._MODELS[size], os.fspath(folder), in_memory=False)  # compares the SHA-256
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"whisper:{size} cannot be downloaded ({error}); check the connection, try again"
        ) from error
    return {"source": "openai-whisper", "revision": None, "licence": "mit"}


def _from_faster_whisper(size: str, folder: Path, revision: str | None) -> dict[str, Any]:
    try:
        from faster_whisper.utils import available_models, download_model
    except ImportError as error:
        raise InputError("faster-whisper is not installed: pip install 'multimodal_ser[fast-asr]'") from error
    _known(f"faster-whisper:{size}", size, available_models())
    try:
        download_model(size, output_dir=os.fspath(folder), revision=revision)
    except Exception as error:  # the hub's client lets through what its network library raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(
            f"faster-whisper:{size} cannot be downloaded ({reason}); check the connection"
        ) from error
    return {"source": "model hub", "revision": revision, "licence": "mit"}


def _known(name: str, size: str, sizes: list[str]) -> None:
    if size not in sizes:
        raise InputError(f"cannot fetch {name}: no such model; known: {', '.join(sizes)}")


_SOURCES: dict[str, Callable[[str, Path, str | None], dict[str, Any]]] = {
    "": _from_hub,
    "whisper": _from_whisper,
    "faster-whisper": _from_faster_whisper,
}


def _entry(target: Path) -> Path:
    """What the engines take: Whisper's own weights are one file, all others a folder."""
    return next(iter(target.glob("*.pt")), target)


def _bytes(target: Path) -> int:
    return sum(file["bytes"] for file in json.loads((target / RECORD).read_text("utf-8"))["files"].values())
