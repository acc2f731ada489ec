"""What the README says, what CI does and what is declared are the same thing."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALL = 'python -m pip install ".[test]"'
TEST = "python -m pytest -n 2"


def lines_of(name: str) -> list[str]:
    """The lines of a file without comments behind commands."""
    return [re.sub(r"\s+#.*", "", line).strip() for line in (ROOT / name).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("command", [INSTALL, TEST])
def test_ci_runs_the_commands_of_the_readme_word_for_word(command: str) -> None:
    assert command in lines_of("README.md")
    assert command in lines_of(".ci/run")


def test_torch_and_torchaudio_are_pinned_together() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    required = config["options"]["install_requires"].split()
    assert "torch>=2.11,<2.15" in required
    assert "torchaudio==2.11.*" in required


def test_the_top_level_holds_what_was_agreed_and_nothing_else() -> None:
    agreed = {"README.md", "setup.cfg", "multimodal_ser", "recipes", "tests", "data_manifests", "LICENSE"}
    tooling = {"pyproject.toml", "Makefile", ".ci", ".github", ".gitignore", ".pre-commit-config.yaml"}
    papers = {"CHANGELOG.md", "CONTRIBUTING.md"}
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: what belongs to the project is not known")
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} == agreed | tooling | papers
