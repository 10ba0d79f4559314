"""What the runner changes in a model before it trains or tests: memory format, and the precision of RoIs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmfasternet.errors import UserError

from .ops import has_compiled_ops

__all__ = ['to_channels_last', 'widen_rois']


def to_channels_last(model: nn.Module) -> nn.Module:
    """Store the weights of convolutions in channels_last, so that they give feature maps in it.

    Weights that are initialized afterwards are other ones for the same seed: random numbers fill memory in its order.

    Args:
        model: The model, which is changed in place; its values and state-dict keys stay the same.

    Returns:
        The model.

    Raises:
        UserError: If the model has an operator of mmcv, such as RoIAlign, and mmcv's compiled operators are in use,
            which read such feature maps wrongly.

    Source:
        https://github.com/open-mmlab/mmcv/issues/2203

    Example:
        >>> from mmfasternet import FasterNet
        >>> maps = to_channels_last(FasterNet('t0'))(torch.rand(1, 3, 64, 64))
        >>> maps[0].is_contiguous(memory_format=torch.channels_last)
        True
    """
    kinds = {type(module) for module in model.modules()}
    wrong = sorted(kind.__name__ for kind in kinds if kind.__module__.startswith('mmcv.ops.'))
    if wrong and has_compiled_ops():
        raise UserError(
            f"channels_last=True is not for this model: mmcv's compiled {wrong[0]} reads feature maps in channels_last "
            "wrongly. Set channels_last=False, or use mmcv without compiled operators, for which torchvision's stand in"
        )
    return model.to(memory_format=torch.channels_last)


def widen_rois(model: nn.Module) -> None:
    """Pool the features of RoIs in float32, also in mixed precision.

    mmdet's extractors round the corners of RoIs to the type of the feature maps: in bfloat16, a corner at 1000 pixels
    moves by up to 2. In float16, they sum up a level that no RoI is on, which may overflow. Feature maps are therefore
    widened before, which loses nothing, and RoIs stay float32. It also lets mmcv's compiled RoIAlign run, which has no
    bfloat16.

    Args:
        model: The model; its RoI extractors are changed in place. Without one, nothing changes.

    Example:
        >>> from mmfasternet.engine.build import build_model
        >>> _, model = build_model('configs/mask_rcnn_fasternet_t0.py')
        >>> widen_rois(model)
        >>> maps = [torch.rand(1, 256, size, size, dtype=torch.bfloat16) for size in (16, 8, 4, 2)]
        >>> model.roi_head.bbox_roi_extractor(maps, torch.tensor([[0.0, 1, 1, 50, 40]])).dtype
        torch.float32
    """
    for module in model.modules():
        # By their common base, without importing mmdet for models of mmseg and mmpretrain.
        if any(kind.__name__ == 'BaseRoIExtractor' for kind in type(module).__mro__):
            module.register_forward_pre_hook(_widen)


def _widen(module: nn.Module, inputs: tuple) -> tuple:
    """The inputs of an RoI extractor, the feature maps first, in float32 at least."""
    maps: Sequence[Tensor] = inputs[0]
    return tuple(x.to(torch.promote_types(x.dtype, torch.float32)) for x in maps), *inputs[1:]
