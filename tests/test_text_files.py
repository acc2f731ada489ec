"""Encodings, told apart by their bytes."""

import pytest

from multimodal_ser.corpora import reading
from multimodal_ser.errors import InputError
from multimodal_ser.text_files import lines_of, read_text

WORDS = "Ça va – “naïve” €5"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("utf-8", "utf-8-sig"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("cp1252", "cp1252"),
    ],
)
def test_the_same_words_come_back_from_every_encoding(tmp_path, written, told):
    path = tmp_path / "a.txt"
    path.write_bytes(WORDS.encode(written))
    assert read_text(path) == (WORDS, told)


@pytest.mark.parametrize("written", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_known_by_its_zeros(tmp_path, written):
    path = tmp_path / "a.txt"
    path.write_bytes(("WEBVTT\n" + WORDS).encode(written))
    assert read_text(path) == ("WEBVTT\n" + WORDS, written)


def test_bytes_without_meaning_in_windows_1252_are_kept_as_latin_1(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9 \x81")
    assert read_text(path) == ("café \x81", "latin-1")


def test_a_git_lfs_stub_is_no_text(tmp_path):
    path = tmp_path / "a.srt"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match="Git-LFS stub, not the file; run `git lfs pull`"):
        read_text(path)


def test_lines_end_with_cr_lf_or_both_and_with_nothing_else():
    assert lines_of("a\r\nb\rc\nd\x0be\u2028f\x85g") == ["a", "b", "c", "d\x0be\u2028f\x85g"]


def test_corpus_readers_use_the_same_function():
    assert reading.read_text is read_text
