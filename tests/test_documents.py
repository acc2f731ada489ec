"""Documents: every command shown is one that the command line takes, and every link leads somewhere."""

import argparse
import ast
import functools
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


@functools.cache
def nodes() -> list[tuple[Path, ast.AST]]:
    """Everything in the package's code."""
    return [
        (path, node)
        for path in sorted((ROOT / "multimodal_ser").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]


def messages() -> list[str]:
    """Every text in the package's code, what is filled in as a brace."""

    def text(node: ast.expr) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        return str(node.value) if isinstance(node, ast.Constant) else ""

    return [text(node) for _, node in nodes() if isinstance(node, ast.JoinedStr | ast.Constant)]


# A message with one of these says what is allowed or what to do.
SAYS_A_CURE = re.compile(
    r"allowed|known|expected|must be|at least|at most|or more|such as|wanted|wants|needs?\b|\bset\b|install"
    r"|write|\brun\b|check|try|take|choose|declare|give|likely cause|leave|\buse\b|\w=|--[a-z]|`|fields:"
    r"|fetch|\bto\b.*…|from \d|two numbers|reads|probability|share|one of|see|nothing to|negative|even number"
    r"|unpack|put|score the|another|say",
    re.IGNORECASE,
)
ERRORS = ("InputError", "SomeFailed", "OfflineError", "_Unusable")


def raised() -> list[tuple[str, str]]:
    """Every message of an error that a user may meet, with its place; what is filled in as …"""

    def text(node: ast.expr) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(map(text, node.values))
        if isinstance(node, ast.BinOp):
            return text(node.left) + text(node.right)
        return str(node.value) if isinstance(node, ast.Constant) else "…"

    return [
        (f"{named(path)}:{node.lineno}", text(node.exc.args[0]))
        for path, node in nodes()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
        if getattr(node.exc.func, "id", "") in ERRORS
    ]


def quoted_messages() -> list[str]:
    page = (ROOT / "recipes" / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)


def test_every_message_says_what_to_do_or_the_troubleshooting_page_does() -> None:
    found = raised()
    assert len(found) > 400
    patterns = [re.compile(".*?".join(map(re.escape, quoted.split("…")))) for quoted in quoted_messages()]
    for place, message in found:
        is_made_elsewhere = not message.replace("…", "").strip(": ")
        says = is_made_elsewhere or SAYS_A_CURE.search(message)
        assert says or any(p.search(message) for p in patterns), (
            f"{place}: '{message}' says neither what is allowed nor what to do; "
            "add that, or a row to recipes/troubleshooting.md"
        )


def test_every_message_of_the_troubleshooting_page_is_one_that_the_package_says() -> None:
    quoted = quoted_messages()
    assert len(quoted) > 30
    said = "\0".join(messages())
    for message in quoted:
        pattern = "[^\0]*?".join(map(re.escape, message.split("…")))
        assert re.search(pattern, said), f"nothing says '{message}'"
