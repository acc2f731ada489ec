"""What `environment.json` says is what is there."""

import json
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from multimodal_ser.cache import hash_file
from multimodal_ser.environment import commit, environment


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *command], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_versions_seed_and_data_are_said(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("{}\n", encoding="utf-8")
    facts = environment(17, tmp_path / "m.jsonl", 2)
    assert facts["packages"]["torch"] == torch.__version__
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["python"] == platform.python_version()
    assert facts["manifest_hash"] == hash_file(tmp_path / "m.jsonl")
    assert (facts["seed"], facts["processes"]) == (17, 2)
    assert len(facts["devices"]) == torch.cuda.device_count()
    json.dumps(facts)


def test_a_package_that_is_missing_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.jsonl").write_text("", encoding="utf-8")
    monkeypatch.setattr("multimodal_ser.environment._REPORTED", ("no-such-package",))
    assert environment(0, tmp_path / "m.jsonl")["packages"]["no-such-package"] is None


def test_the_commit_of_a_folder_has_a_plus_if_something_in_it_was_changed(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "a.py").write_text("1\n", encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "sources")
    git(tmp_path, "commit", "-q", "-m", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(sources) == head
    (tmp_path / "elsewhere.txt").write_text("1\n", encoding="utf-8")
    assert commit(sources) == head
    (sources / "a.py").write_text("2\n", encoding="utf-8")
    assert commit(sources) == head + "+"


def test_an_installed_package_has_no_commit_even_inside_somebody_elses_repository(tmp_path: Path) -> None:
    assert commit(tmp_path / "missing") is None
    git(tmp_path, "init", "-q")
    assert commit(tmp_path) is None, "no commit yet"
    (tmp_path / "a").write_text("1\n", encoding="utf-8")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "x")
    (tmp_path / "installed").mkdir()
    assert commit(tmp_path / "installed") is None
