"""What a supervised model is trained on, and by what it is selected."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.losses import concordance_loss, soft_cross_entropy, squared_error
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.models.text import TextEncoder
from multimodal_ser.objectives.supervised import Supervised, SupervisedConfig

CLASSES = ("happiness", "sadness")
TEXTS = ["good", "so so", "bad day", "fine", "awful"]


def model_of(fusion: str = "cross_attention", classes: tuple[str, ...] = ()) -> SerModel:
    torch.manual_seed(0)
    audio = MelEncoder(MelConfig(bands=8, width=8, blocks=1, heads=2, feedforward=8, dropout=0.0))
    text = TextEncoder.small(TEXTS, 8, 1, heads=2, dropout=0.0)
    config = SerConfig(fusion=fusion, width=8, heads=2, dropout=0.0, classes=classes)
    branches = config.branches
    return SerModel(config, audio if "audio" in branches else None, text if "text" in branches else None)


def batch_of(model: SerModel, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([4_000, 3_500, 3_000, 2_500, 2_000])
    targets = torch.rand(5, 3, generator=generator)
    targets[1, 0] = torch.nan
    shares = torch.tensor([[1.0, 0.0], [0.25, 0.75], [np.nan, np.nan], [0.0, 1.0], [1.0, 0.0]])
    tokens = (None, None) if model.text is None else model.text.tokenize(TEXTS)
    return Batch(
        waveforms=None if model.audio is None else torch.randn(5, 4_000, generator=generator) * 0.1,
        lengths=lengths,
        token_ids=tokens[0],
        token_mask=tokens[1],
        targets=targets,
        class_shares=shares if model.config.classes else torch.zeros(5, 0),
        frame_labels=None,
        indices=torch.arange(5),
        ids=tuple(f"u{n}" for n in range(5)),
    )


def test_the_loss_is_the_weighted_sum_of_its_parts_over_all_readings() -> None:
    config = SupervisedConfig(concordance=0.7, squared_error=0.3, classes=0.2, single_readings=0.25, hide=0.0)
    objective = Supervised(model_of(classes=CLASSES), config)
    batch = batch_of(objective.model)
    rows = objective.outputs(batch)
    named = objective.losses(rows)
    expected = 0.0
    for reading, weight in (("fused", 1.0), ("audio", 0.25), ("text", 0.25)):
        disagreement = concordance_loss(rows[reading], batch.targets)
        cross_entropy = soft_cross_entropy(rows[f"{reading}_logits"], batch.class_shares)
        part = 0.7 * disagreement + 0.3 * squared_error(rows[reading], batch.targets) + 0.2 * cross_entropy
        expected += weight * part
        assert named[f"{reading}_concordance"] == disagreement
        assert named[f"{reading}_classes"] == cross_entropy
    torch.testing.assert_close(named["loss"], expected)


@pytest.mark.parametrize(
    ("fusion", "readings"),
    [("cross_attention", ("fused", "audio", "text")), ("concat", ("fused", "audio", "text")),
     ("audio", ("audio",)), ("text", ("text",))],
)  # fmt: skip
def test_outputs_are_the_readings_that_the_model_gives(fusion: str, readings: tuple[str, ...]) -> None:
    objective = Supervised(model_of(fusion), SupervisedConfig()).eval()
    batch = batch_of(objective.model)
    rows = objective.outputs(batch)
    assert set(rows) == {*readings, "targets", "class_shares"}
    encoded = objective.model.encode(batch.waveforms, batch.lengths, batch.token_ids, batch.token_mask)
    for reading in readings:
        torch.testing.assert_close(rows[reading], objective.model.read(encoded, reading).dimensions)


def test_hidden_branches_make_the_fused_reading_a_single_one_for_some_utterances() -> None:
    objective = Supervised(model_of(), SupervisedConfig(hide=0.3)).train()
    batch = batch_of(objective.model)
    kinds = {"fused": 0, "audio": 0, "text": 0}
    draws = 200
    torch.manual_seed(0)
    with torch.no_grad():
        encoded = objective.model.encode(batch.waveforms, batch.lengths, batch.token_ids, batch.token_mask)
        wanted = {name: objective.model.read(encoded, name).dimensions for name in kinds}
        for _ in range(draws):
            said = objective.outputs(batch)["fused"]
            for row in range(5):
                (kind,) = (name for name in kinds if torch.allclose(said[row], wanted[name][row], atol=1e-6))
                kinds[kind] += 1
    shares = {name: count / (5 * draws) for name, count in kinds.items()}
    assert shares == pytest.approx({"fused": 0.4, "audio": 0.3, "text": 0.3}, abs=0.05)
    with torch.no_grad():
        torch.testing.assert_close(objective.eval().outputs(batch)["fused"], wanted["fused"])


def test_an_utterance_without_labels_leaves_the_gradient_as_it_is() -> None:
    objective = Supervised(model_of(), SupervisedConfig(hide=0.0))
    batch = batch_of(objective.model)
    unlabelled = batch._replace(targets=batch.targets.index_fill(0, torch.tensor([4]), torch.nan))

    def gradient(part: Batch) -> torch.Tensor:
        objective.zero_grad()
        objective(part)["loss"].backward()
        return torch.cat([p.grad.flatten() for p in objective.parameters()])

    torch.testing.assert_close(gradient(unlabelled), gradient(batch.rows(slice(0, 4))), rtol=1e-4, atol=1e-5)
    none = batch._replace(targets=torch.full((5, 3), torch.nan))
    assert gradient(none).abs().max() == 0


def lin(said: np.ndarray, labels: np.ndarray) -> float:
    covariance = np.cov(said, labels, bias=True)
    return 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (said.mean() - labels.mean()) ** 2)


def parts_of(batch: Batch) -> Iterator[Batch]:
    yield batch.rows(slice(0, 2))
    yield batch.rows(slice(2, 5))


def test_the_score_is_the_mean_concordance_of_the_fullest_reading_over_all_batches() -> None:
    objective = Supervised(model_of(), SupervisedConfig()).eval()
    batch = batch_of(objective.model)
    found = objective.validate(parts_of(batch), lambda rows: rows)
    with torch.no_grad():
        rows = objective.outputs(batch)
    for reading in ("fused", "audio", "text"):
        for column, dimension in enumerate(DIMENSIONS):
            labels = batch.targets[:, column].numpy().astype(np.float64)
            kept = ~np.isnan(labels)
            said = rows[reading][:, column].numpy().astype(np.float64)
            wanted = lin(said[kept], labels[kept])
            assert found[f"{reading}_{dimension}"] == pytest.approx(wanted, rel=1e-3, abs=1e-5)
    assert found["score"] == pytest.approx(np.mean([found[f"fused_{name}"] for name in DIMENSIONS]))


def test_a_dimension_without_labels_is_left_out_of_the_score() -> None:
    objective = Supervised(model_of(), SupervisedConfig()).eval()
    batch = batch_of(objective.model)
    batch.targets[:, 1] = torch.nan
    found = objective.validate(parts_of(batch), lambda rows: rows)
    assert "fused_valence" not in found
    assert found["score"] == pytest.approx((found["fused_arousal"] + found["fused_dominance"]) / 2)


def test_without_dimensions_the_score_is_the_mean_recall_of_the_classes() -> None:
    objective = Supervised(model_of("text", CLASSES), SupervisedConfig(classes=1.0)).eval()
    batch = batch_of(objective.model)._replace(targets=torch.full((5, 3), torch.nan))
    found = objective.validate(parts_of(batch), lambda rows: rows)
    with torch.no_grad():
        said = objective.outputs(batch)["text_logits"].argmax(1)[[0, 1, 3, 4]]
    labels = torch.tensor([0, 1, 1, 0])
    recalls = [float((said[labels == c] == c).float().mean()) for c in (0, 1)]
    assert found["score"] == found["text_accuracy"] == pytest.approx(np.mean(recalls))


def test_development_data_without_any_label_cannot_select() -> None:
    objective = Supervised(model_of("text"), SupervisedConfig()).eval()
    batch = batch_of(objective.model)._replace(targets=torch.full((5, 3), torch.nan))
    with pytest.raises(InputError, match="no development utterance is labelled"):
        objective.validate(parts_of(batch), lambda rows: rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hide": 0.6}, "hide = 0.6: a probability from 0 to 0.5"),
        ({"hide": -0.1}, "hide = -0.1"),
        ({"squared_error": -1.0}, "squared_error = -1.0: the weight of a loss is not negative"),
        ({"concordance": 0, "squared_error": 0}, "all parts of the loss have weight 0"),
    ],
)
def test_weights_that_make_no_sense_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SupervisedConfig(**changes)


def test_classes_belong_to_the_model_and_to_the_loss_or_to_neither() -> None:
    with pytest.raises(InputError, match=r"the loss has a weight for classes, but the model has none"):
        Supervised(model_of("text"), SupervisedConfig(classes=1.0))
    with pytest.raises(InputError, match=r"would stay as random as they begin: set loss\.classes"):
        Supervised(model_of("text", CLASSES), SupervisedConfig())
