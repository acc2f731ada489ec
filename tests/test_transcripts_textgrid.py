"""TextGrids as transcripts: published files, files of praatio, tiers chosen by what they hold."""

import wave
from pathlib import Path

import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Transcript
from multimodal_ser.transcripts.reading import read_transcript

REAL = Path(__file__).parents[2] / "shared" / "data" / "longform" / "mfa_textgrid"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the published TextGrids are not on this machine")
HEAD = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
# As praatio 6.2 saves one grid in its two formats.
PRAATIO_SHORT = HEAD + (
    '0\n4\n<exists>\n4\n"IntervalTier"\n"Alice - words"\n0\n4\n6\n0\n0.5\n""\n0.5\n1\n"say"\n1\n1.5\n"""no"""'
    '\n1.5\n2.5\n""\n2.5\n3\n"now"\n3\n4\n""\n"IntervalTier"\n"Bob - words"\n0\n4\n3\n0\n1.2\n""\n1.2\n'
    '1.4\n"hm"\n1.4\n4\n""\n"IntervalTier"\n"Alice - phones"\n0\n4\n3\n0\n0.5\n""\n0.5\n1\n"S"\n1\n4\n""\n'
    '"TextTier"\n"clicks"\n0\n4\n1\n1.25\n"tap"\n'
)


def grid(**tiers: list[tuple[float, float, str]]) -> str:
    """A short TextGrid of interval tiers."""
    lines = ["0", "100", "<exists>", str(len(tiers))]
    for name, marks in tiers.items():
        lines += ['"IntervalTier"', f'"{name}"', "0", "100", str(len(marks))]
        lines += [f'{start}\n{end}\n"{text}"' for start, end, text in marks]
    return HEAD + "\n".join(lines) + "\n"


def read(tmp_path: Path, text: str) -> Transcript:
    path = tmp_path / "a.TextGrid"
    path.write_text(text, encoding="utf-16")  # as Praat does where a text is not ASCII
    return read_transcript(path)


def said(transcript: Transcript) -> list[tuple]:
    return [(cue.start, cue.end, cue.speaker, cue.text) for cue in transcript.cues]


@needs_real
@pytest.mark.parametrize("name", ["michaelandsickmichael", "michaelandsickmichael_short_tg"])
def test_tiers_named_for_their_speakers_give_cues_in_order_of_time(name):
    with wave.open(str(REAL / "michaelandsickmichael.wav")) as sound:
        seconds = sound.getnframes() / sound.getframerate()
    found = read_transcript(REAL / f"{name}.TextGrid", media_seconds=seconds)
    assert found.problems == ()
    assert [(round(start, 2), round(end, 2), who, text[:20]) for start, end, who, text in said(found)][
        :4
    ] == [
        (1.06, 7.54, "michael", "this is the acoustic"),
        (8.02, 17.21, "michael", "um this is me talkin"),
        (18.36, 25.25, "michael", "and here's some more"),
        (26.72, 39.53, "sickmichael", "uh so this is the si"),
    ]


@needs_real
def test_words_of_an_aligner_are_joined_at_its_pauses():
    found = read_transcript(REAL / "acoustic_corpus.TextGrid")
    assert len(found.cues) == 5
    assert [len(cue.words) for cue in found.cues][:1] == [38]
    assert (found.cues[0].start, found.cues[0].end) == (1.05, 13.9)
    pauses = [after.start - before.end for before, after in zip(found.cues, found.cues[1:], strict=False)]
    assert min(pauses) >= 0.5
    words = [word for cue in found.cues for word in cue.words]
    assert " ".join(word.text for word in words[:6]) == "this is the acoustic corpus i'm"


def test_a_file_of_praatio_reads_back_with_a_speaker_for_each_word_tier(tmp_path):
    found = read(tmp_path, PRAATIO_SHORT)
    assert said(found) == [
        (0.5, 1.5, "Alice", 'say "no"'),
        (1.2, 1.4, "Bob", "hm"),
        (2.5, 3.0, "Alice", "now"),
    ]
    assert [str(problem) for problem in found.problems] == [
        "tier left out: 'Alice - phones': its name says that it holds no words",
        "tier left out: 'clicks': its marks are points",
        "line 39: two speakers at once, kept: 0.300 seconds",
    ]


@pytest.mark.parametrize("name", ["", "transcript", "Utterances", "tier 1", "sentences"])
def test_a_tier_named_for_what_it_holds_names_no_speaker(tmp_path, name):
    assert said(read(tmp_path, grid(**{name: [(1, 2, "Ça va")]}))) == [(1.0, 2.0, None, "Ça va")]


def test_tiers_of_numbers_and_labels_of_silence_are_no_words(tmp_path):
    found = read(
        tmp_path, grid(Ann=[(0, 1, "sil"), (1, 2, "Yes"), (2, 3, "<eps>")], loudness=[(0, 3, "0.25")])
    )
    assert said(found) == [(1.0, 2.0, "Ann", "Yes")]
    assert [str(problem) for problem in found.problems] == ["tier left out: 'loudness': it holds no letters"]


def test_word_tiers_come_before_others_and_that_is_reported(tmp_path):
    found = read(tmp_path, grid(words=[(1, 2, "yes")], translation=[(1, 2, "oui")]))
    assert said(found) == [(1.0, 2.0, None, "yes")]
    assert [str(problem) for problem in found.problems] == [
        "tier left out: 'translation': words are in 'words'"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (grid(phones=[(0, 1, "AH0")]), "no tier holds words; tiers found: 'phones'"),
        (HEAD + "0\n1\n<absent>\n", "no tier holds words; tiers found: none"),
        (grid(Ann=[(0, 1, "Hi")])[:-6], r"a\.TextGrid: the file ends where the text should be"),
    ],
)
def test_a_grid_without_words_or_cut_off_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
