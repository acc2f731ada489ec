"""Weights cast once say what autocast says that casts them at every call, and the model stays as it was."""

import pytest
import torch
from tiny_checkpoints import save_hubert
from torch import Tensor, nn

from multimodal_ser.backends.casting import in_bfloat16
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.ser import SerConfig, SerModel


@pytest.fixture
def model(tmp_path) -> SerModel:
    torch.manual_seed(0)
    encoder = HubertEncoder.from_pretrained(save_hubert(tmp_path, width=64, channels=32))
    return SerModel(SerConfig(fusion="audio", width=16, heads=2), encoder).eval()


def states(model: SerModel) -> Tensor:
    clip = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        return model.encode(clip, torch.tensor([16_000]), None, None).audio.states.float()


def test_what_it_says_is_what_autocast_says(model):
    expected, found = states(model), states(in_bfloat16(model))
    assert found.allclose(expected, rtol=0.02, atol=0.02 * float(expected.std()))


def test_the_model_itself_stays_as_it_was_and_shares_what_is_not_cast(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cast = in_bfloat16(model)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    kinds = {
        name: module.weight.dtype
        for name, module in cast.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.LayerNorm)
    }
    convolutions = "audio.network.feature_extractor.conv_layers"
    assert (
        kinds[f"{convolutions}.1.conv"]
        == kinds["audio.network.encoder.pos_conv_embed.conv"]
        == torch.bfloat16
    )
    assert kinds[f"{convolutions}.0.conv"] == kinds["audio.network.encoder.layer_norm"] == torch.float32
    norm = model.audio.network.encoder.layer_norm.weight
    assert cast.audio.network.encoder.layer_norm.weight.data_ptr() == norm.data_ptr()
