"""Whatever is done to a transcript file, it is read or refused with an `InputError`, and nothing else."""

import random
import re
from itertools import pairwise
from pathlib import Path

import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import Transcript
from multimodal_ser.transcripts.nist import Turn
from multimodal_ser.transcripts.reading import read_speakers, read_transcript
from multimodal_ser.transcripts.speakers import attach_speakers

MEDIA_SECONDS = 30.0
SEEDS = {
    "srt": "1\n00:00:01,000 --> 00:00:02,500\nALICE: Hi <i>you</i> &amp; me\n\n"
    "2\n00:00:02,500 --> 00:00:04,000\n- Yes.\n- BOB: No.\n\n3\n00:00:05,000 --> 00:00:09,000\n"
    "{\\an8}[Music]\n",
    "vtt": "WEBVTT\nLanguage: en\n\nNOTE x\n\nSTYLE\n::cue {}\n\na\n00:01.000 --> 00:02.500 align:start\n"
    "<v Ann>Hi <00:00:01.500><c>big</c></v>\n\n00:02.500 --> 00:04.000\nHi big\n<v Bob>world &lt;\n\n"
    "00:04.000 --> 00:05.000\n<v Bob>world &lt;\nand all\n\n00:05.000 --> 00:06.000\nand all\n<u>more</u>\n",
    "json": '{"language": "en", "segments": [{"start": 0.5, "end": 2.25, "text": " Hi, Bob.", "avg_logprob": '
    '-0.2, "no_speech_prob": 0.1, "compression_ratio": 1.5, "speaker": "A", "words": [{"word": "Hi,", '
    '"start": 0.5, "end": 0.9, "score": 0.9}, {"word": "Bob."}]}, {"start": 2.5, "end": 4, '
    '"text": "Bye", "words": null}]}',
    "podcast.json": '{"version": "1.0.0", "segments": [{"speaker": "A", "startTime": 0.5, "endTime": '
    '"00:01.5", "body": "I"}, {"speaker": null, "startTime": 1, "endTime": 3, "body": "am\\u0000 \\ud800"}]}',
    "textgrid": 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 4\ntiers? <exists>\n'
    'size = 2\nitem []:\n item [1]:\n class = "IntervalTier"\n name = "A - words"\n xmin = 0\n xmax = 4\n '
    'intervals: size = 2\n intervals [1]:\n xmin = 0\n xmax = 1.5\n text = "say ""no"""\n intervals [2]:\n '
    'xmin = 1.5\n xmax = 4\n text = ""\n item [2]:\n class = "TextTier"\n name = "t"\n xmin = 0\n xmax = 4\n '
    'points: size = 1\n points [1]:\n number = 1\n mark = "m"\n',
    "ctm": ";; c\na 1 1.0 0.5 Hi 0.9\na 1 1.6 0.4 you NA lex Ann\na 2 4.0 0.5 yes 0.5 lex <NA>\n",
    "txt": "[00:01] Ann: Hi.\nMore.\n\nBob: Yes: no.\n",
    "rttm": ";; c\nSPEAKER a 1 0.5 1.75 <NA> <NA> A <NA> <NA>\nSPEAKER a 1 2.0 2.1 <NA> <NA> B <NA> <NA>\n",
}
TOKENS = [
    *(
        "\n",
        "\n\n",
        "\r",
        " ",
        "\t",
        "\0",
        "\ufeff",
        "\u2028",
        "\ud7ff",
        "é",
        "-->",
        " --> ",
        "00:00:01,000",
        "99:99",
    ),
    *(
        "-1",
        "0",
        "1e999",
        "NaN",
        "-Infinity",
        "9" * 400,
        "0" * 5000,
        "1.2.3",
        "³",
        "٣",
        "nan",
        "inf",
        "-0.0",
        "1e-320",
    ),
    *(
        "<",
        ">",
        "<v",
        "<v >",
        "</v>",
        "<00:00:99.9>",
        "&",
        "&amp;",
        "&#99999999;",
        "&#xD800;",
        "{\\",
        "}",
        '"',
        '""',
    ),
    *(
        "{",
        "[",
        "]",
        "[" * 3000,
        '{"a":' * 2000,
        ",",
        ":",
        "null",
        "true",
        '"segments"',
        '"text"',
        '"words"',
        "\\u",
    ),
    *(
        "WEBVTT",
        "NOTE",
        "ALICE: ",
        ">> ",
        "- ",
        "SPEAKER",
        "<exists>",
        "IntervalTier",
        '"IntervalTier"',
        ";;",
        "!",
    ),
]
VALUE = re.compile(r'"[^"\n]*"(?P<key>:)?|-?[0-9]+(?:\.[0-9]+)?|null')
ODD_VALUES = [
    *(
        "0",
        "-0.5",
        "1e999",
        "-1e300",
        "NaN",
        "Infinity",
        "1e-320",
        "9" * 400,
        "4500",
        "7200.25",
        "3",
        "3.0000001",
    ),
    *(
        "null",
        "true",
        '""',
        '"x"',
        '"00:00:03,5"',
        '"nan"',
        "[]",
        "{}",
        '[{"word": 1}]',
        '"[Music]"',
        '"A: "',
    ),
]


