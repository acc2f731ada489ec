"""Does emotional masking, intensity or frame alignment help? Small networks, real speech, folds and seeds.

    python recipes/pretraining_study/study.py MANIFEST RESULTS.jsonl [--seeds 3] [--epochs 4]

For every seed and fold an encoder is pretrained from a random start on the audio of the training speakers
alone, then frozen; the means of its layers go to a logistic regression that sees the training speakers'
labels and is tested on the other two speakers. Nothing is selected. Every row is written as soon as it is
known, and a run that was stopped goes on. The table is printed in the end: `--table` prints it at once.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from multimodal_ser import audio, manifests, metrics
from multimodal_ser.models.mockingjay import MockingjayConfig, MockingjayEncoder
from multimodal_ser.models.npc import NpcConfig, NpcEncoder
from multimodal_ser.models.spectral import SpectralFeatures
from multimodal_ser.models.strength import StrengthConfig, StrengthNet, strength_losses
from multimodal_ser.objectives.emotional_spans import SpanConfig
from multimodal_ser.objectives.frame_alignment import AlignmentConfig, FrameAlignment, FrameAttention
from multimodal_ser.objectives.intensity import at_times, energy, frame_times
from multimodal_ser.objectives.reconstruction import MaskedReconstruction, PredictiveCoding
from multimodal_ser.objectives.relative_attributes import strength_targets
from multimodal_ser.pseudo_labels import fit_clusters

STACK = 4  # 10 ms frames per frame
MOCKINGJAY = MockingjayConfig(
    bands=24, deltas=False, stack=STACK, width=64, blocks=2, heads=4, feedforward=128, dropout=0.0
)
NPC = NpcConfig(
    bands=24, stack=STACK, width=64, blocks=3, kernel=11, mask_size=5, groups=2, code_width=32, dropout=0.0
)
CONDITIONS = (
    "mockingjay none", "mockingjay random", "mockingjay energy", "mockingjay learned",
    "npc none", "npc plain", "npc energy", "npc learned", "alignment",
)  # fmt: skip
AGAINST = {
    "mockingjay random": "mockingjay none", "mockingjay energy": "mockingjay random",
    "mockingjay learned": "mockingjay random", "npc plain": "npc none", "npc energy": "npc plain",
    "npc learned": "npc plain", "alignment": "mockingjay random",
}  # fmt: skip
BATCH = 16
RATE = 1e-3


class Corpus:
    """All utterances in memory: features, energy, labels, folds."""

    def __init__(self, path: str) -> None:
        manifest = manifests.read(path)
        self.utterances = manifest.utterances
        encoder = MockingjayEncoder(MOCKINGJAY)
        self.features, self.bands, self.energy, statistics = [], [], [], []
        spectrum = SpectralFeatures(MOCKINGJAY.bands, stack=STACK, normalise=False)
        for utterance in self.utterances:
            wave = audio.load(manifest.audio_path(utterance))
            clip, length = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
            features, mask = encoder.features(clip, length)
            count = int(mask.sum())
            self.features.append(features[0, :count])
            curve = at_times(energy(wave), frame_times(count, STACK))
            self.energy.append(torch.from_numpy(curve).float())
            bands = spectrum(clip, length)[0][0, :count]
            self.bands.append(bands)
            statistics.append(np.concatenate([bands.mean(0).numpy(), bands.std(0, correction=0).numpy()]))
        self.statistics = np.array(statistics)
        self.emotions = [u.emotion for u in self.utterances]
        self.classes = sorted(set(self.emotions))
        self.folds = np.array([u.fold for u in self.utterances])
        self.labels = torch.tensor([self.classes.index(name) for name in self.emotions])

    def padded(self, rows, values):
        """The values of some utterances side by side, and the mask of what is valid."""
        chosen = [values[row] for row in rows]
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(x)) for x in chosen], batch_first=True).bool()
        return torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True), mask


def batches(corpus, rows, random):
    """Utterances of similar length side by side, in random order."""
    lengths = np.array([len(corpus.features[row]) for row in rows]) * random.uniform(0.9, 1.1, len(rows))
    order = np.asarray(rows)[np.argsort(lengths)]
    cut = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [cut[i] for i in random.permutation(len(cut))]


def fit(corpus, module, rows, epochs, seed, loss_of):
    """Adam over shuffled batches of utterances; `loss_of(rows, epoch)` is the loss of one."""
    optimiser = torch.optim.Adam([w for w in module.parameters() if w.requires_grad], lr=RATE)
    random = np.random.default_rng(seed)
    module.train()
    for epoch in range(epochs):
        for batch in batches(corpus, rows, random):
            optimiser.zero_grad()
            loss_of(batch, epoch).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimiser.step()
    return module.eval()


def learned_strength(corpus, train, seed, epochs):
    """Intensity of all utterances from a strength network that saw the training speakers."""
    targets = np.zeros(len(corpus.utterances), dtype=np.float32)
    targets[train] = strength_targets(corpus.statistics[train], [corpus.emotions[i] for i in train], seed)
    config = StrengthConfig(
        bands=MOCKINGJAY.bands, stack=STACK, channels=(4,), recurrent=32, hidden=32, classes=7
    )
    torch.manual_seed(seed)
    network = StrengthNet(config)

    def loss_of(rows, epoch):
        said = network.forward_from_features(*corpus.padded(rows, corpus.bands))
        return strength_losses(said, torch.from_numpy(targets[rows]), corpus.labels[rows])["loss"]

    fit(corpus, network, train, epochs, seed, loss_of)
    curves = []
    with torch.inference_mode():
        for start in range(0, len(corpus.utterances), 64):
            rows = range(start, min(start + 64, len(corpus.utterances)))
            said = network.forward_from_features(*corpus.padded(rows, corpus.bands))
            curves += [said.frames[i, : len(corpus.features[row])].clone() for i, row in enumerate(rows)]
    return curves


def reconstructed(corpus, condition, train, seed, epochs, curves):
    """An encoder pretrained on the training speakers by reconstruction, or not at all."""
    network, kind = condition.split()
    torch.manual_seed(seed)
    encoder = MockingjayEncoder(MOCKINGJAY) if network == "mockingjay" else NpcEncoder(NPC)
    if kind == "none":
        return encoder.eval()
    source = energy if curves else None  # the curves are made already; this only switches the heads on
    if network == "mockingjay":
        policy = "intense" if curves else "random"
        objective = MaskedReconstruction(encoder, source, SpanConfig(policy=policy, span=3, min_gap=3), seed)
    else:
        objective = PredictiveCoding(encoder, source)

    def loss_of(rows, epoch):
        objective.epoch = epoch
        features, mask = corpus.padded(rows, corpus.features)
        intensity = corpus.padded(rows, curves)[0] if curves else None
        ids = tuple(corpus.utterances[row].id for row in rows)
        return objective.losses_from_features(features, mask, intensity, ids)["loss"]

    fit(corpus, objective, train, epochs, seed, loss_of)
    return encoder


def aligned(corpus, train, seed, epochs, tuned=None):
    """Reconstruct, fine-tune for emotion, cluster its frames, and predict the clusters from the first start.

    tuned: the reconstructed encoder, if there is one; it is changed.
    """
    tuned = tuned or reconstructed(corpus, "mockingjay random", train, seed, epochs, None)
    start = {name: value.clone() for name, value in tuned.state_dict().items()}
    head = torch.nn.ModuleList([FrameAttention(tuned.width), torch.nn.Linear(tuned.width, 7)])
    both = torch.nn.ModuleList([tuned, head])

    def emotion_loss(rows, epoch):
        features, mask = corpus.padded(rows, corpus.features)
        states = tuned.forward_from_features(features, mask).layers[-1]
        return torch.nn.functional.cross_entropy(head[1](head[0](states, mask)), corpus.labels[rows])

    fit(corpus, both, train, epochs, seed, emotion_loss)
    with torch.inference_mode():
        clips = [corpus.padded([row], corpus.features) for row in train]
        frames = [tuned.forward_from_features(*clip).layers[-1][0] for clip in clips]
    clusters = fit_clusters(torch.cat(frames).numpy(), 50, seed, restarts=2)
    said = [torch.from_numpy(clusters.predict(x.numpy())).long() for x in frames]
    labels = dict(zip(train, said, strict=True))
    encoder = MockingjayEncoder(MOCKINGJAY)
    encoder.load_state_dict(start)
    objective = FrameAlignment(encoder, AlignmentConfig(clusters=50, projection=64, span=5), seed)

    def alignment_loss(rows, epoch):
        objective.epoch = epoch
        features, mask = corpus.padded(rows, corpus.features)
        told = torch.nn.utils.rnn.pad_sequence([labels[row] for row in rows], True, -1)
        ids = tuple(corpus.utterances[row].id for row in rows)
        return objective.losses_from_features(features, mask.sum(1), told, ids)["loss"]

    fit(corpus, objective, train, epochs, seed, alignment_loss)
    return encoder


def probe(corpus, encoder, train, test):
    """What a logistic regression on the means of all layers says of the test utterances."""
    pooled = []
    with torch.inference_mode():
        for start in range(0, len(corpus.utterances), 64):
            rows = range(start, min(start + 64, len(corpus.utterances)))
            encoding = encoder.forward_from_features(*corpus.padded(rows, corpus.features))
            count = encoding.mask.sum(1)[:, None]
            means = [(x * encoding.mask[..., None]).sum(1) / count for x in encoding.layers]
            pooled.append(torch.cat(means, dim=1))
    x = torch.cat(pooled).numpy()
    regression = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    model = make_pipeline(StandardScaler(), regression).fit(x[train], corpus.labels.numpy()[train])
    return [corpus.classes[i] for i in model.predict(x[test])]


def run(corpus, path, seeds, epochs):
    """Every row that is not there yet."""
    done = {(r["condition"], r["fold"], r["seed"]) for r in read(path)}
    for seed, fold in itertools.product(range(seeds), sorted(set(corpus.folds.tolist()))):
        train, test = np.flatnonzero(corpus.folds != fold), np.flatnonzero(corpus.folds == fold)
        learned = kept = None
        for condition in CONDITIONS:
            if (condition, fold, seed) in done:
                continue
            curves = corpus.energy if condition.endswith("energy") else None
            if condition.endswith("learned"):
                curves = learned = learned or learned_strength(corpus, train, seed, max(1, epochs // 2))
            if condition == "alignment":
                encoder = aligned(corpus, train, seed, epochs, kept)
            else:
                encoder = reconstructed(corpus, condition, train, seed, epochs, curves)
                kept = encoder if condition == "mockingjay random" else kept
            row = {
                "condition": condition, "fold": fold, "seed": seed, "epochs": epochs,
                "ids": [corpus.utterances[i].id for i in test], "said": probe(corpus, encoder, train, test),
            }  # fmt: skip
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def read(path):
    """The rows that are known."""
    lines = Path(path).read_text(encoding="utf-8").splitlines() if Path(path).is_file() else []
    return [json.loads(line) for line in lines]


def recalls(utterances, said):
    """UA and WA over all folds of one seed, and the mean recall of each speaker."""
    classes = sorted({u.emotion for u in utterances.values()})
    truth = [utterances[name].emotion for name in said]
    table = metrics.confusion(list(said.values()), truth, classes)
    speakers = {}
    for speaker in sorted({utterances[name].speaker for name in said}):
        own = [name for name in said if utterances[name].speaker == speaker]
        present = sorted({utterances[name].emotion for name in own})
        hits = {c: [said[n] == c for n in own if utterances[n].emotion == c] for c in present}
        speakers[speaker] = float(np.mean([np.mean(hits[c]) for c in present]))
    return metrics.unweighted_accuracy(table), metrics.weighted_accuracy(table), speakers


def sign_flip(differences):
    """Two-sided p of a mean difference: the share of all sign patterns whose mean is as far from zero."""
    x = np.asarray(differences)
    signs = np.array(list(itertools.product((-1, 1), repeat=len(x))))
    return float((np.abs(signs @ x) >= abs(x.sum()) - 1e-12).mean())


def spread(values):
    """Mean and standard deviation over seeds."""
    deviation = f"{values.std(ddof=1):.1f}" if len(values) > 1 else "?"
    return f"{values.mean():.1f} ± {deviation}"


def table(utterances, rows):
    """UA and WA, mean and standard deviation over complete seeds, and differences paired by speaker."""
    found = {}
    for condition in CONDITIONS:
        for seed in sorted({r["seed"] for r in rows}):
            said = {}
            for r in rows:
                if (r["condition"], r["seed"]) == (condition, seed):
                    said.update(zip(r["ids"], r["said"], strict=True))
            if len(said) == len(utterances):
                found.setdefault(condition, {})[seed] = recalls(utterances, said)
    names = ["pretraining", "seeds", "UA %", "WA %", "against", "UA difference by speaker", "p"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for condition, by_seed in found.items():
        ua, wa = (100 * np.array([values[i] for values in by_seed.values()]) for i in (0, 1))
        text = f"| {condition} | {len(by_seed)} | {spread(ua)} | {spread(wa)} |"
        other = AGAINST.get(condition)
        if other in found:
            seeds = sorted(by_seed.keys() & found[other].keys())
            change = np.mean(
                [[by_seed[s][2][k] - found[other][s][2][k] for k in by_seed[s][2]] for s in seeds], axis=0
            )
            text += f" {other} | {100 * change.mean():+.1f} | {sign_flip(change):.3f} |"
        else:
            text += " | | |"
        lines.append(text)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest")
    parser.add_argument("results")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--table", action="store_true", help="only print the table of what is known")
    arguments = parser.parse_args()
    if not arguments.table:
        run(Corpus(arguments.manifest), arguments.results, arguments.seeds, arguments.epochs)
    utterances = {u.id: u for u in manifests.read(arguments.manifest).utterances}
    print(table(utterances, read(arguments.results)))


if __name__ == "__main__":
    main()
