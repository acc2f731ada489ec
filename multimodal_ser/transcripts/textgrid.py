"""Praat TextGrids (.TextGrid) as transcripts; their grammar is in `multimodal_ser.textgrids`.

Tiers of words, as aligners write them ("words", "Alice - words"), come first: their words are joined to cues
where no pause is between them. Without one, each interval with text is a cue. The speaker is what the tier
is named for, unless the name only says what the tier holds. Phones, numbers and points are no transcript.
"""

import re
from pathlib import Path

from multimodal_ser.errors import InputError
from multimodal_ser.textgrids import INTERVALS, SILENCES, Mark, Tier, read_tiers
from multimodal_ser.transcripts.cues import Cue, Problem, Transcript, Word, cues_of_words, tidy

LEFT_OUT = "tier left out"
_WORDS = re.compile(r"(?i)words?|ort-mau")
_PHONES = re.compile(
    r"(?i)phones?|phonemes?|mau|kan|kan-mau|sampa|syll\w*|pitch|f0|intensity|tones?|breaks?|misc|notes?|comments?"
    r"|arousal|valence|dominance|emotions?"
)
_GENERIC = re.compile(
    r"(?i)words?|ort(?:-mau)?|text|tiers?|transcript(?:ion)?s?|sentences?|utterances?|segments?|orthography|intervals?"
    r"|asr|speech|(?:tier|silences) ?[0-9]*|"
)


def read_textgrid(text: str, path: Path) -> Transcript:
    """The cues of a TextGrid, those of several tiers in order of time."""
    try:
        tiers = read_tiers(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    problems: list[Problem] = []
    spoken = [tier for tier in tiers if _is_speech(tier, problems)]
    worded = [tier for tier in spoken if _WORDS.fullmatch(_kind_and_speaker(tier.name)[0])]
    if worded:
        problems += [
            Problem("", LEFT_OUT, f"'{tidy(tier.name)[:40]}': words are in '{tidy(worded[0].name)[:40]}'")
            for tier in spoken
            if tier not in worded
        ]
    if not spoken:
        names = ", ".join(repr(tidy(tier.name)[:40]) for tier in tiers[:10]) or "none"
        raise InputError(f"{path}: no tier holds words; tiers found: {names}")
    cues = [cue for tier in worded for cue in _cues_of_words(tier)]
    cues += [cue for tier in spoken for cue in _cues_of_intervals(tier) if not worded]
    return Transcript(tuple(sorted(cues, key=lambda cue: cue.start)), None, "textgrid", tuple(problems))


def _is_speech(tier: Tier, problems: list[Problem]) -> bool:
    said = [mark.text.strip() for mark in tier.marks if mark.text.strip() not in SILENCES]
    if tier.kind != INTERVALS:
        reason = "its marks are points"
    elif _PHONES.fullmatch(_kind_and_speaker(tier.name)[0]):
        reason = "its name says that it holds no words"
    elif said and not any(any(map(str.isalpha, text)) for text in said):
        reason = "it holds no letters"
    else:
        return True
    problems.append(Problem("", LEFT_OUT, f"'{tidy(tier.name)[:40]}': {reason}"))
    return False


def _kind_and_speaker(name: str) -> tuple[str, str | None]:
    """What a tier holds and for whom: "Alice - words", "Alice" and "words" are all in use."""
    speaker, dash, kind = (part.strip() for part in tidy(name).rpartition(" - "))
    if dash and (_WORDS.fullmatch(kind) or _PHONES.fullmatch(kind) or _GENERIC.fullmatch(kind)):
        return kind, speaker or None
    whole = tidy(name)
    return whole, None if _GENERIC.fullmatch(whole) else whole


def _said(tier: Tier) -> list[Mark]:
    return [mark for mark in tier.marks if mark.text.strip() not in SILENCES]


def _cues_of_words(tier: Tier) -> list[Cue]:
    speaker = _kind_and_speaker(tier.name)[1]
    marks = sorted(_said(tier), key=lambda mark: mark.start)
    words = [Word(tidy(mark.text), mark.start, mark.end, speaker=speaker) for mark in marks]
    return list(cues_of_words(words, [f"line {mark.line}" for mark in marks]))


def _cues_of_intervals(tier: Tier) -> list[Cue]:
    speaker = _kind_and_speaker(tier.name)[1]
    return [
        Cue(mark.start, mark.end, tidy(mark.text), speaker, place=f"line {mark.line}") for mark in _said(tier)
    ]
