"""Subgroups of a set, and its speakers one by one.

A subgroup has a narrower range of labels than the set, and CCC falls with that range: `label_spread` stands
beside every figure.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_ser import metrics
from multimodal_ser.evaluation.dimensions import summary
from multimodal_ser.evaluation.training_data import TrainingData
from multimodal_ser.evaluation.values import Values
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.set_facts import has_audio, transcript_source
from multimodal_ser.utterances import Utterance

SMALLEST_GROUP = 10  # labelled utterances below which a subgroup or a speaker has no figure
QUARTILES = (0.25, 0.5, 0.75)

Groups = dict[str, dict[str, NDArray[np.bool_]]]  # kind, value, who belongs to it (N,)


def subgroups(
    utterances: Sequence[Utterance],
    seconds: Sequence[float] | None = None,
    training: TrainingData | None = None,
) -> Groups:
    """Who belongs to which gender, length quartile, transcript source, and kind of speaker.

    Lengths are seconds of audio where every utterance has some, else words. A kind with one value only is
    left out: it would repeat the whole set.
    """
    kinds: dict[str, list[str | None]] = {
        "gender": [u.gender or "unknown" for u in utterances],
        "transcript": [transcript_source(u) for u in utterances],
    }
    if training is not None:
        kinds["speaker"] = [training.familiarity(u) for u in utterances]
    groups: Groups = {}
    for kind, values in kinds.items():
        if len(set(values)) > 1:
            groups[kind] = {v: np.array([w == v for w in values]) for v in sorted(set(values), key=str)}
    if has_audio(seconds):
        groups |= _quartiles("seconds", np.asarray(seconds, dtype=np.float64), 1)
    else:
        groups |= _quartiles("words", np.array([len((u.text or "").split()) for u in utterances]), 0)
    return groups


def group_figures(values: Values, groups: Groups, seed: int = 0) -> dict[str, dict[str, Any]]:
    """CCC with its interval, means, spreads and coverage of the fullest reading in every subgroup."""
    return {
        kind: {value: _figures(values.only(member), seed) for value, member in members.items()}
        for kind, members in groups.items()
    }


def speaker_rows(values: Values) -> tuple[list[str], list[list[Any]]]:
    """Columns and one row per known speaker: mean prediction and label, CCC and coverage per dimension."""
    columns = ["speaker", "gender", "utterances"]
    for name in DIMENSIONS:
        columns += [f"{what}{name}" for what in ("", "label_", "ccc_", "covered_")]
    rows = []
    for speaker in sorted({s for s in values.speakers if s is not None}):
        own = values.only(np.array([s == speaker for s in values.speakers]))
        row: list[Any] = [speaker, own.utterances[0].gender, len(own.utterances)]
        for d in range(len(DIMENSIONS)):
            is_labelled = own.is_labelled[d]
            said, labels = own.said[0, d, is_labelled], own.labels[d, is_labelled]
            is_enough = labels.size >= SMALLEST_GROUP
            row += [
                float(said.mean()) if labels.size else float("nan"),
                float(labels.mean()) if labels.size else float("nan"),
                metrics.ccc(said, labels) if is_enough else float("nan"),
                float(own.inside[d, is_labelled].mean()) if is_enough else float("nan"),
            ]
        rows.append(row)
    return columns, rows


def _quartiles(kind: str, lengths: NDArray[np.float64], decimals: int) -> Groups:
    """Four groups of about equal size, named by their limits; none if they cannot be told apart."""
    if len(lengths) < 4 * SMALLEST_GROUP:
        return {}
    edges = np.quantile(lengths, QUARTILES)
    if len({round(float(edge), decimals) for edge in edges}) < len(edges):
        return {}
    member = np.searchsorted(edges, lengths, side="left")
    low, middle, high = (f"{edge:.{decimals}f}" for edge in edges)
    names = (f"up to {low}", f"{low} to {middle}", f"{middle} to {high}", f"over {high}")
    return {kind: {name: member == quartile for quartile, name in enumerate(names)}}


def _figures(values: Values, seed: int) -> dict[str, Any]:
    speakers = {s for s in values.speakers if s is not None}
    found: dict[str, Any] = {"utterances": len(values.utterances), "speakers": len(speakers)}
    for d, name in enumerate(DIMENSIONS):
        is_labelled = values.is_labelled[d]
        count = int(is_labelled.sum())
        if count < SMALLEST_GROUP:
            found[name] = {"utterances": count}
            continue
        own = values.only(is_labelled)
        ccc = metrics.bootstrap(metrics.ccc_of, own.said[0, d], own.labels[d], own.speakers, seed)
        found[name] = {**summary(values, d), "ccc": asdict(ccc), "covered": float(own.inside[d].mean())}
    return found
