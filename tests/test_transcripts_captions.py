"""SubRip and WebVTT: published examples, files as named writers leave them, and text written out by hand."""

from pathlib import Path

import pytest
from whisper.utils import get_writer

from multimodal_ser.corpora.episode_files import Event, srt, vtt
from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Cue, Problem, Transcript
from multimodal_ser.transcripts.reading import read_transcript

REAL = Path(__file__).parents[2] / "shared" / "data" / "longform" / "podcast_transcript_examples"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the published examples are not on this machine")
WHISPER = {
    "language": "en",
    "text": " Hello there. Bye.",
    "segments": [
        {
            "start": 0.0,
            "end": 2.5,
            "text": " Hello --> there.",
            "words": [
                {"word": " Hello", "start": 0.0, "end": 1.0, "probability": 0.5},
                {"word": " there.", "start": 1.2, "end": 2.5, "probability": 1.0},
            ],
        },
        {
            "start": 3661.04,
            "end": 3662.0,
            "text": " Bye.",
            "words": [{"word": " Bye.", "start": 3661.04, "end": 3662.0, "probability": 0.25}],
        },
    ],
}


def read(tmp_path: Path, text: str, name: str = "a.srt") -> Transcript:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return read_transcript(path)


def said(transcript: Transcript) -> list[tuple]:
    return [(cue.start, cue.end, cue.speaker, cue.text) for cue in transcript.cues]


def whats(transcript: Transcript) -> list[tuple[str, str]]:
    return [(problem.place, problem.what) for problem in transcript.problems]


@needs_real
def test_the_published_srt_has_all_its_cues_and_its_three_speakers():
    found = read_transcript(REAL / "example.srt")
    assert (found.source, len(found.cues), found.problems) == ("srt", 222, ())
    assert found.speakers == ["Travis", "Sarah", "Gilon"]
    first = "When you first get started in podcasting, it's"
    assert found.cues[0] == Cue(0.179, 2.399, first, "Travis", place="line 2")
    assert said(found)[-1] == (752.671, 754.769, "Travis", "best thing to do is to batch your episodes.")


@needs_real
def test_the_published_vtt_reads_as_it_is_printed():
    found = read_transcript(REAL / "example.vtt")
    assert (found.source, found.problems, found.speakers) == ("vtt", (), ["Sarah", "Gillian"])
    assert said(found)[2] == (
        6.09,
        11.61,
        "Sarah",
        "include in one? Welcome to Podcasting Q&A, where you learn",
    )
    assert said(found)[-1] == (
        21.45,
        25.35,
        "Gillian",
        "careers podcast. My question is, do we need a podcast trailer?",
    )


def test_a_file_of_the_srt_package_reads_back(tmp_path):
    composed = (
        "1\n00:00:00,500 --> 00:00:02,250\nALICE: Bonjour à tous,\nit's <i>fine</i>.\n\n"
        "2\n01:00:01,000 --> 01:00:03,999 X1:40 X2:600\nBOB: R&D – yes.\n\n"
    )
    assert said(read(tmp_path, composed)) == [
        (0.5, 2.25, "ALICE", "Bonjour à tous, it's fine."),
        (3601.0, 3603.999, "BOB", "R&D – yes."),
    ]


def test_a_file_of_webvtt_py_reads_back(tmp_path):
    written = (
        "WEBVTT\n\nintro\n00:00:00.500 --> 00:00:02.250\n<v Alice>Bonjour à tous,</v>\n"
        "<v Alice>it's <i>fine</i>.</v>\n\n01:00:01.000 --> 01:00:03.999\n<v Bob>R&amp;D – yes.</v>\n"
    )
    assert said(read(tmp_path, written, "a.vtt")) == [
        (0.5, 2.25, "Alice", "Bonjour à tous, it's fine."),
        (3601.0, 3603.999, "Bob", "R&D – yes."),
    ]


@pytest.mark.parametrize("kind", ["srt", "vtt"])
@pytest.mark.parametrize("highlight", [False, True])
def test_files_of_whisper_read_back_and_highlighted_words_count_once(tmp_path, kind, highlight):
    get_writer(kind, str(tmp_path))(WHISPER, "episode.mp3", {"highlight_words": highlight})
    found = read_transcript(tmp_path / f"episode.{kind}")
    assert said(found) == [(0.0, 2.5, None, "Hello there."), (3661.04, 3662.0, None, "Bye.")]
    assert [problem.what for problem in found.problems] == (
        ["cues with the same words, written again to highlight each, were joined"] if highlight else []
    )


def test_files_of_whisper_without_word_times_read_back(tmp_path):
    plain = {**WHISPER, "segments": [{**s, "words": []} for s in WHISPER["segments"]]}
    for segment in plain["segments"]:
        del segment["words"]
    get_writer("vtt", str(tmp_path))(plain, "episode.mp3")
    assert said(read_transcript(tmp_path / "episode.vtt"))[0] == (0.0, 2.5, None, "Hello -> there.")


