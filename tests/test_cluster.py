"""Scoring by Ray: the same bytes as without it, whoever is killed."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from devtools import wait
from tiny_checkpoints import save_ser_model

from multimodal_ser import __version__
from multimodal_ser.cli import main
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.errors import InputError
from multimodal_ser.offline import VARIABLE, OfflineError
from multimodal_ser.podcast.cluster import Scorer, connected, spread_by_ray
from multimodal_ser.podcast.engine import EngineOptions
from multimodal_ser.podcast.jobs import jobs_of
from multimodal_ser.podcast.scoring import Run, score
from multimodal_ser.podcast.spreading import DIED
from multimodal_ser.podcast.timeline import read
from multimodal_ser.podcast.working import ScoreOptions
from multimodal_ser.transcripts.asr import AsrOptions, Heard
from multimodal_ser.transcripts.cues import Cue

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the extra [cluster])")
ACTOR = "ray::MapWorker"  # how Ray calls its processes


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, four episodes of which one is no sound, and what comes out without Ray."""
    folder = tmp_path_factory.mktemp("cluster")
    save_ser_model(folder / "tiny")
    for number, minutes in ((1, 0.9), (2, 0.6), (3, 0.5), (4, 0.5)):
        path = folder / "episodes" / f"talk{number}.wav"
        path.parent.mkdir(exist_ok=True)
        make_episode(path, minutes=minutes, seed=number, sample_rate=16_000, transcripts=("vtt", "rttm"))
    (folder / "episodes" / "broken.mp3").write_text("It was a dark and stormy night")
    assert main(command(folder, "local", "--jobs", "1")) == 3
    return folder


@pytest.fixture(autouse=True)
def short_paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray's sockets have long names."""
    folder = Path("/tmp") / f"ray{os.getpid()}"
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield
    shutil.rmtree(folder, ignore_errors=True)


def command(work: Path, output: str, *options: str) -> list[str]:
    media, model = str(work / "episodes"), str(work / "tiny")
    return ["score", media, "--model", model, "-o", str(work / output), "--speech", "energy", *options]


