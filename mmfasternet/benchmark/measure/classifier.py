"""Parameters and multiply-adds of a classifier, as two tables of the paper count them.

Table 8 counts convolutions and fully connected layers alone. The FLOPs of Table 3 are those of the norms too, 2
multiply-adds for each element of a BN, as mmengine's ``FlopAnalyzer`` has it.
"""

from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmfasternet.engine.build import build_model

from .complexity import NORMS, count_params

__all__ = ['count_classifier']


def count_classifier(config: str | Path, height: int = 224, width: int = 224) -> dict:
    """Count what a config's classifier costs for one picture.

    Args:
        config: A config file.
        height: Height of the picture in pixels. Defaults to 224.
        width: Width of the picture in pixels. Defaults to 224.

    Returns:
        ``config``, ``shape``, ``params`` and ``flops`` (multiply-adds, as in Table 3) of the whole network, and
        ``params_conv_fc`` and ``flops_conv_fc`` without its norms (both as in Table 8).

    Raises:
        UserError: If the config has no model with a backbone, or the model can't be built.

    Example:
        >>> count_classifier('configs/classification/fasternet_t0_imagenet.py')['params_conv_fc']
        3895820
    """
    model = build_model(config)[1]
    # Shapes alone: nothing is computed on the meta device.
    model.to('meta')
    with FlopCounterMode(display=False, custom_mapping=NORMS) as counter:
        model(torch.empty(1, 3, height, width, device='meta'))
    by_operator = counter.get_flop_counts()['Global']
    flops, flops_norms = sum(by_operator.values()), sum(by_operator.get(norm, 0) for norm in NORMS)
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    return dict(
        config=str(config),
        shape=[height, width],
        params=count_params(model)['params'],
        params_conv_fc=sum(count_params(layer)['params'] for layer in layers),
        # torch's counter counts a multiplication and an addition as two.
        flops=flops // 2,
        flops_conv_fc=(flops - flops_norms) // 2,
    )
