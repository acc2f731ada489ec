"""How many cores this process may use, and a core of its own for each of as many workers."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from multiprocessing.sharedctypes import Synchronized

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds in a period; "max" is no bound


def usable_cores() -> int:
    """Those of the machine, or what a scheduler or a container leaves of them."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return allowed


def places_for(count: int, context: "BaseContext") -> "Synchronized | None":
    """From which each of `count` workers takes its place; None if they are not as many as the cores.

    Of fewer the system chooses better where they run: another run may have begun with the same cores.
    """
    holds = sys.platform == "linux" and count == usable_cores() == len(os.sched_getaffinity(0))
    return context.Value("i", 0) if holds else None


_left: set[int] = set()  # the cores that this process had before it took its place


def take_place(places: "Synchronized | None") -> None:
    """Hold this thread, and those that it begins, to a core that no other worker has."""
    if places is None:
        return
    with places.get_lock():
        number, places.value = places.value, places.value + 1
    _left.update(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {sorted(_left)[number % len(_left)]})


def roam() -> None:
    """Let this thread run on all cores again: it helps where there is room, such as by decoding ahead."""
    if _left:
        os.sched_setaffinity(0, _left)
