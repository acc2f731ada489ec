"""Names of speakers that stand before their words: "ALICE: ...", "[SPEAKER_00]: ...", ">> Bob: ...".

A colon is no proof of a name ("Remember: never ..."). A name has at most four words that begin with capitals.
It is believed if it is a label such as "Speaker 1", all in capitals in a text that is not, there twice or
more, or if at least half of the cues begin with a name. What is left in the text is reported.
In caption files a name is written where the speaker changes, so it holds until the next one; a bracketed
label is written for every cue, so it does not.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from multimodal_ser.transcripts.cues import Problem, tidy

LONGEST_NAME = 40  # characters
MOST_WORDS = 4
DOUBTFUL = "may be the name of a speaker, left in the text"
_LABEL = re.compile(
    r"(?i)(?:speaker|spk|spkr|host|guest|interview(?:er|ee)|moderator|narrator|announcer|caller)"
    r"[ _#-]?[a-z0-9]{0,3}"
)
_BRACKETED = re.compile(r"\[([^\[\]]{1,40})\](:?)\s*(.*)")
_PLAIN = re.compile(r"([^:\[\]]{1,40}?)\s?:(?:\s+(.*)|$)")
_CHANGE = re.compile(r">>+\s*")
_DASH = re.compile(r"[-–—]\s*(?=\S)")
_PARTICLES = {"de", "van", "von", "der", "den", "da", "di", "of", "the", "and", "la", "el", "du", "bin", "al"}
_NOT_NAMES = re.compile(
    "note|notes|remember|question|answer|questions|answers|example|step|rule|rules|tip|tips|number"
    "|part|chapter|episode|section|warning|caution|update|reminder|fact|facts|result|results"
    "|conclusion|summary|spoiler|disclaimer|first|second|third|finally|next|today|tomorrow|yesterday"
    "|ps|here|there|however|so|and|but|or|yes|no|ok|okay|well|now|then|because|also|plus|bonus"
    "|subject|title|topic|re|edit|source|sources|link|links|music|applause|laughter|translation"
    "|transcript|transcribed|welcome|thanks|look|listen|think|imagine"
)


@dataclass(frozen=True)
class _Line:
    """A line as it may be meant; `name` is only a candidate."""

    text: str  # all of it
    name: str | None = None
    rest: str = ""  # behind the name
    bracketed: bool = False
    change: bool = False  # somebody else speaks from here on: ">>"
    dash: bool = False  # perhaps somebody else


Part = tuple[str | None, str]  # speaker and words


def parts_by_name(cues: Sequence[Sequence[str]]) -> tuple[list[list[Part]], list[Problem]]:
    """For the lines of each cue who says what; the problems are candidates that were not believed.

    The place of such a problem is the number of the cue, counted from 0, for the caller to translate.
    """
    read = [[_parsed(line) for line in cue] for cue in cues]
    believed = _believed(read)
    problems, parts, speaker = [], [], None
    for number, lines in enumerate(read):
        said, speaker = _parts(lines, believed, speaker)
        parts.append(said)
        problems += [
            Problem(str(number), DOUBTFUL, line.name)
            for line in lines
            if line.name is not None and line.name not in believed
        ]
    return parts, problems


def _parts(lines: list[_Line], believed: set[str], speaker: str | None) -> tuple[list[Part], str | None]:
    """The parts of one cue and who speaks on after it."""
    said: list[tuple[str | None, list[str]]] = []
    several = sum(line.dash for line in lines) > 1
    holds = True
    for line in lines:
        if line.name in believed:
            speaker, holds = line.name, not line.bracketed
            said.append((speaker, [line.rest]))
        elif line.change or (several and line.dash):
            speaker = None
            said.append((speaker, [line.text]))
        elif said:
            said[-1][1].append(line.text)
        else:
            said.append((speaker, [line.text]))
    parts = [(name, tidy(" ".join(words))) for name, words in said]
    return [part for part in parts if part[1]], speaker if holds else None


def _believed(cues: list[list[_Line]]) -> set[str]:
    candidates = [line for lines in cues for line in lines if line.name is not None]
    counts = Counter(line.name for line in candidates)
    has_small = any(any(map(str.islower, line.rest or line.text)) for lines in cues for line in lines)
    first = sum(bool(lines) and lines[0].name is not None for lines in cues)
    dialogue = len(cues) > 1 and 2 * first >= len(cues)
    return {
        line.name
        for line in candidates
        if dialogue
        or counts[line.name] > 1
        or _LABEL.fullmatch(line.name)
        or (has_small and line.name.isupper() and sum(map(str.isalpha, line.name)) > 1)
    }


def _parsed(line: str) -> _Line:
    text = tidy(line)
    change, dash = _CHANGE.match(text), _DASH.match(text)
    if mark := change or dash:
        text = text[mark.end() :]
    marks = {"change": change is not None, "dash": dash is not None}
    if (match := _BRACKETED.match(text)) and (match[2] or _LABEL.fullmatch(match[1])):
        if _could_be_name(match[1]):
            return _Line(text, match[1].strip(), match[3], True, **marks)
    elif (match := _PLAIN.match(text)) and _could_be_name(match[1]):
        return _Line(text, match[1].strip(), match[2] or "", **marks)
    return _Line(text, **marks)


def _could_be_name(text: str) -> bool:
    if _LABEL.fullmatch(text.strip()):
        return True
    words = text.split()
    if not 1 <= len(words) <= MOST_WORDS or _NOT_NAMES.fullmatch(words[0].lower().strip(".")):
        return False
    return words[0][0].isalpha() and all(map(_is_part_of_name, words))


def _is_part_of_name(word: str) -> bool:
    letters = word.strip("().,'\"’")
    if not letters or letters.lower() in _PARTICLES or letters.isdigit():
        return bool(letters)
    return not letters[0].islower() and all(letter.isalnum() or letter in ".'’-_&" for letter in letters)
