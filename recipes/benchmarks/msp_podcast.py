"""The recipe for MSP-Podcast at the true sizes: seconds per step and memory. Random weights, no download.

    python recipes/benchmarks/msp_podcast.py WORK [--batch-seconds 320] [--steps 10] [--set KEY=VALUE ...]

Writes a miniature MSP-Podcast (noise and made-up words, clips of 5.8 s as they are on average), checkpoints
with random weights at the sizes of DistilHuBERT and DistilBERT, and runs `recipes/msp_podcast/run.sh` on them
up to the stage `train`, for one step and for some more: the difference is what steps cost, without start and
validation. Prints a JSON line. CPU seconds are of all threads, and tell more on a shared machine.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import BertTokenizer, DistilBertConfig, DistilBertModel

from multimodal_ser.audio_store import decode
from multimodal_ser.manifests import read
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder

ROOT = Path(__file__).parents[2]
CLIP_SECONDS = 5.8
TRAINED = 0.64  # share of the clips, as in release 2.0
AUDIO = "ntu-spml/distilhubert"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Cost(NamedTuple):
    """What a call of the recipe took."""

    seconds: float
    cpu_seconds: float
    peak_gib: float  # of the largest process so far


def write_inputs(folder: Path, seconds: float) -> dict[str, Path]:
    """The corpus, with `seconds` of training speech, and both checkpoints.

    The tokenizer is as large as the published one.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from fake_msp_podcast import WORDS, invent, write_tree

    found = {name: folder / name for name in ("distilhubert", "distilbert")}
    if not (tops := list(folder.glob("MSP-PODCAST-*"))):
        clips = invent(math.ceil(seconds / CLIP_SECONDS / TRAINED), speakers=60)
        tops = [write_tree(folder, clips, seconds=CLIP_SECONDS)]
    torch.manual_seed(0)
    if not found["distilhubert"].is_dir():
        HubertEncoder.from_config(PUBLISHED[AUDIO]).save_pretrained(found["distilhubert"])
    if not found["distilbert"].is_dir():
        settings = DistilBertConfig()
        known = [*_SPECIAL, *WORDS, "."]
        words = [*known, *(f"[unused{n}]" for n in range(settings.vocab_size - len(known)))]
        DistilBertModel(settings).save_pretrained(found["distilbert"])
        BertTokenizer(vocab={word: n for n, word in enumerate(words)}).save_pretrained(found["distilbert"])
    return {"corpus": tops[0], **found}


def run_recipe(
    options: argparse.Namespace, inputs: dict[str, Path], stage: str, seed: int, steps: int
) -> Cost:
    """Run the recipe up to a stage."""
    changes = [
        f"model.audio.encoder={inputs['distilhubert']}",
        f"model.text.encoder={inputs['distilbert']}",
        f"data.cache={options.work / 'cache'}",
        f"training.max_steps={steps}",
        f"training.batch_seconds={options.batch_seconds}",
        f"training.precision={options.precision}",
        *options.set,
    ]
    command = [
        ROOT / "recipes" / "msp_podcast" / "run.sh", "--corpus", inputs["corpus"],
        "--work", options.work / "run",
        "--stop-stage", stage, "--configs", options.config, "--variants", seed,
        *(("--stage", "train") if stage == "train" else ()),
        *(part for change in changes for part in ("--set", change)),
    ]  # fmt: skip
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PREPARE_OPTIONS": "--allow-partial"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, env=environment, stdout=sys.stderr)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, after.ru_maxrss / 2**20)


def main() -> None:
    """Run the recipe for one step and for more, and print what a step costs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", type=Path, help="an empty folder")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-seconds", type=float, default=320.0, help="as in the recipe: 320")
    parser.add_argument("--config", default="audio_text", help="experiment of the recipe")
    parser.add_argument("--precision", default="fp32", help="fp32, since few CPUs compute in bf16")
    parser.add_argument("--set", action="append", default=[], help="as for the recipe")
    options = parser.parse_args()
    options.work = options.work.resolve()
    # One epoch has to be enough: validation would count as steps.
    inputs = write_inputs(options.work, (options.steps + 2) * options.batch_seconds)
    run_recipe(options, inputs, "prepare", 0, 1)
    manifest = read(options.work / "run" / "manifest" / "manifest.jsonl")
    for part in ("train", "development"):  # so that no training has to wait for it
        decode(manifest.split(part), options.work / "cache")
    few, many = (run_recipe(options, inputs, "train", n, 1 + n * options.steps) for n in (0, 1))
    found = {
        "config": options.config,
        "precision": options.precision,
        "batch_seconds": options.batch_seconds,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "seconds_per_step": round((many.seconds - few.seconds) / options.steps, 2),
        "cpu_seconds_per_step": round((many.cpu_seconds - few.cpu_seconds) / options.steps, 2),
        "start_one_step_and_validation_seconds": round(few.seconds, 1),
        "peak_gib": round(many.peak_gib, 2),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