def test_bracketed_labels_of_whisperx_are_speakers(tmp_path):
    highlighted = (
        "WEBVTT\n\n00:00.500 --> 00:00.900\n[SPEAKER_00]: <u>Hello</u> there, Bob.\n\n"
        "00:00.900 --> 00:01.000\n[SPEAKER_00]: Hello there, Bob.\n\n"
        "00:01.000 --> 00:01.300\n[SPEAKER_00]: Hello <u>there,</u> Bob.\n\n"
        "00:01.300 --> 00:01.500\n[SPEAKER_00]: Hello there, Bob.\n\n"
        "00:01.500 --> 00:02.250\n[SPEAKER_00]: Hello there, <u>Bob.</u>\n\n"
        "00:02.500 --> 00:02.800\n[SPEAKER_01]: <u>In</u> 1984?\n\n00:03.000 --> 00:04.000\nNo label.\n\n"
    )
    assert said(read(tmp_path, highlighted, "a.vtt")) == [
        (0.5, 2.25, "SPEAKER_00", "Hello there, Bob."),
        (2.5, 2.8, "SPEAKER_01", "In 1984?"),
        (3.0, 4.0, None, "No label."),
    ]


@pytest.mark.parametrize(("suffix", "writer"), [("srt", srt), ("vtt", vtt)])
def test_our_own_synthetic_episodes_read_back(tmp_path, suffix, writer):
    long = "Well, this is a sentence that is longer than one line of subtitles & has signs."
    events = [
        Event(0.5, 4.25, "speech", "Ann", long),
        Event(5, 6, "silence"),
        Event(6, 7.5, "speech", "Bo Li", "Yes."),
    ]
    found = read(tmp_path, writer(events, "episode"), f"a.{suffix}")
    assert said(found) == [(0.5, 4.25, "Ann", long), (6.0, 7.5, "Bo Li", "Yes.")]


VTT = """WEBVTT - a title
Kind: captions
Language: en-GB

STYLE
::cue(v) { color: red }

NOTE
This is not speech

REGION
id:fred

1 - intro
00:01.000 --> 00:02.500 align:start position:0% line:-1
<v.loud.first Esme Weston><c.yellow>Hello</c> <i>w<b>orl</b>d</i></v>

NOTE a remark

00:02.500-->00:04,000
<v Ann>Tea &amp; &lt;b&gt; milk&nbsp;?</v><v Bob>I <3 it &hearts; 3 < 4</v>
"""


def test_webvtt_voices_settings_nested_tags_entities_notes_and_styles(tmp_path):
    found = read(tmp_path, VTT, "a.vtt")
    assert found.language == "en-GB"
    assert said(found) == [
        (1.0, 2.5, "Esme Weston", "Hello world"),
        (2.5, 3.274194, "Ann", "Tea & <b> milk ?"),
        (3.274194, 4.0, "Bob", "I <3 it ♥ 3 < 4"),
    ]
    assert whats(found) == [
        ("line 20", "two speakers in one cue, its time shared out by the length of what they say")
    ]


def test_a_voice_named_only_where_it_changes_is_held(tmp_path):
    cues = ["<v Ann>One", "two", "three", "<v Bob>four", "five", "six", "seven"]
    text = "WEBVTT\n\n" + "".join(f"00:0{n}.000 --> 00:0{n + 1}.000\n{cue}\n\n" for n, cue in enumerate(cues))
    found = read(tmp_path, text, "a.vtt")
    assert [cue.speaker for cue in found.cues] == ["Ann"] * 3 + ["Bob"] * 4
    assert found.problems == (
        Problem(
            "",
            "a voice is named in less than half of the cues, so it was held until the next name",
            "2 of 7 cues",
        ),
    )


def test_most_cues_with_a_voice_leave_the_others_without_one(tmp_path):
    text = "WEBVTT\n\n00:00.000 --> 00:01.000\n<v Ann>One\n\n00:01.000 --> 00:02.000\nsomebody\n"
    assert [cue.speaker for cue in read(tmp_path, text, "a.vtt").cues] == ["Ann", None]


ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.000 --> 00:00:02.000 align:start position:0%
 
hello<00:00:00.400><c> big</c><00:00:00.900><c> world</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
hello big world
 

00:00:02.010 --> 00:00:04.000 align:start position:0%
hello big world
this<00:00:02.500><c> is</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
this is
 

