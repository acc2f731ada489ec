"""Arousal, valence and dominance from the name of an emotion, for corpora without ratings: a proxy."""

from collections.abc import Sequence

from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Utterance


def with_proxies(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Not there yet."""
    raise InputError("--proxy-dimensions is not there yet")
