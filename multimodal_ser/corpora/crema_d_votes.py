"""CREMA-D's votes on the voice alone, from the two tables in `processedResults`.

tabulatedVotes.csv counts the votes; summaryTable.csv names the winners only. The first is used, the second
compared with it or used in its place. Levels are intensities, 0..100. See `crema_d.py` for the traps.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from multimodal_ser.corpora.reading import read_table
from multimodal_ser.errors import InputError

LETTERS = {
    "A": "anger",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "S": "sadness",
}
LEVEL_COLUMNS = {
    "A": "meanAngerResp",
    "D": "meanDisgustResp",
    "F": "meanFearResp",
    "H": "meanHappyResp",
    "N": "meanNeutralResp",
    "S": "meanSadResp",
}
VOICE = "1"  # first digit of a row's key: 1 voice, 2 face, 3 both
NOBODY = -1  # in place of a level
_DECIMALS = 6


@dataclass(frozen=True)
class VoiceVote:
    """What listeners of the voice alone chose for one clip."""

    winners: tuple[str, ...]  # more than one if tied
    levels: dict[str, float]  # mean intensity of each emotion that somebody chose, 0..100
    shares: dict[str, float] | None = None  # share of votes of each emotion that somebody chose
    responses: int | None = None
    disagreement: str = ""  # what summaryTable.csv says, if that is something else

    @property
    def is_tied(self) -> bool:
        return len(self.winners) != 1

    @property
    def emotion(self) -> str:
        return "no_agreement" if self.is_tied else self.winners[0]

    def meta(self) -> dict[str, object]:
        """The vote as a manifest holds it."""
        counted = {}
        if self.shares is not None:
            counted = {"voice_agreement": max(self.shares.values()), "voice_responses": self.responses}
        return {"voice_vote": list(self.winners), **counted, "voice_levels": self.levels}


def read_votes(folder: Path) -> dict[str, VoiceVote]:
    """The vote on every clip that either table names; nothing if there are no tables."""
    results = folder / "processedResults"
    counted, summary = results / "tabulatedVotes.csv", results / "summaryTable.csv"
    votes = _counted_votes(counted) if counted.is_file() else {}
    named = _named_winners(summary) if summary.is_file() else {}
    for name, other in named.items():
        vote = votes.setdefault(name, other)
        if vote.winners != other.winners:
            votes[name] = replace(vote, disagreement=f"summaryTable.csv: {', '.join(other.winners)}")
    return votes


def _counted_votes(path: Path) -> dict[str, VoiceVote]:
    rows = read_table(path, ("", *LETTERS, "fileName", "emoVote", *LEVEL_COLUMNS.values()))
    return _understood(path, "fileName", _count, (row for row in rows if row[""].startswith(VOICE)))


def _named_winners(path: Path) -> dict[str, VoiceVote]:
    rows = read_table(path, ("FileName", "VoiceVote", "VoiceLevel"))
    return _understood(path, "FileName", _winners, rows)


def _understood(
    path: Path, name: str, understand: Callable[[dict[str, str]], VoiceVote], rows: Iterable[dict[str, str]]
) -> dict[str, VoiceVote]:
    votes = {}
    for row in rows:
        try:
            votes[row[name]] = understand(row)
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}, clip '{row[name]}': a vote cannot be understood ({error})") from None
    return votes


def _count(row: dict[str, str]) -> VoiceVote:
    """The vote in a row of tabulatedVotes.csv."""
    counts = {emotion: int(row[letter]) for letter, emotion in LETTERS.items()}
    levels = {LETTERS[letter]: float(row[column]) for letter, column in LEVEL_COLUMNS.items()}
    responses = sum(counts.values())
    return VoiceVote(
        winners=_emotions(row["emoVote"]),
        levels={name: round(level, _DECIMALS) for name, level in levels.items() if level != NOBODY},
        shares={name: round(count / responses, _DECIMALS) for name, count in counts.items() if count},
        responses=responses,
    )


def _winners(row: dict[str, str]) -> VoiceVote:
    """The vote in a row of summaryTable.csv."""
    winners = _emotions(row["VoiceVote"])
    levels = map(float, row["VoiceLevel"].split(":"))
    return VoiceVote(winners, dict(zip(winners, levels, strict=True)))


def _emotions(letters: str) -> tuple[str, ...]:
    return tuple(LETTERS[letter] for letter in letters.split(":"))
