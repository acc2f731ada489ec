"""The weights of a model in bfloat16, cast once; autocast alone would cast them anew for every clip."""

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize

from multimodal_ser.models.front_end import FEWEST_CHANNELS_IN_BFLOAT16
from multimodal_ser.models.ser import SerModel


def in_bfloat16(model: SerModel) -> SerModel:
    """A model to be run under autocast. It shares with the given one what is not cast: embeddings, norms."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    copied = copy.deepcopy(model, shared)
    for module in list(copied.modules()):
        for name, part in module.named_children():
            if isinstance(part, nn.Conv1d) and parametrize.is_parametrized(part):
                setattr(module, name, _plain(part))
    for module in copied.modules():
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv1d) and _is_wide(module)):
            module.weight = nn.Parameter(module.weight.to(torch.bfloat16), requires_grad=False)
    return copied


def _plain(conv: nn.Conv1d) -> nn.Conv1d:
    """With the weight that another computes from others, as under weight norm."""
    sizes = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    plain = nn.Conv1d(*sizes, conv.groups, bias=conv.bias is not None, device="meta")
    plain.weight, plain.bias = nn.Parameter(conv.weight.detach(), requires_grad=False), conv.bias
    return plain.train(conv.training)


def _is_wide(conv: nn.Conv1d) -> bool:
    return conv.in_channels >= FEWEST_CHANNELS_IN_BFLOAT16 * conv.groups
