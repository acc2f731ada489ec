"""Risky things, tried in another process: a library that crashes, hangs or talks at import harms nobody.

The other process works through a list of probes and writes one JSON line after each. Where it dies, the first
probe without a line is the one that killed it, and a new process takes up the rest.

A probe is named `library:DISTRIBUTION`, `module:NAME` (of this package), `decoder:KIND` or `devices:`.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multimodal_ser.doctor.clips import decode_clip
from multimodal_ser.installation import first_cause, import_culprit, module_of

PROBE_TIMEOUT = 180.0  # seconds for a whole list; a cold disk needs a minute for torch alone
LAST_TIMEOUT = 10.0  # seconds that the rest of a list is given at least, once that is used up
# Names that must be reachable: transformers loads its models only when they are asked for.
WANTED_NAMES = {"transformers": ("WhisperModel", "AutoModel", "AutoTokenizer"), "torch": ("Tensor",)}
_BYTES_PER_GIB = 1 << 30
# The other process gets our module search path, whatever folder it starts in.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from multimodal_ser.doctor.probes import work_through; "
    "work_through(sys.argv[2], json.loads(sys.argv[3]))"
)


def run_probes(names: Sequence[str], timeout: float = PROBE_TIMEOUT) -> dict[str, dict[str, Any]]:
    """Each probe's findings: `ok`, and either what was found or `error` and `culprit`."""
    findings: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + timeout
    while waiting := [name for name in names if name not in findings]:
        done, death = _run_child(waiting, max(deadline - time.monotonic(), LAST_TIMEOUT))
        findings.update(done)
        if death:
            victim = next(name for name in waiting if name not in done)
            findings[victim] = {"ok": False, "error": death, "culprit": ""}
    return {name: findings[name] for name in names}


def work_through(record: str, names: Sequence[str]) -> None:
    """Run probes in this process and append one JSON line each to the file `record`."""
    for name in names:
        finding = {"name": name, **_guarded(name)}
        with open(record, "a", encoding="utf-8") as file:
            file.write(json.dumps(finding) + "\n")


def _run_child(names: Sequence[str], timeout: float) -> tuple[dict[str, dict[str, Any]], str]:
    """What the other process found, and how it died if it did."""
    path = [entry or os.getcwd() for entry in sys.path]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "findings.jsonl"
        record.touch()
        command = [sys.executable, "-c", _CHILD, json.dumps(path), str(record), json.dumps(list(names))]
        death = ""
        try:
            ended = subprocess.run(
                command,
                timeout=timeout,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
            )
            death = _describe_death(ended.returncode, ended.stderr)
        except subprocess.TimeoutExpired:
            death = f"no answer within {timeout:.0f} s"
        lines = record.read_text(encoding="utf-8").splitlines()
    findings = {finding.pop("name"): finding for finding in map(json.loads, lines)}
    return findings, death if len(findings) < len(names) else ""


def _describe_death(code: int, stderr: str) -> str:
    last = " ".join(stderr.strip().splitlines()[-1:])
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"Python crashed ({name})" + (f": {last}" if last else "")
    return f"Python ended (exit code {code})" + (f": {last}" if last else "")


def _guarded(name: str) -> dict[str, Any]:
    kind, _, subject = name.partition(":")
    probe = {"library": _library, "module": _module, "decoder": _decoder, "devices": _devices}[kind]
    try:
        return {"ok": True, **probe(subject)}
    except Exception as error:  # anything may come out of somebody else's library
        return {"ok": False, "error": first_cause(error), "culprit": import_culprit(error)}


def _library(distribution: str) -> dict[str, Any]:
    module = importlib.import_module(module_of(distribution))
    for name in WANTED_NAMES.get(distribution, ()):
        getattr(module, name)
    finding = {"loaded_version": str(getattr(module, "__version__", ""))}
    if distribution == "torch":
        finding["cuda_build"] = module.version.cuda
    return finding


def _module(name: str) -> dict[str, Any]:
    importlib.import_module(f"multimodal_ser.{name}")
    return {}


def _decoder(kind: str) -> dict[str, Any]:
    decode_clip(kind)
    return {}


def _devices(_: str) -> dict[str, Any]:
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.cuda.get_device_properties(index)
        gibibytes = round(device.total_memory / _BYTES_PER_GIB, 1)
        found.append({"kind": "cuda", "name": device.name, "memory_gib": gibibytes})
    if torch.backends.mps.is_available():
        found.append({"kind": "mps", "name": "Apple GPU", "memory_gib": None})
    return {"devices": found, "cpu": _torch_cpu_features(torch)}


def _torch_cpu_features(torch: Any) -> list[str]:
    """What torch knows of the CPU, for systems that say nothing themselves."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return sorted(name for name, value in capabilities.items() if value is True)
