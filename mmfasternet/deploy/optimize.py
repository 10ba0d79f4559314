"""One call from a trained model to the same model, optimized for inference."""

import copy
from typing import TypeVar

from torch import nn

from mmfasternet.models import FasterNet

from .backbone import OptimizedFasterNet, has_hooks
from .fold import fold_norm_before, is_foldable
from .graphs import CapturedBackbone

__all__ = ['optimize_for_inference']

_Model = TypeVar('_Model', bound=nn.Module)
# FPNs whose lateral convolutions are known to be the only readers of the backbone's feature maps.
_FPN = {'mmdet.models.necks.fpn', 'mmseg.models.necks.fpn'}


def optimize_for_inference(model: _Model) -> _Model | OptimizedFasterNet:
    """Optimize a trained FasterNet or timm network, or a model with one as its ``backbone``, for inference.

    Norms are folded into the convolutions before them, and output norms into an FPN's 1×1 lateral convolutions where
    nothing else reads the feature maps. Blocks overwrite feature maps that nothing else holds. On the CPU, PConv
    neither clones nor concatenates; on CUDA, 1×1 convolutions are matrix products that add the bias, ReLU and the
    shortcut themselves. Where the model is when it runs decides, so ``optimize_for_inference(model).cuda().half()``
    is fine. The memory format is channels_last. A FasterNet alone also gives its outputs in it; inside a detector or
    segmentor, outputs have the default format, which mmcv's operators need. All of this is exact up to rounding.

    Of a :class:`~mmfasternet.models.timm_features.TimmFeatures`, timm fuses the branches that were made for training;
    nothing else is changed.

    Args:
        model: A FasterNet, a TimmFeatures, or a detector or segmentor of mmdet or mmseg; it stays as it is. Its norms
            are taken as in evaluation mode.

    Returns:
        A new model in evaluation mode, without gradients.

    Raises:
        TypeError: If there is no such backbone, or it is captured already.
        ValueError: If a module of the backbone has a forward hook, which would no longer be called.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> from mmfasternet.deploy import optimize_for_inference
        >>> model = FasterNet('t0').eval()
        >>> fast = optimize_for_inference(model)
        >>> image = torch.rand(1, 3, 64, 96)
        >>> with torch.no_grad():
        ...     torch.allclose(fast(image)[0], model(image)[0], atol=1e-4)
        True
    """
    if isinstance(model, CapturedBackbone):
        raise TypeError('optimize_for_inference comes before capture: capture what it returns')
    backbone = getattr(model, 'backbone', model)
    # Asked by its method, since its class needs timm.
    if hasattr(backbone, 'reparameterize'):
        made = copy.deepcopy(model)
        getattr(made, 'backbone', made).reparameterize()
        return made.eval().requires_grad_(False)
    if not isinstance(backbone, FasterNet):
        backbone = getattr(model, 'backbone', None)
        raise TypeError(
            f'optimize_for_inference takes a FasterNet or TimmFeatures, or a model with one as its backbone, but got a '
            f'{type(model).__name__} with {"none" if backbone is None else type(backbone).__name__}'
        )
    hooked = [name or 'itself' for name, module in backbone.named_modules() if has_hooks(module)]
    if hooked:
        raise ValueError(f'remove the forward hooks on the backbone first: {", ".join(hooked)}')
    made = copy.deepcopy(model).eval()
    if isinstance(made, FasterNet):
        return OptimizedFasterNet(made)
    made.backbone = OptimizedFasterNet(made.backbone, contiguous=True)
    _fold_output_norms(made)
    return made.requires_grad_(False)


def _fold_output_norms(model: nn.Module) -> None:
    """Fold an output norm into the lateral convolution where that alone reads its feature map."""
    neck = getattr(model, 'neck', None)
    if type(neck).__module__ not in _FPN:
        return
    norms = model.backbone.output_norms
    for position, index in enumerate(model.backbone.out_indices):
        level = position - neck.start_level
        # RetinaNet's extra levels start from the last feature map that the FPN takes.
        read_twice = neck.add_extra_convs == 'on_input' and position == neck.backbone_end_level - 1
        if not 0 <= level < len(neck.lateral_convs) or read_twice or not is_foldable(norms[str(index)]):
            continue
        lateral = neck.lateral_convs[level]
        if not any(lateral.conv.padding) and lateral.order[0] == 'conv':
            lateral.conv = fold_norm_before(norms[str(index)], lateral.conv)
            norms[str(index)] = nn.Identity()
