"""What a set of utterances is, in counts alone: no speaker, no text and no file is named."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.utterances import Utterance

SECONDS_PER_HOUR = 3_600


def set_facts(utterances: Sequence[Utterance], seconds: Sequence[float] | None = None) -> dict[str, Any]:
    """How many utterances, labels, speakers and hours, and where transcripts and labels come from."""
    return {
        "utterances": len(utterances),
        "labelled": {d: sum(getattr(u, d) is not None for u in utterances) for d in DIMENSIONS},
        "hours": round(sum(seconds) / SECONDS_PER_HOUR, 4) if seconds and any(seconds) else None,
        "speakers": len({u.speaker for u in utterances} - {None}),
        "without_speaker": sum(u.speaker is None for u in utterances),
        "transcripts": dict(Counter(map(transcript_source, utterances)).most_common()),
        "labels": dict(Counter(u.label_source or "unknown" for u in utterances).most_common()),
    }


def transcript_source(utterance: Utterance) -> str:
    """Where the transcript of an utterance comes from, `none` without one."""
    return "none" if utterance.text is None else utterance.text_source or "unknown"


def has_audio(seconds: Sequence[float] | None) -> bool:
    """Whether every utterance has seconds of audio."""
    return seconds is not None and len(seconds) > 0 and min(seconds) > 0
