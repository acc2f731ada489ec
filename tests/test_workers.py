"""Processes that share a work: forked by a server of one thread, bound like their parent, never left over."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scripts import RECIPES

from multimodal_ser import workers
from multimodal_ser.corpora.episode import make_episode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers begin anew")

PARENT = """
import json, os, socket, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multimodal_ser.offline import forbid_connections
from multimodal_ser.podcast import PRELOADED
from multimodal_ser.workers import begin, processes_with

inherited = set()

def start(environment):
    inherited.update(set(sys.modules) & {"torch", "multimodal_ser.podcast.working"})
    begin(environment)

def facts():
    try:
        socket.getaddrinfo("example.invalid", 443)
        refused = ""
    except OSError as error:
        refused = type(error).__name__
    package = sys.modules["multimodal_ser"].__file__
    variables = [os.environ.get(name) for name in ("OMP_NUM_THREADS", "PYTHONPATH", "LATER")]
    return sorted(inherited), variables, refused, package, os.getpid(), os.getppid()

if __name__ == "__main__":
    context = processes_with(PRELOADED)
    forbid_connections()  # after the server began
    os.environ["LATER"] = "yes"
    with ProcessPoolExecutor(2, context, start, (dict(os.environ),)) as pool:
        found = pool.submit(facts).result()
        server = found[-1]
        threads = len(os.listdir(f"/proc/{server}/task"))
    print(json.dumps([*found, threads, os.environ.get("PYTHONPATH"), "torch" in sys.modules]))
"""


def test_a_worker_shares_the_imports_of_a_server_without_threads_and_obeys_what_its_parent_says_now(
    tmp_path: Path,
) -> None:
    (tmp_path / "parent.py").write_text(PARENT, encoding="utf-8")
    (tmp_path / "torch.py").write_text("raise SystemExit('the wrong torch')\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MULTIMODAL_SER")}
    environment |= {"OMP_NUM_THREADS": "3", "PYTHONPATH": str(RECIPES.parent)}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(
        [sys.executable, "-P", "parent.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    inherited, variables, refused, package, worker, server, threads, path, has_torch = json.loads(done.stdout)
    assert inherited == ["multimodal_ser.podcast.working", "torch"]
    assert not has_torch, "the parent need not import it for its workers to have it"
    assert threads == 1
    assert variables == ["3", str(RECIPES.parent), "yes"]
    assert path == str(RECIPES.parent), "what was set for the server is taken back"
    assert refused == "OfflineError"
    assert Path(package).is_relative_to(RECIPES.parent)
    assert not any(Path(f"/proc/{process}").exists() for process in (worker, server))


def session(leader: int) -> set[int]:
    """The processes of a session that are still there."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(number) == leader and state != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of eight minutes, which take seconds each."""
    folder = tmp_path_factory.mktemp("episodes")
    sound, rate = soundfile.read(make_episode(folder / "made.flac", minutes=1, seed=1).audio, dtype="int16")
    soundfile.write(folder / "first.flac", np.tile(sound, 8), rate)
    (folder / "made.flac").unlink()
    for name in ("second", "third"):
        os.link(folder / "first.flac", folder / f"{name}.flac")
    return folder


def begun(episodes: Path, output: Path, **more: Any) -> subprocess.Popen:
    """A run by two workers, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "multimodal_ser", "score", episodes, "-o", output, "--jobs", "2"],
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        text=True,
        **more,
    )


def until(process: subprocess.Popen, count: int) -> set[int]:
    """Wait for so many processes of its session; half a minute at most."""
    patience = time.monotonic() + 30
    while len(found := session(process.pid)) < count and time.monotonic() < patience:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("while_working", [False, True])
def test_a_run_that_is_ended_leaves_neither_processes_nor_files_of_its_own(
    episodes: Path, tmp_path: Path, number: signal.Signals, while_working: bool
) -> None:
    temporary = Path(tempfile.mkdtemp())  # a short name, without which there is no server
    process = begun(episodes, tmp_path / "out", env={**os.environ, "TMPDIR": str(temporary)})
    until(process, 5 if while_working else 3)  # with the server, and what multiprocessing starts beside it
    time.sleep(1.0)
    if number == signal.SIGINT:  # as a terminal does
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=15)
    # `python -m` ends by the signal if that came while a string was run, as for a dataclass when torch is
    # imported, whoever caught the exception: CPython's `run_eval_code_obj`. A shell says 130 of either.
    assert process.returncode in ({130, -number} if number == signal.SIGINT else {-number})
    assert ("interrupted" in said) is (number == signal.SIGINT)
    assert "Traceback" not in said
    ended = time.monotonic()
    while session(process.pid) and time.monotonic() < ended + 15:
        time.sleep(0.05)
    assert not session(process.pid)
    assert not list(temporary.iterdir())
    temporary.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["worker", "server"])
def test_a_run_outlives_a_worker_and_the_server(episodes: Path, tmp_path: Path, whose: str) -> None:
    process = begun(episodes, tmp_path / "out")
    found = until(process, 5)
    parents = {int(Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[1]): one for one in found}
    (server,) = {*parents} & (found - {process.pid})
    os.kill(server if whose == "server" else parents[server], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert len(list((tmp_path / "out").glob("*.emotion.json"))) == 3
    assert not session(process.pid)


def test_where_forking_is_not_safe_workers_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert workers.processes_with("multimodal_ser.nothing_of_the_kind").get_start_method() == "spawn"


def test_where_the_address_of_a_server_would_be_too_long_workers_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 25)))
    assert workers.processes_with("multimodal_ser.nothing_of_the_kind").get_start_method() == "spawn"
