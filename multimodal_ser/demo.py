"""The whole story on a synthetic corpus, offline, on a CPU, in minutes.

Arousal is planted in the voice, valence in the words, dominance half in each, so the demonstration proves
something: a model that hears only cannot know the valence, one that reads only cannot know the arousal, and
dominance needs both.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from multimodal_ser import config as experiment
from multimodal_ser import settings
from multimodal_ser.cache import write_json
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.evaluation import evaluate, table
from multimodal_ser.evaluation.page import write_page
from multimodal_ser.evaluation.training_data import TrainingData
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import read
from multimodal_ser.models.ser import READINGS
from multimodal_ser.podcast import timeline
from multimodal_ser.podcast.jobs import jobs_of
from multimodal_ser.podcast.scoring import score
from multimodal_ser.podcast.working import ScoreOptions

SPEAKERS = 48
UTTERANCES_PER_SPEAKER = 25
EPOCHS = 7
EPISODE_MINUTES = 3.0
# A small network that a laptop trains in a minute or two.
MODEL: dict[str, Any] = {
    "width": 96,
    "dropout": 0.2,
    "audio": {"encoder": "mel", "mel": {"width": 96, "blocks": 2, "feedforward": 192, "bands": 48}},
    "text": {"encoder": "small", "width": 96, "blocks": 1},
}


def demonstrate(
    output: str | os.PathLike, seed: int = 0, jobs: int = 1, speakers: int = SPEAKERS, epochs: int = EPOCHS
) -> dict[str, dict[str, float]]:
    """Prepare, train, evaluate; prints and writes CCC on held-out speakers per reading and dimension."""
    output = Path(output)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr, flush=True)

    say(f"making a corpus of {speakers} synthetic speakers with planted emotion")
    options = {"speakers": speakers, "utterances": UTTERANCES_PER_SPEAKER, "workers": jobs, "seed": seed}
    prepared = prepare("synthetic", output / "corpus", output / "manifest", jobs=jobs, options=options)
    prepared.raise_failures()

    say("training a small audio-textual model on it")
    run = settings.parse(
        experiment.RunConfig,
        {
            "data": {"manifest": os.fspath(prepared.manifest), "cache": os.fspath(output / "cache")},
            "model": MODEL,
            "training": {
                "epochs": epochs,
                "batch_seconds": 120.0,
                "patience": None,
                "seed": seed,
                "device": "cpu",
            },
        },
    )
    experiment.run(run, output / "run")

    say("measuring it on speakers that it has never heard")
    predictor = Predictor.load(output / "run", "cpu")
    manifest = read(prepared.manifest)
    training = TrainingData.of(manifest)
    report = evaluate(
        predictor, manifest, ["test"], output / "evaluation", training=training, cache=output / "cache"
    )
    page = write_page(output / "evaluation")
    readings = report["sets"]["test"]["readings"]
    results = {
        reading: {name: readings[reading][name]["ccc"]["value"] for name in DIMENSIONS}
        for reading in READINGS
    }
    write_json(output / "results.json", results)
    print(table(readings, report["sets"]["test"]["protocol"]))

    say(f"scoring an episode of {EPISODE_MINUTES:g} minutes with its transcript, speaker by speaker")
    summary = _score_episode(output, seed)
    print(summary)
    say(f"done; everything is in {output}, and {page} shows it")
    return results


def _score_episode(output: Path, seed: int) -> str:
    """Make an episode whose moods are known, score it, and say how its speakers feel."""
    folder = output / "episode"
    folder.mkdir(parents=True, exist_ok=True)
    files = ("vtt", "rttm", "csv")
    made = make_episode(folder / "episode.mp3", minutes=EPISODE_MINUTES, seed=seed, transcripts=files)
    scored = score(jobs_of([made.audio]), ScoreOptions(output / "run", output / "scored", device="cpu"))
    scored.raise_failures()
    found = timeline.read(output / "scored" / ("episode" + timeline.SUFFIX))
    lines = [
        f"{found.audio['file']}: {found.seconds:.0f} s, {len(found.segments)} segments; means, scale 0-1"
    ]
    for facts in found.summary["speakers"]:
        means = "  ".join(f"{name} {facts['dimensions'][name]['mean']:.2f}" for name in DIMENSIONS)
        lines.append(f"  {facts['speaker']:8} {facts['speech_seconds']:4.0f} s  {means}")
    return "\n".join(lines)
