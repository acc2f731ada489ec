"""Which utterances make up which batch: batches sized in seconds, of utterances of similar length.

The order depends on (seed, epoch) alone. A batch is cut for all processes together; each takes its share.
"""

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.errors import InputError

LEAST_SECONDS = 0.1  # that an utterance counts for, so that empty ones do not fill a batch without end
WINDOW = 50  # batches whose utterances are sorted by length together


class DurationBatches:
    """Batches of utterances of similar length, each at most `batch_seconds` long with its padding.

    Utterances are shuffled, sorted within a window of fifty batches, cut into batches, and the batches are
    shuffled: little padding, and still a different set of neighbours in every epoch. A batch is longer only
    where `smallest` utterances do not fit into one. Unless they hardly fit, `smallest` changes nothing.
    """

    def __init__(
        self,
        seconds: NDArray[np.float64],
        batch_seconds: float,
        seed: int = 0,
        shuffle: bool = True,
        smallest: int = 1,
    ) -> None:
        """`smallest` is the least number of utterances in a batch, for as many processes."""
        if not batch_seconds > 0:
            raise InputError(f"batch_seconds must be positive, received {batch_seconds}")
        if len(seconds) < smallest:
            raise InputError(
                f"{len(seconds)} utterances are too few: a batch needs at least {smallest}, "
                "one for each process"
            )
        self.seconds = np.maximum(np.asarray(seconds, dtype=np.float64), LEAST_SECONDS)
        self.batch_seconds = batch_seconds
        self.seed = seed
        self.shuffle = shuffle
        self.smallest = smallest

    def epoch(self, number: int) -> list[list[int]]:
        """The batches of one epoch, as positions."""
        if not self.shuffle:
            return self._cut(np.argsort(-self.seconds, kind="stable"))
        generator = np.random.default_rng((self.seed, number))
        order = generator.permutation(len(self.seconds))
        batches = []
        for window in np.array_split(order, self._windows()):
            batches += self._cut(window[np.argsort(-self.seconds[window], kind="stable")])
        return [batches[position] for position in generator.permutation(len(batches))]

    def padding(self, number: int = 0) -> float:
        """The share of an epoch's samples that is padding."""
        batches = self.epoch(number)
        padded = sum(self.seconds[batch].max() * len(batch) for batch in batches)
        return float(1 - self.seconds.sum() / padded) if padded else 0.0

    def _windows(self) -> int:
        """How many windows an epoch has; even the smallest holds some batches."""
        wanted = round(float(self.seconds.sum()) / (WINDOW * self.batch_seconds))
        return max(1, min(wanted, len(self.seconds) // (2 * self.smallest)))

    def _cut(self, order: NDArray[np.int64]) -> list[list[int]]:
        """Cut a run of utterances, longest first, into batches."""
        batches: list[list[int]] = [[]]
        for index in order.tolist():
            current = batches[-1]
            longest = self.seconds[current[0]] if current else self.seconds[index]
            is_full = longest * (len(current) + 1) > self.batch_seconds and len(current) >= self.smallest
            if current and is_full:
                batches.append([])
            batches[-1].append(index)
        if len(batches) > 1 and len(batches[-1]) < len(batches[-2]):
            # A rest of one or two utterances says little and cannot be spread over processes.
            both = batches.pop(-2) + batches.pop()
            half = (len(both) + 1) // 2
            is_enough = len(both) - half >= self.smallest
            batches += [both[:half], both[half:]] if is_enough else [both]
        return batches
