"""The recording that the benchmark of length makes: the same sound and words again and again."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scripts import RECIPES, load_script

from multimodal_ser.transcripts.reading import read_transcript

scaling = load_script(RECIPES / "benchmarks" / "scaling.py")


def test_a_repeated_episode_is_the_episode_again_in_sound_and_words(tmp_path: Path) -> None:
    episode = scaling.made(tmp_path, 0.5)
    seconds = scaling.repeated(episode, tmp_path / "long.flac", 3)
    once, rate = soundfile.read(episode.audio)
    sound, _ = soundfile.read(tmp_path / "long.flac")
    np.testing.assert_array_equal(sound, np.tile(once, 3))
    assert seconds == pytest.approx(len(sound) / rate, abs=1 / rate)
    said = read_transcript(episode.files["vtt"], episode.seconds).cues
    cues = read_transcript(tmp_path / "long.vtt", seconds).cues
    assert [cue.text for cue in cues] == [cue.text for cue in said] * 3
    later = [cue.start - first.start for cue, first in zip(cues[-len(said) :], said, strict=True)]
    assert later == pytest.approx([2 * episode.seconds] * len(said), abs=0.002)
