"""An encoder whose layers are known, and the clips on which `multimodal-ser layers` should find them.

    python recipes/layer_relevance/known_places.py WORK [--seed 0]

A clip is a row of short tones between pauses. Each tone says to which pair it belongs (12 pairs, each heard
twice, at random moments) and carries one of two signs. Four pairs belong to each dimension: its value is the
share of them whose two tones carry the same sign. So a frame says nothing about any dimension, and neither
does a mean over frames: the two tones of a pair must be brought together, which takes attention.

The encoder is a log-mel encoder of eight blocks. Its places are known because of how it is made:

- a block that is not trained adds exactly nothing (its last weights are zero), so that a layer is the same
  numbers as the one below;
- block 2 alone learns to let a linear head on the mean over time say arousal, with all below it frozen;
- block 4 alone learns to put the stream back to what it was below block 2, as well as it can;
- block 6 alone learns valence, as block 2 did arousal;
- no block learns dominance: it is in the sound, as the others are, and the encoder does not know it.

So arousal belongs to layers 2 and 3, valence to layers 6, 7 and 8, dominance to none. The script writes
WORK/manifest.jsonl (clips of speakers that training has not heard), the encoder folder WORK/encoder, and
WORK/made.json: what the heads said of clips they were not trained on. A run that was stopped goes on with the
next block.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.cache import write_json
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Header, write
from multimodal_ser.metrics import ccc
from multimodal_ser.models.encoder_folder import save_encoder
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.utterances import Utterance

CONFIG = MelConfig(bands=64, width=64, blocks=8, heads=4, feedforward=128, dropout=0.0)
LEARNED = {2: "arousal", 6: "valence"}  # by these blocks, from 1
ERASED = 4  # here what block 2 added goes again
PAIRS = 4  # of each dimension
TONE, PAUSE = 0.08, 0.09  # seconds: no frame hears two tones
PAIR_TONES = np.geomspace(300.0, 4_200.0, PAIRS * len(DIMENSIONS))  # hertz, one for each pair
SIGN_TONES = (5_200.0, 6_500.0)
NOISE = 0.05  # standard deviation; a tone has an amplitude of 0.5
LINEAR = 4.0  # bias of the convolutions, at which GELU is nearly a line: frames stay sums of their tones
TRAINING, UNHEARD = (30, 25), (20, 20)  # speakers, clips of each
SHARPNESS = 3.0  # of the attention that training begins with
BATCH, RATE = 32, 2e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    sounds, labels, _ = clips(generator, *TRAINING)
    unheard, true, speakers = clips(generator, *UNHEARD)
    write_corpus(options.work, unheard, true, speakers)
    torch.manual_seed(options.seed)
    encoder = silent_encoder()
    said = train(encoder, sounds, labels, unheard, true, options)
    save_encoder(encoder, options.work / "encoder")
    write_json(options.work / "made.json", {"seed": options.seed, "steps": options.steps, **said})
    print(json.dumps(said, indent=2))


def clips(generator: np.random.Generator, speakers: int, each: int) -> tuple[Tensor, Tensor, list[int]]:
    """Sounds (N, S), values (N, 3) and the speaker of each; speakers differ in pitch, tilt and noise."""
    sounds, labels, owners = [], [], []
    for speaker in range(speakers):
        pitch, tilt = 1 + 0.01 * generator.uniform(-1, 1), generator.uniform(-0.2, 0.2)
        noise = NOISE * generator.uniform(0.7, 1.3)
        for _ in range(each):
            signs, values = paired(generator)
            sounds.append(spoken(generator, signs, pitch, tilt, noise))
            labels.append(values)
            owners.append(speaker)
    return torch.tensor(np.stack(sounds)), torch.tensor(np.stack(labels), dtype=torch.float32), owners


def paired(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The two signs of every pair (12, 2), both signs as often as can be, and each dimension's value."""
    signs, values = [], []
    for _ in DIMENSIONS:
        equal = int(generator.integers(0, PAIRS + 1))
        both = np.array([generator.permutation([0, 1]) for _ in range(PAIRS)])
        both[:equal] = (np.arange(equal) + generator.integers(0, 2))[:, None] % 2
        signs.append(generator.permutation(both))
        values.append(equal / PAIRS)
    return np.concatenate(signs), np.array(values)


def spoken(
    generator: np.random.Generator, signs: np.ndarray, pitch: float, tilt: float, noise: float
) -> np.ndarray:
    time = np.arange(round(TONE * SAMPLE_RATE)) / SAMPLE_RATE
    shape = np.hanning(len(time))
    pause = np.zeros(round(PAUSE * SAMPLE_RATE))
    parts = [pause]
    for place in generator.permutation(signs.size):
        pair, turn = divmod(int(place), 2)
        tone, sign = PAIR_TONES[pair] * pitch, SIGN_TONES[signs[pair, turn]] * pitch
        phases = generator.uniform(0, 2 * np.pi, 2)
        strength = (tone / 1_000) ** tilt
        sound = strength * np.sin(2 * np.pi * tone * time + phases[0]) + np.sin(
            2 * np.pi * sign * time + phases[1]
        )
        parts += [0.5 * shape * sound, pause]
    whole = np.concatenate(parts)
    return (0.4 * (whole + noise * generator.standard_normal(len(whole)))).astype(np.float32)


