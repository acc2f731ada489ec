"""Proxies follow the published norms, say that they are proxies, and touch nothing that was rated."""

import pytest

from multimodal_ser.corpora import proxies
from multimodal_ser.labels import EMOTIONS
from multimodal_ser.utterances import Utterance, problems_of

# Pleasure, arousal, dominance as Russell and Mehrabian (1977) order them, on -1..1.
PUBLISHED = {
    "anger": (-0.51, 0.59, 0.25),
    "boredom": (-0.65, -0.62, -0.33),
    "disgust": (-0.60, 0.35, 0.11),
    "fear": (-0.64, 0.60, -0.43),
    "happiness": (0.81, 0.51, 0.46),
    "sadness": (-0.63, -0.27, -0.33),
    "surprise": (0.40, 0.67, -0.13),
}


def proxy_of(emotion: str | None, **values) -> Utterance:
    return proxies.with_proxies([Utterance("u", "c", text="t", emotion=emotion, **values)])[0]


@pytest.mark.parametrize("emotion", PUBLISHED)
def test_the_published_norms_become_unit_values_in_our_order(emotion: str) -> None:
    found = proxy_of(emotion, label_source="acted")
    pleasure, arousal, dominance = ((value + 1) / 2 for value in PUBLISHED[emotion])
    assert (found.arousal, found.valence, found.dominance) == pytest.approx(
        (arousal, pleasure, dominance), abs=1e-12
    )


def test_every_proxy_says_so_and_keeps_the_source_of_its_emotion() -> None:
    found = proxy_of("fear", label_source="acted", meta={"session": 1})
    assert found.label_source == "proxy"
    assert found.meta == {"session": 1, "emotion_source": "acted"}
    assert problems_of(found) == []


@pytest.mark.parametrize(
    ("emotion", "values"),
    [(None, {}), ("other", {}), ("no_agreement", {}), ("anger", {"valence": 0.3, "label_source": "rated"})],
)
def test_what_has_no_norm_or_was_rated_stays_as_it_is(emotion: str | None, values: dict) -> None:
    assert proxy_of(emotion, **values) == Utterance("u", "c", text="t", emotion=emotion, **values)


def test_every_class_but_the_two_without_a_meaning_has_a_norm() -> None:
    assert set(EMOTIONS) - set(proxies.NORMS) == {"other", "no_agreement"}


def test_the_signs_are_those_that_every_theory_of_emotion_agrees_on() -> None:
    values = {name: proxy_of(name) for name in proxies.NORMS}
    assert values["neutral"].arousal == values["neutral"].valence == values["neutral"].dominance == 0.5
    pleasant = {name for name, found in values.items() if found.valence > 0.5}
    assert pleasant == {"calm", "happiness", "excitement", "surprise"}
    calm = {name for name, found in values.items() if found.arousal < 0.5}
    assert calm == {"calm", "sadness", "boredom"}
    assert values["anger"].dominance > 0.5 > values["fear"].dominance, (
        "the third factor parts anger from fear"
    )
