"""Backbones for tests."""

import torch
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.benchmark.measure.paths import randomize_norms

__all__ = ['trained']


def trained(**arguments) -> FasterNet:
    """A backbone whose weights and statistics are all different."""
    torch.manual_seed(0)
    model = FasterNet(**arguments)
    model.init_weights()
    randomize_norms(model)
    for name, parameter in model.named_parameters():
        if name.endswith('layer_scale'):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()
