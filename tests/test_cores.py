"""Cores that may be used, and workers that hold to one each."""

import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from multimodal_ser import cores
from multimodal_ser.podcast.decoding import ahead

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says and sets where a thread runs")


@pytest.mark.parametrize(("said", "most"), [("150000 100000", 2), ("20000 100000", 1), ("max 100000", None)])
def test_a_container_may_leave_less_than_the_machine_has(tmp_path, monkeypatch, said, most) -> None:
    (tmp_path / "cpu.max").write_text(said)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert cores.usable_cores() == (most or 8)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "none")
    assert cores.usable_cores() == 8


def where(_: int) -> tuple[int, list[int], list[int]]:
    """A worker's process, its cores, and those of the thread that reads ahead for it."""
    threading.Event().wait(0.3)  # so that each worker gets something to do
    seen = ahead(sorted(os.sched_getaffinity(0)) for _ in range(1))
    return os.getpid(), sorted(os.sched_getaffinity(0)), next(seen)


@linux
def test_as_many_workers_as_cores_have_one_each_and_what_reads_ahead_for_them_has_all() -> None:
    mine = sorted(os.sched_getaffinity(0))
    count = min(2, len(mine))
    os.sched_setaffinity(0, mine[:count])
    try:
        places = cores.places_for(count, get_context("spawn"))
        with ProcessPoolExecutor(count, get_context("spawn"), cores.take_place, (places,)) as workers:
            found = list(workers.map(where, range(2 * count)))
    finally:
        os.sched_setaffinity(0, mine)
    held = {process: own for process, own, _ in found}
    assert sorted(held.values()) == [[core] for core in mine[:count]]
    assert all(ahead == mine[:count] for *_, ahead in found)


@linux
def test_fewer_workers_than_cores_and_a_process_that_is_no_worker_run_anywhere(monkeypatch) -> None:
    before = os.sched_getaffinity(0)
    cores.take_place(None)
    cores.roam()
    assert os.sched_getaffinity(0) == before
    assert cores.places_for(cores.usable_cores() + 1, get_context("spawn")) is None
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    assert cores.places_for(2, get_context("spawn")) is None
    assert cores.places_for(3, get_context("spawn")) is not None
