"""Checkpoint folders of the real kinds with a handful of random weights, for tests without a model hub."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from multimodal_ser.config import load_config
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.models.text import TextEncoder

if TYPE_CHECKING:
    from whisper.model import ModelDimensions


def save_hubert(folder: Path, layers: int = 2, width: int = 16, channels: int = 8) -> Path:
    """A DistilHuBERT-like folder: group norm in the front end."""
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(0)
    settings = HubertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(channels,) * 3,
        conv_kernel=(10, 8, 8),
        conv_stride=(5, 8, 8),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="group",
    )
    HubertModel(settings).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def save_whisper(folder: Path) -> Path:
    """A Whisper folder, 16 wide, of which the encoder is used."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    torch.manual_seed(0)
    settings = WhisperConfig(
        vocab_size=60,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperModel(settings).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=settings.num_mel_bins).save_pretrained(folder)
    return folder


def save_distilbert(folder: Path) -> Path:
    """A DistilBERT folder whose tokenizer spells every word."""
    from transformers import BertTokenizer, DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz'"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    settings = DistilBertConfig(vocab_size=len(words), dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    DistilBertModel(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_ser_model(folder: Path, seed: int = 0) -> Path:
    """An untrained network that hears log-mel bands and reads."""
    torch.manual_seed(seed)
    mel = MelEncoder(MelConfig(bands=12, width=16, blocks=1, heads=2, feedforward=16))
    text = TextEncoder.small(["good and bad words that people say"], 16, 1, 2)
    SerModel(SerConfig(width=16, heads=2), mel, text).save_pretrained(folder)
    return folder


def save_hubert_ser_model(folder: Path) -> Path:
    """An untrained network that hears by a small HuBERT and reads."""
    torch.manual_seed(0)
    sizes = {
        "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "conv_dim": [8] * 7, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    audio = HubertEncoder.from_config({"network": sizes, "normalise_input": True})
    text = TextEncoder.small(["good and bad words that people say"], 16, 1, 2)
    SerModel(SerConfig(width=16, heads=2), audio, text).save_pretrained(folder)
    return folder


def whisper_sizes() -> "ModelDimensions":
    """All that is free is small; Whisper fixes the vocabulary and the 1500 positions of 30 s."""
    from whisper.model import ModelDimensions

    return ModelDimensions(
        n_mels=80, n_audio_ctx=1500, n_audio_state=16, n_audio_head=2, n_audio_layer=1,
        n_vocab=51865, n_text_ctx=32, n_text_state=16, n_text_head=2, n_text_layer=2,
    )  # fmt: skip


def save_openai_whisper(path: Path) -> Path:
    """A model file of openai-whisper with random weights, saved as its own files are."""
    from whisper.model import Whisper

    torch.manual_seed(0)
    model = Whisper(whisper_sizes())
    for name, parameter in model.named_parameters():
        # Sound must matter: in a random model the words so far would drown it.
        torch.nn.init.normal_(parameter, std=2.0 if "cross_attn" in name or "encoder" in name else 0.3)
    torch.save({"dims": asdict(whisper_sizes()), "model_state_dict": model.state_dict()}, path)
    return path


def tiny_changes(config: Path, checkpoints: Mapping[str, Path]) -> list[str]:
    """The changes to an experiment that put tiny weights in the place of published ones."""
    wanted = load_config(config)
    changes = ["model.width=32"]
    if "audio" in wanted.branches and not wanted.model.audio.is_untrained:
        kind = wanted.model.audio.chosen_kind
        changes += [f"model.audio.encoder={checkpoints[kind]}", f"model.audio.kind={kind}"]
    if "text" in wanted.branches and wanted.model.text.encoder != "small":
        changes.append(f"model.text.encoder={checkpoints['text']}")
    return changes
