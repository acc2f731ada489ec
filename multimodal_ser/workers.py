"""How processes begin that share a work, and what they owe to the one that started them.

A process that begins anew imports torch, which is seconds of processor for each. On Linux they are forked
instead, from a server that has imported what they need and does nothing else: one import for all, whose
memory they share. The server computes nothing, so that it has no thread beside its own and a fork of it is
whole; the process that asks for workers has threads, and is not forked. On macOS the system's libraries do
not stand a fork, and Windows has none: there each begins anew, and so it does where the temporary folder's
name leaves no room for the server's address.
"""

import atexit
import contextlib
import gc
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext

from multimodal_ser.offline import forbid_if_asked

# The server's address is a file in the temporary folder, and such an address has 107 bytes at most.
_LONGEST_FOLDER = 107 - len("/pymp-12345678/listener-12345678")
# One thread each: a library that starts threads when it is imported would be forked without them.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def processes_with(module: str) -> BaseContext:
    """How workers start that need what `module` imports, whose import begins now and is not waited for.

    A process has one server, and the first module that is asked for is the one that it imports: workers for
    another are right too, but import for themselves.
    """
    if sys.platform != "linux" or len(os.fsencode(tempfile.gettempdir())) > _LONGEST_FOLDER:
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    _run_server()
    return context


def begin(environment: Mapping[str, str]) -> None:
    """The first that a worker does: take the parent's environment as it is now, and end when it ends."""
    if environment != os.environ:  # the server's was that of its own start
        os.environ.clear()
        os.environ.update(environment)
    forbid_if_asked()
    leave_with_parent()


def end_server(owner: int | None = None) -> None:
    """End the server of this process, if it has one; whoever asks for workers again gets a new one.

    It is waited for, so that its seconds of processor, and its workers', count as those of this process.
    """
    if sys.platform != "linux":
        return
    from multiprocessing import forkserver

    server = forkserver._forkserver  # multiprocessing has no public word for this
    if owner in (None, os.getpid()) and server._forkserver_pid is not None:
        with contextlib.suppress(OSError):  # it has ended already
            os.kill(server._forkserver_pid, signal.SIGTERM)  # it may still be importing
            server._stop()


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around the imports of a module for `processes_with`."""
    parent, handler = os.getppid(), signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(Exception):  # the parent imports it too, and says what is wrong
        yield
    signal.signal(signal.SIGINT, handler)
    gc.collect()
    gc.freeze()  # a collection would write to pages that are shared
    atexit.register(_tidy_up, parent)


def leave_with_parent() -> None:
    """End this worker when its parent ends: killed, it could not say so, and a model would stay in memory."""
    threading.Thread(target=_wait_and_leave, daemon=True).start()


def _wait_and_leave() -> None:
    parent_process().join()
    os._exit(1)


def _run_server() -> None:
    """Start the server with this process's own places of modules, unless it runs."""
    from multiprocessing import forkserver

    # Without them the current folder would come first, and a file torch.py there would be taken for torch.
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    wanted = {**_THREADS, "PYTHONSAFEPATH": "1", "PYTHONPATH": paths}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    atexit.unregister(end_server)
    atexit.register(end_server, os.getpid())


def _tidy_up(parent: int) -> None:
    """Take away what a parent that was killed left: the server's address, a file in a folder of its own."""
    from multiprocessing import forkserver

    if os.getppid() != parent:
        address = forkserver._forkserver._forkserver_address
        with contextlib.suppress(OSError, TypeError, ValueError):
            os.unlink(address)
            os.rmdir(os.path.dirname(address))
