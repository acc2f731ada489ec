"""What a list of utterances holds, in numbers: per split, labels, emotions, speakers, words.

Label means and spreads are in unit scale, 0..1; the spread is the population standard deviation. Hours are
None where the length of some audio is not known.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.utterances import Utterance

NO_SPLIT = "(none)"
TOTAL = "total"
_ORDER = ("train", "development", "test")
_NAMES_SHOWN = 20  # speakers named per pair of splits


def by_split(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """The utterances of each split: train, development, the test sets, and those without a split."""
    groups = defaultdict(list)
    for utterance in utterances:
        groups[utterance.split or NO_SPLIT].append(utterance)
    return {name: groups[name] for name in sorted(groups, key=split_order)}


def summarise(utterances: Sequence[Utterance], seconds: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Numbers of the whole and of each split, for JSON; `seconds` are the lengths of audio files."""
    seconds = seconds or {}
    groups = by_split(utterances)
    return {
        TOTAL: _of_group(utterances, seconds),
        "splits": {name: _of_group(group, seconds) for name, group in groups.items()},
        "speakers_in_several_splits": speakers_in_several_splits(utterances),
        "hours_per_speaker": hours_per_speaker(utterances, seconds),
    }


def duration(utterance: Utterance, seconds: Mapping[str, float]) -> float | None:
    """Seconds of speech in an utterance: 0 without audio, None if the end is nowhere said."""
    if utterance.audio is None:
        return 0.0
    end = utterance.end if utterance.end is not None else seconds.get(utterance.audio)
    return None if end is None else max(0.0, end - (utterance.start or 0.0))


def speakers_in_several_splits(utterances: Iterable[Utterance]) -> dict[str, Any]:
    """Pairs of splits that share speakers: how many, and who."""
    seen = defaultdict(set)
    for utterance in utterances:
        if utterance.speaker is not None and utterance.split is not None:
            seen[utterance.split].add(utterance.speaker)
    names = sorted(seen, key=split_order)
    shared = {}
    for position, one in enumerate(names):
        for other in names[position + 1 :]:
            if both := sorted(seen[one] & seen[other]):
                shared[f"{one} & {other}"] = {"count": len(both), "speakers": both[:_NAMES_SHOWN]}
    return shared


def hours_per_speaker(utterances: Iterable[Utterance], seconds: Mapping[str, float]) -> dict[str, float]:
    """Hours of each known speaker, most first; audio of unknown length counts as nothing."""
    hours: dict[str, float] = defaultdict(float)
    for utterance in utterances:
        if utterance.speaker is not None and utterance.audio is not None:
            hours[utterance.speaker] += (duration(utterance, seconds) or 0.0) / 3600
    return {name: round(hours[name], 4) for name in sorted(hours, key=lambda name: (-hours[name], name))}


def moments(values: Iterable[float | None]) -> dict[str, Any]:
    """Count, mean and population spread of those values that are not None."""
    present = np.array([value for value in values if value is not None], dtype=float)
    if present.size == 0:
        return {"n": 0, "mean": None, "spread": None}
    return {
        "n": int(present.size),
        "mean": round(float(present.mean()), 6),
        "spread": round(float(present.std()), 6),
    }


def counted(items: Iterable[str | None]) -> dict[str, int]:
    """How often each item occurs, most frequent first; None counts as "(none)"."""
    counts = Counter(NO_SPLIT if item is None else item for item in items)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _of_group(group: Sequence[Utterance], seconds: Mapping[str, float]) -> dict[str, Any]:
    durations = [duration(utterance, seconds) for utterance in group]
    hours = None if None in durations else round(math.fsum(durations) / 3600, 4)
    speakers = {utterance.speaker for utterance in group} - {None}
    return {
        "utterances": len(group),
        "hours": hours,
        "with_audio": sum(u.audio is not None for u in group),
        "speakers": len(speakers),
        "without_speaker": sum(u.speaker is None for u in group),
        "text": {
            "with_words": sum(bool(u.text and u.text.strip()) for u in group),
            "empty": sum(u.text is not None and not u.text.strip() for u in group),
            "missing": sum(u.text is None for u in group),
        },
        "labels": {name: moments(getattr(u, name) for u in group) for name in DIMENSIONS},
        "emotions": counted(u.emotion for u in group if u.emotion is not None),
        "label_sources": counted(u.label_source for u in group if u.label_source is not None),
    }


def split_order(name: str) -> tuple:
    """A sort key: train, development, test, then by name, and what has no split at the end."""
    known = _ORDER.index(name) if name in _ORDER else len(_ORDER)
    return (name == NO_SPLIT, known, name)
