"""The marks inside a caption: WebVTT's voice, class and time tags, HTML's tags and entities, SubRip's own.

Only what looks like a tag is one: a letter or a time must follow the bracket, so "I <3 you" stays.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from multimodal_ser.transcripts.cues import tidy

_CLOCK = r"(-?)(?:([0-9]{1,6}):)?([0-9]{1,6}):([0-9]{1,6})(?:[.,]([0-9]{1,9}))?(?![0-9])"
CLOCK = re.compile(_CLOCK)
_TAG = re.compile(rf"<(?:(?P<time>{_CLOCK})|(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9]*)(?P<rest>[^<>]*))>")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # {\an8}: a position, from another subtitle format
_VOICE = re.compile(r"(?:\.[^\s.]+)*\s+(.*)", re.DOTALL)
_BREAKS = ("br", "p", "div")


@dataclass(frozen=True)
class Piece:
    """A stretch of plain text between two tags."""

    text: str
    speaker: str | None  # of the voice tag around it
    time: float | None  # seconds; of the time tag before it


def clock_seconds(match: re.Match, first_group: int = 1) -> float:
    """The seconds that a match of `CLOCK` says; one to nine digits behind the point or comma are decimals."""
    sign, hours, minutes, seconds, fraction = match.groups()[first_group - 1 : first_group + 4]
    whole = 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)
    value = round(whole + float(f"0.{fraction or 0}"), 6)
    return -value if sign else value


def pieces(payload: str) -> Iterator[Piece]:
    """The text of a cue cut at its tags; entities are resolved, so `&lt;b&gt;` is text and no tag."""
    payload = _OVERRIDE.sub("", payload).replace("\\N", "\n").replace("\\h", " ")
    speaker, time, position = None, None, 0
    for tag in _TAG.finditer(payload):
        if tag.start() > position:
            yield Piece(_unescaped(payload[position : tag.start()]), speaker, time)
        position = tag.end()
        if tag["time"]:
            time = clock_seconds(tag, 2)
        elif tag["name"].lower() == "v":
            voice = None if tag["close"] else _VOICE.match(tag["rest"])
            speaker = (tidy(_unescaped(voice[1])) or None) if voice else None
        elif tag["name"].lower() in _BREAKS:
            yield Piece("\n", speaker, time)
    if position < len(payload):
        yield Piece(_unescaped(payload[position:]), speaker, time)


def plain(payload: str) -> str:
    """The text of a cue without its tags, still in its lines."""
    return "".join(piece.text for piece in pieces(payload))


def _unescaped(text: str) -> str:
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)
