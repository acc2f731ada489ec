"""SubRip (.srt) and WebVTT (.vtt): blocks of a time line `00:01.5 --> 00:04` and the words below it.

The two differ in little and files mix them, so one grammar reads both: hours may be missing, a point or a
comma may stand before the decimals, cue numbers may be missing, and what follows the times (settings,
coordinates) is left alone. In WebVTT an empty line ends a cue, and what stands between cues without a time
line (NOTE, STYLE, REGION) is no speech. Times are seconds.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from multimodal_ser.errors import InputError
from multimodal_ser.text_files import lines_of
from multimodal_ser.transcripts.cues import Cue, Problem, Transcript, Word, tidy
from multimodal_ser.transcripts.markup import CLOCK, Piece, clock_seconds, pieces, plain
from multimodal_ser.transcripts.rolling import Block, unrolled
from multimodal_ser.transcripts.speaker_names import Part, parts_by_name

ARROW = "-->"
TIMES = re.compile(rf"\s*{CLOCK.pattern}\s*-->\s*{CLOCK.pattern}(?:\s|$)")
_LANGUAGE = re.compile(r"(?i)language:\s*([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)\s*$")
NO_TIMES = "times cannot be read, cue left out"
SHARED = "two speakers in one cue, its time shared out by the length of what they say"
HELD = "a voice is named in less than half of the cues, so it was held until the next name"


def read_srt(text: str, path: Path) -> Transcript:
    """The cues of a SubRip file, as they stand there."""
    lines = lines_of(text)
    problems: list[Problem] = []
    cues = _cues(_blocks(lines, problems, ends_at_empty_line=False), problems)
    if not cues and text.strip():
        raise InputError(_no_cue(path, "SubRip", "00:00:01,500 --> 00:00:04,000", problems))
    return Transcript(tuple(cues), None, "srt", tuple(problems))


def read_vtt(text: str, path: Path) -> Transcript:
    """The cues of a WebVTT file, as they stand there."""
    lines = lines_of(text)
    problems: list[Problem] = []
    if not lines[0].startswith("WEBVTT"):
        problems.append(Problem("line 1", "a WebVTT file begins with WEBVTT; this one does not"))
    cues = _cues(_blocks(lines, problems, ends_at_empty_line=True), problems)
    if not cues and not lines[0].startswith("WEBVTT"):
        raise InputError(_no_cue(path, "WebVTT", "00:01.500 --> 00:04.000", problems))
    header = lines[: lines.index("")] if "" in lines else lines
    language = next((match[1] for line in header if (match := _LANGUAGE.match(line))), None)
    return Transcript(tuple(cues), language, "vtt", tuple(problems))


def _no_cue(path: Path, name: str, example: str, problems: list[Problem]) -> str:
    hint = f"; {problems[-1]}" if problems else ""
    return f"{path}: no cue found; a {name} file has lines such as {example}{hint}"


def _blocks(lines: list[str], problems: list[Problem], ends_at_empty_line: bool) -> list[Block]:
    arrows = [number for number, line in enumerate(lines) if ARROW in line]
    blocks = []
    for number, following in pairwise([*arrows, len(lines)]):
        if (times := TIMES.match(lines[number])) is None:
            problems.append(Problem(f"line {number + 1}", NO_TIMES, lines[number].strip()[:60]))
            continue
        if any(fraction and len(fraction) < 3 for fraction in (times[5], times[10])):
            problems.append(
                Problem(f"line {number + 1}", "less than three decimals, read as decimals", times[0].strip())
            )
        payload = lines[number + 1 : following]
        if ends_at_empty_line and "" in payload:
            payload = payload[: payload.index("")]
        elif following < len(lines):
            payload = _without_identifier(payload)
        words = tuple(line for line in payload if line.strip())
        blocks.append(Block(clock_seconds(times), clock_seconds(times, 6), words, number + 1))
    return blocks


def _without_identifier(payload: list[str]) -> list[str]:
    """The lines before the next time line less the number of that cue."""
    return payload[:-1] if payload and payload[-1].strip().isdigit() else payload


def _cues(blocks: list[Block], problems: list[Problem]) -> list[Cue]:
    blocks, found = unrolled(blocks)
    problems += found
    marked = [list(pieces("\n".join(block.lines))) for block in blocks]
    named = sum(any(piece.speaker for piece in cue) for cue in marked)
    if named:
        parts = [_parts_by_voice(cue) for cue in marked]
        if 2 * named < len(parts):
            problems.append(Problem("", HELD, f"{named} of {len(parts)} cues"))
            parts = list(_held(parts))
    else:
        parts, doubts = parts_by_name([plain("\n".join(b.lines)).split("\n") for b in blocks])
        problems += [Problem(f"line {blocks[int(p.place)].line}", p.what, p.detail) for p in doubts]
    cues = []
    for block, said, marks in zip(blocks, parts, marked, strict=True):
        place = f"line {block.line}"
        if len(said) > 1:
            problems.append(Problem(place, SHARED, ", ".join(str(name) for name, _ in said)[:80]))
        cues += _shared_out(block, said or [(None, "")], place, _timed_words(marks, block))
    return cues


def _parts_by_voice(marked: Iterable[Piece]) -> list[Part]:
    """Who says what in one cue, as its voice tags have it."""
    said: list[tuple[str | None, list[str]]] = []
    for piece in marked:
        is_blank = not piece.text.strip()  # between two tags of the same voice
        if said and (is_blank or said[-1][0] == piece.speaker):
            said[-1][1].append(piece.text)
        else:
            said.append((piece.speaker, [piece.text]))
    parts = [(name, tidy("".join(words))) for name, words in said]
    return [part for part in parts if part[1]]


def _held(cues: Iterable[list[Part]]) -> Iterator[list[Part]]:
    speaker = None
    for parts in cues:
        held = []
        for name, words in parts:
            speaker = name or speaker
            held.append((speaker, words))
        yield held


def _shared_out(block: Block, parts: list[Part], place: str, words: list[Word]) -> Iterator[Cue]:
    """One cue for each speaker; several share the time of the block by the lengths of their words."""
    total = sum(len(said) for _, said in parts) or 1
    length = block.end - block.start
    spoken = 0
    for speaker, said in parts:
        start = block.start + length * spoken / total
        spoken += len(said)
        end = block.start + length * spoken / total
        kept = _words_of(said, words) if len(parts) == 1 else ()
        yield Cue(round(start, 6), round(end, 6), said, speaker, kept, place=place)


def _timed_words(marked: list[Piece], block: Block) -> list[Word]:
    """The words of a cue with time tags; each lasts until the next one begins."""
    if all(piece.time is None for piece in marked):
        return []
    timed = [(tidy(piece.text), block.start if piece.time is None else piece.time) for piece in marked]
    timed = [(text, time) for text, time in timed if text]
    ends = [time for _, time in timed[1:]] + [block.end]
    return [
        Word(text, start, end) if end > start else Word(text)
        for (text, start), end in zip(timed, ends, strict=True)
    ]


def _words_of(said: str, words: list[Word]) -> tuple[Word, ...]:
    """The timed words if they are those of the cue, perhaps behind a speaker's name; else none."""
    for first in range(min(len(words), 6)):
        if " ".join(word.text for word in words[first:]) == said:
            return tuple(words[first:])
    return ()
