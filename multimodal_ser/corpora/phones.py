"""English letters to crude phones, and what each phone sounds like.

Formants are hertz for an adult male vocal tract (after the averages of Peterson and Barney, 1952, rounded),
durations seconds at an ordinary tempo, levels linear with an open vowel's voicing = 1. The spelling rules
are few and often wrong as English; what matters is that the same word always makes the same sounds and that
different words make different ones.
"""

import functools
import re
from dataclasses import dataclass

NEUTRAL_TRACT = (500.0, 1500.0, 2500.0)  # Hz: the first three resonances of an even tube of 17 cm


@dataclass(frozen=True)
class Stretch:
    """A piece of a phone over which the formants glide from `start` to `end` and the levels are constant."""

    seconds: float
    start: tuple[float, float, float]  # Hz
    end: tuple[float, float, float]  # Hz
    voicing: float = 0.0  # level of the glottal pulses
    breath: float = 0.0  # level of the noise made in the glottis, shaped by the formants
    hiss: float = 0.0  # level of the noise made at a constriction, shaped by the next two
    hiss_centre: float = 4000.0  # Hz
    hiss_width: float = 1500.0  # Hz, standard deviation
    is_burst: bool = False  # the release of a stop


_VOWELS = {
    "iy": (280, 2250, 2900), "ih": (400, 1950, 2550), "eh": (550, 1800, 2500), "ae": (690, 1660, 2450),
    "aa": (710, 1150, 2440), "ao": (590, 880, 2540), "uh": (450, 1050, 2300), "uw": (310, 900, 2250),
    "ah": (620, 1200, 2500), "er": (480, 1350, 1690), "ax": (500, 1450, 2500),
}  # fmt: skip
_DIPHTHONGS = {
    "ey": ("eh", "iy"), "ay": ("aa", "ih"), "aw": ("aa", "uh"), "ow": ("ao", "uw"), "oy": ("ao", "ih"),
}  # fmt: skip
_SONORANTS = {  # formants, voicing
    "m": ((250, 1000, 2250), 0.35), "n": ((250, 1550, 2550), 0.35), "ng": ((250, 1900, 2700), 0.35),
    "l": ((360, 1100, 2700), 0.6), "r": ((330, 1150, 1500), 0.6), "w": ((300, 680, 2200), 0.55),
    "y": ((270, 2200, 3000), 0.55),
}  # fmt: skip
_FRICATIVES = {  # formants, voicing, level, centre, width
    "s": ((320, 1750, 2600), 0.0, 0.50, 6300, 1300), "z": ((300, 1700, 2600), 0.3, 0.30, 6300, 1300),
    "sh": ((320, 1850, 2500), 0.0, 0.50, 3400, 1000), "zh": ((300, 1800, 2500), 0.3, 0.30, 3400, 1000),
    "f": ((320, 1000, 2300), 0.0, 0.18, 5200, 2600), "v": ((300, 1000, 2300), 0.35, 0.09, 5200, 2600),
    "th": ((320, 1450, 2550), 0.0, 0.16, 5900, 2200), "dh": ((300, 1450, 2550), 0.4, 0.06, 5900, 2200),
}  # fmt: skip
_STOPS = {  # locus, voicing in the closure, burst level, centre, width
    "p": ((320, 850, 2200), 0.0, 0.45, 1200, 900), "b": ((250, 850, 2200), 0.2, 0.30, 1200, 900),
    "t": ((320, 1750, 2650), 0.0, 0.60, 4600, 1300), "d": ((250, 1750, 2650), 0.2, 0.40, 4300, 1300),
    "k": ((320, 1950, 2350), 0.0, 0.55, 2300, 800), "g": ((250, 1950, 2350), 0.2, 0.38, 2200, 800),
}  # fmt: skip


def _sound_table() -> dict[str, tuple[Stretch, ...]]:
    table = {name: (Stretch(0.085, f, f, voicing=1.0),) for name, f in _VOWELS.items()}
    table["ax"] = (Stretch(0.055, _VOWELS["ax"], _VOWELS["ax"], voicing=0.8),)
    for name, (first, second) in _DIPHTHONGS.items():
        table[name] = (Stretch(0.12, _VOWELS[first], _VOWELS[second], voicing=1.0),)
    for name, (formants, voicing) in _SONORANTS.items():
        table[name] = (Stretch(0.06, formants, formants, voicing=voicing),)
    for name, (formants, voicing, level, centre, width) in _FRICATIVES.items():
        seconds = 0.065 if voicing else 0.09
        table[name] = (Stretch(seconds, formants, formants, voicing, 0.0, level, centre, width),)
    for name, (locus, voicing, level, centre, width) in _STOPS.items():
        closure = Stretch(0.05, locus, locus, voicing)
        burst = Stretch(0.012, locus, locus, 0.0, 0.0, level, centre, width, is_burst=True)
        breath = (Stretch(0.025, locus, locus, breath=0.25),) if not voicing else ()
        table[name] = (closure, burst, *breath)
    table["h"] = (Stretch(0.055, NEUTRAL_TRACT, NEUTRAL_TRACT, breath=0.4),)
    table["ch"] = (*table["t"][:2], Stretch(0.06, *(_FRICATIVES["sh"][0],) * 2, 0.0, 0.0, 0.5, 3400, 1000))
    table["j"] = (*table["d"][:2], Stretch(0.045, *(_FRICATIVES["zh"][0],) * 2, 0.3, 0.0, 0.3, 3400, 1000))
    return table


