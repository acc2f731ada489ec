"""Small encoders for the study of pretraining, each from a random start, and what a probe hears in them."""

import copy
import functools

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.utils.rnn import pad_sequence

from multimodal_ser import audio, manifests
from multimodal_ser.models.fusion import FrameAttention
from multimodal_ser.models.hubert import HubertEncoder, HubertEncoderConfig
from multimodal_ser.models.mockingjay import MockingjayConfig, MockingjayEncoder
from multimodal_ser.models.npc import NpcConfig, NpcEncoder
from multimodal_ser.models.spectral import SpectralFeatures
from multimodal_ser.models.strength import StrengthConfig, StrengthNet, strength_losses
from multimodal_ser.models.students import StudentConfig, make_student
from multimodal_ser.objectives.emotional_spans import SpanConfig
from multimodal_ser.objectives.frame_alignment import AlignmentConfig, FrameAlignment
from multimodal_ser.objectives.intensity import at_times, energy, frame_times
from multimodal_ser.objectives.masking import BandConfig, draw, frame_levels
from multimodal_ser.objectives.reconstruction import MaskedReconstruction, PredictiveCoding
from multimodal_ser.objectives.relative_attributes import strength_targets
from multimodal_ser.objectives.vesper import Vesper, VesperConfig
from multimodal_ser.pseudo_labels import fit_clusters

STACK = 4  # 10 ms frames per frame
MOCKINGJAY = MockingjayConfig(
    bands=24, deltas=False, stack=STACK, width=64, blocks=2, heads=4, feedforward=128, dropout=0.0
)
NPC = NpcConfig(
    bands=24, stack=STACK, width=64, blocks=3, kernel=11, mask_size=5, groups=2, code_width=32, dropout=0.0
)
STRENGTH = StrengthConfig(
    bands=MOCKINGJAY.bands, stack=STACK, channels=(4,), recurrent=32, hidden=32, classes=7
)
STRIDES = (8, 2, 2, 2, 2, 5)  # of the teacher's convolutions: 40 ms, as the frames of the others
TEACHER = HubertEncoderConfig(
    {
        "model_type": "hubert", "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 128, "conv_dim": [24] * 6, "conv_kernel": [16, 3, 3, 3, 3, 5],
        "conv_stride": list(STRIDES), "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
        "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0,
    },
    normalise_input=True,
    frozen_front_end=False,
)  # fmt: skip
MASKS = {"small": 4, "large": 20}  # frames of 40 ms: as many seconds as published
CLUSTERS = 50
BATCH = 16
RATE = 1e-3


class Corpus:
    """All utterances in memory: audio, features, energy, labels, folds."""

    def __init__(self, path: str) -> None:
        manifest = manifests.read(path)
        self.utterances = manifest.utterances
        self.ids = [u.id for u in self.utterances]
        self.waves = [torch.from_numpy(audio.load(manifest.audio_path(u))) for u in self.utterances]
        normalised = SpectralFeatures(MOCKINGJAY.bands, stack=STACK)
        spectrum = SpectralFeatures(MOCKINGJAY.bands, stack=STACK, normalise=False)
        self.features, self.bands, self.energy, statistics = [], [], [], []
        for wave in self.waves:
            clip = wave[None], torch.tensor([len(wave)])
            count = int(normalised.frame_lengths(clip[1]))
            self.features.append(normalised(*clip)[0][0, :count])
            self.bands.append(spectrum(*clip)[0][0, :count])
            curve = at_times(energy(wave.numpy()), frame_times(count, STACK))
            self.energy.append(torch.from_numpy(curve).float())
            statistics.append(torch.cat([self.bands[-1].mean(0), self.bands[-1].std(0, correction=0)]))
        self.statistics = torch.stack(statistics).numpy()
        self.emotions = [u.emotion for u in self.utterances]
        self.classes = sorted(set(self.emotions))
        self.folds = np.array([u.fold for u in self.utterances])
        self.labels = torch.tensor([self.classes.index(name) for name in self.emotions])


def padded(rows, values):
    """The values of some utterances side by side, and the mask of what is valid."""
    chosen = [values[row] for row in rows]
    mask = pad_sequence([torch.ones(len(x)) for x in chosen], batch_first=True).bool()
    return pad_sequence(chosen, batch_first=True), mask


