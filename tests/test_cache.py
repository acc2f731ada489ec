"""Files are whole or absent, and hashes tell apart what differs and nothing else."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from multimodal_ser import cache


class Interrupted(BaseException):
    """Stands for the interrupt key, which is no Exception."""


def write_half(target: Path, failure: type[BaseException]) -> None:
    with cache.atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise failure


@pytest.mark.parametrize("failure", [ValueError, Interrupted])
def test_a_failure_leaves_the_old_file_and_no_rubbish(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(failure):
        write_half(target, failure)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert target.read_text() == "old"


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with cache.atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent, "a rename across file systems is no rename"
        assert temporary.suffix == target.suffix
    assert target.read_text() == "new"


def test_a_file_that_cannot_be_serialised_replaces_nothing(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    cache.write_json(target, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        cache.write_json(target, {"a": float("nan")})
    with pytest.raises(TypeError):
        cache.write_json(target, {"a": object()})
    assert target.read_text() == '{\n  "a": 1\n}\n'
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_are_made_and_text_keeps_its_line_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "text.txt"
    cache.write_text(target, "ä\n\u2028ö\n")
    assert target.read_bytes() == "ä\n\u2028ö\n".encode()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_results_can_be_read_by_everybody_whom_the_umask_allows(tmp_path: Path) -> None:
    program = "import sys; from multimodal_ser import cache; cache.write_text(sys.argv[1], 'x')"
    target = tmp_path / "text.txt"
    subprocess.run([sys.executable, "-c", program, str(target)], umask=0o027, check=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_very_long_name_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 200 + ".txt")
    cache.write_text(target, "x")
    assert target.read_text() == "x"


def test_a_file_hash_is_the_first_half_of_16_bytes_of_sha256(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 17)  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert cache.hash_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()[:16]


def test_where_one_part_ends_and_the_next_begins_changes_the_hash() -> None:
    assert cache.hash_bytes(b"ab", b"c") != cache.hash_bytes(b"a", b"bc")
    assert cache.hash_bytes(b"ab", b"c") == cache.hash_bytes(b"ab", b"c")
    assert cache.hash_bytes(b"") != cache.hash_bytes()


def test_options_hash_alike_in_any_order_and_apart_in_any_value() -> None:
    assert cache.hash_options(a=1, b="x") == cache.hash_options(b="x", a=1)
    assert cache.hash_options(a=1) != cache.hash_options(a="1")


def test_the_cache_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MULTIMODAL_SER_CACHE", str(tmp_path))
    assert cache.cache_folder() == tmp_path
    monkeypatch.delenv("MULTIMODAL_SER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "multimodal_ser"
