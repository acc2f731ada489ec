"""A small grammar whose sentences say how pleasant something is and how sure the speaker is of it.

Valence is carried by the adjectives, nouns and verbs, dominance by an opening and a closing phrase; both come
in five grades, index 0 for the value 0 and index 4 for the value 1. Words of opposite grades are chosen to
sound alike (adored, abhorred; paradise, parasite; cheered, jeered), so that the voice cannot give away what
the words mean. Nothing in a sentence depends on arousal.
"""

import re

import numpy as np

VALENCE_BLUR = 0.10  # standard deviation of each word around the planted value, in unit scale
DOMINANCE_BLUR = 0.08  # the same for each phrase

ADJECTIVES = (
    ("horrid", "dreadful", "atrocious", "ugly", "spiteful", "violent"),
    ("muddy", "bitter", "filthy", "nosy", "dreary", "tedious"),
    ("wooden", "local", "narrow", "usual", "yellow", "distant"),
    ("sunny", "clever", "healthy", "cosy", "friendly", "decent"),
    ("splendid", "wonderful", "glorious", "lovely", "delightful", "brilliant"),
)
NOUNS = (
    ("parasite", "debacle", "despair", "torment", "menace", "slaughter"),
    ("rift", "conflict", "discord", "failure", "distress", "fear"),
    ("letter", "table", "corner", "number", "paper", "window"),
    ("gift", "comfort", "reward", "favour", "success", "cheer"),
    ("paradise", "miracle", "delight", "triumph", "romance", "laughter"),
)
VERBS = (
    ("abhorred", "tarnished", "disgraced", "loathed", "despised"),
    ("blamed", "jeered", "slighted", "busted", "harmed"),
    ("counted", "described", "followed", "carried", "measured"),
    ("praised", "cheered", "liked", "trusted", "helped"),
    ("adored", "cherished", "embraced", "loved", "prized"),
)
OPENERS = (
    ("I could be wrong", "I am not sure at all", "It is only a guess", "I hardly dare to say"),
    ("I think", "Perhaps", "It seems to me", "Maybe"),
    ("That day", "By the way", "As it happened", "In the end"),
    ("I know", "Of course", "Believe me", "Certainly"),
    ("I command you to hear it", "Listen to me", "Make no mistake", "I insist"),
)
CLOSERS = (
    ("but who am I to say", "if you will allow it", "but do not ask me", "I never really know"),
    ("I suppose", "more or less", "or something like it", "I would guess"),
    ("so I heard", "as they said", "just like before", "as it was told"),
    ("I am sure", "no doubt", "you must see it", "as I promised"),
    ("and that is final", "so do as I say", "and I demand an answer", "no discussion"),
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
