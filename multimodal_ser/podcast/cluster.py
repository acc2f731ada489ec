"""Episodes spread over a Ray cluster: `spread_by_ray`. It shares out the same jobs, and is no second scorer.

Ray Data gets the paths of an episode as a row, and gives back a row that says what became of it; sound and
values never pass through its memory. Each actor is a `Worker` that loads the models once, so that files are
the same bytes as those of `spreading.in_processes`, what is done is known by the same keys, and an episode
whose actor was killed is simply done again. Recordings, model and output must lie under the same paths on all
machines.

Without RAY_ADDRESS a cluster of this machine is begun and ended here: no dashboard, no usage statistics, no
port that another machine can reach.
"""

import contextlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multimodal_ser import __version__
from multimodal_ser.errors import InputError
from multimodal_ser.installation import explained_imports
from multimodal_ser.offline import forbid_if_asked, switches
from multimodal_ser.podcast.engine import MakeTranscriber
from multimodal_ser.podcast.jobs import Job, reason_of
from multimodal_ser.podcast.spreading import DIED
from multimodal_ser.podcast.working import Outcome, ScoreOptions, Worker

ADDRESS = "RAY_ADDRESS"
LOCAL = "local"  # what Ray calls a cluster that begins and ends with this process
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0 means 127.0.0.1 on Linux as well
MOST_BLOCKS = 10_000  # of rows; with more episodes some share a block, which is one task
RETRIES = 1  # of a block whose actor died, in each of two rounds
STORE_BYTES = 256 * 2**20  # of Ray's memory on this machine: rows are small


@dataclass(frozen=True)
class Actors:
    """How many workers there are, and what each of them uses."""

    count: int
    device: str

    @property
    def resources(self) -> dict[str, float]:
        return {"num_cpus": 1, "num_gpus": 1 if self.device == "cuda" else 0}


@contextlib.contextmanager
def connected(count: int | None, device: str) -> Iterator[Actors]:
    """A cluster for as long as the block lasts; by default an actor per core, or per GPU if there are any."""
    address = os.environ.get(ADDRESS) or LOCAL
    if address == LOCAL:  # read when Ray is imported, here and in its processes
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", LOOPBACK_ONLY: "0"}
    with explained_imports():
        import ray
        import ray.data
    was_there = ray.is_initialized()
    if not was_there:
        _connect(ray, address, count)
    try:
        has = ray.cluster_resources()
        if device == "auto":
            device = "cuda" if has.get("GPU", 0) >= 1 else "cpu"
        if device == "cuda" and has.get("GPU", 0) < 1:
            raise InputError("--device cuda: no machine of this Ray cluster has a GPU that Ray knows of")
        yield Actors(count or max(1, int(has.get("GPU" if device == "cuda" else "CPU", 1))), device)
    finally:
        if not was_there:
            ray.shutdown()


def spread_by_ray(
    jobs: Sequence[Job],
    options: ScoreOptions,
    worker: Worker,
    *,
    actors: Actors,
    make_transcriber: MakeTranscriber | None,
) -> Iterator[Outcome]:
    """What became of each job, as it ends; `worker` names the backend and scores nothing.

    make_transcriber: for the actors' device, which this machine may not have.
    """
    options = replace(
        options,
        model=_everywhere(options.model),
        output=options.output.absolute(),
        draft=options.draft and replace(options.draft, model=_everywhere(options.draft.model)),
        cache=None if options.cache is None else options.cache.absolute(),
        device=actors.device,
        make_transcriber=make_transcriber,
        backend=worker.engine.rater.backend.backend,
    )
    missing = dict(enumerate(jobs))
    for blocks in (MOST_BLOCKS, len(missing)):  # in the second round each by itself
        for row in _rows(missing, options, actors, blocks):
            if row["broken"]:
                raise InputError(_text(row["broken"]))
            job = missing.pop(row["number"])
            yield Outcome(job, _as_given(_text(row["error"]), job) or None, bool(row["was_there"]))
        if not missing:
            return
    for job in missing.values():
        yield Outcome(job, DIED)


