"""The acoustic set against openSMILE's eGeMAPS on synthetic voices, where openSMILE is installed.

openSMILE's slopes are per Hz and its alpha ratio is that of the high band over the low one.
"""

import numpy as np
import pytest

from multimodal_ser.analysis.acoustics import acoustic_set
from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.corpora.voice import Manner, make_speaker, speak

opensmile = pytest.importorskip("opensmile", reason="openSMILE is not installed: pip install opensmile")

TEXTS = ("I really think that this is going to be a wonderful morning.", "We should all go outside now.")
# Ours: the functional of eGeMAPSv02, what theirs is multiplied with, and the least correlation.
COUNTERPARTS = {
    "pitch": ("F0semitoneFrom27.5Hz_sma3nz_percentile50.0", 1, 0.95),
    "slope_low": ("slopeV0-500_sma3nz_amean", 1000, 0.9),
    "slope_high": ("slopeV500-1500_sma3nz_amean", 1000, 0.8),
    "alpha_ratio": ("alphaRatioV_sma3nz_amean", -1, 0.9),
    "hammarberg": ("hammarbergIndexV_sma3nz_amean", 1, 0.9),
}


@pytest.fixture(scope="module")
def both():
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
    ours, theirs = [], []
    for seed in range(14):
        speaker = make_speaker(np.random.default_rng(seed), ("male", "female")[seed % 2])
        manner = Manner((seed % 7) / 6, 0.5, 0.5)
        sound = speak(TEXTS[seed % 2], speaker, manner, np.random.default_rng(seed)).waveform
        ours.append(acoustic_set(sound))
        theirs.append(smile.process_signal(sound, SAMPLE_RATE).iloc[0])
    return ours, theirs


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_definitions_of_egemaps_are_followed(both, name):
    ours, theirs = both
    counterpart, factor, least = COUNTERPARTS[name]
    a = np.array([one[name] for one in ours])
    b = factor * np.array([one[counterpart] for one in theirs])
    assert np.corrcoef(a, b)[0, 1] > least