@pytest.fixture
def by_ray(work: Path) -> Iterator[Callable[[str], subprocess.Popen]]:
    """Starts runs with two actors; none outlives its test."""
    begun: list[subprocess.Popen] = []

    def begin(output: str) -> subprocess.Popen:
        arguments = command(work, output, "--engine", "ray", "--jobs", "2")
        begun.append(subprocess.Popen([sys.executable, "-m", "multimodal_ser", *arguments]))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.wait()


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def errors(folder: Path) -> list[dict[str, str]]:
    with (folder / "errors.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def below(ancestor: int, kind: str = "") -> list[int]:
    """Processes of this kind that descend from one of ours."""
    parents, names = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
            names[int(status.parent.name)] = (status.parent / "cmdline").read_bytes().decode()
        except OSError:  # it has ended
            continue
    found, known = [], {ancestor}
    while more := [p for p, parent in parents.items() if parent in known and p not in known]:
        known |= set(more)
        found += [process for process in more if names.get(process, "").startswith(kind)]
    return found


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    media, output = str(tmp_path / "talk.wav"), str(tmp_path / "out")
    assert main(["score", media, "--model", "model", "-o", output, "--engine", "ray"]) == 2
    assert "ray[data]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--backend", "auto"], "name a backend"), (["--live"], "leave out --engine ray")],
)
def test_what_needs_one_machine_is_refused(options: list[str], said: str, capsys) -> None:
    media = [] if "--live" in options else ["somewhere", "-o", "out"]
    assert main(["score", *media, "--model", "model", "--engine", "ray", *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("version", "said"), [("0.0.1", "and 0.0.1 where the run was started"), (__version__, "no such model")]
)
def test_an_actor_that_cannot_start_says_where_and_why(version: str, said: str, tmp_path: Path) -> None:
    scorer = Scorer(ScoreOptions(tmp_path / "nowhere", tmp_path / "out"), version)
    reason = scorer({"number": 0})["broken"].decode()
    assert reason.startswith(f"the worker on {socket.gethostname()} cannot start: ")
    assert said in reason


@needs_ray
@pytest.mark.slow
def test_two_actors_write_the_bytes_of_one_process_and_find_them_done(work: Path, by_ray, capfd) -> None:
    for kept in (0, 4):
        process = by_ray("ray")
        assert process.wait() == 3
        assert f"4 episodes scored ({kept} were there already), 1 failed" in capfd.readouterr().out
        assert written(work / "ray") == written(work / "local")
    (row,) = errors(work / "ray")
    assert row["episode"] == "broken"
    assert "is text, not sound" in row["reason"]


@needs_ray
@pytest.mark.slow
def test_an_actor_killed_while_it_works_does_not_show(work: Path, by_ray) -> None:
    process = by_ray("killed")
    first = work / "killed" / "talk1.emotion.json"  # the longest: while it is scored, both work
    actors: list[int] = []

    def both_are_there() -> bool:
        actors[:] = below(process.pid, ACTOR)
        return len(actors) == 2 or first.exists()

    wait(both_are_there, "two actors", 240)
    time.sleep(1.0)
    assert process.poll() is None
    os.kill(actors[0], signal.SIGKILL)
    assert process.wait() == 3
    assert written(work / "killed") == written(work / "local")


@needs_ray
@pytest.mark.slow
def test_a_killed_run_leaves_no_actor_and_goes_on(work: Path, by_ray) -> None:
    process = by_ray("resumed")
    wait(lambda: any((work / "resumed").glob("talk*.emotion.json")), "an episode", 240)
    theirs = below(process.pid, ACTOR)
    assert theirs
    process.kill()
    process.wait()
    done = len(list((work / "resumed").glob("talk*.emotion.json")))
    wait(lambda: not any(Path(f"/proc/{p}").exists() for p in theirs), "the end of its actors", 60)
    assert by_ray("resumed").wait() == 3
    assert done >= 1
    assert written(work / "resumed") == written(work / "local")


class Deadly:
    """A recogniser that ends its process, or says whether it could reach another machine."""

    name, identity = "deadly-1", "deadly:1"

    def __init__(self, threads: int | None = None, is_deadly: bool = True) -> None:
        self.options = AsrOptions(language="en")
        self.is_deadly = is_deadly

    def transcribe(self, windows: list[np.ndarray]) -> list[Heard]:
        if self.is_deadly:
            os._exit(9)
        try:
            socket.create_connection(("192.0.2.1", 9), timeout=0.1)
        except OfflineError:
            said = "the connection was refused here."
        except OSError:
            said = "the connection was tried."
        return [Heard((Cue(0.0, len(w) / 16_000, said, avg_logprob=-0.2),), "en") for w in windows]


@pytest.fixture
def run(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Scores the second and the third episode, the third without its transcript."""
    places = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]  # actors import this module
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    (work / "bare").mkdir(exist_ok=True)
    shutil.copy(work / "episodes" / "talk3.wav", work / "bare" / "talk3.wav")
    jobs = jobs_of([work / "episodes" / "talk2.wav", work / "bare" / "talk3.wav"])

    def scored(output: str, make: Callable) -> Run:
        options = ScoreOptions(
            work / "tiny", work / output, EngineOptions(detector="energy"), device="cpu", jobs=2
        )
        with connected(2, "auto") as actors:
            assert (actors.count, actors.device) == (2, "cpu")
            spread = partial(spread_by_ray, actors=actors, make_transcriber=make)
            return score(jobs, options, spread=spread)

    return scored


@needs_ray
@pytest.mark.slow
def test_an_episode_that_kills_every_actor_is_a_row_and_the_others_are_scored(work: Path, run) -> None:
    found = run("deadly", Deadly)
    assert [outcome.error for outcome in found.outcomes] == [None, DIED]
    (row,) = errors(work / "deadly")
    assert row["episode"] == "talk3"


@needs_ray
@pytest.mark.slow
def test_offline_holds_for_actors(work: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    run("offline", partial(Deadly, is_deadly=False)).raise_failures()
    # A long window is cut within its words.
    said = " ".join(s.text for s in read(work / "offline" / "talk3.emotion.json").segments)
    assert "refused" in said
    assert "tried" not in said


@needs_ray
@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="no machine of this Ray cluster has a GPU"), connected(1, "cuda"):
        pass
