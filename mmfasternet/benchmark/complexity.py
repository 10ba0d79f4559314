"""Parameters, multiply-adds and activations of a detector, part by part, without weights, data or a GPU.

Two conventions stand side by side. *Full* counts every operator of the detector that multiplies and adds, for 1000
proposals in the box head and 100 RoIs in the mask head. *Paper* counts as Table 4 of the FasterNet paper does, without
the mask predictor (the last deconvolution and 1×1 convolution) and without the products of attention, of which both
factors are activations. Norms count as in mmengine's ``FlopAnalyzer``: 2 for each element of a BN, 5 of an LN or GN.
"""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .detector import FIXED_PROPOSALS, FIXED_ROIS, build_detector, padded_shape, parts_of

__all__ = ['count_complexity']

aten = torch.ops.aten
# Products of two activations; a linear layer is an mm or addmm.
ATTENTION = (aten.bmm, aten.baddbmm)
MATRIX_PRODUCTS = (aten.convolution, aten.addmm, aten.mm, *ATTENTION)


def per_element(cost: int) -> Callable[..., int]:
    """A formula for torch's counter, which counts a multiplication and an addition as two."""

    def formula(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        # A norm puts out the map, its means and its deviations.
        return 2 * cost * prod(out_shape if isinstance(out_shape, torch.Size) else out_shape[0])

    return formula


# mmengine's own analyzer traces a model with real tensors, which takes minutes; torch's counter needs shapes alone.
NORMS = {
    aten.native_batch_norm: per_element(2),
    aten.cudnn_batch_norm: per_element(2),
    aten._native_batch_norm_legit_no_training: per_element(2),
    aten.native_layer_norm: per_element(5),
    aten.native_group_norm: per_element(5),
}
ACTIVATIONS = dict.fromkeys(MATRIX_PRODUCTS, per_element(1))


def count_complexity(config: str | Path, height: int = 800, width: int = 1280) -> dict:
    """Count what a config's two-stage detector costs for one picture.

    Args:
        config: A config file.
        height: Height of the picture in pixels, before padding. Defaults to 800.
        width: Width of the picture in pixels. Defaults to 1280.

    Returns:
        ``config``, ``shape``, ``params`` and ``trainable`` (plain counts), ``flops_full`` and ``flops_paper``
        (multiply-adds), ``activations`` (elements that convolutions and matrix products put out), and ``parts``, the
        same for each part of the detector.

    Raises:
        UserError: If the config has no two-stage detector.

    Example:
        >>> count_complexity('configs/mask_rcnn_fasternet_s.py')['trainable']
        48989936
    """
    cfg, model = build_detector(config)
    parts = {name: count_params(part) for name, part in parts_of(model, config).items()}
    # Shapes alone: nothing is computed on the meta device.
    model.to('meta')
    image = torch.empty(1, 3, *padded_shape(cfg, height, width), device='meta')
    maps = model.backbone(image)
    pyramid = model.neck(maps)
    parts['backbone'].update(count_operators(model.backbone, image))
    parts['neck'].update(count_operators(model.neck, maps))
    parts['rpn'].update(count_operators(model.rpn_head, pyramid))
    parts['box_head'].update(count_operators(model.roi_head.bbox_head, roi_features(model, 'bbox', FIXED_PROPOSALS)))
    if 'mask_head' in parts:
        head, features = model.roi_head.mask_head, roi_features(model, 'mask', FIXED_ROIS)
        before_predictor = count_operators(nn.Sequential(*head.convs), features)
        parts['mask_head'].update(count_operators(head, features), flops_paper=before_predictor['flops_paper'])
    totals = {key: sum(part[key] for part in parts.values()) for key in parts['backbone']}
    # The parameters of all modules, also of such that belong to no part.
    totals.update(count_params(model))
    return dict(config=str(config), shape=[height, width], **totals, parts=parts)


def count_params(module: nn.Module) -> dict[str, int]:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    return dict(params=sum(size for size, _ in sizes), trainable=sum(size for size, trained in sizes if trained))


def roi_features(model: nn.Module, kind: str, count: int) -> Tensor:
    extractor = getattr(model.roi_head, f'{kind}_roi_extractor')
    return torch.empty(count, extractor.out_channels, *extractor.roi_layers[0].output_size, device='meta')


def count_operators(module: nn.Module, features: Any) -> dict[str, int]:
    """Multiply-adds in both conventions, and activations, of one forward."""
    with (
        FlopCounterMode(display=False, custom_mapping=NORMS) as flops,
        FlopCounterMode(display=False, custom_mapping=ACTIVATIONS) as activations,
    ):
        module(features)
    by_operator = flops.get_flop_counts().get('Global', {})
    elements = activations.get_flop_counts().get('Global', {})
    full = sum(by_operator.values())
    attention = sum(by_operator.get(operator, 0) for operator in ATTENTION)
    return dict(
        flops_full=full // 2,
        flops_paper=(full - attention) // 2,
        activations=sum(elements.get(operator, 0) for operator in MATRIX_PRODUCTS) // 2,
    )
