"""A small model rates everything, the full one only what the small one is unsure of or calls emotional.

Most of what is said in most podcasts is ordinary, and a small model tells that as well as a large one.
Whether a segment goes to the full model is decided from that segment alone, so a row does not depend on its
neighbours. Every result says which rows are drafts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.podcast.rating import Judged, Rater, Sound
from multimodal_ser.podcast.timeline import UNTRUSTED, Scored

GROUP = 32  # segments whose sound is held while they are drafted
MIDDLE = 0.5  # unit scale


@dataclass(frozen=True)
class Draft:
    """The small model, and when its word is not enough; unit scale."""

    model: Path
    emotional: float = 0.15  # distance from the middle of the scale, in any dimension, that is worth a look
    apart: float = 0.15  # mean distance between voice and words from which the draft is unsure

    def __post_init__(self) -> None:
        if not 0 <= self.emotional <= 0.5 or self.apart < 0:
            raise InputError(
                f"--draft-emotional {self.emotional:g} --draft-apart {self.apart:g}: distances on the unit "
                "scale, the first from 0 (the full model scores everything) to 0.5, the second 0 or more"
            )

    @property
    def rule(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if name != "model"}

    def is_enough(self, drafted: Scored) -> bool:
        """Whether the full model need not look: known, ordinary, of one mind, and with words that count."""
        values = [known.fused for known in drafted.dimensions.values()]
        if None in values or drafted.text_source == UNTRUSTED:
            return False
        is_ordinary = all(abs(value - MIDDLE) < self.emotional for value in values)
        return is_ordinary and (drafted.disagreement is None or drafted.disagreement < self.apart)


class Cascade:
    """Two raters as one."""

    def __init__(self, full: Rater, small: Rater, draft: Draft) -> None:
        self.full, self.small, self.draft = full, small, draft
        if small.predictor.name == full.predictor.name:
            raise InputError(f"--draft {draft.model}: the same model as --model; a draft saves nothing then")
        self.backend, self.threads = full.backend, full.threads

    @property
    def identity(self) -> dict[str, Any]:
        return {**self.full.identity, "draft": {**self.small.identity, **self.draft.rule}}

    @property
    def folders(self) -> list[Path]:
        return [*self.full.folders, *self.small.folders]

    @property
    def wants_sound(self) -> bool:
        return self.full.wants_sound or self.small.wants_sound

    def rated(self, judged: Sequence[Judged], sounds: Iterable[Sound | None]) -> Iterator[Scored]:
        """Each segment with its values, in order."""
        pairs = iter(zip(judged, sounds, strict=True))
        while group := list(islice(pairs, GROUP)):
            drafts = list(self.small.rated(*zip(*group, strict=True)))
            unsure = [n for n, drafted in enumerate(drafts) if not self.draft.is_enough(drafted)]
            looked_at = iter(())
            if unsure:
                looked_at = self.full.rated(*zip(*(group[n] for n in unsure), strict=True))
            found = dict(zip(unsure, looked_at, strict=True))
            yield from (
                found[n] if n in found else replace(drafted, is_draft=True)
                for n, drafted in enumerate(drafts)
            )

    def about(self) -> dict[str, Any]:
        return {**self.full.about(), "draft": {**self.small.about(), **self.draft.rule}}
