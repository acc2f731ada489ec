"""Documents: every command shown is one that the command line takes, and every link leads somewhere."""

import argparse
import ast
import importlib
import re
from pathlib import Path

import pytest
from documents import PAGES, PROGRAM, ROOT, anchors_of, commands_of, named

from multimodal_ser.cli import VERBS, _with_dashes

COMMANDS = [
    pytest.param(words, id=f"{named(page)}: {' '.join(words)[:80]}")
    for page in PAGES
    for words in commands_of(page)
    if words and words not in (["--offline"], ["--help"], ["--version"]) and words[0] != "VERB"
]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_in_a_document_is_understood(words: list[str]) -> None:
    verb, *rest = words[1:] if words[0] == "--offline" else words
    if verb == "VERB":
        return
    assert verb in VERBS
    module = importlib.import_module(f"multimodal_ser.cli.{verb}")
    if not rest:  # the verb itself is meant, as in "`multimodal-ser doctor` says"
        return
    if "--help" in rest:
        return
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {verb}", exit_on_error=False)
    rest = ["1/8" if word == "$SLURM_ARRAY_TASK_ID/8" else _with_dashes(word) for word in rest]
    try:
        if hasattr(module, "parse"):
            module.parse(parser, rest)
        else:
            module.add_arguments(parser)
            parser.parse_args(rest)
    except SystemExit as stopped:
        pytest.fail(f"{PROGRAM} {' '.join(words)} is refused ({stopped.code})")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_within_the_project_lead_to_files_and_their_sections(page: Path) -> None:
    for target, section in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            path = page.parent / target if target else page
            assert path.exists(), f"{named(page)} links to {target}, which is not there"
            if section:
                assert section in anchors_of(path), f"{named(page)}: {target} has no section #{section}"


def test_enough_commands_are_found_for_this_test_to_mean_something() -> None:
    assert len(COMMANDS) > 30
    assert {param.values[0][0] for param in COMMANDS} >= {"prepare", "train", "evaluate", "score", "layers"}


def messages() -> list[str]:
    """Every text in the package's code, what is filled in as a brace."""

    def text(node: ast.expr) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        return str(node.value) if isinstance(node, ast.Constant) else ""

    found = []
    for path in (ROOT / "multimodal_ser").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                found.append(text(node))
    return found


def test_every_message_of_the_troubleshooting_page_is_one_that_the_package_says() -> None:
    page = (ROOT / "recipes" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(quoted) > 30
    said = "\0".join(messages())
    for message in quoted:
        pattern = "[^\0]*?".join(map(re.escape, message.split("…")))
        assert re.search(pattern, said), f"nothing says '{message}'"
