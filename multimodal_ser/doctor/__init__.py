"""Is this machine fit for the three main jobs, and if not, which command mends it?

`diagnose` looks, `screen.draw` tells. Nothing heavy is imported here: what may break is tried in another
process (`probes`), so that a broken torch or torchaudio is a line on the screen and not the end of it.
"""

import platform
import sys
from pathlib import Path
from typing import Any

from multimodal_ser import __version__
from multimodal_ser.doctor import machine
from multimodal_ser.doctor.clips import CLIPS
from multimodal_ser.doctor.probes import run_probes
from multimodal_ser.installation import (
    Requirement,
    installed_version,
    module_of,
    pip_command,
    requirements,
    satisfies,
    torchaudio_command,
    torchaudio_reason,
)

SCHEMA_VERSION = 1  # of the JSON
OLDEST_PYTHON = (3, 10)
# What a job cannot do without: libraries, then modules of this package. torchaudio is not among them: without
# it transformers still loads, but installed and broken it takes transformers down.
_EVERY_JOB = ("torch", "transformers", "numpy", "pandas", "safetensors", "soundfile", "av", "soxr")
JOBS = {
    "train": (
        (*_EVERY_JOB, "accelerate", "PyYAML", "tqdm"),
        ("audio", "manifests", "losses", "metrics", "models.hubert", "models.ser", "training", "evaluation"),
    ),
    "score": ((*_EVERY_JOB, "Jinja2"), ("audio", "manifests", "models.hubert", "inference")),
    "layers": (
        (*_EVERY_JOB, "scikit-learn", "matplotlib"),
        ("audio", "manifests", "metrics", "models.hubert"),
    ),
}
JOB_DECODER = "wav"  # every job reads at least this
# What an extra is for, in the words of somebody who does not know the library.
EXTRAS = {
    "fast-asr": "transcribe faster on a CPU",
    "cluster": "score many episodes on several machines",
    "onnx": "export a model and score with it",
    "openvino": "score an exported model faster on a CPU",
    "vad": "find speech with Silero instead of by energy",
    "diarize": "find out who speaks where no transcript says so",
    "track": "watch training in TensorBoard",
    "parquet": "read and write Parquet tables",
    "offline": "a sentence encoder without a model hub",
}


def diagnose(offline: bool = False) -> dict[str, Any]:
    """Everything that can be known, as plain values for JSON; `fit` is the verdict."""
    offline_by = machine.offline_reason(offline)
    hub_check = None if offline_by else machine.HubCheck(machine.hubs())
    wanted = _wanted_libraries()
    modules = dict.fromkeys(name for _, modules in JOBS.values() for name in modules)
    findings = run_probes([*(f"library:{name}" for name in wanted), *(f"module:{name}" for name in modules),
                           "devices:", *(f"decoder:{kind}" for kind in CLIPS)])  # fmt: skip
    libraries = {name: _library(wanted[name], findings[f"library:{name}"]) for name in wanted}
    jobs = {job: _blockers(job, libraries, findings) for job in JOBS}
    python_fits = sys.version_info >= OLDEST_PYTHON
    return {
        "schema_version": SCHEMA_VERSION,
        "fit": python_fits and not any(jobs.values()),
        "package": {"version": __version__, "installed": installed_version("multimodal_ser") is not None},
        "python": {"version": platform.python_version(), "executable": sys.executable, "fits": python_fits},
        "system": platform.platform(),
        "libraries": libraries,
        "decoders": {kind: findings[f"decoder:{kind}"].get("error", "") for kind in CLIPS},
        "cpu": machine.cpu_findings(findings["devices:"].get("cpu", ())),
        "memory_gib": machine.memory_gib(),
        "devices": findings["devices:"].get("devices", []),
        "devices_error": findings["devices:"].get("error", ""),
        "folders": {
            "working folder": machine.folder_findings(Path.cwd()),
            **{
                f"{name} cache": machine.folder_findings(path)
                for name, path in machine.cache_folders().items()
            },
        },
        "hubs": hub_check.results() if hub_check else {},
        "offline_by": offline_by,
        "extras": {name: _extra(name) for name in EXTRAS},
        "jobs": {
            job: {"fit": python_fits and not blockers, "blockers": blockers} for job, blockers in jobs.items()
        },
    }


def _wanted_libraries() -> dict[str, Requirement]:
    """Our hard dependencies; what the jobs need stands for them where pip does not know this package."""
    needed = {name: Requirement(name, "") for libraries, _ in JOBS.values() for name in libraries}
    return {requirement.name: requirement for requirement in requirements()[""]} or needed


def _library(requirement: Requirement, finding: dict[str, Any]) -> dict[str, Any]:
    """One library: what is there, what is asked for, and how to mend it if it does not do."""
    version = installed_version(requirement.name)
    fits = version is not None and satisfies(version, requirement.versions)
    culprit = finding.get("culprit", "")
    entry = {
        "version": version,
        "wanted": str(requirement),
        "loads": finding["ok"],
        "fits": fits,
        "error": finding.get("error", ""),
        "broken_by": culprit if culprit != module_of(requirement.name) else "",
        "reason": "",
        "mend": "",
        "cuda_build": finding.get("cuda_build"),
    }
    if not finding["ok"] or not fits:
        entry["reason"], entry["mend"] = _reason_and_mend(requirement.name, entry)
    return entry


def _reason_and_mend(name: str, entry: dict[str, Any]) -> tuple[str, str]:
    requirement = entry["wanted"]
    if name == "torchaudio" or (name == "torch" and not entry["fits"]):
        return torchaudio_reason(), torchaudio_command()
    if name == "torch":
        return "installed but broken", torchaudio_command()
    if entry["version"] is None:
        return "not installed", pip_command("install", requirement)
    if not entry["fits"]:
        return f"version {entry['version']}, but {requirement} is needed", pip_command("install", requirement)
    if entry["broken_by"] in ("torch", "torchaudio"):
        return f"imports {entry['broken_by']}, which is broken", ""  # mended with it
    if entry["broken_by"]:
        return f"needs {entry['broken_by']}", pip_command("install", "--force-reinstall", requirement)
    return "installed but broken", pip_command("install", "--force-reinstall", requirement)


def _blockers(job: str, libraries: dict[str, Any], findings: dict[str, Any]) -> list[str]:
    """Why a job could not run, one line each."""
    names, modules = JOBS[job]
    blockers = [f"{name}: {_problem(libraries[name])}" for name in names if not libraries[name]["loads"]]
    if blockers:  # modules and decoders fail for the same reason then
        return blockers
    blockers = [f"multimodal_ser.{name}: {findings[f'module:{name}']['error']}"
                for name in modules if not findings[f"module:{name}"]["ok"]]  # fmt: skip
    decoder = findings[f"decoder:{JOB_DECODER}"]
    return blockers if decoder["ok"] else [*blockers, f"cannot decode {JOB_DECODER}: {decoder['error']}"]


def _problem(entry: dict[str, Any]) -> str:
    return entry["reason"] if entry["version"] is None or entry["broken_by"] else entry["error"]


def _extra(name: str) -> dict[str, Any]:
    """An optional part: whether its libraries are there (they are not loaded), and how to get it."""
    wanted = requirements().get(name, [])
    missing = [
        str(requirement)
        for requirement in wanted
        if not (version := installed_version(requirement.name))
        or not satisfies(version, requirement.versions)
    ]
    return {
        "installed": bool(wanted) and not missing,
        "enables": EXTRAS[name],
        "missing": missing,
        "get": pip_command("install", *missing) if missing else "",
    }
