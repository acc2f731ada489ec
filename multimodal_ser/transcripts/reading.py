"""Find a transcript beside its media file and read it, whatever its format.

A file is what its content says it is; its suffix decides only where the content does not. Transcripts are
data and not trusted: nothing in them is run or opened, and a wrong one is an `InputError`.
"""

import os
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from multimodal_ser.errors import InputError
from multimodal_ser.text_files import lines_of, read_text
from multimodal_ser.textgrids import BINARY_HEAD, is_textgrid
from multimodal_ser.transcripts.captions import ARROW, TIMES, read_srt, read_vtt
from multimodal_ser.transcripts.cues import Problem, Transcript
from multimodal_ser.transcripts.json_files import read_json
from multimodal_ser.transcripts.nist import Turn, is_ctm, is_rttm, read_ctm, read_turns
from multimodal_ser.transcripts.plain import read_plain
from multimodal_ser.transcripts.repair import repaired
from multimodal_ser.transcripts.textgrid import read_textgrid

# Kind: reader of a text; the path names the file in messages. A suffix is a kind with a point before it.
READERS: dict[str, Callable[[str, Path], Transcript]] = {
    "vtt": read_vtt,
    "srt": read_srt,
    "json": read_json,
    "textgrid": read_textgrid,
    "ctm": read_ctm,
    "txt": read_plain,
}
# Beside the media, the first of these that is there is taken.
BESIDE = (".vtt", ".srt", ".json", ".transcript.json", ".textgrid", ".ctm", ".txt")
BESIDE_SPEAKERS = (".rttm",)
OUR_OUTPUT = ".emotion."  # in the names of all files that scoring writes
MOST_BYTES = 256 * 2**20  # a transcript of a day with times of every letter has less
FORMATS = (
    "SubRip (.srt), WebVTT (.vtt), JSON of Podcasting 2.0, Whisper, faster-whisper or whisperX (.json), "
    "Praat TextGrid (.TextGrid), CTM (.ctm), plain text (.txt)"
)
_PLAIN_SUFFIXES = (".txt", ".text", ".lab", ".md", "")
_SNIFFED = 64 * 1024  # characters that decide about the kind
_LANGUAGE_TAG = re.compile(r"[a-z]{2}(?:-[a-z0-9]{2,8})?")
_OTHER_FORMATS = (
    (re.compile(r"(?i)\s*<(?:!doctype html|html)"), "an HTML page"),
    (re.compile(r"(?i)\s*<(?:\?xml|tt[ >]|sami>)"), "an XML, XHTML or SAMI file"),
    (re.compile(r"\s*\[Script Info\]"), "an ASS or SSA subtitle file"),
    (re.compile(r"\{\\rtf"), "an RTF document"),
    (re.compile(r"%PDF-"), "a PDF document"),
)


def read_transcript(path: str | os.PathLike, media_seconds: float | None = None) -> Transcript:
    """A transcript of any known format with usable times; `problems` says what was repaired or is dubious.

    Plain text has no times: its `timed` is False and its cues have None for both.
    """
    path = Path(path)
    text, problems = _text_of(path)
    kind = kind_of(text, path)
    transcript = READERS[kind](text, path)
    problems += [] if text.strip() else [Problem("", "the file is empty")]
    found = replace(transcript, problems=(*problems, *transcript.problems), path=path)
    return repaired(found, media_seconds)


def read_speakers(path: str | os.PathLike) -> tuple[list[Turn], list[Problem]]:
    """The speakers' turns of an RTTM file in order of time, and what was left out."""
    path = Path(path)
    text, guessed = _text_of(path)
    turns, problems = read_turns(text, path)
    return turns, guessed + problems


