"""Audio-textual speech emotion recognition: arousal, valence and dominance from voice and words."""

from multimodal_ser.offline import forbid_if_asked

__version__ = "0.1.0"

forbid_if_asked()  # here, so that the processes that a run starts are bound too
