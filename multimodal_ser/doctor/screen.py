"""What the doctor found, as one screen of plain text."""

import textwrap
from collections.abc import Iterator
from typing import Any

from multimodal_ser.installation import shell_words

WIDTH = 100  # columns; a command longer than that stays whole, to be copied
LABEL_WIDTH = 12  # columns
LOW_DISK = 5.0  # GiB; a fetched encoder with its text model and Whisper takes about two


def draw(findings: dict[str, Any]) -> str:
    """The whole screen, with what is to be done at its end."""
    lines = [
        _heading(findings),
        *_rows("libraries", _libraries(findings["libraries"])),
        *_rows("decoders", _decoders(findings["decoders"])),
        *_rows("CPU", [_cpu(findings)]),
        *_rows("GPU", [_devices(findings)]),
        *_rows("folders", _folders(findings["folders"])),
        *_rows("model hubs", [_hubs(findings)]),
        *_rows("extras", _extras(findings["extras"])),
        *_rows("jobs", _jobs(findings["jobs"])),
        *_advice(findings),
    ]
    return "\n".join(lines)


def _heading(findings: dict[str, Any]) -> str:
    python, package = findings["python"], findings["package"]
    source = "" if package["installed"] else " (not installed: its libraries are unknown to pip)"
    verdict = "" if python["fits"] else " (too old: 3.10 is the oldest that works)"
    ours, theirs = f"multimodal-ser {package['version']}{source}", f"Python {python['version']}{verdict}"
    return f"{ours}, {theirs}, {findings['system']}"


def _rows(label: str, entries: list[str]) -> Iterator[str]:
    """Entries wrapped beside a label."""
    margin = " " * LABEL_WIDTH
    for number, entry in enumerate(entries):
        first = f"{label:{LABEL_WIDTH}}" if number == 0 else margin
        yield textwrap.fill(
            entry, WIDTH, initial_indent=first, subsequent_indent=margin + "  ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _libraries(libraries: dict[str, Any]) -> list[str]:
    good = [_named(name, entry) for name, entry in libraries.items() if entry["loads"] and entry["fits"]]
    victims: dict[str, list[str]] = {}
    entries = [f"ok: {', '.join(good)}"] if good else []
    for name, entry in libraries.items():
        if entry["version"] is None:
            entries.append(f"MISSING: {entry['wanted']}")
        elif not entry["loads"] and entry["broken_by"] in libraries:
            victims.setdefault(entry["broken_by"], []).append(_named(name, entry))
        elif not entry["loads"]:
            entries.append(f"BROKEN: {name}: {entry['reason']} ({entry['error']})")
        elif not entry["fits"]:
            entries.append(f"UNSUITABLE: {name}: {entry['reason']}")
    return entries + [f"BROKEN BY {culprit}: {', '.join(names)}" for culprit, names in victims.items()]


def _named(name: str, entry: dict[str, Any]) -> str:
    version = entry["version"]
    if name != "torch" or "+" in (version or ""):
        return f"{name} {version}"
    return f"{name} {version} ({'CUDA ' + entry['cuda_build'] if entry['cuda_build'] else 'no CUDA'})"


def _decoders(decoders: dict[str, str]) -> list[str]:
    good = [kind for kind, error in decoders.items() if not error]
    entries = [f"ok: {' '.join(good)}"] if good else []
    return entries + [f"BROKEN: {' '.join(kinds)}: {error}" for error, kinds in _grouped(decoders).items()]


def _cpu(findings: dict[str, Any]) -> str:
    cpu, memory = findings["cpu"], findings["memory_gib"]
    words = {True: "yes", False: "no", None: "unknown"}
    features = ", ".join(f"{name} {words[value]}" for name, value in cpu["features"].items())
    size = f", {memory:g} GiB of memory" if memory else ""
    return f"{cpu['name']}, {cpu['cores']} cores{size}; {features}"


def _devices(findings: dict[str, Any]) -> str:
    if findings["devices_error"]:
        return f"unknown: {findings['devices_error']}"
    found = [f"{device['kind']}: {device['name']}"
             + (f", {device['memory_gib']:g} GiB" if device["memory_gib"] else "")
             for device in findings["devices"]]  # fmt: skip
    return "; ".join(found) or "none that torch can use"


def _folders(folders: dict[str, Any]) -> list[str]:
    entries = []
    for name, folder in folders.items():
        remarks = [f"{folder['free_gib']:g} GiB free" + (" (LOW)" if folder["free_gib"] < LOW_DISK else "")]
        remarks += [] if folder["exists"] else ["not made yet"]
        remarks += [] if folder["writable"] else ["NOT WRITABLE"]
        entries.append(f"{name}: {folder['path']} ({', '.join(remarks)})")
    return entries


def _hubs(findings: dict[str, Any]) -> str:
    if findings["offline_by"]:
        return f"not asked: offline is on ({findings['offline_by']})"
    return "; ".join(f"{name}: {answer}" for name, answer in findings["hubs"].items())


def _extras(extras: dict[str, Any]) -> list[str]:
    """What is there, then what each other extra is for and how to get it."""
    installed = [name for name, extra in extras.items() if extra["installed"]]
    return [f"installed: {', '.join(installed) or 'none'}"] + [
        f"{name}: {extra['enables']}: {shell_words('pip', 'install', *extra['missing'])}"
        for name, extra in extras.items()
        if not extra["installed"]
    ]


def _jobs(jobs: dict[str, Any]) -> list[str]:
    good = [name for name, job in jobs.items() if job["fit"]]
    entries = [f"ok: {', '.join(good)}"] if good else []
    blockers = _grouped({name: "; ".join(job["blockers"]) for name, job in jobs.items()})
    return entries + [f"CANNOT RUN: {' '.join(names)}: {blocker}" for blocker, names in blockers.items()]


def _grouped(remarks: dict[str, str]) -> dict[str, list[str]]:
    """The names that share each remark; those without one are left out."""
    groups: dict[str, list[str]] = {}
    for name, remark in remarks.items():
        if remark:
            groups.setdefault(remark, []).append(name)
    return groups


def _advice(findings: dict[str, Any]) -> Iterator[str]:
    """The commands that mend, each whole on its line, and the verdict."""
    commands = mending_commands(findings)
    if commands:
        yield ""
        yield "To mend it, run:" if not findings["fit"] else "To mend what is broken, run:"
        yield from (f"  {command}" for command in commands)
        libraries = findings["libraries"]
        if libraries["torchaudio"]["mend"] and (libraries["torch"]["version"] or "").endswith("+cpu"):
            yield "  (This fetches the CUDA build, several GB, which also runs without a GPU. To stay with"
            yield "  the small CPU build, take torchaudio from the package index that this torch is from.)"
    yield ""
    unfit = [name for name, job in findings["jobs"].items() if not job["fit"]]
    yield f"NOT FIT: {', '.join(unfit)} cannot run here." if unfit else "Fit: all main jobs can run here."


def mending_commands(findings: dict[str, Any]) -> list[str]:
    """What to run to mend the libraries, each command once."""
    return list(dict.fromkeys(entry["mend"] for entry in findings["libraries"].values() if entry["mend"]))