class Scorer:
    """An actor: a worker with its models, or the reason why there is none."""

    def __init__(self, options: ScoreOptions, version: str) -> None:
        forbid_if_asked()
        self.worker, self.broken = None, ""
        try:
            if version != __version__:
                raise InputError(
                    f"multimodal_ser {__version__} is installed there and {version} where the run was started"
                )
            self.worker = Worker(options)
        except Exception as error:
            self.broken = f"the worker on {socket.gethostname()} cannot start: {reason_of(error)}"

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        said = {"number": row["number"], "error": b"", "was_there": False, "broken": _bytes(self.broken)}
        if self.worker is None:
            return said
        media, transcript, speakers = (os.fsdecode(row[name]) for name in ("media", "transcript", "speakers"))
        outcome = self.worker.do(
            Job(
                Path(media),
                os.fsdecode(row["name"]),
                Path(transcript) if transcript else None,
                Path(speakers) if speakers else None,
            )
        )
        return {**said, "error": _bytes(outcome.error or ""), "was_there": outcome.was_there}


def _rows(
    jobs: dict[int, Job], options: ScoreOptions, actors: Actors, blocks: int
) -> Iterator[dict[str, Any]]:
    """What the actors say, in the order in which they say it; nothing of what died with its actor."""
    import ray.data
    import ray.exceptions

    with _data_settings():
        rows = [_row(number, job) for number, job in jobs.items()]
        size = min(actors.count, len(rows))
        pool = ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1)
        blocked = ray.data.from_items(rows, override_num_blocks=min(len(rows), blocks))
        with warnings.catch_warnings():
            # There is no other way to limit retries, which goes with Ray 2.64: hence the bound in setup.cfg.
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            found = blocked.map(
                Scorer,
                fn_constructor_args=(options, __version__),
                compute=pool,
                max_task_retries=RETRIES,
                **actors.resources,
            )
        try:
            yield from found.iter_rows()
        except ray.exceptions.RayError as error:
            raise InputError(
                f"Ray gave up: {reason_of(error)[-300:]}; every machine of the cluster needs multimodal_ser "
                f"{__version__}"
            ) from error


def _everywhere(model: str | os.PathLike) -> str | Path:
    """A folder by its whole path; the name of a published model as it is."""
    return Path(model).absolute() if os.path.exists(model) else model


def _as_given(error: str, job: Job) -> str:
    """With paths as the user wrote them."""
    for path in filter(None, (job.media, job.transcript, job.speakers)):
        error = error.replace(os.fspath(path.absolute()), os.fspath(path))
    return error


def _row(number: int, job: Job) -> dict[str, Any]:
    """Bytes, since names of files need not be text."""
    files = {"media": job.media, "transcript": job.transcript, "speakers": job.speakers}
    paths = {name: b"" if path is None else os.fsencode(path.absolute()) for name, path in files.items()}
    return {"number": number, "name": os.fsencode(job.name), **paths}


@contextlib.contextmanager
def _data_settings() -> Iterator[None]:
    """Blocks that died are missed by us; bars and messages are ours."""
    from ray.data import DataContext

    context, logger = DataContext.get_current(), logging.getLogger("ray.data")
    before = context.max_errored_blocks, context.enable_progress_bars, logger.level
    context.max_errored_blocks, context.enable_progress_bars = -1, False
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        context.max_errored_blocks, context.enable_progress_bars = before[:2]
        logger.setLevel(before[2])


def _connect(ray: Any, address: str, count: int | None) -> None:
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "error"}
    if offline := switches():
        settings["runtime_env"] = {"env_vars": offline}
    if address == LOCAL:
        settings |= {"num_cpus": count, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster at {address} ({reason_of(error)}); {ADDRESS} names another, and without it one "
            "is begun on this machine"
        ) from error


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(said: bytes) -> str:
    return bytes(said).decode("utf-8", "surrogatepass")
