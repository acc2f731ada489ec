"""Published sizes of text encoders and of Whisper, for random weights and for counting without a hub.

Each entry is what the checkpoint's config.json says, as far as it differs from transformers' default for the
family. Those of the HuBERT family are beside their encoder, in `hubert.PUBLISHED`.
"""

from typing import Any

_MINILM = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
TEXT: dict[str, dict[str, Any]] = {
    "distilbert-base-uncased": {"model_type": "distilbert"},
    "distilbert/distilbert-base-uncased": {"model_type": "distilbert"},
    "bert-base-uncased": {"model_type": "bert"},
    "google-bert/bert-base-uncased": {"model_type": "bert"},
    "sentence-transformers/all-MiniLM-L6-v2": _MINILM,
}


def _whisper(
    width: int, blocks: int, decoder_blocks: int, vocabulary: int = 51_865, bands: int = 80
) -> dict[str, Any]:
    return {
        "model_type": "whisper",
        "d_model": width,
        "encoder_layers": blocks,
        "decoder_layers": decoder_blocks,
        "encoder_attention_heads": width // 64,
        "decoder_attention_heads": width // 64,
        "encoder_ffn_dim": 4 * width,
        "decoder_ffn_dim": 4 * width,
        "num_mel_bins": bands,
        "vocab_size": vocabulary,
    }


# By the names of the openai-whisper package; on the hub they are openai/whisper-<name>.
WHISPER: dict[str, dict[str, Any]] = {
    "tiny": _whisper(384, 4, 4),
    "base": _whisper(512, 6, 6),
    "small": _whisper(768, 12, 12),
    "medium": _whisper(1024, 24, 24),
    "large-v2": _whisper(1280, 32, 32),
    "large-v3": _whisper(1280, 32, 32, 51_866, 128),
    "large-v3-turbo": _whisper(1280, 32, 4, 51_866, 128),
}
