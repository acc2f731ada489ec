"""The same model on the same voices with other transcripts: what the words are worth, and their errors.

`given` is what the manifest's `text` holds. A source such as `reference` or `asr:whisper-small` takes the
transcripts of that source (`asr` alone: the only one there is), on the utterances that have it. `empty` takes
all words away; `shuffled` gives every utterance the words of another one, so it shows how far a model follows
words that do not belong to the voice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multimodal_ser.data import Examples
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation.classes import class_figures
from multimodal_ser.evaluation.dimensions import reading_figures
from multimodal_ser.evaluation.values import Values
from multimodal_ser.labels import Scale, nearest
from multimodal_ser.utterances import Utterance

GIVEN, EMPTY, SHUFFLED, ALL, ASR = "given", "empty", "shuffled", "all", "asr"


@dataclass(frozen=True)
class Transcripts:
    """One transcript per utterance, and which utterances (N,) have one of this kind."""

    texts: list[str | None]
    present: NDArray[np.bool_]


def kinds_of(utterances: Sequence[Utterance], wanted: Sequence[str]) -> list[str]:
    """The kinds to measure, `given` first; `all` is every kind that makes a difference to this set."""
    sources = _sources(utterances)
    kinds = [GIVEN]
    for kind in wanted:
        if kind == ALL:
            has_words = any(u.text for u in utterances)
            others = [s for s in sources if any(_of_source(u, s) != u.text for u in utterances)]
            kinds += [*others, *((EMPTY, SHUFFLED) if has_words else ())]
        elif kind == ASR:
            kinds.append(_only_asr(sources))
        elif kind in (GIVEN, EMPTY, SHUFFLED, *sources):
            kinds.append(kind)
        else:
            known = [ALL, GIVEN, EMPTY, SHUFFLED, *sources]
            raise InputError(
                f"--transcripts '{kind}'{nearest(kind, known)}: no utterance of this set has a transcript "
                f"of that source; known: {', '.join(known)}"
            )
    return list(dict.fromkeys(kinds))


def transcripts(utterances: Sequence[Utterance], kind: str, seed: int = 0) -> Transcripts:
    """The transcripts of one kind."""
    texts = [u.text for u in utterances]
    everywhere = np.ones(len(texts), dtype=bool)
    if kind == EMPTY:
        return Transcripts([""] * len(texts), everywhere)
    if kind == SHUFFLED:
        # One after the other around a random circle: nobody keeps the own words.
        order = np.random.default_rng(seed).permutation([i for i, text in enumerate(texts) if text])
        for own, other in zip(order, np.roll(order, 1), strict=True):
            texts[own] = utterances[other].text
        return Transcripts(texts, everywhere)
    if kind == GIVEN:
        return Transcripts(texts, everywhere)
    found = [_of_source(u, kind) for u in utterances]
    return Transcripts(found, np.array([text is not None for text in found]))


def with_transcripts(examples: Examples, chosen: Transcripts) -> Examples:
    """The same voices with those transcripts."""
    changed = [replace(u, text=text) for u, text in zip(examples.utterances, chosen.texts, strict=True)]
    return examples.with_utterances(changed)


def kind_figures(
    given: pd.DataFrame,
    other: pd.DataFrame,
    chosen: Transcripts,
    kind: str,
    utterances: Sequence[Utterance],
    readings: Sequence[str],
    classes: Sequence[str],
    scale: Scale,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures with the given and with other transcripts, on the same utterances, and their differences."""
    first, second = (Values.of(table, utterances, readings, scale) for table in (given, other))
    found: dict[str, Any] = {"utterances": int(chosen.present.sum()), "readings": {}}
    for reading in [name for name in readings if name != "audio"]:
        row = readings.index(reading)
        both = replace(
            first, readings=(GIVEN, kind), said=np.stack([first.said[row], second.said[row]])
        ).only(chosen.present)
        found["readings"][reading] = reading_figures(both, seed)
    if classes:
        own = [u for u, is_present in zip(utterances, chosen.present, strict=True) if is_present]
        found["classes"] = {
            name: class_figures(table[chosen.present], own, classes, seed)
            for name, table in ((GIVEN, given), (kind, other))
        }
    return found


def _sources(utterances: Sequence[Utterance]) -> list[str]:
    found = {u.text_source for u in utterances if u.text is not None} - {None}
    for u in utterances:
        found |= (u.transcripts or {}).keys()
    return sorted(found)


def _of_source(utterance: Utterance, source: str) -> str | None:
    if (text := (utterance.transcripts or {}).get(source)) is not None:
        return text
    return utterance.text if utterance.text_source == source else None


def _only_asr(sources: Sequence[str]) -> str:
    found = [source for source in sources if source.split(":")[0] == ASR]
    if len(found) != 1:
        have = (
            f"has {', '.join(found)}: name one"
            if found
            else "has none; `multimodal-ser transcribe` makes one"
        )
        raise InputError(f"--transcripts asr means the only ASR transcript of the set, and this set {have}")
    return found[0]
