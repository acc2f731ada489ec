"""The trust gate on what Whisper is known to write: inventions in silence, loops, other languages, music."""

import numpy as np
import pytest

from multimodal_ser.corpora.grammar import sentence
from multimodal_ser.transcripts.cues import Cue
from multimodal_ser.transcripts.trust import FLAGS, Trust, TrustConfig, compression_ratio, judge, word_count

ENGLISH = TrustConfig(languages=("en",))


def cue(text, seconds=6.0, logprob=None, no_speech=None, ratio=None) -> Cue:
    return Cue(
        10.0, 10.0 + seconds, text, avg_logprob=logprob, no_speech_prob=no_speech, compression_ratio=ratio
    )


# Composed in the manner of Whisper's JSON and of its known failures: text, seconds, avg_logprob,
# no_speech_prob, compression_ratio; then the share of speech that a detector found, the language, the flags.
RECORDED = {
    "silence, a stock phrase": (
        cue(" Thank you.", 29.98, -0.72, 0.83),
        0.0,
        "en",
        {"no_speech", "little_speech"},
    ),
    "silence, a surer stock phrase": (
        cue(" Thanks for watching!", 2.0, -0.45, 0.71),
        None,
        "en",
        {"no_speech"},
    ),
    "silence, credits": (
        cue("Subtitles by the Amara.org community", 2.0, -0.2, 0.3),
        None,
        "en",
        {"credits"},
    ),
    "silence, German credits": (
        cue("Untertitel im Auftrag des ZDF, 2017", 2.0, -0.3, 0.2),
        None,
        "de",
        {"credits"},
    ),
    "silence, Japanese credits": (
        cue("ご視聴ありがとうございました 字幕", 3.0, -0.3, 0.2),
        None,
        "ja",
        {"credits"},
    ),
    "a loop of one phrase": (
        cue(" I'm going to go." * 28, 29.0, -0.12, 0.02, 11.4),
        0.9,
        "en",
        {"repeated", "compressible"},
    ),
    "a loop of one word": (cue(" no" * 60, 29.0, -0.1, 0.02), 0.9, "en", {"repeated", "compressible"}),
    "a short loop": (
        cue("You know what? You know what? You know what? You know what?"),
        0.9,
        "en",
        {"repeated"},
    ),
    "a loop in Chinese": (cue("谢谢谢谢谢谢" * 30, 29.0, -0.1, 0.0), 0.9, "zh", {"compressible"}),
    "music, notes": (cue("♪♪♪", 8.0, -0.9, 0.4), 0.6, "en", {"empty"}),
    "music, a sound in brackets": (cue("[Music]", 8.0, -0.4, 0.6), 0.1, "en", {"empty"}),
    "music, sung syllables": (cue("la la la la la la la la la", 8.0, -0.8, 0.3), 0.8, "en", {"repeated"}),
    "music, guessed words": (
        cue("Oh the way you are my sign", 8.0, -1.31, 0.5),
        0.1,
        "en",
        {"improbable", "little_speech"},
    ),
    "another language, said so": (
        cue("Und dann war das so, wie man es in dem Moment eben nicht wissen kann.", 5.0, -0.3, 0.02),
        0.9,
        "de",
        {"language"},
    ),
    "another language, not said": (
        cue("Et puis on a fini par en parler avec elle, mais il ne voulait pas le dire.", 5.0),
        0.9,
        None,
        {"language"},
    ),
    "another language, forced to be English": (
        cue("Pero no me digas que no lo sabías, porque en la calle todos hablaban de eso.", 5.0, -1.4, 0.1),
        0.9,
        "en",
        {"improbable", "language"},
    ),
    "the words of half an hour in a second": (
        cue("so then we all went down to the old house by the river and stayed", 1.0),
        0.9,
        "en",
        {"too_fast"},
    ),
    "a word for half a minute of speech": (cue("Okay.", 28.0, -0.5, 0.1), 0.9, "en", {"too_slow"}),
    "nothing": (cue("  ", 3.0, -0.5, 0.1), 0.9, "en", {"empty"}),
}


@pytest.mark.parametrize(("said", "share", "language", "flags"), RECORDED.values(), ids=RECORDED.keys())
def test_what_recognisers_invent_is_flagged_for_the_right_reasons(said, share, language, flags):
    expected = () if language in ("de", "ja", "zh") and "language" not in flags else ("en",)
    verdict = judge(said, speech_share=share, language=language, config=TrustConfig(languages=expected))
    assert set(verdict.flags) == flags
    assert not verdict.trusted