class Unit:
    """One seed and fold; what several conditions need is made once."""

    def __init__(self, corpus, fold, seed, epochs):
        self.corpus, self.seed, self.epochs = corpus, seed, epochs
        self.train, self.test = np.flatnonzero(corpus.folds != fold), np.flatnonzero(corpus.folds == fold)

    def heard(self, condition):
        """What the encoder of a condition says of every utterance: the means (N, F) of all its layers."""
        network, kind = condition.split()
        if network == "vesper":
            encoder, features = self.vesper(kind), self.front_ends
            forward = lambda x, mask: encoder.forward_from_front_end(x, mask.sum(1))  # noqa: E731
        else:
            encoder, features = self.spectral(network, kind), self.corpus.features
            forward = encoder.forward_from_features
        pooled = []
        with torch.inference_mode():
            for rows in slices(len(self.corpus.utterances)):
                encoding = forward(*padded(rows, features))
                count = encoding.mask.sum(1)[:, None]
                means = [(x * encoding.mask[..., None]).sum(1) / count for x in encoding.layers]
                pooled.append(torch.cat(means, dim=1))
        return torch.cat(pooled).numpy()

    def said(self, condition):
        """What a logistic regression on these means says of the test utterances."""
        x = self.heard(condition)
        regression = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
        model = make_pipeline(StandardScaler(), regression)
        model.fit(x[self.train], self.corpus.labels.numpy()[self.train])
        return [self.corpus.classes[i] for i in model.predict(x[self.test])]

    def fit(self, module, loss_of, epochs=None):
        """Adam over shuffled batches of training utterances; `loss_of(rows, epoch)` is the loss of one."""
        optimiser = torch.optim.Adam([w for w in module.parameters() if w.requires_grad], lr=RATE)
        random = np.random.default_rng(self.seed)
        for epoch in range(epochs or self.epochs):
            if hasattr(module, "begin_epoch"):
                module.begin_epoch(epoch)
            module.train()
            for batch in batches(self.corpus, self.train, random):
                optimiser.zero_grad()
                loss_of(batch).backward()
                torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
                optimiser.step()
        return module.eval()

    def names(self, rows):
        """The ids of some utterances."""
        return tuple(self.corpus.ids[row] for row in rows)

    @functools.cached_property
    def strength(self):
        """Intensity of all utterances from a strength network that saw the training speakers."""
        corpus, targets = self.corpus, torch.zeros(len(self.corpus.utterances))
        given = [corpus.emotions[i] for i in self.train], self.seed
        targets[self.train] = torch.from_numpy(
            strength_targets(corpus.statistics[self.train], *given).astype(np.float32)
        )
        torch.manual_seed(self.seed)
        network = StrengthNet(STRENGTH)

        def loss_of(rows):
            told = network.forward_from_features(*padded(rows, corpus.bands))
            return strength_losses(told, targets[rows], corpus.labels[rows])["loss"]

        self.fit(network, loss_of, max(1, self.epochs // 2))
        curves = []
        with torch.inference_mode():
            for rows in slices(len(corpus.utterances)):
                told = network.forward_from_features(*padded(rows, corpus.bands))
                curves += [told.frames[i, : len(corpus.bands[row])].clone() for i, row in enumerate(rows)]
        return curves

    def spectral(self, network, kind):
        """An encoder of spectral frames, pretrained or not."""
        if kind == "aligned":
            return self.aligned()
        return (
            self.reconstructed
            if (network, kind) == ("mockingjay", "random")
            else self.reconstruct(network, kind)
        )

    @functools.cached_property
    def reconstructed(self):
        """The MockingJay of random spans: a condition, and the start of alignment."""
        return self.reconstruct("mockingjay", "random")

    def reconstruct(self, network, kind):
        """An encoder that has learned to reconstruct what was hidden, or nothing at all."""
        corpus = self.corpus
        torch.manual_seed(self.seed)
        encoder = MockingjayEncoder(MOCKINGJAY) if network == "mockingjay" else NpcEncoder(NPC)
        if kind == "none":
            return encoder.eval()
        curves = {"energy": corpus.energy, "learned": self.strength if kind == "learned" else None}.get(kind)
        source = energy if curves else None  # the curves are made already; this only switches the heads on
        if network == "mockingjay":
            spans = SpanConfig(policy="intense" if curves else "random", span=3, min_gap=3)
            objective = MaskedReconstruction(encoder, source, spans, self.seed)
        else:
            objective = PredictiveCoding(encoder, source)

        def loss_of(rows):
            intensity = padded(rows, curves)[0] if curves else None
            given = padded(rows, corpus.features)
            return objective.losses_from_features(*given, intensity, self.names(rows))["loss"]

        self.fit(objective, loss_of)
        return encoder

    def aligned(self):
        """Fine-tune for emotion, cluster the frames, and predict the clusters from the start again."""
        corpus, encoder, tuned = self.corpus, *(copy.deepcopy(self.reconstructed) for _ in range(2))
        torch.manual_seed(self.seed)
        head = torch.nn.ModuleList([FrameAttention(tuned.width), torch.nn.Linear(tuned.width, 7)])

        def emotion_loss(rows):
            features, mask = padded(rows, corpus.features)
            states = tuned.forward_from_features(features, mask).layers[-1]
            return torch.nn.functional.cross_entropy(head[1](head[0](states, mask)), corpus.labels[rows])

        self.fit(torch.nn.ModuleList([tuned, head]), emotion_loss)
        with torch.inference_mode():
            clips = {row: padded([row], corpus.features) for row in self.train}
            frames = {row: tuned.forward_from_features(*clip).layers[-1][0] for row, clip in clips.items()}
        self.predict_clusters(encoder, frames, lambda rows: padded(rows, corpus.features))
        return encoder

    def predict_clusters(self, encoder, frames, given):
        """Train an encoder to tell the clusters of `frames`, of which spans are hidden; given: its input."""
        clusters = fit_clusters(torch.cat(list(frames.values())).numpy(), CLUSTERS, self.seed, restarts=2)
        labels = {row: torch.from_numpy(clusters.predict(x.numpy())).long() for row, x in frames.items()}
        config = AlignmentConfig(CLUSTERS, projection=64, span=5, feature_penalty=0.0)
        objective = FrameAlignment(encoder, config, self.seed)

        def loss_of(rows):
            features, mask = given(rows)
            told = [fitted(labels[row], int(count)) for row, count in zip(rows, mask.sum(1), strict=True)]
            told = pad_sequence(told, True, -1)
            return objective.losses_from_features(features, mask.sum(1), told, self.names(rows))["loss"]

        self.fit(objective, loss_of)

    @functools.cached_property
    def teacher(self):
        """A HuBERT made as the first HuBERT was: masked prediction of clusters of the spectrum."""
        torch.manual_seed(self.seed)
        encoder = HubertEncoder(TEACHER)
        encoder.network.masked_spec_embed.requires_grad_(True)
        waves = self.corpus.waves

        def given(rows):
            wave, mask = padded(rows, waves)
            features, counts = encoder.encode_front_end(wave, mask.sum(1))
            return features, torch.arange(features.shape[1]) < counts[:, None]

        self.predict_clusters(encoder, {row: self.corpus.features[row] for row in self.train}, given)
        return encoder

    @functools.cached_property
    def front_ends(self):
        """What the teacher's convolutions say of every utterance; the students keep them."""
        with torch.no_grad():
            clips = [(wave[None], torch.tensor([len(wave)])) for wave in self.corpus.waves]
            return [self.teacher.encode_front_end(*clip)[0][0] for clip in clips]

    def vesper(self, kind):
        """Two of the teacher's four blocks, trained on masked speech, or as they are."""
        torch.manual_seed(self.seed)
        student = make_student(
            self.teacher, StudentConfig(2, "uniform", final_norm=False, frozen_front_end=True), hides=True
        )
        if kind == "none":
            return student.eval()
        masks = BandConfig("random" if kind == "random" else "emotion", **MASKS)
        config = VesperConfig(blocks=2, masks=masks, predictor=64)
        objective = Vesper(student, self.teacher, config, self.seed)
        hop = int(np.prod(STRIDES))
        sounds = zip(self.corpus.waves, self.front_ends, strict=True)
        levels = [frame_levels(wave.numpy(), len(x), hop) for wave, x in sounds]

        def loss_of(rows):
            features, mask = padded(rows, self.front_ends)
            counts = mask.sum(1)
            with torch.no_grad():
                told = self.teacher.forward_from_front_end(features, counts)
            randoms = [objective.random_of(name) for name in self.names(rows)]
            drawn = draw([levels[row] for row in rows], masks, randoms)
            return objective.losses_from_features(features, counts, told, drawn)["loss"]

        self.fit(objective, loss_of)
        return student


def batches(corpus, rows, random):
    """Utterances of similar length side by side, in random order."""
    lengths = np.array([len(corpus.features[row]) for row in rows]) * random.uniform(0.9, 1.1, len(rows))
    order = np.asarray(rows)[np.argsort(lengths)]
    cut = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [cut[i] for i in random.permutation(len(cut))]


def slices(count, size=64):
    """Ranges that cover `count` rows."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def fitted(labels, count):
    """Labels of `count` frames: the last is repeated, or what is over dropped, where the ends differ."""
    return labels[torch.arange(count).clamp(max=len(labels) - 1)]
