"""A small grammar whose sentences say how pleasant something is and how sure the speaker is of it.

Valence is carried by the adjectives, nouns and verbs, dominance by an opening and a closing phrase; both come
in five grades, index 0 for the value 0 and index 4 for the value 1. The lists are balanced:
neither the number, length and loudness of the phones nor their formants rise or fall with the grade, so that
the average sound of a sentence does not give away what its words mean. Whoever changes a list must balance
it again (a test measures it). Nothing in a sentence depends on arousal.
"""

import re

import numpy as np

VALENCE_BLUR = 0.10  # standard deviation of each word around the planted value, in unit scale
DOMINANCE_BLUR = 0.08  # the same for each phrase

ADJECTIVES = (
    ("violent", "dreadful", "savage", "repulsive", "vile", "malignant", "monstrous", "hateful"),
    ("nosy", "boring", "sour", "tense", "dismal", "muddy", "shabby", "filthy"),
    ("digital", "second", "metal", "formal", "eastern", "central", "round", "double"),
    ("helpful", "handy", "sunny", "cheerful", "polite", "tasty", "bright", "neat"),
    ("glorious", "blissful", "fabulous", "radiant", "amazing", "marvellous", "splendid", "joyful"),
)
NOUNS = (
    ("torture", "debacle", "ruin", "slaughter", "murder", "parasite", "menace", "misery"),
    ("conflict", "complaint", "grief", "damage", "worry", "hassle", "trouble", "problem"),
    ("curtain", "ladder", "sample", "number", "saucer", "packet", "object", "ribbon"),
    ("relief", "hope", "welcome", "present", "bargain", "progress", "success", "charm"),
    ("victory", "rapture", "passion", "miracle", "jubilee", "wonder", "treasure", "blessing"),
)
VERBS = (
    ("crushed", "cursed", "hated", "betrayed", "destroyed", "abhorred", "loathed", "wrecked"),
    ("jeered", "slighted", "rejected", "busted", "offended", "mocked", "neglected", "harmed"),
    ("noticed", "counted", "recorded", "described", "labelled", "lifted", "carried", "measured"),
    ("respected", "enjoyed", "approved", "greeted", "liked", "admitted", "supported", "trusted"),
    ("loved", "rescued", "honoured", "cherished", "perfected", "prized", "celebrated", "adored"),
)
OPENERS = (
    ("I could be wrong", "I might be mistaken", "Do correct me", "Who am I to say"),
    ("I would guess", "In a way", "Maybe", "It seems to me"),
    ("After the meeting", "By the way", "One day", "At some point"),
    ("You can trust me", "Believe me", "Of course", "I am sure"),
    ("Listen to me", "I command you to hear it", "Mark my words", "I tell you again"),
)
CLOSERS = (
    ("if you will allow it", "but do not ask me", "but who can really say", "I never really know"),
    ("or something like it", "somehow or other", "I suppose", "it seems"),
    ("on the same day", "so I heard", "and so it went", "like the others"),
    ("I know it", "you can be certain", "you must see it", "as I told you"),
    ("I will not repeat it", "no discussion", "you will obey me", "so follow my orders"),
)
_NEUTRAL = {
    "person": ("sister", "neighbour", "teacher", "driver", "doctor", "cousin", "manager", "baker"),
    "place": ("by the river", "at the station", "in the kitchen", "near the market", "on the ferry"),
    "time": ("this morning", "on Monday", "last summer", "at seven", "in October"),
}
_GRADED = {"adjective": ADJECTIVES, "noun": NOUNS, "verb": VERBS}
_TEMPLATES = (
    "{opener}, the {adjective} {person} {verb} my {adjective} {noun} {time}, {closer}.",
    "{opener}, her {noun} {place} was {adjective} and {adjective}, and he {verb} it, {closer}.",
    "{opener}, we saw a {adjective} {noun} {place} and a {adjective} {noun}, {closer}.",
    "{opener}, our {person} {verb} the {noun} and {verb} the {adjective} {person}, {closer}.",
    "{opener}, {time} the {person} {verb} a {adjective} {noun} and its {noun}, {closer}.",
)


def sentence(valence: float, dominance: float, rng: np.random.Generator) -> str:
    """A sentence whose words are about as pleasant and as assertive as the two unit values say."""

    used: set[str] = set()

    def fill(slot: re.Match) -> str:
        while (words := drawn(slot[1])) in used:  # no "sunny and sunny"
            pass
        used.add(words)
        return words

    def drawn(name: str) -> str:
        if name in _NEUTRAL:
            return str(rng.choice(_NEUTRAL[name]))
        if name in _GRADED:
            return _graded(_GRADED[name], valence, VALENCE_BLUR, rng)
        phrases = OPENERS if name == "opener" else CLOSERS
        return _graded(phrases, dominance, DOMINANCE_BLUR, rng)

    text = re.sub(r"\{(\w+)\}", fill, str(rng.choice(_TEMPLATES)))
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def _graded(grades: tuple[tuple[str, ...], ...], value: float, blur: float, rng: np.random.Generator) -> str:
    """A word of a grade near `value`: a blurred value between two grades falls to either by its distance."""
    place = float(np.clip(value + blur * rng.standard_normal(), 0, 1)) * (len(grades) - 1)
    return str(rng.choice(grades[int(place + rng.random())]))
