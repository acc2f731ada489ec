"""Emotion-guided masks: share, spacing, bands, silence, short clips, ties; and the defects as released."""

import numpy as np
import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.objectives.emotional_spans import generator_for
from multimodal_ser.objectives.mask_statistics import Drawn, measured
from multimodal_ser.objectives.masking import BandConfig, Masks, draw, frame_levels

FRAMES = 249  # 5 s


def speech(number: int, frames: int = FRAMES, loudest: float = 2.7) -> np.ndarray:
    """Levels that come and go as those of syllables do, with pauses."""
    random = np.random.default_rng(number)
    smooth = np.convolve(random.standard_normal(frames + 8), np.ones(9) / 9, "valid")
    level = np.abs(smooth) + 0.02
    return level / level.max() * loudest


def drawn(levels: list[np.ndarray], policy: str = "emotion", **more: object) -> list[Masks]:
    randoms = [generator_for(str(number), 0) for number in range(len(levels))]
    return draw(levels, BandConfig(policy, **more), randoms)


LEVELS = [speech(number) for number in range(12)]


def test_five_seconds_have_19_small_and_3_large_spans() -> None:
    for masks in drawn(LEVELS):
        assert len(masks.small.starts) in (17, 18, 19)
        assert len(masks.large.starts) in (2, 3)
    assert np.median([len(masks.small.starts) for masks in drawn(LEVELS)]) == 19


@pytest.mark.parametrize("policy", ["emotion", "random"])
def test_starts_keep_their_distance_and_spans_fit(policy: str) -> None:
    for masks in drawn(LEVELS, policy):
        for one in masks:
            assert (np.diff(one.starts) > one.span).all()
            assert (one.starts + one.span <= FRAMES).all()
            assert one.hidden.sum() == len(one.starts) * one.span
    counted = measured([masks.small for masks in drawn(LEVELS, policy)])
    assert counted["span_overlap"] == 0
    assert 0.55 < counted["masked_share"] <= 0.64


def test_where_candidates_suffice_nine_of_ten_starts_lie_in_their_band_and_half_in_the_high_one() -> None:
    level = np.full(FRAMES, 0.3)
    level[::40] = 0.1  # some silence
    level[1:120] = 0.9
    level[100] = 1.0
    masks = drawn([level * 3] * 8, share=0.4)
    counted = measured([one.small for one in masks])
    assert counted["in_band"] >= 0.9
    loud = np.mean(np.concatenate([level[one.small.starts] >= 0.5 for one in masks]))
    assert 0.4 < loud < 0.6


def test_an_utterance_does_not_depend_on_its_batch_mates_but_as_released_it_does() -> None:
    for policy, same in (("emotion", True), ("random", True), ("as_released", False)):
        together = drawn(LEVELS, policy)[5]
        alone = draw([LEVELS[5]], BandConfig(policy), [generator_for("5", 0)])[0]
        assert np.array_equal(together.small.starts, alone.small.starts) is same


def test_released_thresholds_grow_so_that_later_utterances_are_masked_at_random() -> None:
    intended = [one.small.in_band.mean() for one in drawn(LEVELS)]
    released = [one.small.in_band.mean() for one in drawn(LEVELS, "as_released")]
    assert min(intended[2:]) > 0.5
    assert max(released[2:]) == 0  # nothing lies in a band, so that every start is random
    assert released[0] > 0
    assert measured([one.small for one in drawn(LEVELS, "as_released")])["span_overlap"] > 0.15


def test_level_alone_decides_so_that_gain_changes_nothing() -> None:
    loud = drawn([level * 30 for level in LEVELS])
    for one, other in zip(drawn(LEVELS), loud, strict=True):
        assert np.array_equal(one.small.starts, other.small.starts)


def test_silence_and_ties_are_masked_as_by_chance() -> None:
    silent = draw([np.zeros(FRAMES)] * 40, BandConfig(), [generator_for(str(k), 0) for k in range(40)])
    assert not any(one.small.in_band.any() for one in silent)
    places = np.concatenate([one.small.starts for one in silent])
    assert abs(places.mean() - (FRAMES - 8) / 2) < 8
    assert len({tuple(one.small.starts) for one in silent}) > 30
    even = draw([np.ones(FRAMES)] * 40, BandConfig(), [generator_for(str(k), 0) for k in range(40)])
    assert len({tuple(one.small.starts) for one in even}) > 30


@pytest.mark.parametrize("frames", [0, 1, 7, 8, 12, 13, 39, 41, 63])
def test_short_clips_hide_one_span_to_the_end_and_never_more_than_there_is(frames: int) -> None:
    level = speech(1, max(frames, 1))[:frames]
    for policy in ("emotion", "random", "as_released"):
        masks = drawn([level], policy)[0]
        assert len(masks.small.hidden) == frames
        assert (masks.small.starts < max(frames, 1)).all()
        if 0 < frames < 12:
            assert len(masks.small.starts) == 1
        if frames:
            assert masks.small.hidden.any()


def test_levels_are_those_of_the_frames_of_the_convolutions() -> None:
    wave = np.zeros(16_000)
    wave[3_200:3_600] = 0.5  # frame 10 alone covers all of it
    level = frame_levels(wave + 0.2, 49, 320)
    assert len(level) == 49
    assert level.argmax() == 10
    alone = frame_levels(np.tile([0.3, -0.3], 200), 1, 320)
    assert alone[0] == pytest.approx(0.3)


def test_statistics_by_hand() -> None:
    counted = measured([Drawn(np.array([0, 2, 8]), 4, 10, np.array([True, False, False]))])
    assert counted == {
        "masked_share": pytest.approx(0.8),
        "span_overlap": pytest.approx(1 - 8 / 10),
        "in_band": pytest.approx(1 / 3),
    }


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'emotion'"):
        BandConfig("emotional")
    with pytest.raises(InputError, match="band low"):
        BandConfig(low=(0.5, 0.2))
