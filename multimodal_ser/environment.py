"""What else than its configuration decides about the numbers of a run: versions, commit, devices, data."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from multimodal_ser import __version__
from multimodal_ser.cache import hash_file

_REPORTED = (
    "torch", "torchaudio", "transformers", "accelerate", "numpy", "soxr", "soundfile", "av", "openai-whisper",
)  # fmt: skip
_GIT_PATIENCE = 10.0  # seconds


def environment(seed: int, manifest: str | os.PathLike, processes: int = 1) -> dict[str, Any]:
    """The facts for `environment.json`."""
    return {
        "multimodal_ser": __version__,
        "commit": commit(Path(__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        # torch's own answer says for which device it was built, the package's does not.
        "packages": {**{name: _version(name) for name in _REPORTED}, "torch": str(torch.__version__)},
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "devices": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "processes": processes,
        "seed": seed,
        "manifest": os.fspath(manifest),
        "manifest_hash": hash_file(manifest),
    }


def commit(sources: Path) -> str | None:
    """The commit of a folder, with a + if something in it was changed; None if git knows nothing of it."""
    try:
        head, changed, tracked = (
            subprocess.run(
                ["git", "-C", os.fspath(sources), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=_GIT_PATIENCE,
            ).stdout.strip()
            for command in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--", "."),
                ("ls-files", "--", "."),
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + "+" * bool(changed) if tracked else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
