"""Substitutions, deletions and insertions between two sequences of words (Levenshtein)."""

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def edit_rows(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[NDArray[np.int32]]:
    """For every beginning of `reference`, the fewest edits to each beginning of `hypothesis`; empty first."""
    codes = {word: number for number, word in enumerate({*reference, *hypothesis})}
    said = np.array([codes[word] for word in hypothesis], dtype=np.int64)
    steps = np.arange(len(said) + 1, dtype=np.int32)
    row = steps.copy()
    yield row
    for word in reference:
        below = row + 1  # the word deleted
        below[1:] = np.minimum(below[1:], row[:-1] + (said != codes[word]))
        # Insertions run along the row: cost[j] = min over i <= j of below[i] + j - i.
        row = np.minimum.accumulate(below - steps) + steps
        yield row


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """The fewest edits between two sequences of words."""
    (last,) = deque(edit_rows(reference, hypothesis), maxlen=1)
    return int(last[-1])
