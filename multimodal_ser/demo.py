"""The whole story on a synthetic corpus, offline, on a CPU, in minutes.

Arousal is planted in the voice, valence in the words, dominance half in each, so the demonstration proves
something: a model that hears only cannot know the valence, one that reads only cannot know the arousal, and
dominance needs both.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from multimodal_ser import config as experiment
from multimodal_ser import settings
from multimodal_ser.analysis.conclusions import SUPPORTED
from multimodal_ser.analysis.layer_report import Options, report_layers
from multimodal_ser.analysis.page import write_page as write_layer_page
from multimodal_ser.cache import write_json
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.evaluation import evaluate, table
from multimodal_ser.evaluation.page import write_page
from multimodal_ser.evaluation.training_data import TrainingData
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest, read
from multimodal_ser.masks import draw_masks
from multimodal_ser.models.ser import READINGS
from multimodal_ser.podcast import timeline
from multimodal_ser.podcast.jobs import jobs_of
from multimodal_ser.podcast.pages import PAGE_SUFFIX
from multimodal_ser.podcast.scoring import score
from multimodal_ser.podcast.working import ScoreOptions

SPEAKERS = 48
UTTERANCES_PER_SPEAKER = 25
EPOCHS = 7
EPISODE_MINUTES = 3.0
NEW_SPEAKERS = ("development", "test")
LAYER_UTTERANCES = 300  # at most about so many, for a report in a minute
RANDOM_ENCODERS = 3
MASKS, MASKED_CLIPS = "vesper", 2
NEXT = (
    "multimodal-ser score RECORDING.mp3 -o scored   # the starter model, no training needed",
    "multimodal-ser prepare --help                  # turn a corpus that you have into a manifest",
    "recipes/synthetic/run.sh                       # the same as here, with ablations over three seeds",
    "multimodal-ser licences                        # what you may do with code, weights and data",
)
# A small network that a laptop trains in a minute or two.
MODEL: dict[str, Any] = {
    "width": 96,
    "dropout": 0.2,
    "audio": {"encoder": "mel", "mel": {"width": 96, "blocks": 2, "feedforward": 192, "bands": 48}},
    "text": {"encoder": "small", "width": 96, "blocks": 1},
}


def demonstrate(
    output: str | os.PathLike,
    seed: int = 0,
    jobs: int = 1,
    speakers: int = SPEAKERS,
    epochs: int = EPOCHS,
    utterances: int = UTTERANCES_PER_SPEAKER,
    layers: bool = True,
) -> dict[str, dict[str, float]]:
    """Prepare, train, evaluate; prints and writes CCC on held-out speakers per reading and dimension."""
    output = Path(output)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr, flush=True)

    say(f"making a corpus of {speakers} synthetic speakers with planted emotion")
    options = {"speakers": speakers, "utterances": utterances, "workers": jobs, "seed": seed}
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
    print(_score_episode(output, seed))

    layer_page = None
    if layers:
        say("asking the layers of its encoders, on speakers that it was not trained on, which carry what")
        new = manifest.select(lambda utterance: utterance.split in NEW_SPEAKERS)
        concluded, layer_page = _ask_layers(new, output)
        print(concluded)

    say(f"drawing what the masking policy '{MASKS}' of pretraining would hide")
    _, pictures = draw_masks(manifest.split("test"), MASKS, output / "masks", clips=MASKED_CLIPS, seed=seed)
    say(f"done; everything is in {output}")
    print(_what_it_made(output, page, layer_page, pictures[0]))
    return results


def _ask_layers(manifest: Manifest, output: Path) -> tuple[str, Path]:
    """A layer report of the trained model: what it concludes, and its page."""
    few = replace(manifest, utterances=manifest.utterances[:: max(1, len(manifest) // LAYER_UTTERANCES)])
    options = Options("cpu", cache=output / "cache", random_encoders=RANDOM_ENCODERS)
    results = report_layers(few, [], output / "layers", models=[os.fspath(output / "run")], options=options)
    return _concluded(results), write_layer_page(output / "layers")


def _concluded(results: dict[str, Any]) -> str:
    """What the controls let stand, and how much they did not."""
    lines = []
    for name, found in results["encoders"].items():
        branch = name.rpartition(" ")[2]
        claims = found["conclusions"] + found.get("model", {}).get("conclusions", [])
        stands = [one["claim"] for one in claims if one["verdict"] == SUPPORTED]
        lines.append(f"layers {branch}: {len(stands)} of {len(claims)} claims are supported")
        lines += [f"  {claim}" for claim in stands]
    return "\n".join(lines)


def _what_it_made(output: Path, page: Path, layer_page: Path | None, picture: Path) -> str:
    """The list of things to look at, and of what to try next."""
    made = {
        output / "results.json": "agreement with the truth: by voice and words, by each alone",
        page: "the same to look at, with intervals and subgroups",
        output / "scored" / f"episode{PAGE_SUFFIX}": "an episode: curves, speakers, words; it plays",
        layer_page: "which layers carry which dimension, with controls",
        picture: "what pretraining hides of a recording",
        output / "run" / "model": "the model: give this folder to score, evaluate, layers, export",
    }
    made = {path: what for path, what in made.items() if path is not None}
    width = max(len(os.fspath(path)) for path in made)
    lines = ["", "made:", *(f"  {os.fspath(path):{width}}  {what}" for path, what in made.items())]
    return "\n".join([*lines, "", "to try next:", *(f"  {command}" for command in NEXT)])


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