def mutated(seed: str, generator: random.Random) -> bytes:
    """A few edits of a good file, or a soup of what such files are made of; sometimes in another encoding."""
    text = seed
    if generator.random() < 0.1:
        pieces = [*TOKENS, *seed.split(), *seed.splitlines(keepends=True)]
        text = "".join(generator.choices(pieces, k=generator.randrange(1, 40)))
    if generator.random() < 0.5:
        values = [match for match in VALUE.finditer(text) if not match["key"]]
        for value in sorted(generator.sample(values, min(len(values), 3)), key=re.Match.start, reverse=True):
            text = text[: value.start()] + generator.choice(ODD_VALUES) + text[value.end() :]
        return text.encode()
    for _ in range(generator.choice((1, 1, 2, 3, 8))):
        first, last = sorted(generator.randrange(len(text) + 1) for _ in "ab")
        last = min(last, first + generator.choice((0, 1, 5, 60, 10_000)))
        new = generator.choice(("", generator.choice(TOKENS), text[first:last] * 2, text[first:last][::-1]))
        text = text[:first] + new + text[last:]
    data = text.encode(generator.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be")), "replace")
    if generator.random() < 0.2 and data:
        position = generator.randrange(len(data))
        data = data[:position] + bytes([generator.randrange(256)]) + data[position + 1 :]
    return data


def check(found: Transcript) -> None:
    """What every transcript promises."""
    for cue in found.cues:
        cue.text.encode()
        (cue.speaker or "").encode()
        assert cue.text == " ".join(cue.text.split())
        assert cue.text
        if found.timed:
            assert 0 <= cue.start < cue.end <= MEDIA_SECONDS
        for word in cue.words:
            assert (word.start is None) == (word.end is None)
            assert word.start is None or cue.start <= word.start <= word.end <= cue.end
        for share in (cue.confidence, cue.no_speech_prob, *(word.confidence for word in cue.words)):
            assert share is None or 0 <= share <= 1
    if found.timed:
        assert all(before.start <= after.start for before, after in pairwise(found.cues))
        attach_speakers(found, [Turn(0, 2, "A"), Turn(1, 9, "B")])
    for line in found.summary():
        line.encode()


def survive(folder: Path, kind: str, count: int) -> int:
    """Read `count` mutated files of a kind; how many of them could be read."""
    generator = random.Random(kind)
    path = folder / f"a.{kind}"
    readable = 0
    for number in range(count):
        data = mutated(SEEDS[kind], generator)
        path.write_bytes(data)
        try:
            if kind == "rttm":
                assert all(0 <= turn.start < turn.end for turn in read_speakers(path)[0])
            else:
                check(read_transcript(path, MEDIA_SECONDS))
            readable += 1
        except InputError:
            continue
        except BaseException:
            print(f"file {number} of kind {kind}: {data[:2000]!r}")
            raise
    return readable


@pytest.mark.parametrize("kind", SEEDS)
def test_mutated_files_are_read_or_refused(tmp_path, kind):
    readable = survive(tmp_path, kind, 200)
    assert 20 < readable <= 200, "a fuzzer whose files are all refused tests nothing behind the refusal"


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_ten_thousand_mutated_files_are_read_or_refused(tmp_path, kind):
    assert survive(tmp_path, kind, 10_000) > 1000
