"""Names before words: what is believed to be one and what is not."""

import pytest

from multimodal_ser.transcripts.speaker_names import parts_by_name


def parts(*cues: str) -> list[list[tuple[str | None, str]]]:
    return parts_by_name([cue.split("\n") for cue in cues])[0]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("ALICE: Hello there", "ALICE"),
        ("DR. O'NEILL: Hello there", "DR. O'NEILL"),
        ("Speaker 1: Hello there", "Speaker 1"),
        ("SPEAKER_00: Hello there", "SPEAKER_00"),
        ("[SPEAKER_00]: Hello there", "SPEAKER_00"),
        ("[SPEAKER_00] Hello there", "SPEAKER_00"),
        ("[Anna Maria]: Hello there", None),  # once, in small letters: might be anything
        ("Interviewer: Hello there", "Interviewer"),
        (">> ALICE: Hello there", "ALICE"),
        ("- ALICE: Hello there", "ALICE"),
        ("ÉLODIE: Hello there", "ÉLODIE"),
        ("Remember: never do that", None),
        ("NOTE: never do that", None),
        ("The thing is: it works", None),
        ("At 10:30 we left", None),
        ("http://example.org is down", None),
        ("Whatever It Takes Or More: a film", None),
        ("Travis: once only", None),
        ("[Music] Hello there", None),
        (": Hello", None),
    ],
)
def test_a_single_candidate_is_believed_only_if_it_cannot_be_much_else(line, name):
    assert parts("Some words before.", "more of them.", line)[2][0][0] == name


def test_a_name_that_comes_twice_is_believed_and_holds_until_the_next():
    said = parts("Travis: One", "two", "Sarah: three", "four", "Travis: five", "six", "Sarah: seven")
    assert [cue[0][0] for cue in said] == ["Travis", "Travis", "Sarah", "Sarah", "Travis", "Travis", "Sarah"]
    assert [cue[0][1] for cue in said] == ["One", "two", "three", "four", "five", "six", "seven"]


def test_in_a_dialogue_a_name_that_comes_once_is_believed_too():
    assert [cue[0] for cue in parts("Ann: Hi.", "Bob: Hi.", "Ann: Bye.")] == [
        ("Ann", "Hi."),
        ("Bob", "Hi."),
        ("Ann", "Bye."),
    ]


def test_capitals_prove_nothing_where_everything_is_in_capitals():
    assert parts("HE SAID THIS", "BUT LISTEN TO ME: NO", "YES")[1] == [(None, "BUT LISTEN TO ME: NO")]


def test_two_names_in_one_cue_are_two_parts():
    assert parts("ALICE: Hi Bob.\nBOB: Hi\nAlice.", "and more")[0:2] == [
        [("ALICE", "Hi Bob."), ("BOB", "Hi Alice.")],
        [("BOB", "and more")],
    ]


def test_a_change_of_speaker_without_a_name_ends_the_name_before():
    assert [cue[0] for cue in parts("ALICE: Hi.", "More.", ">> Who is that?", "Me.")] == [
        ("ALICE", "Hi."),
        ("ALICE", "More."),
        (None, "Who is that?"),
        (None, "Me."),
    ]


def test_dashes_separate_speakers_only_in_pairs():
    assert parts("- Hi.\n- Hello.", "- Alone.")[0:2] == [
        [(None, "Hi."), (None, "Hello.")],
        [(None, "Alone.")],
    ]


def test_a_doubtful_name_stays_in_the_text_and_is_reported():
    said, problems = parts_by_name([["One."], ["Travis: two."], ["Three."]])
    assert said[1] == [(None, "Travis: two.")]
    assert [(p.place, p.what, p.detail) for p in problems] == [
        ("1", "may be the name of a speaker, left in the text", "Travis")
    ]
