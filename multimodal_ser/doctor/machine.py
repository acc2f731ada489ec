"""The machine: CPU features, cores, memory, disk, cache folders, and whether model hubs can be reached.

Memory and disk are in GiB. `None` stands for what this system does not tell.
"""

import os
import platform
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from multimodal_ser.cache import cache_folder
from multimodal_ser.cores import usable_cores

HUB_TIMEOUT = 2.0  # seconds
GIB = 1 << 30  # bytes
# What makes this package faster, and the names it goes by: Linux x86, Linux ARM, macOS, torch
FEATURES = {
    "AVX512-BF16": {"avx512_bf16"},
    "AMX": {"amx_tile", "amx_bf16", "amx_int8"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "ARM BF16": {"bf16", "feat_bf16"},
    "ARM I8MM": {"i8mm", "feat_i8mm"},
}
TRUE_WORDS = {"1", "true", "yes", "on"}


def cpu_findings(torch_features: Iterable[str]) -> dict[str, Any]:
    """Name, cores this process may use, and the features that matter; torch's list fills in where need be."""
    known = _cpu_flags() or {name.lower() for name in torch_features}
    arm = platform.machine().lower() in ("arm64", "aarch64")
    relevant = {name: names for name, names in FEATURES.items() if name.startswith("ARM") == arm}
    features = {name: bool(names & known) if known else None for name, names in relevant.items()}
    return {"name": _cpu_name(), "cores": usable_cores(), "features": features}


def memory_gib() -> float | None:
    """Memory that this process may use: the machine's, or the container's limit if that is lower."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return round(min(total, int(limit) if limit.isdigit() else total) / GIB, 1)


def folder_findings(path: Path) -> dict[str, Any]:
    """Free space where `path` is or would be made, and whether it can be written."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return {
        "path": str(path.absolute()),
        "exists": path.exists(),
        "writable": os.access(existing, os.W_OK),
        "free_gib": round(shutil.disk_usage(existing).free / GIB, 1),
    }


def cache_folders() -> dict[str, Path]:
    """Where weights and intermediate files are kept, after the variables that move them."""
    home_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    hugging_face = Path(os.environ.get("HF_HOME") or home_cache / "huggingface")
    return {
        "multimodal_ser": cache_folder(),
        "Hugging Face": Path(os.environ.get("HF_HUB_CACHE") or hugging_face / "hub"),
        "Whisper": home_cache / "whisper",
        "torch": Path(os.environ.get("TORCH_HOME") or home_cache / "torch"),
    }


def offline_reason(flag: bool) -> str:
    """What asked for offline work, or nothing."""
    if flag:
        return "--offline"
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if (value := os.environ.get(variable, "")).lower() in TRUE_WORDS:
            return f"{variable}={value}"
    return ""


def hubs() -> dict[str, str]:
    """Address of each place that weights come from."""
    return {
        "Hugging Face": os.environ.get("HF_ENDPOINT") or "https://huggingface.co",
        "Whisper weights": "https://openaipublic.azureedge.net",
    }


class HubCheck:
    """Asks hubs in the background for their front page's head; proxies in the environment are used."""

    def __init__(self, addresses: dict[str, str], timeout: float = HUB_TIMEOUT) -> None:
        self.timeout = timeout
        self.answers = dict.fromkeys(addresses, f"not reachable: no answer within {timeout:g} s")
        self.threads = [
            threading.Thread(target=self._ask, args=item, daemon=True)  # a name lookup knows no time limit
            for item in addresses.items()
        ]
        for thread in self.threads:
            thread.start()

    def results(self) -> dict[str, str]:
        """ "reachable" or why not, for each hub, within the time limit."""
        for thread in self.threads:
            thread.join(self.timeout)
        return dict(self.answers)

    def _ask(self, name: str, address: str) -> None:
        try:
            request = urllib.request.Request(address, method="HEAD")
            urllib.request.urlopen(request, timeout=self.timeout).close()
            self.answers[name] = "reachable"
        except (
            urllib.error.HTTPError
        ):  # an answer, if an unfriendly one: the front page is not what is wanted
            self.answers[name] = "reachable"
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            self.answers[name] = f"not reachable: {reason}"


def _cpu_flags() -> set[str]:
    if platform.system() == "Darwin":
        return _macos_flags()
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.lower().split())
    return set()


def _macos_flags() -> set[str]:
    """`hw.optional.arm.FEAT_BF16: 1` on Apple silicon, a list of names on Intel."""
    names = set(_sysctl("-n", "machdep.cpu.features", "machdep.cpu.leaf7_features").lower().split())
    for line in _sysctl("hw.optional.arm").splitlines():
        key, _, value = line.partition(":")
        if value.strip() == "1":
            names.add(key.rpartition(".")[2].lower())
    return names


def _cpu_name() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    if platform.system() == "Darwin":
        return _sysctl("-n", "machdep.cpu.brand_string").strip()
    return platform.processor() or platform.machine()


def _sysctl(*arguments: str) -> str:
    try:
        return subprocess.run(["sysctl", *arguments], capture_output=True, text=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