GOOD = {
    "a sentence": (cue("I told him I would come back when the rain stopped.", 3.5, -0.25, 0.02, 1.1), 0.9),
    "agreement": (cue("Yes.", 0.5, -0.5, 0.05), 0.8),
    "surprise": (cue("No, no, no, no, no! I did not say that.", 3.0, -0.4, 0.05), 0.9),
    "a figure of speech": (cue("It went on and on and on, you know.", 3.0, -0.3, 0.02), 0.8),
    "fast talk": (
        cue("and that is why I think we should just go and get it done today", 2.3, -0.3, 0.02),
        1.0,
    ),
    "slow talk": (cue("I ... do not ... remember.", 7.5, -0.5, 0.1), 0.4),
    "quiet but sure": (cue("I do not want to talk about it.", 3.0, -0.2, 0.75), 0.7),
    "thanks": (cue("Thank you.", 0.8, -0.3, 0.1), 0.9),
    "from a file that says nothing more": (cue("Well, I was there, and she was not."), None),
}


@pytest.mark.parametrize(("said", "share"), GOOD.values(), ids=GOOD.keys())
def test_what_people_say_is_trusted(said, share):
    assert judge(said, speech_share=share, language="en", config=ENGLISH) == Trust(True, ())


def test_ordinary_sentences_are_trusted_also_many_minutes_of_them():
    rng = np.random.default_rng(0)
    sentences = [sentence(*rng.uniform(0, 1, 2), rng) for _ in range(400)]
    distrusted = [text for text in sentences if not judge(cue(text, 4.0), config=ENGLISH).trusted]
    assert distrusted == []
    whole = cue(" ".join(sentences), 1600.0)
    assert len(whole.text) > 20_000
    assert judge(whole, speech_share=0.8, language="en", config=ENGLISH).trusted


def test_forty_minutes_of_one_word_are_not_trusted():
    assert judge(cue("hello " * 2400, 2400.0), speech_share=0.5).flags == ("repeated", "compressible")


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("avg_logprob", -1.0, "improbable"),
        ("no_speech_prob", 0.6, "no_speech"),
        ("compression_ratio", 2.4, "compressible"),
    ],
)
def test_thresholds_of_whisper_are_met_exactly(field, value, flag):
    text = "I told him I would come back when the rain stopped."
    beyond = value + (-0.001 if field == "avg_logprob" else 0.001)
    assert judge(Cue(0, 4, text, **{field: value})).flags == ()
    assert judge(Cue(0, 4, text, **{field: beyond})).flags == (flag,)


@pytest.mark.parametrize(("times", "trusted"), [(3, True), (4, False)])
def test_a_phrase_may_come_three_times_in_a_row(times, trusted):
    assert judge(cue("she said " * times)).trusted is trusted


@pytest.mark.parametrize(("times", "trusted"), [(6, True), (7, False)])
def test_a_word_may_come_six_times_in_a_row(times, trusted):
    assert judge(cue("never " * times)).trusted is trusted


def test_compression_is_that_of_zlib_on_a_window_of_text_and_does_not_grow_with_length():
    import zlib

    rng = np.random.default_rng(1)
    text = " ".join(sentence(*rng.uniform(0, 1, 2), rng) for _ in range(300))
    assert len(text.encode()) / len(zlib.compress(text.encode())) > 2.4  # what Whisper would say
    assert compression_ratio(Cue(0, 900, text)) < 2.4
    short = "a short text, a short text, a short text"
    assert compression_ratio(Cue(0, 3, short)) == len(short) / len(zlib.compress(short.encode()))


def test_signs_of_scripts_without_blanks_count_as_part_of_a_word():
    assert word_count("我今天很高兴") == pytest.approx(3.6)
    assert word_count("don't stop") == 2


def test_every_flag_has_a_meaning_and_flags_come_in_the_order_of_the_list():
    order = list(FLAGS)
    verdict = judge(cue(" no" * 60, 1.0, -2.0, 0.9), speech_share=0.0, language="fr", config=ENGLISH)
    assert [order.index(flag) for flag in verdict.flags] == sorted(
        order.index(flag) for flag in verdict.flags
    )
    assert len(verdict.flags) >= 6
    assert set(FLAGS) >= {flag for _, _, _, flags in RECORDED.values() for flag in flags}
