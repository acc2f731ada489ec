"""What processes owe to the one that started them."""

import os
import threading
from multiprocessing import parent_process


def leave_with_parent() -> None:
    """End this worker when its parent ends: killed, it could not say so, and a model would stay in memory."""
    threading.Thread(target=_wait_and_leave, daemon=True).start()


def _wait_and_leave() -> None:
    parent_process().join()
    os._exit(1)
