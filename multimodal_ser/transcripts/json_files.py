"""Transcripts in JSON: the podcast namespace's own, and what Whisper and its relatives write.

Podcasting 2.0: `{"segments": [{"speaker", "startTime", "endTime", "body"}]}`.
Whisper, faster-whisper (segments dumped with or without a wrapper), whisperX: `{"language", "segments":
[{"start", "end", "text", "avg_logprob", "no_speech_prob", "compression_ratio", "speaker", "words": [{"word",
"start", "end", "probability" or "score"}]}]}`; the values about trust are kept as they are.
transformers: `{"chunks": [{"timestamp": [start, end], "text"}]}`. whisper.cpp: `{"transcription":
[{"offsets": {"from", "to"}, "text"}]}` in milliseconds. Times are seconds. Segments are named by their
number, from 1, since these files often have one line.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Cue, Problem, Transcript, Word, mean_confidence, tidy
from multimodal_ser.transcripts.markup import CLOCK, clock_seconds
from multimodal_ser.transcripts.plain import read_plain

KNOWN = (
    "Podcasting 2.0 (segments with startTime, endTime and body), Whisper, faster-whisper and whisperX "
    "(segments with start, end and text), transformers (chunks with timestamp and text), whisper.cpp "
    "(transcription with offsets and text)"
)
NOT_A_SEGMENT = "not a segment, left out"
NO_TIMES_OF_WORD = "words without usable times; the words are kept"
BAD_SHARE = "a probability outside 0..1 was left out"
_LONGEST_LANGUAGE = 35  # characters; that of the longest code in BCP 47 that has to be supported


def read_json(text: str, path: Path) -> Transcript:
    """The cues of a JSON transcript of any known shape, as they stand there."""
    data = _parsed(text, path)
    if isinstance(data, list):
        data = {"segments": data}
    if not isinstance(data, dict):
        raise InputError(f"{path}: JSON, but no transcript: {_kind(data)}; known: {KNOWN}")
    source, segments, unpack = _shape(data)
    if segments is None and isinstance(data.get("text"), str):
        return _untimed(data, path)
    if segments is None:
        keys = ", ".join(tidy(str(key))[:30] for key in list(data)[:8]) or "none"
        raise InputError(
            f"{path}: JSON, but no known shape of transcript; keys found: {keys}; known: {KNOWN}"
        )
    problems: list[Problem] = []
    cues = []
    for number, segment in enumerate(segments, start=1):
        fields = unpack(segment) if isinstance(segment, dict) else {}
        if isinstance(fields.get("text"), str):
            cues.append(_cue(fields, f"segment {number}", problems))
        else:
            problems.append(Problem(f"segment {number}", NOT_A_SEGMENT, _kind(segment)))
    if segments and not cues:
        raise InputError(f"{path}: JSON, but none of its {len(segments)} segments has a text; known: {KNOWN}")
    return Transcript(tuple(cues), _language(data), source, tuple(problems))


def _parsed(text: str, path: Path) -> Any:
    """The JSON value; whole numbers as floats, since a number of a million digits is a float as well."""
    try:
        return json.loads(text, parse_int=float)
    except RecursionError:
        raise InputError(f"{path}: JSON nested too deeply to be a transcript; known: {KNOWN}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}; the file is cut off or was edited by hand") from None


def _shape(data: dict) -> tuple[str, list | None, Callable[[dict], dict]]:
    """The name of the shape, its list of segments and what makes one look like Whisper's."""
    if isinstance(segments := data.get("segments"), list):
        first = next((segment for segment in segments if isinstance(segment, dict)), {})
        if "body" in first or "startTime" in first:
            return "podcast json", segments, _of_podcast
        return "whisper json", segments, dict
    if isinstance(chunks := data.get("chunks"), list):
        return "transformers json", chunks, _of_transformers
    if isinstance(segments := data.get("transcription"), list):
        return "whisper.cpp json", segments, _of_whisper_cpp
    return "json", None, dict


def _of_podcast(segment: dict) -> dict:
    names = {"startTime": "start", "endTime": "end", "body": "text"}
    return {names.get(key, key): value for key, value in segment.items()}


def _of_transformers(chunk: dict) -> dict:
    times = chunk.get("timestamp")
    start, end = times if isinstance(times, list) and len(times) == 2 else (None, None)
    return {**chunk, "start": start, "end": end}


def _of_whisper_cpp(segment: dict) -> dict:
    offsets = segment.get("offsets")
    start, end = (
        (seconds_of(offsets.get(key)) for key in ("from", "to"))
        if isinstance(offsets, dict)
        else (None, None)
    )
    thousandth = [None if value is None else value / 1000 for value in (start, end)]
    return {**segment, "start": thousandth[0], "end": thousandth[1]}


def _cue(fields: dict, place: str, problems: list[Problem]) -> Cue:
    words = _words(fields.get("words"), place, problems)
    return Cue(
        seconds_of(fields.get("start")),
        seconds_of(fields.get("end")),
        tidy(fields["text"]),
        _name(fields.get("speaker")),
        words,
        mean_confidence(words),
        _finite(fields.get("avg_logprob")),
        _share(fields.get("no_speech_prob"), place, problems),
        _finite(fields.get("compression_ratio")),
        place,
    )


def _words(found: Any, place: str, problems: list[Problem]) -> tuple[Word, ...]:
    words = []
    for word in found if isinstance(found, list) else ():
        text = (
            next((word[key] for key in ("word", "text") if key in word), None)
            if isinstance(word, dict)
            else None
        )
        if not isinstance(text, str) or not (said := tidy(text)):
            continue
        start, end = seconds_of(word.get("start")), seconds_of(word.get("end"))
        if start is None or end is None or not 0 <= start <= end:
            start, end = None, None
        share = _share(word.get("probability", word.get("score")), place, problems)
        words.append(Word(said, start, end, share, _name(word.get("speaker"))))
    if missing := sum(word.start is None for word in words):
        problems.append(Problem(place, NO_TIMES_OF_WORD, f"{missing} of {len(words)}"))
    return tuple(words)


def seconds_of(value: Any) -> float | None:
    """A time as a number, or as text such as "12.5" or "00:01:02.5"; None for everything else."""
    if isinstance(value, str):
        clock = CLOCK.fullmatch(value.strip())
        return clock_seconds(clock) if clock else _finite_text(value)
    return _finite(value)


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _finite_text(text: str) -> float | None:
    try:
        return _finite(float(text.strip().removesuffix("s")))
    except ValueError:
        return None


def _share(value: Any, place: str, problems: list[Problem]) -> float | None:
    number = _finite(value)
    if number is None or 0 <= number <= 1:
        return number
    problems.append(Problem(place, BAD_SHARE, f"{number:g}"))
    return None


def _name(value: Any) -> str | None:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return (tidy(value) or None) if isinstance(value, str) else None


def _language(data: dict) -> str | None:
    for holder in (data, data.get("info"), data.get("result")):
        language = holder.get("language") if isinstance(holder, dict) else None
        if isinstance(language, str) and 0 < len(language) <= _LONGEST_LANGUAGE:
            return tidy(language) or None
    return None


def _untimed(data: dict, path: Path) -> Transcript:
    plain = read_plain(data["text"], path)
    return Transcript(plain.cues, _language(data), "json", plain.problems, timed=False)


def _kind(value: Any) -> str:
    """What a JSON value is, in JSON's words, with its beginning."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    shown = f" with the keys {', '.join(map(str, list(value)[:5]))[:60]}" if isinstance(value, dict) else ""
    return names.get(type(value), "a number") + shown
