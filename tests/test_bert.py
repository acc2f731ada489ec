"""BERT and DistilBERT against transformers: the same numbers from the same files and from the same seed."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel

from multimodal_ser.errors import InputError
from multimodal_ser.models import bert
from multimodal_ser.models.bert import Bert, BertConfig, is_known
from multimodal_ser.models.text import TextEncoder
from multimodal_ser.models.text_checkpoints import untrained_network

# True widths; the depth and the vocabulary of the published checkpoints are for the slow test.
WORDS = 1_000
MINILM = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
SHAPES = {
    "minilm": {**MINILM, "num_hidden_layers": 2},
    "bert": {"model_type": "bert", "num_hidden_layers": 1},
    "distilbert": {"model_type": "distilbert", "n_layers": 1},
    "relu": {"model_type": "distilbert", "n_layers": 1, "dim": 96, "activation": "relu"},
    "tanh": {**MINILM, "num_hidden_layers": 1, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5},
}
PUBLISHED = {
    "minilm": {**MINILM, "num_hidden_layers": 6},
    "bert-base": {"model_type": "bert"},
    "distilbert": {"model_type": "distilbert"},
}
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}


def reference(settings: dict) -> nn.Module:
    config = transformers.CONFIG_MAPPING[settings["model_type"]](**settings)
    pooler = {"add_pooling_layer": False} if settings["model_type"] == "bert" else {}
    return AutoModel.from_config(config, **pooler).eval()


def tokens() -> tuple[Tensor, Tensor]:
    ids = torch.randint(5, WORDS, (4, 150), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(150) < torch.tensor([[150], [3], [1], [77]])
    return ids, mask


@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_is_that_of_transformers_and_a_seed_draws_the_same_weights(name: str) -> None:
    compare({**SHAPES[name], "vocab_size": WORDS})


@pytest.mark.slow  # six to twelve blocks and 30,522 words, drawn twice
@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_of_published_size_are_those_of_transformers(name: str) -> None:
    compare(PUBLISHED[name])


@torch.inference_mode()
def compare(settings: dict) -> None:
    torch.manual_seed(7)
    theirs = reference(settings)
    torch.manual_seed(7)
    ours = untrained_network(theirs.config.to_dict(), "ours").eval()
    assert isinstance(ours, Bert)
    wanted, found = theirs.state_dict(), ours.state_dict()
    assert list(wanted) == list(found)
    assert all(wanted[key].equal(found[key]) for key in wanted)
    for parameter in theirs.parameters():  # nothing at a neutral value
        parameter.add_(0.02 * torch.randn_like(parameter))
    ours.load_state_dict(theirs.state_dict())
    ids, mask = tokens()
    layers = theirs(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    for layer, expected in zip(ours(ids, mask), layers, strict=True):
        assert float((layer - expected)[mask].abs().max()) < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["minilm", "distilbert"])
def test_without_padding_the_numbers_are_those_of_the_padded_batch(name, precision, monkeypatch) -> None:
    torch.manual_seed(7)
    network = untrained_network(
        reference({**SHAPES[name], "vocab_size": WORDS}).config.to_dict(), "ours"
    ).eval()
    ids, mask = tokens()
    computed = []
    network.blocks[0].register_forward_hook(lambda module, given, found: computed.append(found.shape[:-1]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        rows = network(ids, mask)
        monkeypatch.setattr(bert, "by_rows", lambda states: False)  # as on a GPU
        padded = network(ids, mask)
    assert computed == [(256,) if precision == "bf16" else (231,), (4, 150)]
    for ours, theirs in zip(rows, padded, strict=True):
        assert not ours[~mask].any()
        assert float((ours - theirs)[mask].abs().max()) < (0.05 if precision == "bf16" else 1e-5)


@pytest.mark.parametrize("name", ["minilm", "distilbert"])
def test_gradients_are_those_of_transformers(name: str) -> None:
    sizes = SMALL if name == "minilm" else {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 12}
    settings = {**SHAPES[name], "vocab_size": WORDS, **sizes}
    theirs = reference(settings)
    ours = untrained_network(settings, name).eval()
    ours.load_state_dict(theirs.state_dict())
    ids, mask = tokens()
    weight = torch.randn(4, 150, 8, generator=torch.Generator().manual_seed(2)) * mask[..., None]
    (theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state * weight).sum().backward()
    (ours(ids, mask)[-1] * weight).sum().backward()
    for (key, one), other in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("kind", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_each_dropout_acts_in_training_alone(family: str, kind: str) -> None:
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(family, vocab_size=WORDS, **SMALL, **none | {kind: 0.4})
    torch.manual_seed(0)
    network = Bert(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    ids, mask = tokens()
    kept = network.eval()(ids, mask)[-1]
    assert network(ids, mask)[-1].equal(kept)
    dropped = network.train()(ids, mask)
    assert not dropped[-1].allclose(kept, atol=1e-3)
    assert dropped[0].allclose(network.eval()(ids, mask)[0]) == (kind == "attention_probs_dropout_prob")


@torch.inference_mode()
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_saved_encoder_is_read_alike_by_us_and_by_transformers(family: str, tmp_path: Path) -> None:
    small = TextEncoder.small(["what people say"], width=8, blocks=2, heads=2)
    settings = BertConfig(family, vocab_size=len(small.tokenizer), **SMALL).to_dict()
    encoder = TextEncoder(untrained_network(settings, family), small.tokenizer).eval()
    encoder.save_pretrained(tmp_path)
    again = TextEncoder.from_pretrained(tmp_path).eval()
    assert again.config == encoder.config == json.loads((tmp_path / "config.json").read_text())
    assert load_file(tmp_path / "model.safetensors").keys() == encoder.model.state_dict().keys()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    given = tokenizer("People say [SEP] what?", return_tensors="pt", split_special_tokens=True)
    expected = AutoModel.from_pretrained(tmp_path).eval()(**given).last_hidden_state
    found = again(*again.tokenize(["People say [SEP] what?"])).layers[-1]
    assert float((found - expected).abs().max()) < 1e-5


def test_what_the_published_networks_compute_otherwise_is_left_to_transformers() -> None:
    assert is_known({"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False})
    assert is_known({"model_type": "distilbert", "sinusoidal_pos_embds": False, "pruned_heads": {}})
    for settings in (
        {"model_type": "roberta"},
        {},
        {"model_type": "bert", "position_embedding_type": "relative_key"},
        {"model_type": "bert", "is_decoder": True},
        {"model_type": "bert", "hidden_act": "silu"},
        {"model_type": "distilbert", "activation": "silu"},
        {"model_type": "distilbert", "sinusoidal_pos_embds": True},
        {"model_type": "bert", "pruned_heads": {"0": [1]}},
        {"model_type": "bert", "quantization_config": {"bits": 4}},
    ):
        assert not is_known(settings), settings
    assert not isinstance(untrained_network({"model_type": "bert", "hidden_act": "silu", **SMALL}, "x"), Bert)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "wide"}, "a/config.json: hidden_size is 'wide'; a whole number from 1"),
        ({"vocab_size": 0}, "vocab_size is 0; a whole number from 1"),
        ({"hidden_size": 9}, "hidden_size 9 is no multiple of num_attention_heads 2"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        untrained_network({"model_type": "bert", **SMALL, **changes}, "a/config.json")
