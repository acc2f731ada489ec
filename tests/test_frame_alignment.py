"""Pseudo-labels and masked prediction: planted clusters, loss by hand, gradients, mismatches, the verb."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from tiny_checkpoints import save_hubert

from multimodal_ser import audio, cli, manifests
from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.models.fusion import FrameAttention
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.mockingjay import MockingjayConfig, MockingjayEncoder
from multimodal_ser.objectives.frame_alignment import AlignmentConfig, FrameAlignment
from multimodal_ser.pseudo_labels import fit_clusters
from multimodal_ser.utterances import Utterance


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_hubert(tmp_path_factory.mktemp("checkpoint") / "hubert")


def batch(encoder, clusters: int = 5) -> Batch:
    lengths = torch.tensor([16_000, 9_000])
    waves = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    counts = encoder.frame_lengths(lengths)
    labels = torch.randint(clusters, (2, int(counts.max())), generator=torch.Generator().manual_seed(1))
    labels[torch.arange(labels.shape[1]) >= counts[:, None]] = -1
    nan = torch.full((2, 3), float("nan"))
    return Batch(waves, lengths, None, None, nan, nan[:, :0], labels, torch.arange(2), ("a", "b"))


def test_planted_clusters_are_found():
    random = np.random.default_rng(0)
    centres = random.normal(size=(6, 8)) * 8
    truth = random.integers(0, 6, 3000)
    found = fit_clusters(centres[truth] + random.normal(size=(3000, 8)), 6).predict(
        (centres[truth]).astype(np.float32)
    )
    assert adjusted_rand_score(truth, found) == 1.0
    with pytest.raises(InputError, match="4 frames are too few for 6 clusters"):
        fit_clusters(centres[:4], 6)


def test_the_loss_is_the_cross_entropy_of_cosines_on_hidden_frames_only(checkpoint):
    model = HubertEncoder.from_pretrained(str(checkpoint)).eval()
    objective = FrameAlignment(model, AlignmentConfig(clusters=5, projection=7)).eval()
    clips = batch(model)
    losses = objective(clips)
    features, counts = model.encode_front_end(clips.waveforms, clips.lengths)
    hidden = objective.hide(counts, features.shape[1], clips.ids)
    states = objective.project(model.forward_from_front_end(features, counts, hide=hidden).layers[-1])
    expected = []
    for row, frame in hidden.nonzero().tolist():
        cosines = torch.cosine_similarity(states[row, frame][None], objective.labels)
        expected.append(-torch.log_softmax(cosines / 0.1, 0)[clips.frame_labels[row, frame]])
    assert losses["masked"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)
    assert not hidden[1, counts[1] :].any()


def test_the_frozen_front_end_has_no_gradient_and_the_mask_vector_has_one(checkpoint):
    model = HubertEncoder.from_pretrained(str(checkpoint))
    objective = FrameAlignment(model, AlignmentConfig(clusters=5))
    objective(batch(model))["loss"].backward()
    assert all(weight.grad is None for weight in model.network.feature_extractor.parameters())
    assert model.network.masked_spec_embed.grad.abs().sum() > 0
    assert objective.labels.grad.abs().sum() > 0


def test_a_repeated_batch_is_learned():
    torch.manual_seed(0)
    size = MockingjayConfig(bands=16, width=32, blocks=1, heads=2, feedforward=32, dropout=0.0, stack=2)
    model = MockingjayEncoder(size)
    objective = FrameAlignment(model, AlignmentConfig(clusters=5, projection=16))
    clips = batch(model)
    optimiser = torch.optim.Adam(objective.parameters(), lr=5e-3)
    first = objective(clips)
    for _ in range(100):
        optimiser.zero_grad()
        losses = objective(clips)
        losses["loss"].backward()
        optimiser.step()
    assert losses["masked"].item() < 0.3 * first["masked"].item()
    assert losses["accuracy"] > 0.9


def test_masks_do_not_depend_on_batch_mates(checkpoint):
    objective = FrameAlignment(HubertEncoder.from_pretrained(str(checkpoint)))
    both = objective.hide(torch.tensor([49, 30]), 49, ("a", "b"))
    assert torch.equal(both[1, :30], objective.hide(torch.tensor([30]), 30, ("b",))[0])
    assert objective.hide(torch.tensor([3]), 3, ("c",)).all()


def test_labels_of_another_frame_rate_are_refused(checkpoint):
    model = HubertEncoder.from_pretrained(str(checkpoint))
    clips = batch(model)
    objective = FrameAlignment(model, AlignmentConfig(clusters=5))
    short = clips.frame_labels.clone()
    short[0, 48:] = -1
    with pytest.raises(InputError, match="utterance 'a' has 48 labels, but the encoder gives"):
        objective(clips._replace(frame_labels=short))
    with pytest.raises(InputError, match="there are 3 clusters"):
        FrameAlignment(model, AlignmentConfig(clusters=3))(clips)


def test_frame_attention_is_the_softmax_of_tanh_over_valid_frames():
    head = FrameAttention(2)
    with torch.no_grad():
        head.score.weight.copy_(torch.tensor([[1.0, 0.0]]))
    states = torch.tensor([[[0.5, 1.0], [-0.2, 3.0], [9.0, 99.0]]])
    mask = torch.tensor([[True, True, False]])
    weights = np.exp(np.tanh([0.5, -0.2]))
    weights /= weights.sum()
    expected = [weights @ [0.5, -0.2], weights @ [1.0, 3.0]]
    assert head(states, mask)[0].tolist() == pytest.approx(expected, rel=1e-5)
    assert head(states, torch.zeros(1, 3, dtype=torch.bool))[0].tolist() == [0, 0]


def test_the_verb_labels_every_frame_and_fits_on_training_audio_unless_told(checkpoint, tmp_path):
    random = np.random.default_rng(0)
    utterances = []
    for number, split in enumerate(["train", "train", "test"]):
        audio.encode(
            tmp_path / f"{number}.wav", random.normal(size=8000 + 500 * number).astype(np.float32) * 0.1
        )
        utterances.append(Utterance(id=str(number), corpus="c", audio=f"{number}.wav", split=split))
    header = manifests.Header(corpus="c", audio_root=str(tmp_path))
    manifests.write(tmp_path / "manifest.jsonl", header, utterances)
    command = [
        "pseudo_labels",
        str(tmp_path / "manifest.jsonl"),
        "--encoder",
        str(checkpoint),
        "--layer",
        "1",
    ]
    assert cli.main([*command, "--clusters", "4", "-o", str(tmp_path / "out")]) == 0
    model = HubertEncoder.from_pretrained(str(checkpoint))
    labelled = manifests.read(tmp_path / "out" / "manifest.jsonl").utterances
    frames = model.frame_lengths(torch.tensor([8000, 8500, 9000])).tolist()
    assert [len(u.frame_labels) for u in labelled] == frames
    facts = json.loads((tmp_path / "out" / "clusters.json").read_text())
    assert (facts["fitted_on_utterances"], facts["labelled_utterances"]) == (2, 3)
    assert cli.main([*command, "--clusters", "4", "--transductive", "-o", str(tmp_path / "all")]) == 0
    assert json.loads((tmp_path / "all" / "clusters.json").read_text())["fitted_on_utterances"] == 3
