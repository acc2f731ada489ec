"""The grammar of Praat's TextGrid files, long and short form: tiers of marks with times in seconds.

As Praat reads its text files, only free-standing numbers, quoted strings and flags (`<exists>`) count and
everything else is decoration, so both forms are the same sequence: file type, class, xmin, xmax, `<exists>`,
the number of tiers, then per tier its class, name, xmin, xmax, the number of its marks and the marks. A mark
of an interval tier is xmin, xmax, text; one of a text tier is time, text. A quote inside a string is doubled.
"""

import re
from dataclasses import dataclass

from multimodal_ser.errors import InputError

TEXT_HEAD, BINARY_HEAD = "ooTextFile", "ooBinaryFile"
INTERVALS, POINTS = "IntervalTier", "TextTier"
SILENCES = ("", "sp", "sil", "<sil>", "<eps>")  # labels that aligners give to stretches without words
_TOKEN = re.compile(
    r'(?<![^\s=])(?:"(?P<string>[^"]*(?:""[^"]*)*)"|(?P<number>[-+]?[0-9.][0-9.eE+-]{0,40})|!.*)(?!\S)'
)


@dataclass(frozen=True)
class Mark:
    """One interval, or one point with `end` equal to `start`; `line` counts from 1."""

    start: float  # seconds
    end: float
    text: str
    line: int


@dataclass(frozen=True)
class Tier:
    kind: str  # INTERVALS or POINTS
    name: str
    marks: tuple[Mark, ...]


def is_textgrid(text: str) -> bool:
    """Whether the head of a file says that it is a Praat text file with a TextGrid in it."""
    head = text[:400]
    return TEXT_HEAD in head and '"TextGrid"' in head


def read_tiers(text: str) -> list[Tier]:
    """The tiers of a TextGrid in file order; a damaged one is an `InputError` that names the line."""
    tokens = _Tokens(text)
    tokens.string("file type")
    if tokens.string("object class") != "TextGrid":
        raise InputError(f"line {tokens.line}: a Praat file, but not a TextGrid")
    tokens.skip_span("grid")
    if tokens.at_end():
        return []
    return [_tier(tokens) for _ in range(tokens.count("number of tiers"))]


def _tier(tokens: "_Tokens") -> Tier:
    kind = tokens.string("class of a tier")
    if kind not in (INTERVALS, POINTS):
        raise InputError(
            f"line {tokens.line}: {kind[:40]!r} is no class of tier; known: {INTERVALS}, {POINTS}"
        )
    name = tokens.string("name of a tier")
    tokens.skip_span("tier")
    marks = []
    for _ in range(tokens.count("number of marks")):
        start = tokens.number("time")
        line = tokens.line
        end = tokens.number("end of an interval") if kind == INTERVALS else start
        marks.append(Mark(start, end, tokens.string("text"), line))
    return Tier(kind, name, tuple(marks))


class _Tokens:
    """The numbers and strings of a file, one after the other, each asked for by what it must be."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._matches = (match for match in _TOKEN.finditer(text) if match.lastgroup)
        self._next = next(self._matches, None)
        self._position = 0
        self.line = 1  # of the token that was given out last

    def at_end(self) -> bool:
        return self._next is None

    def string(self, what: str) -> str:
        match = self._take(what)
        if match["string"] is None:
            raise InputError(f"line {self.line}: expected a quoted string ({what}), found {match[0][:40]!r}")
        return match["string"].replace('""', '"')

    def number(self, what: str) -> float:
        match = self._take(what)
        try:
            return float(match["number"] or "")
        except ValueError:
            raise InputError(
                f"line {self.line}: expected a number ({what}), found {match[0][:40]!r}"
            ) from None

    def skip_span(self, of_what: str) -> None:
        """Leave out the two times that say what the marks say again."""
        for edge in ("start", "end"):
            self.number(f"{edge} of the {of_what}")

    def count(self, what: str) -> int:
        """A whole number, which cannot be larger than what is left of the file."""
        value = self.number(what)
        if not 0 <= value <= len(self._text):  # also false for NaN
            raise InputError(f"line {self.line}: {value:g} cannot be the {what}")
        return int(value)

    def _take(self, what: str) -> re.Match:
        if self._next is None:
            raise InputError(f"the file ends where the {what} should be; it is cut off or damaged")
        match, self._next = self._next, next(self._matches, None)
        self.line += self._text.count("\n", self._position, match.start())
        self._position = match.start()
        return match
