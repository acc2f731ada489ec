"""Captions that say the same words again and again, as they roll over the screen.

Live captions and those of video platforms show a line, then the same line above a new one; a text that
highlights word after word is written once for each word. Read as they stand, every word counts twice or
more. A recogniser that is caught in a loop repeats itself too, and that must stay visible: so lines are
removed only in files where old lines stand above new ones again and again, and whole cues are joined only
where their tags differ.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from multimodal_ser.transcripts.cues import Problem, tidy
from multimodal_ser.transcripts.markup import plain

TOUCHING = 0.1  # seconds; more between two cues and the second does not continue the first
MOST_LINES = 4  # of one cue on the screen
FEWEST_ROLLS = 2  # cues with an old line above a new one, for a file to count as rolling,
ROLLING_SHARE = 0.2  # and their share of all cues that follow another without a pause
CARRIED = "lines that the cue before showed already were left out"
HIGHLIGHTED = "cues with the same words, written again to highlight each, were joined"


@dataclass(frozen=True)
class Block:
    """A cue as it stands in a caption file; `lines` are those with something in them, tags included."""

    start: float  # seconds
    end: float
    lines: tuple[str, ...]
    line: int  # of its times, counted from 1


def unrolled(blocks: list[Block]) -> tuple[list[Block], list[Problem]]:
    """The blocks with each word once, and what was removed for that."""
    joined = _without_highlights(blocks)
    problems = []
    if len(joined) < len(blocks):
        problems.append(Problem("", HIGHLIGHTED, f"{len(blocks)} became {len(joined)}"))
    shown = [[tidy(plain(line)) for line in block.lines] for block in joined]
    carried = [0] + [
        _carried(shown[number - 1], shown[number]) if _touch(before, block) else 0
        for number, (before, block) in enumerate(pairwise(joined), start=1)
    ]
    touching = sum(_touch(before, block) for before, block in pairwise(joined))
    rolls = sum(0 < count < len(lines) for count, lines in zip(carried, shown, strict=False))
    if rolls < max(FEWEST_ROLLS, ROLLING_SHARE * touching):
        return joined, problems
    problems.append(Problem("", CARRIED, f"{sum(carried)} lines"))
    kept = [replace(block, lines=block.lines[count:]) for block, count in zip(joined, carried, strict=False)]
    return [block for block, count in zip(kept, carried, strict=True) if block.lines or not count], problems


def _touch(before: Block, block: Block) -> bool:
    return block.start <= before.end + TOUCHING


def _carried(before: list[str], lines: list[str]) -> int:
    """How many lines at the top are the last ones of the cue before."""
    for count in range(min(len(before), len(lines), MOST_LINES), 0, -1):
        if before[-count:] == lines[:count]:
            return count
    return 0


def _without_highlights(blocks: list[Block]) -> list[Block]:
    joined: list[Block] = []
    last: tuple[str, ...] = ()  # of the cue that was joined last, tags included
    said = None
    for block in blocks:
        words = tidy(plain("\n".join(block.lines)))
        tags_differ = block.lines != last and any("<" in line for line in (*last, *block.lines))
        if joined and words and words == said and tags_differ and _touch(joined[-1], block):
            joined[-1] = replace(joined[-1], end=max(joined[-1].end, block.end))
        else:
            joined.append(block)
        last, said = block.lines, words
    return joined
