"""Ways to do the same work, timed in turns in one process, so that a busy minute hits all of them."""

import statistics
import time
from collections.abc import Callable, Iterable

Ways = dict[str, Callable[[], object]]


def processor_seconds(ways: Ways, rounds: int) -> dict[str, list[float]]:
    """Of each way in each round; before them each runs once, for what is imported and allocated at first."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            way()
            spent[name].append(time.process_time() - started)
    return spent


def spread(name: str, ratios: Iterable[float]) -> dict[str, float]:
    """The median under `name`, and the least and the most."""
    ratios = list(ratios)
    return {
        name: round(statistics.median(ratios), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
    }
