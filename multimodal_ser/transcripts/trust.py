"""Whether the words of a segment can be trusted, so that a score can fall back to audio alone and say so.

Whisper invents text in silence and music, falls into loops, and writes something even where it understands
nothing. Each sign of that is a flag; one flag is enough to distrust a segment. What a transcript does not say
(an SRT file knows no probabilities) is not judged. Three thresholds are Whisper's own for decoding a window
again (`whisper/transcribe.py`: 2.4, -1.0, 0.6); the others follow from how people speak, and stand beside
their reason. None was tuned on recordings: they are to be checked on a user's own data.
"""

import re
import zlib
from dataclasses import dataclass

from multimodal_ser.transcripts.cues import Cue, has_words

# flag: what it means
FLAGS = {
    "empty": "no words",
    "repeated": "the same words again and again",
    "compressible": "text that compresses as only repetitive text does",
    "improbable": "a low mean log-probability: the recogniser guessed",
    "no_speech": "the recogniser itself found that nobody speaks",
    "little_speech": "words where the speech detector heard hardly any speech",
    "too_fast": "more words than anybody says in that time",
    "too_slow": "long speech and hardly a word: words are missing",
    "language": "not in an expected language",
    "credits": "a line of subtitle credits, which recognisers learnt from subtitles",
}
PIECE = 600  # characters: about what is said in one of Whisper's windows; longer text always compresses more
LONGEST_PHRASE = 12  # words of a repeated phrase
FEWEST_WORDS = 6  # from which a rate says something
FEWEST_WORDS_FOR_LANGUAGE = 12  # different ones
WORDS_PER_SIGN = 0.6  # of scripts without blanks: a Chinese word has about 1.6 signs
SIGNS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_CREDITS = re.compile(
    r"amara\.org|opensubtitles|(sub|cap)titl(es|ed|ing) by\b|transcri(bed|ption) by\b"
    r"|untertitel(ung)?\b.{0,40}\b(zdf|ard|swr|wdr|ndr|orf|srf)\b|sous-titr(es|age)\b.{0,40}\b(par|st)\b"
    r"|subtítulos\b.{0,40}\bpor\b|sottotitoli\b.{0,40}\ba cura\b|字幕",
    re.IGNORECASE,
)
# A third of all spoken English words; frequent words that German, Dutch, French, Spanish, Italian, Portuguese
# or a Scandinavian language spells alike ("is", "was", "for", "of", "we") are left out.
_FREQUENT = """
    the and that it you to are were they this with but can would could should there their about just know like
    think yeah because which who when how if my your our his she from up out get got going really then than
    them don't it's i'm that's what i by been some into over only other after before
"""
_ENGLISH = frozenset(_FREQUENT.split())


@dataclass(frozen=True)
class Trust:
    """The verdict on one segment; `flags` are keys of FLAGS."""

    trusted: bool
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrustConfig:
    """Thresholds; what lies beyond one is flagged."""

    most_compression: float = 2.4  # bytes of text per compressed byte, of any 600 characters; Whisper's
    least_log_probability: float = -1.0  # mean per token; Whisper's
    most_no_speech: float = 0.6  # Whisper's
    # Whisper believes text in spite of "no speech" from a log-probability of -1; its stock phrases in silence
    # are surer than that, so here the text must be clearly surer.
    sure_log_probability: float = -0.4
    most_repeats_of_word: int = 6  # people do say "no, no, no, no, no"
    most_repeats_of_phrase: int = 3  # of two words or more, one directly after the other
    least_speech_share: float = 0.2  # of the segment; between sentences people pause, but not for so long
    most_words_per_second: float = 7.0  # fast talkers sustain 5 to 6
    least_words_per_second: float = 0.5  # of speech; slow talkers say 1.5
    slow_after: float = 6.0  # seconds of speech from which the slow end is judged
    languages: tuple[str, ...] = ()  # expected, such as ("en",); () = any
    least_english: float = 0.08  # of frequent English words, where only English is expected; usual is 0.33


def judge(
    cue: Cue,
    *,
    speech_share: float | None = None,
    language: str | None = None,
    config: TrustConfig | None = None,
) -> Trust:
    """The verdict on a cue.

    speech_share: of its time, by a speech detector (`speech.speech_share`). language: a code such as "en", as
    the recogniser or the transcript says.
    """
    config = config or TrustConfig()
    words = [word.lower() for word in WORD.findall(cue.text)]
    if not words or not has_words(cue.text):
        return Trust(False, ("empty",))
    held = {
        "repeated": is_repeated(words, config),
        "compressible": compression_ratio(cue) > config.most_compression,
        "improbable": _below(cue.avg_logprob, config.least_log_probability),
        "no_speech": _above(cue.no_speech_prob, config.most_no_speech)
        and not _above(cue.avg_logprob, config.sure_log_probability),
        "little_speech": _below(speech_share, config.least_speech_share),
        **_rates(cue, speech_share, config),
        "language": not _is_expected(words, language, config),
        "credits": _CREDITS.search(cue.text) is not None,
    }
    flags = tuple(name for name in FLAGS if held.get(name, False))
    return Trust(not flags, flags)


def is_repeated(words: list[str], config: TrustConfig) -> bool:
    """Whether a word or phrase comes directly after itself more often than people say it."""
    for length in range(1, min(LONGEST_PHRASE, len(words) // 2) + 1):
        most = config.most_repeats_of_word if length == 1 else config.most_repeats_of_phrase
        same = 0  # words that equal the one a phrase before, in a row
        for position in range(length, len(words)):
            same = same + 1 if words[position] == words[position - length] else 0
            if same // length + 1 > most:
                return True
    return False


def compression_ratio(cue: Cue) -> float:
    """The highest ratio of any piece of the text, or what the recogniser said if that is higher."""
    text = cue.text.strip()
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    ratios = [len(data) / len(zlib.compress(data)) for piece in pieces if (data := piece.encode())]
    return max([*ratios, cue.compression_ratio or 0.0], default=0.0)


def word_count(text: str) -> float:
    """Words, where scripts without blanks count signs."""
    signs = len(SIGNS.findall(text))
    return len(WORD.findall(SIGNS.sub(" ", text))) + WORDS_PER_SIGN * signs


def _rates(cue: Cue, speech_share: float | None, config: TrustConfig) -> dict[str, bool]:
    """Too many words for the time of the cue, too few for the speech in it."""
    if cue.start is None or cue.end is None or cue.end <= cue.start:
        return {}
    count, seconds = word_count(cue.text), cue.end - cue.start
    spoken = seconds * (speech_share or 0.0)
    return {
        "too_fast": count >= FEWEST_WORDS and count / seconds > config.most_words_per_second,
        "too_slow": spoken >= config.slow_after and count / spoken < config.least_words_per_second,
    }


def _is_expected(words: list[str], language: str | None, config: TrustConfig) -> bool:
    """By what the recogniser says; where English alone is expected also by the words themselves.

    A recogniser that was told to write English, and a transcript that does not say its language, would pass
    otherwise.
    """
    if not config.languages:
        return True
    if language is not None and language.lower().partition("-")[0] not in config.languages:
        return False
    if config.languages != ("en",) or len(set(words)) < FEWEST_WORDS_FOR_LANGUAGE:
        return True
    frequent = sum(word.replace("’", "'") in _ENGLISH for word in words)
    return frequent / len(words) >= config.least_english


def _below(value: float | None, bound: float) -> bool:
    return value is not None and value < bound


def _above(value: float | None, bound: float) -> bool:
    return value is not None and value > bound
