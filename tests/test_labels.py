"""Scales convert exactly; names are found under their usual spellings, and wrong ones get a suggestion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_ser.errors import InputError
from multimodal_ser.labels import (
    DIMENSIONS,
    EMOTION_ALIASES,
    EMOTIONS,
    FIVE_POINT,
    MSP_SCALE,
    UNIT,
    Scale,
    dimension_named,
    emotion_named,
    nearest,
)

SCALES = [MSP_SCALE, FIVE_POINT, UNIT, Scale(1, 9), Scale(-3, 3), Scale(-100, 100), Scale(0, 100)]


def test_dimensions_stand_in_their_one_order() -> None:
    assert DIMENSIONS == ("arousal", "valence", "dominance")


@pytest.mark.parametrize(
    ("scale", "value", "unit"),
    [
        (MSP_SCALE, 1, 0.0),
        (MSP_SCALE, 4, 0.5),
        (MSP_SCALE, 7, 1.0),
        (MSP_SCALE, 3.7, 0.45),
        (MSP_SCALE, 5.2, 0.7),
        (FIVE_POINT, 1.5, 0.125),
        (FIVE_POINT, 4.6, 0.9),
        (Scale(-3, 3), -1.5, 0.25),
        (Scale(-100, 100), 50, 0.75),
        (UNIT, 0.3, 0.3),
        (MSP_SCALE, 7.6, 1.1),
    ],
)
def test_the_unit_value_is_the_decimal_that_arithmetic_on_paper_gives(
    scale: Scale, value: float, unit: float
) -> None:
    assert scale.to_unit(value) == unit
    assert scale.from_unit(unit) == value


def test_every_mean_of_up_to_thirty_ratings_on_1_to_7_survives_as_it_was_printed() -> None:
    printed = {round(total / n, 6) for n in range(1, 31) for total in range(n, 7 * n + 1)}
    assert len(printed) > 1000
    assert all(MSP_SCALE.from_unit(MSP_SCALE.to_unit(value)) == value for value in printed)


@given(st.sampled_from(SCALES), st.decimals(0, 1, places=9))
def test_what_is_written_with_nine_decimals_survives_a_round_trip_both_ways(scale: Scale, share) -> None:
    unit = float(share)
    assert scale.to_unit(scale.from_unit(unit)) == pytest.approx(unit, abs=1e-14)
    value = float(round(scale.low + (scale.high - scale.low) * unit, 9))
    assert scale.from_unit(scale.to_unit(value)) == value


@given(st.lists(st.floats(-2, 9, allow_nan=False), min_size=1, max_size=20))
def test_arrays_convert_like_their_elements(values: list[float]) -> None:
    array = MSP_SCALE.to_unit(np.array(values))
    assert array.tolist() == pytest.approx([MSP_SCALE.to_unit(value) for value in values], abs=1e-14)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("1-7", 1, 7),
        (" 1 - 7 ", 1, 7),
        ("-1..1", -1, 1),
        ("-100:100", -100, 100),
        ("0-1.5", 0, 1.5),
        ("-3--1", -3, -1),
    ],
)
def test_a_scale_is_read_as_people_write_it(text: str, low: float, high: float) -> None:
    assert Scale.parse(text) == Scale(low, high)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_a_scale_reads_what_it_writes(scale: Scale) -> None:
    assert Scale.parse(str(scale)) == scale


@pytest.mark.parametrize("text", ["", "1", "one to seven", "1-", "1-7-9", "1e3-1e4"])
def test_what_is_no_scale_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"not a scale: .* for example 1-7"):
        Scale.parse(text)


@pytest.mark.parametrize(("low", "high"), [(7, 1), (1, 1), (0, float("inf")), (float("nan"), 1)])
def test_a_scale_must_run_upwards_between_finite_numbers(low: float, high: float) -> None:
    with pytest.raises(InputError, match="from a lower to a higher number; received"):
        Scale(low, high)


def test_usual_spellings_of_a_dimension_mean_it() -> None:
    spellings = ("Activation", "EmoAct", "act", "A", "arousal", " EmoVal ", "pleasure", "dom", "power", "D")
    assert [dimension_named(name) for name in spellings] == ["arousal"] * 5 + ["valence"] * 2 + [
        "dominance"
    ] * 3


def test_every_alias_of_an_emotion_leads_to_a_class() -> None:
    assert {emotion_named(alias) for alias in EMOTION_ALIASES} <= set(EMOTIONS)
    assert emotion_named("No agreement") == "no_agreement"
    assert emotion_named(" JOY ") == "happiness"


@pytest.mark.parametrize(
    ("function", "name", "message"),
    [
        (
            dimension_named,
            "valance",
            r"unknown dimension 'valance' \(did you mean 'valence'\?\); known: arousal",
        ),
        (
            emotion_named,
            "suprise",
            r"unknown emotion 'suprise' \(did you mean 'surprise'\?\); known: neutral",
        ),
        (emotion_named, "xyz", r"unknown emotion 'xyz'; known: neutral"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_known(
    function, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        function(name)


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert nearest("zzz", ["train", "development"]) == ""
    assert nearest("trian", ["train", "development"]) == " (did you mean 'train'?)"
