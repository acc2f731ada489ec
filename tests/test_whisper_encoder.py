"""Whisper's encoder against transformers' feature extractor and forward, and against itself in batches."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperModel

from multimodal_ser.errors import InputError
from multimodal_ser.models.whisper import LogMel, WhisperEncoder, WhisperEncoderConfig

SAMPLE_RATE = 16_000
WINDOW = 30 * SAMPLE_RATE  # samples
SETTINGS = WhisperConfig(
    d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
    decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=50, pad_token_id=0, bos_token_id=0,
    eos_token_id=0, decoder_start_token_id=1, encoder_layerdrop=1.0,
)  # fmt: skip
CONFIG = WhisperEncoderConfig(SETTINGS.to_dict())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A speech-recognition checkpoint as transformers writes it."""
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(SETTINGS)
    with torch.no_grad():
        for parameter in model.model.encoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    return tmp_path


def noise(rows: int, samples: int) -> Tensor:
    """Noise that swells and fades, so that the loudest point of each window differs."""
    level = 0.2 * torch.sin(torch.arange(samples) / 90_000) ** 2 + 1e-4
    return level * torch.randn(rows, samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bins", [80, 128])
def test_log_mel_equals_both_reference_implementations(bins: int) -> None:
    clip = noise(1, 70_000)[0].numpy()
    ours = LogMel(bins)(torch.from_numpy(np.pad(clip, (0, WINDOW - len(clip))))[None])[0]
    extractor = WhisperFeatureExtractor(feature_size=bins)
    theirs = extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features[0]
    original = whisper.log_mel_spectrogram(clip, n_mels=bins, padding=WINDOW - len(clip))
    assert ours.shape == (bins, 3000)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours, original, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_every_layer_is_the_one_that_transformers_gives(folder: Path) -> None:
    clip = noise(1, 50_000)
    features = WhisperFeatureExtractor.from_pretrained(folder)(
        clip[0].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt"
    )
    reference = WhisperModel.from_pretrained(folder).encoder.eval()
    expected = reference(features.input_features, output_hidden_states=True)
    encoding = WhisperEncoder.from_pretrained(str(folder)).eval()(clip, torch.tensor([50_000]))
    frames = 157  # 50,000 samples / 320, rounded up
    assert encoding.mask.shape == (1, frames)
    assert encoding.frame_rate == 50.0
    for layer, hidden in zip(encoding.layers[:-1], expected.hidden_states[:-1], strict=True):
        torch.testing.assert_close(layer, hidden[:, :frames], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        encoding.layers[-1], expected.last_hidden_state[:, :frames], rtol=1e-4, atol=1e-4
    )


@torch.inference_mode()
def test_the_batch_does_not_change_a_clip(folder: Path) -> None:
    encoder = WhisperEncoder.from_pretrained(folder).eval()
    lengths = torch.tensor([WINDOW + 8000, 16_000, 0, 100])
    waveforms = noise(4, int(lengths.max()) + 500)
    batch = encoder(waveforms, lengths)
    for row, length in enumerate(lengths):
        alone = encoder(waveforms[row : row + 1, :length], length[None])
        frames = -(-int(length) // 320)
        assert batch.mask[row].sum() == alone.mask.sum() == frames
        for together, single in zip(batch.layers, alone.layers, strict=True):
            torch.testing.assert_close(together[row, :frames], single[0], rtol=1e-5, atol=1e-5)
    assert all(torch.isfinite(layer).all() for layer in batch.layers)


@torch.inference_mode()
def test_a_long_clip_is_its_windows_put_together(folder: Path) -> None:
    encoder = WhisperEncoder.from_pretrained(folder).eval()
    clip = noise(1, 2 * WINDOW + 3200)
    whole = encoder(clip, torch.tensor([clip.shape[1]])).layers[-1]
    parts = [encoder(part, torch.tensor([part.shape[1]])).layers[-1] for part in clip.split(WINDOW, dim=1)]
    assert whole.shape[1] == 1500 + 1500 + 10
    torch.testing.assert_close(whole, torch.cat(parts, dim=1), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_shorter_windows_use_the_first_positions_and_cut_where_they_say(folder: Path) -> None:
    encoder = WhisperEncoder.from_pretrained(folder, window_seconds=2.0).eval()
    clip = noise(1, 80_000)
    whole = encoder(clip, torch.tensor([80_000])).layers[-1]
    parts = [encoder(part, torch.tensor([part.shape[1]])).layers[-1] for part in clip.split(32_000, dim=1)]
    assert whole.shape[1] == 250
    torch.testing.assert_close(whole, torch.cat(parts, dim=1), rtol=1e-5, atol=1e-5)
    for wrong in (0.0, 31.0):
        with pytest.raises(InputError, match=rf"window_seconds={wrong}, .* up to 30 s"):
            WhisperEncoder.from_pretrained(folder, window_seconds=wrong)


@torch.inference_mode()
def test_last_layer_gives_the_same_layers_and_runs_no_block_more() -> None:
    encoder = WhisperEncoder.from_config(CONFIG).eval()
    runs: list[int] = []
    for index, block in enumerate(encoder.network.layers):
        block.register_forward_hook(lambda *_, index=index: runs.append(index))
    clip, length = noise(1, 8000), torch.tensor([8000])
    full = encoder(clip, length).layers
    for last in range(2):
        runs.clear()
        layers = encoder(clip, length, last_layer=last).layers
        assert runs == list(range(last))
        assert len(layers) == last + 1
        assert all(one.equal(other) for one, other in zip(layers, full, strict=False))
    with pytest.raises(InputError, match="last_layer=3, but this encoder has layers 0"):
        encoder(clip, length, last_layer=3)


def test_training_runs_every_block_and_gives_gradients_above_the_frozen_convolutions() -> None:
    encoder = WhisperEncoder.from_config(CONFIG).train()
    encoder(noise(1, 8000), torch.tensor([8000])).layers[-1].square().sum().backward()
    frozen = {name for name, parameter in encoder.named_parameters() if parameter.grad is None}
    assert frozen == {
        "network.conv1.weight", "network.conv1.bias", "network.conv2.weight", "network.conv2.bias",
        "network.embed_positions.weight",
    }  # fmt: skip
    moved = {name for name, p in encoder.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"network.layers.0.fc1.weight", "network.layers.1.fc1.weight"} <= moved


def test_weights_that_do_not_fit_are_an_error(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    lacking = {name: weight for name, weight in weights.items() if not name.endswith("encoder.conv2.bias")}
    for wrong, message in (
        (lacking, r"1 missing: conv2\.bias"),
        (weights | {"model.encoder.extra": torch.zeros(1)}, "1 unexpected: extra"),
    ):
        save_file(wrong, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=message):
            WhisperEncoder.from_pretrained(folder)


def test_another_family_is_refused() -> None:
    with pytest.raises(InputError, match="model_type is 'hubert'; this encoder reads whisper"):
        WhisperEncoder.from_config({"network": {"model_type": "hubert"}})


@torch.inference_mode()
def test_a_saved_encoder_and_its_config_come_back_the_same(folder: Path, tmp_path: Path) -> None:
    encoder = WhisperEncoder.from_pretrained(folder, window_seconds=1.0).eval()
    encoder.save_pretrained(tmp_path / "again")
    again = WhisperEncoder.from_pretrained(tmp_path / "again", window_seconds=1.0).eval()
    clip, length = noise(1, 20_000), torch.tensor([20_000])
    assert again(clip, length).layers[-1].equal(encoder(clip, length).layers[-1])
    built = WhisperEncoder.from_config(json.loads(json.dumps(asdict(encoder.config))))
    assert built.config == encoder.config
    assert {n: w.shape for n, w in built.state_dict().items()} == {
        n: w.shape for n, w in encoder.state_dict().items()
    }


def test_the_encoder_of_whisper_base_has_its_published_size() -> None:
    with torch.device("meta"):
        encoder = WhisperEncoder.from_config(
            {"network": {"model_type": "whisper", "d_model": 512, "encoder_layers": 6,
                         "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}}
        )  # fmt: skip
        original = whisper.model.AudioEncoder(n_mels=80, n_ctx=1500, n_state=512, n_head=8, n_layer=6)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    positions = 1500 * 512  # a buffer there, a frozen parameter here
    assert count == sum(parameter.numel() for parameter in original.parameters()) + positions
