"""Transcripts that people have already: every usual format to timed cues with speakers and confidences.

`reading.py` finds and reads them; one module per family of formats, named in its `READERS`.
"""
