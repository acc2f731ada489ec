"""Every test process computes on one thread: the networks are tiny, and threads would only wait."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
