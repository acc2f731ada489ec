"""What must be installed, and the command that mends it when an import fails.

torchaudio is the weak link. Version 2.11 is the last one and it is built for one CUDA version: beside a torch
for another CUDA version, or one without CUDA, its import raises. `transformers` imports torchaudio wherever
it is installed, so Whisper then fails to import too, with a message that names neither. What imports such a
library does it under `explained_imports()`, so that all of them say the same words.
"""

import contextlib
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from multimodal_ser.errors import InputError

DISTRIBUTION = "multimodal_ser"
TORCH = "torch>=2.11,<2.15"  # as in setup.cfg; a test compares them
TORCHAUDIO = "torchaudio==2.11.*"
IMPORT_FAILURES = (ImportError, OSError, RuntimeError, AttributeError)  # what a broken library raises

# Where the module is not called like its distribution.
MODULES = {"openai-whisper": "whisper", "scikit-learn": "sklearn", "PyYAML": "yaml"}

_REQUIREMENT = re.compile(
    r"""([\w.-]+) (\[[^]]*\])? \s*\(?([^;)]*)\)? (?:;.*extra\s*==\s*["']([^"']+))?""", re.X
)


class Requirement(NamedTuple):
    """A distribution as pip is asked for it."""

    name: str
    versions: str  # such as ">=2.11,<2.15"; "" for any
    parts: str = ""  # its optional parts, such as "[data]"

    def __str__(self) -> str:
        return f"{self.name}{self.parts}{self.versions}"


def parse_requirement(line: str) -> tuple[Requirement, str]:
    """A requirement line of a package, and the extra that asks for it, or ""."""
    name, parts, versions, extra = _REQUIREMENT.match(line).groups()
    return Requirement(name, versions.strip(), parts or ""), extra or ""


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, without importing it, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def requirements() -> dict[str, list[Requirement]]:
    """The hard dependencies under "", and what each extra adds under its name; empty if pip knows us not."""
    found: dict[str, list[Requirement]] = {"": []}
    with contextlib.suppress(metadata.PackageNotFoundError):
        for line in metadata.requires(DISTRIBUTION) or ():
            requirement, extra = parse_requirement(line)
            found.setdefault(extra, []).append(requirement)
    return found


def module_of(distribution: str) -> str:
    """The top-level module that a distribution installs."""
    return MODULES.get(distribution, distribution.lower().replace("-", "_").partition(".")[0])


def satisfies(version: str, versions: str) -> bool:
    """Whether a version lies in a range such as `>=2.11,<2.15` or `==2.11.*`; local tags do not count."""
    return all(
        _satisfies_clause(_release(version), clause.strip()) for clause in versions.split(",") if clause
    )


def pip_command(*arguments: str) -> str:
    """A pip command for this very Python, ready to be pasted."""
    return shell_words(sys.executable or "python", "-m", "pip", *arguments)


def shell_words(*words: str) -> str:
    """Words as a shell takes them: `>` in a version range must not become a redirection."""
    if os.name == "nt":
        return " ".join(f'"{word}"' if set(word) & set(" <>&|^") else word for word in words)
    return shlex.join(words)


def torchaudio_command() -> str:
    """The pip command that makes torch and torchaudio fit each other.

    pip leaves alone what has the right version number, so a pair of right versions from different builds, or
    a torch from another index (its version has a local tag such as +cpu), needs to be forced.
    """
    torch, torchaudio = installed_version("torch"), installed_version("torchaudio")
    wrong_version = [
        name for name, version in ((TORCH, torch), (TORCHAUDIO, torchaudio)) if not _meets(version, name)
    ]
    if wrong_version and "+" not in (torch or ""):
        return pip_command("install", TORCH, TORCHAUDIO)
    return pip_command("install", "--force-reinstall", TORCH, TORCHAUDIO)


def torchaudio_reason() -> str:
    """Why torchaudio does not load here, as far as version numbers tell."""
    torch, torchaudio = installed_version("torch"), installed_version("torchaudio")
    if torchaudio is None:
        return "torchaudio is not installed"
    pair = f"torchaudio {torchaudio} beside torch {torch or '(none)'}"
    if not _meets(torch, TORCH):
        return f"{pair}: it needs {TORCH}"
    if not _meets(torchaudio, TORCHAUDIO):
        return f"{pair}: the pair that works is {TORCHAUDIO} with {TORCH}"
    if torch.endswith("+cpu"):
        return f"{pair}: it is built for CUDA and this torch is not (the CUDA build also runs without a GPU)"
    return f"{pair}: these two builds do not fit each other"


