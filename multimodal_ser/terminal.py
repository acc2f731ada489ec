"""What a long run has to do with its terminal: wishes to stop it, and a progress bar."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

BAR_INTERVAL, LOG_INTERVAL = 1.0, 30.0  # seconds between two states of the bar on a screen and in a log file


@contextlib.contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Within, the first SIGINT or SIGTERM is noted, so that one can save first; a second one acts at once."""
    noted: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: Any) -> None:
        noted.append(number)
        signal.signal(number, before[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: signals are somebody else's
        pass
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def training_bar(total: int, done: int) -> Iterator[Callable[[float, NDArray[np.float64]], None]]:
    """A bar of steps; call it with the loss of each and the seconds of its utterances.

    It shows the loss, hours of audio per second and the share of padding.
    """
    bar = tqdm(
        total=total,
        initial=done,
        desc="train",
        unit="step",
        file=sys.stderr,
        mininterval=BAR_INTERVAL if sys.stderr.isatty() else LOG_INTERVAL,
        leave=False,
        disable=int(os.environ.get("LOCAL_RANK", "0")) > 0,
    )
    started, heard, padded = time.monotonic(), 0.0, 0.0

    def advance(loss: float, seconds: NDArray[np.float64]) -> None:
        nonlocal heard, padded
        heard += float(seconds.sum())
        padded += float(seconds.max()) * len(seconds)
        rate = heard / 3600 / max(time.monotonic() - started, 1e-9)
        bar.set_postfix_str(
            f"loss {loss:.3f}, {rate:.3g} h/s, padding {1 - heard / padded:.0%}", refresh=False
        )
        bar.update()

    with bar:
        yield advance