SOUNDS = _sound_table()
SYLLABIC = frozenset(_VOWELS) | frozenset(_DIPHTHONGS)

# Longest spelling first; "_e" stands for a vowel letter, one consonant letter and a silent e at the end.
_SPELLINGS = {
    "tion": "sh ax n", "sion": "zh ax n", "cious": "sh ax s", "ious": "iy ax s", "ture": "ch er",
    "igh": "ay", "eigh": "ey", "ough": "ao", "augh": "ao", "tch": "ch", "dge": "j", "ous": "ax s",
    "air": "eh r", "ear": "iy r", "eer": "iy r", "our": "aw r", "oor": "ao r", "th": "th", "sh": "sh",
    "ch": "ch", "ph": "f", "wh": "w", "ck": "k", "ng": "ng", "qu": "k w", "kn": "n", "wr": "r",
    "gh": "g", "ee": "iy", "ea": "iy", "oo": "uw", "ou": "aw", "ow": "ow", "oa": "ow", "oi": "oy",
    "oy": "oy", "ai": "ey", "ay": "ey", "au": "ao", "aw": "ao", "ew": "uw", "ie": "iy", "ei": "ey",
    "ue": "uw", "er": "er", "ir": "er", "ur": "er", "ar": "aa r", "or": "ao r", "ll": "l", "ss": "s",
    "tt": "t", "ff": "f", "pp": "p", "nn": "n", "mm": "m", "rr": "r", "dd": "d", "bb": "b", "gg": "g",
    "zz": "z", "cc": "k", "cer": "s er", "ce$": "s", "ced$": "s d", "ce": "s eh", "ci": "s ih",
    "cy": "s iy", "ge": "j", "le$": "ax l", "ed$": "d", "es$": "z", "e$": "", "y$": "iy", "^y": "y",
    "a": "ae", "b": "b", "c": "k", "d": "d", "e": "eh", "f": "f", "g": "g", "h": "h", "i": "ih",
    "j": "j", "k": "k", "l": "l", "m": "m", "n": "n", "o": "aa", "p": "p", "q": "k", "r": "r", "s": "s",
    "t": "t", "u": "ah", "v": "v", "w": "w", "x": "k s", "y": "ih", "z": "z",
}  # fmt: skip
_LONG = {"a": "ey", "e": "iy", "i": "ay", "o": "ow", "u": "uw", "y": "ay"}
_EXCEPTIONS = {
    "a": "ax", "the": "dh ax", "of": "ax v", "i": "ay", "my": "m ay", "was": "w ax z", "to": "t uw",
    "we": "w iy", "you": "y uw", "he": "h iy", "she": "sh iy", "me": "m iy", "be": "b iy",
    "this": "dh ih s", "that": "dh ae t", "their": "dh eh r", "there": "dh eh r", "with": "w ih dh",
    "is": "ih z", "his": "h ih z", "by": "b ay", "love": "l ah v", "one": "w ah n", "do": "d uw",
    "no": "n ow", "so": "s ow", "our": "aw er", "your": "y ao r", "some": "s ah m",
    "laughter": "l ae f t er", "healthy": "h eh l th iy", "maybe": "m ey b iy", "guess": "g eh s",
    "have": "h ae v", "were": "w er", "are": "aa r", "they": "dh ey",
}  # fmt: skip
_MAGIC_E = re.compile(r"([aeiouy])([bcdfgklmnpstvz])e(?=s?$|d$|ly$)")


@functools.cache
def phones_of(word: str) -> tuple[str, ...]:
    """The phones of one English word; anything but the letters a to z is silent."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    if letters in _EXCEPTIONS:
        return tuple(_EXCEPTIONS[letters].split())
    phones: list[str] = []
    position = 0
    while position < len(letters):
        if match := _MAGIC_E.match(letters, position):
            consonant = "s" if match[2] == "c" else "j" if match[2] == "g" else match[2]
            phones += [_LONG[match[1]], consonant]
            position = match.end()
            continue
        spelling = _longest_spelling(letters, position, has_vowel=any(p in SYLLABIC for p in phones))
        phones += _SPELLINGS[spelling].split()
        position += len(spelling.strip("^$"))
    return tuple(phones)


def _longest_spelling(letters: str, position: int, has_vowel: bool) -> str:
    """The longest entry that fits here; a final e, y, ed or es is only weak behind another vowel."""
    for length in (5, 4, 3, 2, 1):
        piece = letters[position : position + length]
        if len(piece) < length:
            continue
        if position == 0 and "^" + piece in _SPELLINGS:
            return "^" + piece
        if position + length == len(letters) and has_vowel and piece + "$" in _SPELLINGS:
            return piece + "$"
        if piece in _SPELLINGS:
            return piece
    raise AssertionError(f"no spelling rule for {letters[position:]!r}")
