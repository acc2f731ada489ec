"""Audio-textual speech emotion recognition: arousal, valence and dominance from voice and words.

`multimodal_ser.load()` gives a model that scores recordings from Python; see `multimodal_ser.scorer`.
"""

from typing import Any

from multimodal_ser.offline import forbid_if_asked

__version__ = "0.1.0"

forbid_if_asked()  # here, so that the processes that a run starts are bound too

_LAZY = {"load": "multimodal_ser.scorer", "Scorer": "multimodal_ser.scorer"}  # what takes seconds to import


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'multimodal_ser' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
