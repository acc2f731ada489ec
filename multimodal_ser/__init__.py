"""Audio-textual speech emotion recognition: arousal, valence and dominance from voice and words."""

__version__ = "0.1.0"
