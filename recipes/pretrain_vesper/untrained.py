"""A small HuBERT of random weights, as an encoder folder: the teacher of the small experiments begins so.

python recipes/pretrain_vesper/untrained.py FOLDER SEED
"""

import sys

import torch

from multimodal_ser.models.encoder_folder import save_encoder
from multimodal_ser.models.hubert import HubertEncoder, HubertEncoderConfig

NETWORK = {
    "model_type": "hubert", "hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "intermediate_size": 256, "conv_dim": [32] * 7, "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
}  # fmt: skip


def main(folder: str, seed: int) -> None:
    torch.manual_seed(seed)
    config = HubertEncoderConfig(NETWORK, normalise_input=True, frozen_front_end=False)
    save_encoder(HubertEncoder(config), folder)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