def kind_of(text: str, path: Path) -> str:
    """The key of `READERS` for a text, by its content first and by its suffix then."""
    head, suffix = text[:_SNIFFED].lstrip("\ufeff"), path.suffix.lower()
    if head.startswith("WEBVTT"):
        return "vtt"
    if is_textgrid(head):
        return "textgrid"
    for pattern, name in _OTHER_FORMATS:
        if pattern.match(head):
            raise InputError(f"{path}: {name}, which cannot be read; known formats: {FORMATS}")
    if is_rttm(head):
        raise InputError(f"{path}: an RTTM file, which has speakers and no words; give it as --speakers")
    if re.match(r"\s*(?:\{\s*[\"}]|\[\s*[\[{\]])", head):
        return "json"
    if any(ARROW in line and TIMES.match(line) for line in lines_of(head)):
        return "vtt" if suffix == ".vtt" else "srt"
    if is_ctm(head):
        return "ctm"
    if suffix.removeprefix(".") in READERS:
        return suffix.removeprefix(".")
    if suffix in _PLAIN_SUFFIXES:
        return "txt"
    raise InputError(f"{path}: no known format of transcript; known formats: {FORMATS}")


def find_beside(media: str | os.PathLike, names: Sequence[str] | None = None) -> Path | None:
    """The transcript that belongs to a media file by its name, or None.

    For `episode.mp3` these are `episode.vtt`, `episode.mp3.vtt` and `episode.en.vtt`, in this order, then the
    same with the other suffixes of `BESIDE`, in any case. Of several languages the first by name is taken.
    names: `file_names` of its folder, if that is known.
    """
    return _beside(Path(media), BESIDE, names)


def find_speakers_beside(media: str | os.PathLike, names: Sequence[str] | None = None) -> Path | None:
    """The RTTM file that belongs to a media file by its name, or None."""
    return _beside(Path(media), BESIDE_SPEAKERS, names)


def file_names(folder: Path) -> list[str]:
    """The files of a folder by name; none where it cannot be looked into."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())
    except OSError:
        return []


def _beside(media: Path, suffixes: tuple[str, ...], names: Sequence[str] | None) -> Path | None:
    names = file_names(media.parent) if names is None else names
    folded: dict[str, str] = {}
    for name in names[bisect_left(names, media.stem) :]:
        if not name.startswith(media.stem):  # names are sorted: none behind it does
            break
        if OUR_OUTPUT not in name.lower() and name != media.name:
            folded.setdefault(media.stem + name[len(media.stem) :].lower(), name)
    for suffix in suffixes:
        for stem in (media.stem, media.stem + media.suffix.lower()):
            if found := folded.get(stem + suffix):
                return media.with_name(found)
        if tagged := _tagged(media, suffix, folded, names):
            return media.with_name(tagged)
    return None


def _tagged(media: Path, suffix: str, folded: dict[str, str], names: Sequence[str]) -> str | None:
    """The first name with a language between stem and suffix that is not another media file's own."""
    for lowered, name in sorted(folded.items()):
        tag = lowered[len(media.stem) + 1 : -len(suffix)]
        if not lowered.endswith(suffix) or not _LANGUAGE_TAG.fullmatch(tag):
            continue
        if name[: -len(suffix)] + media.suffix not in names:
            return name
    return None


def _text_of(path: Path) -> tuple[str, list[Problem]]:
    """The text of a file of reasonable size and a problem if its encoding had to be guessed."""
    try:
        if not path.exists():
            raise InputError(f"no such transcript: {path}")
        if not path.is_file():
            raise InputError(f"not a file: {path}; give one transcript")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(
                f"{path}: {size / 2**20:.0f} MiB, too large for a transcript (at most {MOST_BYTES >> 20})"
            )
        text, encoding = read_text(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if "\0" in text[:_SNIFFED] or text.startswith(BINARY_HEAD):
        raise InputError(f"{path}: binary data and no text; known formats: {FORMATS}")
    if encoding in ("cp1252", "latin-1"):
        return text, [Problem("", "not UTF-8, letters beyond ASCII may be wrong", f"read as {encoding}")]
    return text, []