def import_culprit(error: BaseException) -> str:
    """The library that an import failed in: "torchaudio", "torch", or the name of a missing module, or ""."""
    importing, missing = _modules_being_imported(error), _missing_modules(error)
    text = " ".join(map(str, _chain(error)))
    if "torchaudio" in importing or "torchaudio" in text.lower():
        return "torchaudio"
    if missing:
        return missing[-1]
    return "torch" if "torch" in importing or re.search(r"libc10|libtorch|libcud", text) else ""


def first_cause(error: BaseException) -> str:
    """Type and message, on one line, of what an exception began with."""
    root = list(_chain(error))[-1]
    return f"{type(root).__name__}: {' '.join(str(root).split())}"


def explain_import_error(error: BaseException) -> InputError:
    """The failed import of a library as one message that says what to install."""
    culprit = import_culprit(error)
    what = first_cause(error)
    if culprit == "torchaudio":
        effect = "transformers imports torchaudio if it is installed, so Whisper encoders do not load either"
        return InputError(f"torchaudio cannot be imported ({what}). {torchaudio_reason()}; {effect}. "
                          f"Mend it with: {torchaudio_command()}")  # fmt: skip
    if culprit == "torch":
        return InputError(f"torch cannot be imported ({what}). Mend it with: "
                          + pip_command("install", "--force-reinstall", TORCH, TORCHAUDIO))  # fmt: skip
    for extra, wanted in requirements().items():
        for requirement in wanted:
            if culprit == module_of(requirement.name):
                part = f" (the extra [{extra}])" if extra else ""
                return InputError(f"{requirement.name} cannot be imported{part} ({what}). "
                                  f"Install it with: {pip_command('install', str(requirement))}")  # fmt: skip
    return InputError(
        f"a library cannot be imported ({what}). `multimodal-ser doctor` says what is missing or broken"
    )


def broken_import(error: BaseException) -> InputError | None:
    """`explain_import_error` if `error` came up in the import of a library; None for any other error."""
    libraries = {*_modules_being_imported(error), *_missing_modules(error)} - {DISTRIBUTION, "__main__"}
    return explain_import_error(error) if libraries else None


@contextlib.contextmanager
def explained_imports() -> Iterator[None]:
    """Turn the failure of an import statement in this block into an InputError that says how to mend it."""
    try:
        yield
    except IMPORT_FAILURES as error:
        raise explain_import_error(error) from error


def _meets(version: str | None, line: str) -> bool:
    return version is not None and satisfies(version, parse_requirement(line)[0].versions)


def _satisfies_clause(release: list[int], clause: str) -> bool:
    operator, bound = re.match(r"(==|!=|<=|>=|<|>)\s*([\d.]+)", clause).groups()
    wanted = _release(bound)
    if clause.endswith("*"):  # a prefix: 2.11.* holds 2.11.0 and 2.11.1
        release = (release + [0] * len(wanted))[: len(wanted)]
    length = max(len(release), len(wanted))
    release, wanted = ([*numbers, *[0] * (length - len(numbers))] for numbers in (release, wanted))
    return {
        "==": release == wanted,
        "!=": release != wanted,
        "<=": release <= wanted,
        ">=": release >= wanted,
        "<": release < wanted,
        ">": release > wanted,
    }[operator]


def _release(version: str) -> list[int]:
    """The leading numbers of a version: 2.14.1+cu130 is [2, 14, 1]."""
    return [int(number) for number in re.match(r"\d+(\.\d+)*", version)[0].split(".")]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it came from, back to the first cause."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _modules_being_imported(error: BaseException) -> set[str]:
    """The top-level modules whose import was under way when `error` was raised."""
    frames = (frame for link in _chain(error) for frame, _ in traceback.walk_tb(link.__traceback__))
    return {
        frame.f_globals.get("__name__", "").partition(".")[0]
        for frame in frames
        if frame.f_code.co_name == "<module>"
    }


def _missing_modules(error: BaseException) -> list[str]:
    """The top-level modules that were not found, the first cause last."""
    names = [link.name for link in _chain(error) if isinstance(link, ModuleNotFoundError) and link.name]
    return [name.partition(".")[0] for name in names]
