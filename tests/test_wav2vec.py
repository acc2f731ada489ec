"""HuBERT, DistilHuBERT, wav2vec 2.0 and WavLM against transformers: same numbers, weights and settings."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel
from transformers.activations import ACT2FN

from multimodal_ser.errors import InputError
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.wav2vec import Wav2Vec
from multimodal_ser.models.wav2vec_config import ACTIVATIONS, FAMILIES, Wav2VecConfig

TINY = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
HUBERT, WAV2VEC2, WAVLM = ({"model_type": family, **TINY} for family in ("hubert", "wav2vec2", "wavlm"))
SHAPES = {
    "hubert-base": HUBERT,
    "hubert-large": {**HUBERT, **LARGE},
    "distilhubert": {**HUBERT, "feat_proj_layer_norm": False},
    "mhubert": {**HUBERT, "conv_pos_batch_norm": True},
    "wav2vec2-base": {**WAV2VEC2, "num_conv_pos_embeddings": 15},
    "wav2vec2-large": {**WAV2VEC2, **LARGE},
    "mms": {**WAV2VEC2, **LARGE, "adapter_attn_dim": 5},
    "adapters-without-a-place": {**WAV2VEC2, "adapter_attn_dim": 5},
    "wavlm-base": {**WAVLM, "num_buckets": 40, "max_bucket_distance": 20},
    "wavlm-large": {**WAVLM, **LARGE, "conv_dim": [8, 6, 8, 6, 8, 6, 10]},
    "bias-under-group-norm": {**WAVLM, "conv_bias": True, "mask_time_prob": 0.0},
    "others": {**HUBERT, "hidden_act": "gelu_new", "feat_extract_activation": "relu", "layer_norm_eps": 1e-3,
               "initializer_range": 0.3, "mask_time_prob": 0.0, "mask_feature_prob": 0.1},
}  # fmt: skip
# Nothing random in training but dropout.
DROPOUT = {
    "hidden_dropout": 0.1, "activation_dropout": 0.2, "attention_dropout": 0.3, "feat_proj_dropout": 0.1,
    "layerdrop": 0.0, "apply_spec_augment": False,
}  # fmt: skip
LENGTH = torch.tensor([9_000])


def pair(settings: dict[str, Any]) -> tuple[nn.Module, HubertEncoder]:
    """transformers' network, and an encoder of ours that has its weights; none stands at a neutral value."""
    theirs = AutoModel.from_config(CONFIG_MAPPING[settings["model_type"]](**settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    ours = HubertEncoder.from_config(
        {"network": theirs.config.to_dict(), "normalise_input": False, "frozen_front_end": False}
    )
    ours.network.load_state_dict(theirs.state_dict())
    return theirs.eval(), ours.eval()


def clip() -> Tensor:
    return 0.05 + 0.1 * torch.randn(1, int(LENGTH), generator=torch.Generator().manual_seed(1))


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm())


@pytest.mark.parametrize("name", SHAPES)
def test_a_seed_draws_the_weights_of_transformers(name: str) -> None:
    torch.manual_seed(7)
    theirs = AutoModel.from_config(CONFIG_MAPPING[SHAPES[name]["model_type"]](**SHAPES[name])).state_dict()
    torch.manual_seed(7)
    ours = Wav2Vec(Wav2VecConfig.from_settings(SHAPES[name])).state_dict()
    assert list(ours) == list(theirs)
    assert all(ours[key].equal(theirs[key]) for key in theirs)


@torch.inference_mode()
@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_is_that_of_transformers(name: str) -> None:
    theirs, ours = pair(SHAPES[name])
    said = theirs(clip(), output_hidden_states=True)
    expected = [*said.hidden_states[:-1], said.last_hidden_state]
    for layer, hidden in zip(ours(clip(), LENGTH).layers, expected, strict=True):
        assert relative(layer, hidden) < 1e-5


@pytest.mark.parametrize("name", ["hubert-base", "wav2vec2-large", "mms", "wavlm-base", "wavlm-large"])
def test_training_drops_what_transformers_drops_and_has_its_gradients(name: str) -> None:
    theirs, ours = pair({**SHAPES[name], **DROPOUT})
    torch.manual_seed(5)
    expected = theirs.train()(clip()).last_hidden_state
    torch.manual_seed(5)
    found = ours.train()(clip(), LENGTH).layers[-1]
    assert relative(found, expected) < 1e-5
    assert relative(found, ours.eval()(clip(), LENGTH).layers[-1]) > 1e-2
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    for states in (expected, found):
        (states * weight).sum().backward()
    own = dict(ours.network.named_parameters())
    for key, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(own[key].grad, parameter.grad, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("kernel", [16, 15])
def test_lengths_of_clips_give_few_shapes_to_the_positional_convolution(kernel: int, monkeypatch) -> None:
    part = Wav2Vec(Wav2VecConfig.from_settings({**WAV2VEC2, "num_conv_pos_embeddings": kernel})).encoder
    seen = []
    plain = torch.nn.functional.conv2d
    monkeypatch.setattr(
        "torch.nn.functional.conv2d",
        lambda x, *more, **named: seen.append(x.shape[-1]) or plain(x, *more, **named),
    )
    for frames in (1, 16, 33, 47, 48):
        hidden, mask = torch.randn(1, frames, 24), torch.ones(1, frames, dtype=torch.bool)
        wanted = part.pos_conv_embed(hidden, mask).detach()
        with torch.no_grad():
            torch.testing.assert_close(part.pos_conv_embed(hidden, mask), wanted, atol=1e-5, rtol=1e-5)
    assert seen == [16, 16, 48, 48, 48]


def positions(network: Wav2Vec, generator: torch.Generator) -> tuple[nn.Module, Callable]:
    hidden, mask = torch.randn(2, 40, 24, generator=generator), torch.ones(2, 40, dtype=torch.bool)
    return network.encoder.pos_conv_embed, lambda part, kind: part(hidden.to(kind), mask)


def front_end(network: Wav2Vec, generator: torch.Generator) -> tuple[nn.Module, Callable]:
    sound = torch.randn(1, 8_000, generator=generator)
    return network.feature_extractor, lambda part, kind: part(sound.to(kind), torch.tensor([8_000]))[0]


@pytest.mark.parametrize(
    ("name", "part_of"), [("hubert-base", positions), ("mhubert", positions), ("hubert-large", front_end)]
)
def test_what_is_kept_follows_the_weights_however_they_change(name: str, part_of: Callable) -> None:
    part, run = part_of(pair(SHAPES[name])[1].network, torch.Generator().manual_seed(1))
    other, _ = part_of(pair({**SHAPES[name], "initializer_range": 0.5})[1].network, torch.Generator())

    def changes() -> Iterator[str]:
        yield "nothing"
        run(part, torch.float32).square().sum().backward()
        torch.optim.SGD(part.parameters(), lr=0.01).step()
        yield "a step of training"
        part.load_state_dict(other.state_dict())
        yield "weights that are read"
        part.load_state_dict({key: value * 2 for key, value in other.state_dict().items()}, assign=True)
        yield "weights that take the place of others"
        part.double()
        yield "precision"
        part.float()
        yield "precision again"

    found = []
    for change in changes():
        kind = next(part.parameters()).dtype
        wanted = run(part, kind).detach()  # with gradients, as torch computes it
        with torch.no_grad():
            found.append(run(part, kind))
        assert float((found[-1] - wanted).abs().max()) < 1e-4 * float(wanted.abs().max()), change
    assert all(float((one - next_).abs().max()) > 0.01 for one, next_ in pairwise(found[:4]))


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_that_are_not_named_are_those_of_transformers(family: str) -> None:
    theirs = CONFIG_MAPPING[family]().to_dict()
    ours = Wav2VecConfig.from_settings({"model_type": family}).to_dict()
    assert {name: theirs[name] for name in ours if name in theirs} == {
        name: value for name, value in ours.items() if name in theirs
    }
    # transformers looks at these where a checkpoint has them
    assert ours.keys() - theirs.keys() <= {"adapter_attn_dim", "mask_feature_min_masks"}
    assert Wav2VecConfig.from_settings(theirs).to_dict() == ours


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(name: str) -> None:
    x = torch.linspace(-8, 8, 400)
    torch.testing.assert_close(ACTIVATIONS[name](x), ACT2FN[name](x), rtol=1e-5, atol=1e-6)


def test_settings_of_heads_and_of_other_families_are_left_out() -> None:
    foreign = {"vocab_size": 40, "id2label": {"0": "sad"}, "feat_proj_layer_norm": False, "num_buckets": 3}
    plain = Wav2VecConfig.from_settings(WAV2VEC2)
    assert Wav2VecConfig.from_settings({**WAV2VEC2, **foreign}) == plain
    assert plain.to_dict().keys().isdisjoint(foreign)


def test_weights_are_in_single_precision_whatever_the_settings_say() -> None:
    network = {**HUBERT, "dtype": "float16", "torch_dtype": "float16"}
    encoder = HubertEncoder.from_config({"network": network, "normalise_input": True})
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "data2vec-audio"},
            "a/config.json: model_type is 'data2vec-audio'; this encoder reads",
        ),
        ({"add_adapter": True}, "add_adapter is True: an encoder that shortens its output"),
        ({"quantization_config": {"bits": 4}}, "weights in fewer bits are not read"),
        ({"pruned_heads": {"0": [1]}}, "attention with fewer heads in some blocks"),
        ({"hidden_act": "xielu"}, "hidden_act is 'xielu'; it must be one of gelu, "),
        ({"hidden_act": None}, "hidden_act is None; it must be one of gelu, "),
        (
            {"feat_extract_activation": ["gelu"]},
            r"feat_extract_activation is \['gelu'\]; it must be one of gelu, ",
        ),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm is 'batch'; it must be one of group, layer"),
        ({"hidden_size": "wide"}, "a/config.json: hidden_size is 'wide'; it must be a whole number from 1"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True; it must be a whole number from 0"),
        ({"do_stable_layer_norm": 1}, "do_stable_layer_norm is 1; it must be true or false"),
        ({"hidden_dropout": 1.5}, "hidden_dropout is 1.5; it must be a number from 0 to 1"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps is 'small'; it must be a number from 0"),
        ({"conv_dim": []}, r"conv_dim is \(\); it must be a list of whole numbers"),
        ({"conv_stride": [5, 2]}, "conv_dim, conv_kernel, conv_stride must be lists of one length"),
        ({"num_attention_heads": 5}, "hidden_size 24 is no multiple of num_attention_heads 5"),
        ({"num_conv_pos_embedding_groups": 7}, "no multiple of num_conv_pos_embedding_groups 7"),
        ({"adapter_attn_dim": 0}, "adapter_attn_dim is 0; it must be a whole number from 1"),
        ({"model_type": "wavlm", "num_buckets": 3}, "num_buckets is 3 and max_bucket_distance 800"),
    ],
)
def test_settings_that_are_not_computed_here_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Wav2VecConfig.from_settings({**HUBERT, **changes}, "a/config.json")
