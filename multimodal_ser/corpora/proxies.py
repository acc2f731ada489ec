"""Arousal, valence and dominance from the name of an emotion, for corpora without ratings: a proxy.

The values are the mean ratings of emotion words by J. A. Russell and A. Mehrabian, "Evidence for a three-
factor theory of emotions", Journal of Research in Personality 11 (1977), 273-294: pleasure (here valence),
arousal and dominance of 151 terms on -1..1. They say how people understand a word. They do not say how a
clip sounds: every clip of a class gets the same three numbers, so a model trained on them has learnt
classes, not dimensions, and its scores are not to be compared with scores on ratings. Each such line says
`label_source: proxy` and keeps the source of the emotion in `meta.emotion_source`.

How far the values can be trusted: they were taken from copies of the table that agree with each other, not
from the printed page. Two terms deserve a note. For "frustrated" one copy has a dominance of +0.35, the
complete one -0.35, where the term also stands among those of low dominance; -0.35 is used. "Contempt" was
found in one copy only. Two classes have no term of their own: `calm` takes the value of "relaxed", and
`neutral` the middle of the scale, which is a definition and no measurement. `other` and `no_agreement` get
nothing.
"""

from collections.abc import Iterable
from dataclasses import replace

from multimodal_ser.labels import Scale
from multimodal_ser.utterances import Utterance

NORM_SCALE = Scale(-1, 1)

# Emotion: the rated term, and its arousal, valence and dominance on NORM_SCALE.
NORMS = {
    "neutral": ("", 0.0, 0.0, 0.0),
    "calm": ("relaxed", -0.46, 0.68, 0.06),
    "happiness": ("happy", 0.51, 0.81, 0.46),
    "excitement": ("excited", 0.75, 0.62, 0.38),
    "surprise": ("surprised", 0.67, 0.40, -0.13),
    "sadness": ("sad", -0.27, -0.63, -0.33),
    "boredom": ("bored", -0.62, -0.65, -0.33),
    "fear": ("fearful", 0.60, -0.64, -0.43),
    "anger": ("angry", 0.59, -0.51, 0.25),
    "frustration": ("frustrated", 0.52, -0.64, -0.35),
    "disgust": ("disgusted", 0.35, -0.60, 0.11),
    "contempt": ("contempt", 0.31, -0.23, 0.18),
}


def with_proxies(utterances: Iterable[Utterance]) -> list[Utterance]:
    """The utterances, those with an emotion but no dimension with the dimensions of the emotion's name."""
    return [_with_proxy(utterance) for utterance in utterances]


def _with_proxy(utterance: Utterance) -> Utterance:
    is_rated = any(value is not None for value in (utterance.arousal, utterance.valence, utterance.dominance))
    if is_rated or utterance.emotion not in NORMS:
        return utterance
    _, *values = NORMS[utterance.emotion]
    arousal, valence, dominance = (NORM_SCALE.to_unit(value) for value in values)
    return replace(
        utterance,
        arousal=arousal,
        valence=valence,
        dominance=dominance,
        label_source="proxy",
        meta={**(utterance.meta or {}), "emotion_source": utterance.label_source},
    )