00:00:04.010 --> 00:00:06.000 align:start position:0%
this is
all.
"""


def test_rolling_captions_of_a_video_platform_say_each_word_once(tmp_path):
    found = read(tmp_path, ROLLING, "a.vtt")
    assert said(found) == [
        (0.0, 2.01, None, "hello big world"),
        (2.01, 4.0, None, "this is"),
        (4.01, 6.0, None, "all."),
    ]
    assert [(word.text, word.start, word.end) for word in found.cues[0].words] == [
        ("hello", 0.0, 0.4),
        ("big", 0.4, 0.9),
        ("world", 0.9, 2.01),
    ]
    assert "lines that the cue before showed already were left out" in [p.what for p in found.problems]


def test_a_recogniser_caught_in_a_loop_stays_visible(tmp_path):
    text = "".join(f"{n}\n00:00:{n:02},000 --> 00:00:{n + 1:02},000\nThank you.\n\n" for n in range(20))
    found = read(tmp_path, text)
    assert len(found.cues) == 20
    assert found.problems == ()


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ("00:01:02,500 --> 00:01:03,250", (62.5, 63.25)),
        ("00:01:02.500 --> 00:01:03.250", (62.5, 63.25)),
        ("01:02.500 --> 01:03.250", (62.5, 63.25)),
        ("1:02 --> 1:04", (62.0, 64.0)),
        ("100:00:00,000 --> 100:00:01,000", (360_000.0, 360_001.0)),
        ("75:00.000 --> 75:01.000", (4500.0, 4501.0)),
        ("  00:00:01,000-->00:00:02,000  X1:0", (1.0, 2.0)),
    ],
)
def test_times_in_the_spellings_that_files_have(tmp_path, times, seconds):
    assert said(read(tmp_path, f"1\n{times}\nHi\n")) == [(*seconds, None, "Hi")]


def test_times_with_less_than_three_decimals_are_decimals_and_dubious(tmp_path):
    found = read(tmp_path, "1\n00:00:01,5 --> 00:00:02,25\nHi\n")
    assert said(found) == [(1.5, 2.25, None, "Hi")]
    assert whats(found) == [("line 2", "less than three decimals, read as decimals")]


def test_unreadable_times_cost_their_cue_and_nothing_else(tmp_path):
    found = read(
        tmp_path,
        "1\n00:00:01,000 --> 00:00:02,000\nOne\n\n2\n00:00:0x,000 --> 00:00:03,000\nTwo\n\n"
        "3\n00:00:03:12 --> 00:00:04:00\nThree\n\n4\n00:00:05,000 --> 00:00:06,000\nFour\n",
    )
    assert [cue.text for cue in found.cues] == ["One", "Four"]
    assert whats(found) == [
        ("line 6", "times cannot be read, cue left out"),
        ("line 10", "times cannot be read, cue left out"),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_do_not_matter_and_lines_are_counted_the_same(tmp_path, ending):
    text = "1\n00:00:01,000 --> 00:00:02,000\nOne\n\n2\n00:00:02,000 --> 00:00:03,000\nTwo\n"
    found = read(tmp_path, text.replace("\n", ending))
    assert [(cue.text, cue.place) for cue in found.cues] == [("One", "line 2"), ("Two", "line 6")]


def test_missing_numbers_missing_blank_lines_and_blank_lines_inside_are_survived(tmp_path):
    found = read(
        tmp_path,
        "00:00:01,000 --> 00:00:02,000\nOne\n\nmore\n00:00:02,000 --> 00:00:03,000\nTwo\n7\n"
        "00:00:03,000 --> 00:00:04,000\n42\n\n8\n00:00:04,000 --> 00:00:05,000\n{\\an8}Four\\Nlines\n",
    )
    assert [cue.text for cue in found.cues] == ["One more", "Two", "42", "Four lines"]


def test_sounds_and_empty_cues_are_left_out_with_their_lines(tmp_path):
    texts = ["[Music]", "", "♪♪", "(door slams)", "Yes.", "...", "[laughs] No."]
    text = "".join(f"{n}\n00:00:{n:02},000 --> 00:00:{n + 1:02},000\n{t}\n\n" for n, t in enumerate(texts))
    found = read(tmp_path, text)
    assert [cue.text for cue in found.cues] == ["Yes.", "[laughs] No."]
    assert [problem.what for problem in found.problems] == ["no words, left out"] * 5
    assert found.problems[0] == Problem("line 2", "no words, left out", "[Music]")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.srt", "no times here", "no cue found; a SubRip file has lines such as"),
        ("a.srt", "1\n00:00:xx --> 00:00:02\nHi", r"no cue found.*line 2: times cannot be read"),
        ("a.vtt", "no header, no times", "no cue found; a WebVTT file has lines such as"),
    ],
)
def test_a_file_without_any_cue_is_refused(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text, name)


@pytest.mark.parametrize(("name", "text"), [("a.srt", ""), ("a.vtt", "WEBVTT\n")])
def test_the_transcript_of_a_silent_file_is_empty_and_no_error(tmp_path, name, text):
    assert read(tmp_path, text, name).cues == ()


def test_webvtt_without_its_first_line_is_read_and_reported(tmp_path):
    found = read(tmp_path, "00:01.000 --> 00:02.000\nHi\n", "a.vtt")
    assert [cue.text for cue in found.cues] == ["Hi"]
    assert whats(found) == [("line 1", "a WebVTT file begins with WEBVTT; this one does not")]
