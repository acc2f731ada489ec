"""What is planted in a synthetic utterance, and what simulated raters make of it.

Arousal, valence and the two halves of dominance are drawn independently and uniformly; the voice gets
arousal, valence (of which it shows only a trace) and its half of dominance, the words get valence and theirs.
All values are in unit scale.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from multimodal_ser.corpora.voice import Manner
from multimodal_ser.labels import DIMENSIONS, MSP_SCALE

RATERS = 5
RATER_NOISE = 0.08  # standard deviation of a rater, before rounding to whole steps
PLANTED_RANGE = (0.05, 0.95)
NEUTRAL_RADIUS = 0.2  # of the square around the middle of arousal and valence


@dataclass(frozen=True)
class Planted:
    """The truth of one utterance, in unit scale."""

    arousal: float
    valence: float
    dominance_voice: float
    dominance_words: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Planted":
        return cls(*(float(value) for value in rng.uniform(*PLANTED_RANGE, 4).round(4)))

    @property
    def dominance(self) -> float:
        return round((self.dominance_voice + self.dominance_words) / 2, 5)

    @property
    def manner(self) -> Manner:
        """What the voice carries."""
        return Manner(self.arousal, self.valence, self.dominance_voice)

    def as_meta(self) -> dict[str, float]:
        return {
            f"planted_{name}": getattr(self, name)
            for name in (*DIMENSIONS, "dominance_voice", "dominance_words")
        }


def rated(truth: Planted, rng: np.random.Generator) -> list[dict[str, float]]:
    """What each rater says: whole steps from 1 to 7 around the truth, in unit scale."""
    return [{name: _step(getattr(truth, name), rng) for name in DIMENSIONS} for _ in range(RATERS)]


def mean_rating(ratings: list[dict[str, float]]) -> dict[str, float]:
    """The mean of the raters in each dimension."""
    return {name: round(sum(rating[name] for rating in ratings) / len(ratings), 6) for name in DIMENSIONS}


def votes(ratings: list[dict[str, float]], truth: Planted) -> tuple[str, dict[str, float]]:
    """The emotion class most raters mean, the true one if there is a tie, and the share of each class."""
    counts = Counter(emotion_of(rating["arousal"], rating["valence"]) for rating in ratings)
    most = [emotion for emotion, count in counts.items() if count == max(counts.values())]
    shares = {emotion: count / len(ratings) for emotion, count in sorted(counts.items())}
    return most[0] if len(most) == 1 else emotion_of(truth.arousal, truth.valence), shares


def emotion_of(arousal: float, valence: float) -> str:
    """The emotion class of a place in the arousal-valence plane: neutral in the middle, else its quadrant."""
    if max(abs(arousal - 0.5), abs(valence - 0.5)) <= NEUTRAL_RADIUS:
        return "neutral"
    if arousal >= 0.5:
        return "happiness" if valence >= 0.5 else "anger"
    return "calm" if valence >= 0.5 else "sadness"


def _step(value: float, rng: np.random.Generator) -> float:
    """One rater's whole step from 1 to 7 for a unit value, in unit scale."""
    heard = MSP_SCALE.from_unit(value + RATER_NOISE * rng.standard_normal())
    return MSP_SCALE.to_unit(float(np.clip(round(heard), MSP_SCALE.low, MSP_SCALE.high)))
