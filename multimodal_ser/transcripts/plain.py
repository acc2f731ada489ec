"""Plain text without times: one cue for each paragraph or line, the speaker as "Name: " before it.

Times that such a text may hold (`[00:01:23]`, `Alice (1:23):`) say at best where something begins, so they
are taken out of the words and not used.
"""

import re
from itertools import groupby
from pathlib import Path

from multimodal_ser.text_files import lines_of
from multimodal_ser.transcripts.cues import Cue, Problem, Transcript, tidy
from multimodal_ser.transcripts.speaker_names import parts_by_name

STAMPED = "times in a plain text are not used and were taken out of the words"
_CLOCK = r"[0-9]{1,3}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,3})?"
_STAMP = re.compile(rf"\[{_CLOCK}\]|\({_CLOCK}\)|^\s*{_CLOCK}(?=\s)")


def read_plain(text: str, path: Path) -> Transcript:
    """The paragraphs of a text, or its lines if no line is empty or a name stands before most of them."""
    lines = lines_of(text)
    problems = []
    stamped = [number for number, line in enumerate(lines, start=1) if _STAMP.search(line)]
    if stamped:
        problems.append(Problem(f"line {stamped[0]}", STAMPED, f"{len(stamped)} lines"))
    numbered = [(number, _STAMP.sub("", line)) for number, line in enumerate(lines, start=1)]
    blocks = [
        list(block) for filled, block in groupby(numbered, key=lambda pair: bool(tidy(pair[1]))) if filled
    ]
    if len(blocks) == 1:
        blocks = [[pair] for pair in blocks[0]]
    parts, doubts = parts_by_name([[line for _, line in block] for block in blocks])
    places = [f"line {block[0][0]}" for block in blocks]
    problems += [Problem(places[int(p.place)], p.what, p.detail) for p in doubts]
    cues = [
        Cue(None, None, said, speaker, place=place)
        for place, cue in zip(places, parts, strict=True)
        for speaker, said in cue
    ]
    return Transcript(tuple(cues), None, "txt", tuple(problems), timed=False)
