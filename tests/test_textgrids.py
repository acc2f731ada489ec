"""Praat's grammar against files that Praat users published and against text written out by hand."""

from pathlib import Path

import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.text_files import read_text
from multimodal_ser.textgrids import INTERVALS, POINTS, Mark, Tier, is_textgrid, read_tiers

REAL = Path(__file__).parents[2] / "shared" / "data" / "longform" / "mfa_textgrid"
HEAD = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
SHORT = (
    HEAD
    + '0\n2.5\n<exists>\n2\n"IntervalTier"\n"Ann ""A"" B"\n0\n2.5\n2\n0\n1\n""\n1\n2.5\n"say ""no""\n! now"\n'
    + '"TextTier"\n"clicks"\n0\n2.5\n1\n1.25\n"tap"\n'
)
LONG = HEAD + (
    "xmin = 0 \nxmax = 2.5 \ntiers? <exists> \nsize = 2 \nitem []: \n"
    '    item [1]:\n        class = "IntervalTier" \n        name = "Ann ""A"" B" \n'
    "        xmin = 0 \n        xmax = 2.5 \n        intervals: size = 2 \n"
    '        intervals [1]:\n            xmin = 0 \n            xmax = 1 \n            text = "" \n'
    "        intervals [2]:\n            xmin = 1 \n            xmax = 2.5 \n            "
    'text = "say ""no""\n! now" \n'
    '    item [2]:\n        class = "TextTier" \n        name = "clicks" \n'
    "        xmin = 0 \n        xmax = 2.5 \n        points: size = 1 \n"
    '        points [1]:\n            number = 1.25 \n            mark = "tap" \n'
)


def tiers_of(text: str) -> list[tuple]:
    """Tiers without line numbers."""
    return [(t.kind, t.name, [(m.start, m.end, m.text) for m in t.marks]) for t in read_tiers(text)]


def test_long_and_short_form_say_the_same():
    expected = [
        (INTERVALS, 'Ann "A" B', [(0, 1, ""), (1, 2.5, 'say "no"\n! now')]),
        (POINTS, "clicks", [(1.25, 1.25, "tap")]),
    ]
    assert tiers_of(LONG) == tiers_of(SHORT) == expected


def test_a_mark_knows_the_line_of_its_start():
    (words, clicks) = read_tiers(LONG)
    numbers = {mark.line for tier in (words, clicks) for mark in tier.marks}
    assert [LONG.split("\n")[number - 1].strip() for number in sorted(numbers)] == [
        "xmin = 0",
        "xmin = 1",
        "number = 1.25",
    ]


def test_comments_and_missing_blanks_around_equals_signs_do_not_matter():
    compact = SHORT.replace("\n2\n0\n1\n", '\n2 ! two "intervals" of 3\nxmin=0\nxmax=1\n')
    assert tiers_of(compact) == tiers_of(SHORT)


def test_a_grid_without_tiers_is_empty():
    assert read_tiers(HEAD + "0\n2.5\n<absent>\n") == []


@pytest.mark.skipif(not REAL.is_dir(), reason="the published TextGrids are not on this machine")
def test_published_long_and_short_files_hold_the_same_utterances():
    long, short = (
        tiers_of(read_text(REAL / f"michaelandsickmichael{name}.TextGrid")[0]) for name in ("", "_short_tg")
    )
    assert [(kind, name, len(marks)) for kind, name, marks in long] == [
        (INTERVALS, "michael", 7),
        (INTERVALS, "sickmichael", 9),
    ]
    assert short == long


@pytest.mark.skipif(not REAL.is_dir(), reason="the published TextGrids are not on this machine")
def test_a_published_word_tier_begins_and_ends_as_its_file_does():
    words, phones = read_tiers(read_text(REAL / "acoustic_corpus.TextGrid")[0])
    assert (words.name, phones.name) == ("words", "phones")
    assert words.marks[:3] == (Mark(0, 1.05, "", 13), Mark(1.05, 1.2, "this", 16), Mark(1.2, 1.34, "is", 19))
    said = [mark.text for mark in words.marks if mark.text]
    transcript = read_text(REAL / "acoustic_corpus.lab")[0].split()
    assert (said[:20], said[-7:]) == (transcript[:20], transcript[-7:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file ends where the file type should be"),
        (SHORT[:90], "the file ends where the .* should be; it is cut off"),
        (HEAD.replace("TextGrid", "Sound"), "line 2: a Praat file, but not a TextGrid"),
        (SHORT.replace("IntervalTier", "PitchTier"), "line 8: 'PitchTier' is no class of tier"),
        (SHORT.replace('"tap"', "7"), r"line 26: expected a quoted string \(text\), found '7'"),
        (SHORT.replace("1.25", '"soon"'), r"line 25: expected a number \(time\), found .+soon"),
        (SHORT.replace("<exists>\n2", "<exists>\n1e99"), "line 7: 1e\\+99 cannot be the number of tiers"),
        (SHORT.replace("<exists>\n2", "<exists>\n-1"), "line 7: -1 cannot be the number of tiers"),
        (SHORT.replace("1.25", "1.2.5"), "expected a number"),
    ],
)
def test_damage_is_named_with_its_line(text, message):
    with pytest.raises(InputError, match=message):
        read_tiers(text)


def test_a_tier_of_marks_is_a_plain_value():
    assert read_tiers(SHORT)[1] == Tier(POINTS, "clicks", (Mark(1.25, 1.25, "tap", 25),))


def test_a_textgrid_is_known_by_its_head():
    assert is_textgrid(LONG)
    assert not is_textgrid('{"text": "TextGrid"}')
