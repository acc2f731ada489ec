"""Plain text laid onto words that were misheard: errors of the times, and how long it takes.

    python recipes/benchmarks/aligning.py WORK [--minutes 180] [--textgrid FILE.TextGrid]

Makes the transcript of a synthetic episode (or takes the words of a TextGrid), lets a recogniser of a given
word error rate mishear its words (the errors of `transcript_errors`, each with the time of its place), writes
the words as plain text without times, aligns the two, and prints JSON: share of words that got a time,
seconds between the given start of each word and the true one, and seconds of computing. No recogniser runs
here: what is measured is the alignment.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.transcript_errors import TranscriptConfig, TranscriptErrors
from multimodal_ser.transcripts.aligning import aligned
from multimodal_ser.transcripts.cues import Cue, Word, words_of
from multimodal_ser.transcripts.reading import read_transcript

RATES = (0.0, 0.1, 0.2, 0.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=180.0)
    parser.add_argument("--textgrid", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    source = options.textgrid
    if source is None:
        media = options.work / "episode.mp3"
        source = media.with_suffix(".vtt")
        if not source.is_file():
            make_episode(media, minutes=options.minutes, seed=5, transcripts=("vtt",))
    cues = [replace(cue, words=tuple(words_of(cue))) for cue in read_transcript(source).cues]
    print(json.dumps({str(rate): figures(cues, rate, options.work) for rate in RATES}, indent=2))


def figures(cues: Sequence[Cue], rate: float, work: Path) -> dict[str, float]:
    """What comes of one word error rate."""
    plain = work / "plain.txt"
    plain.write_text("\n".join(cue.text for cue in cues) + "\n", encoding="utf-8")
    truth = [word for cue in cues for word in cue.words]
    heard = misheard(cues, rate)
    started = time.process_time()
    found = aligned(read_transcript(plain), heard, max(word.end for word in truth))
    took = time.process_time() - started
    words = [word for cue in found.cues for word in cue.words]
    # Words that were left out have no time; those that remain are found in the text again in order.
    places, at = [], 0
    for word in words:
        while truth[at].text != word.text:
            at += 1
        places.append(at)
        at += 1
    errors = np.array([abs(word.start - truth[n].start) for word, n in zip(words, places, strict=True)])
    return {
        "words": len(truth),
        "with_times": round(len(words) / len(truth), 4),
        "median_seconds": round(float(np.median(errors)), 3),
        "p99_seconds": round(float(np.quantile(errors, 0.99)), 3),
        "worst_seconds": round(float(errors.max()), 3),
        "cpu_seconds": round(took, 2),
    }


def misheard(cues: Sequence[Cue], rate: float) -> list[Word]:
    """The words of a recogniser of that word error rate; one for several lasts as long as they."""
    generator = np.random.default_rng(0)
    errors = TranscriptErrors(TranscriptConfig(corrupted=1.0), [cue.text for cue in cues])
    heard = []
    for cue in cues:
        said = errors.corrupt(cue.text, rate, generator).split() if rate else cue.text.split()
        # Times of the misheard sentence: those of its words, stretched where counts differ.
        edges = np.interp(
            np.linspace(0, len(cue.words), len(said) + 1),
            np.arange(len(cue.words) + 1),
            [*(word.start for word in cue.words), cue.words[-1].end],
        )
        heard += [Word(text, a, b) for text, a, b in zip(said, edges[:-1], edges[1:], strict=True)]
    return heard


if __name__ == "__main__":
    main()