def write_corpus(work: Path, sounds: Tensor, labels: Tensor, speakers: list[int]) -> None:
    (work / "audio").mkdir(parents=True, exist_ok=True)
    utterances = []
    for number, (sound, values, speaker) in enumerate(zip(sounds, labels, speakers, strict=True)):
        name = f"clip{number:04}"
        soundfile.write(work / "audio" / f"{name}.flac", sound.numpy(), SAMPLE_RATE, subtype="PCM_16")
        known = dict(zip(DIMENSIONS, map(float, values.double().round(decimals=6)), strict=True))
        utterances.append(
            Utterance(
                name,
                "known_places",
                f"audio/{name}.flac",
                speaker=f"speaker{speaker:02}",
                split="test",
                label_source="planted",
                **known,
            )
        )
    write(work / "manifest.jsonl", Header("known_places", "1", ".", "CC0-1.0 (generated)"), utterances)


def silent_encoder() -> MelEncoder:
    """Blocks that add nothing, behind a front end that adds up what it hears."""
    encoder = MelEncoder.from_config(CONFIG).eval().requires_grad_(False)
    for convolution in encoder.subsample:
        convolution.bias.fill_(LINEAR)
    for silent in (encoder.position, *(last for block in encoder.blocks for last in ends_of(block))):
        silent.weight.zero_()
        silent.bias.zero_()
    return encoder


def train(
    encoder: MelEncoder,
    sounds: Tensor,
    labels: Tensor,
    unheard: Tensor,
    true: Tensor,
    options: argparse.Namespace,
) -> dict[str, float]:
    """Teach one block after the other; what the heads say of clips that are new to them."""
    below, new = (layer_of(encoder, clips, 0) for clips in (sounds, unheard))
    start, said = below, {}
    for number in sorted((*LEARNED, ERASED)):
        block, head = encoder.blocks[number - 1], nn.Linear(CONFIG.width, 1)
        learner = nn.ModuleDict({"block": block, "head": head})
        if number == ERASED:
            said["rms of what the blocks below added"] = rms(below - start)
            loss_of = partial(distance, start)
        else:
            column = DIMENSIONS.index(LEARNED[number])
            loss_of = partial(value_loss, head, labels[:, [column]])
        kept = options.work / f"block{number}_seed{options.seed}_{options.steps}.safetensors"
        if kept.is_file():  # of a run that was stopped
            load_model(learner, kept)
        else:
            torch.manual_seed(1_000 * options.seed + number)
            fit(learner, below, options.steps // (2 if number == ERASED else 1), loss_of)
            save_model(learner, str(kept))
        below, new = through(block, below), through(block, new)
        if number == ERASED:
            said["rms of what is left of it"] = rms(below - start)
        else:
            found = ccc(head(new.mean(1))[:, 0].detach().numpy(), true[:, column].numpy())
            said[f"ccc of {LEARNED[number]} behind block {number}"] = round(found, 3)
    return said


def ends_of(block: nn.Module) -> tuple[nn.Linear, nn.Linear]:
    """What a block adds passes through these."""
    return block.attention.out, block.feedforward[-1]


def fit(
    learner: nn.ModuleDict, below: Tensor, steps: int, loss_of: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Train one block, and a head if the loss asks one, on what the layer below says."""
    block = learner["block"]
    for last in ends_of(block):
        nn.init.normal_(last.weight, std=0.02)
    # Queries like keys, so that a tone looks at tones like itself from the beginning.
    with torch.no_grad():
        alike = SHARPNESS * block.attention.query.weight
        block.attention.query.weight.copy_(alike)
        block.attention.key_value.weight[: CONFIG.width] = alike
    weights = list(learner.requires_grad_(True).parameters())
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(below), (BATCH,))
        loss = loss_of(block(below[rows], everywhere(below[rows])), rows)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        rates.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    learner.requires_grad_(False)


def value_loss(head: nn.Module, labels: Tensor, x: Tensor, rows: Tensor) -> Tensor:
    return (head(x.mean(1)) - labels[rows]).square().mean() / labels.var()


def distance(start: Tensor, x: Tensor, rows: Tensor) -> Tensor:
    return (x - start[rows]).square().mean()


def rms(x: Tensor) -> float:
    return round(float(x.square().mean().sqrt()), 4)


@torch.no_grad()
def layer_of(encoder: MelEncoder, sounds: Tensor, layer: int) -> Tensor:
    lengths = torch.full((BATCH,), sounds.shape[1])
    parts = [encoder(part, lengths[: len(part)], layer).layers[-1] for part in sounds.split(BATCH)]
    return torch.cat(parts)


@torch.no_grad()
def through(block: nn.Module, below: Tensor) -> Tensor:
    return torch.cat([block(part, everywhere(part)) for part in below.split(BATCH)])


def everywhere(x: Tensor) -> Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool)


if __name__ == "__main__":
    main()
