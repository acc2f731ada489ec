"""The sound of an episode while it is decoded: counted, ahead of its use, and cut into segments."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_ser import audio
from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.cores import roam

AHEAD = 4  # blocks that are decoded before they are wanted
BLOCK_SECONDS = 20.0


class Counter:
    """How many seconds went through."""

    def __init__(self) -> None:
        self.samples = 0

    def passing(self, blocks: Iterable[NDArray]) -> Iterator[NDArray]:
        for block in blocks:
            self.samples += len(block)
            yield block

    @property
    def total(self) -> float:
        return self.samples / SAMPLE_RATE


def cuts(media: Path, times: Sequence[tuple[float, float]]) -> Iterator[NDArray]:
    """The sound of each stretch, in order of start, from one decode; held is what a stretch still wants."""
    blocks = ahead(audio.stream(media, BLOCK_SECONDS))
    held, first = np.zeros(0, np.float32), 0
    for start, end in times:
        begin, stop = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        if begin > first:
            drop = min(begin - first, len(held))
            held, first = held[drop:], first + drop
        while first + len(held) < stop and (block := next(blocks, None)) is not None:
            skip = max(0, min(begin - first, len(held) + len(block))) if not len(held) else 0
            held = np.concatenate([held, block])
            held, first = held[skip:], first + skip
        yield held[begin - first : stop - first].copy()


def ahead(blocks: Iterator[NDArray], most: int = AHEAD) -> Iterator[NDArray]:
    """The same blocks, read by another thread while the last ones are used; `most` wait, 0 = any number."""
    waiting: queue.Queue = queue.Queue(most)
    gone = threading.Event()

    def put(item: Any) -> bool:
        while not gone.is_set():
            try:
                waiting.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        roam()
        try:
            for block in blocks:
                if not put((block, None)):
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            block, error = waiting.get()
            if error is not None:
                raise error
            if block is None:
                return
            yield block
    finally:
        gone.set()
