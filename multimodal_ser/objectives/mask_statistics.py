"""What a masking policy really hides, counted the same way for every policy.

`masked_share`: hidden frames over valid frames. `span_overlap`: the share of the spans' length that lies on
another span. `in_band`: the share of starts that lie where the policy wants them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.objectives.emotional_spans import hidden_frames


class Drawn(NamedTuple):
    """The spans of one utterance."""

    starts: NDArray[np.int64]
    span: int  # frames
    frames: int  # valid frames of the utterance
    in_band: NDArray[np.bool_]  # (starts,)

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """(frames,), True where a span lies."""
        return hidden_frames(self.starts, self.frames, self.span)


def measured(drawn: Sequence[Drawn], prefix: str = "") -> dict[str, float]:
    """The three numbers over some utterances."""
    hidden = sum(int(one.hidden.sum()) for one in drawn)
    frames = sum(one.frames for one in drawn)
    length = sum(int(np.minimum(one.span, one.frames - one.starts).sum()) for one in drawn)
    flags = np.concatenate([one.in_band for one in drawn]) if drawn else np.zeros(0)
    return {
        f"{prefix}masked_share": hidden / max(frames, 1),
        f"{prefix}span_overlap": 1 - hidden / length if length else 0.0,
        f"{prefix}in_band": float(flags.mean()) if flags.size else 0.0,
    }
