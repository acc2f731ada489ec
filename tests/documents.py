"""The documents of this project: their pages, and the commands and Python that they show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("recipes/**/*.md"))]
PAGES += sorted(ROOT.glob("data_manifests/*.md"))
PROGRAM = "multimodal-ser"
# A fenced block with the language that it names, or a command of ours in running text.
_SHOWN = re.compile(rf"^```(\w*)\n(.*?)^```$|`({PROGRAM} [^`]+)`", re.MULTILINE | re.DOTALL)


class Shown(NamedTuple):
    """One thing that a reader may run."""

    kind: str  # shell, python, or another language that a block names
    text: str


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def shown(page: Path) -> Iterator[Shown]:
    """What a page shows, in its order: commands line by line, blocks in other languages whole."""
    for language, block, inline in _SHOWN.findall(page.read_text(encoding="utf-8")):
        if inline:
            yield Shown("shell", " ".join(inline.split()))
        elif language:
            yield Shown(language, block)
        else:
            for line in block.replace("\\\n", "").splitlines():
                if command := re.sub(r"(^|\s)#\s.*", "", line).strip():
                    yield Shown("shell", " ".join(command.split()))


def commands_of(page: Path) -> list[list[str]]:
    """The words of every command of ours in a page, in blocks and in running text."""
    found = []
    for kind, text in shown(page):
        if kind != "shell":
            continue
        for part in re.split(r"\s[|;&]+\s", text):
            words = shlex.split(part)
            if PROGRAM in words:
                found.append(words[words.index(PROGRAM) + 1 :])
    return found


def anchors_of(page: Path) -> set[str]:
    """What may stand behind # in a link to a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
