"""Parameters, multiply-adds and activations of a detector or segmentor, by part, without weights, data or a GPU.

Two conventions stand side by side. *Full* counts every operator of the detector that multiplies and adds, for 1000
proposals in the box head and 100 RoIs in the mask head, but not the interpolation of RoIAlign and deformable attention.
*Paper* counts as Table 4 of the FasterNet paper does, without the mask predictor (the last deconvolution and 1×1
convolution) and without the products of attention, of which both factors are activations. Norms count as in mmengine's
``FlopAnalyzer``: 2 for each element of a BN, 5 of an LN or GN.
"""

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

from .detector import FIXED_PROPOSALS, FIXED_ROIS, padded_shape

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
    """Count what a config's detector or segmentor costs for one picture.

    Args:
        config: A config file.
        height: Height of the picture in pixels, before padding. Defaults to 800.
        width: Width of the picture in pixels. Defaults to 1280.

    Returns:
        ``config``, ``shape``, ``params`` and ``trainable`` (plain counts), ``flops_full`` and ``flops_paper``
        (multiply-adds), ``activations`` (elements that convolutions and matrix products put out), and ``parts``, the
        same for each part of the model.

    Raises:
        UserError: If the config has no two-stage detector, one-stage detector or DETR of mmdet and no encoder-decoder
            of mmseg.

    Example:
        >>> count_complexity('configs/mask_rcnn_fasternet_s.py')['trainable']
        48989936
    """
    cfg, model = build_model(config)
    count_heads = heads_counter(model, config, cfg.get('default_scope'))
    shape = padded_shape(cfg, height, width)
    # Shapes alone: nothing is computed on the meta device.
    image = torch.empty(1, 3, *shape, device='meta')
    maps = model.backbone.to('meta')(image)
    parts = dict(backbone=count_part(model.backbone, image))
    if model.with_neck:
        parts['neck'] = count_part(model.neck.to('meta'), maps)
        maps = model.neck(maps)
    parts.update(count_heads(model, maps, shape))
    totals = {key: sum(part[key] for part in parts.values()) for key in parts['backbone']}
    # The parameters of all modules, also of such that belong to no part.
    totals.update(count_params(model))
    return dict(config=str(config), shape=[height, width], **totals, parts=parts)


def heads_counter(
    model: nn.Module, config: str | Path, scope: str | None
) -> Callable[[nn.Module, Sequence[Tensor], tuple], dict]:
    """What counts the parts behind the neck."""
    # Imported here, since both need the ops whose absence the tools explain first, and neither needs the other.
    if scope == 'mmseg':
        from mmseg.models import EncoderDecoder

        if isinstance(model, EncoderDecoder):
            return count_segmentor
    else:
        from mmdet.models import DetectionTransformer, SingleStageDetector, TwoStageDetector

        kinds = {
            TwoStageDetector: count_two_stages,
            SingleStageDetector: count_one_stage,
            DetectionTransformer: count_transformer,
        }
        for kind, count_heads in kinds.items():
            if isinstance(model, kind) and model.with_neck and model.with_bbox:
                return count_heads
    raise UserError(
        f'{config} has nothing that can be counted: a two-stage detector, a one-stage detector or a DETR of mmdet with '
        f'a neck and boxes, or an encoder-decoder of mmseg is needed, but it builds a {type(model).__name__}'
    )


def count_two_stages(model: nn.Module, pyramid: Sequence[Tensor], shape: tuple[int, int]) -> dict[str, dict]:
    model.to('meta')
    head = model.roi_head
    boxes = roi_features(head.bbox_roi_extractor, FIXED_PROPOSALS)
    parts = dict(rpn=count_part(model.rpn_head, pyramid), box_head=count_part(InTurn(stages(head.bbox_head)), boxes))
    if head.with_mask:
        masks, mask_heads = roi_features(head.mask_roi_extractor, FIXED_ROIS), stages(head.mask_head)
        before_predictor = InTurn(nn.Sequential(*mask_head.convs) for mask_head in mask_heads)
        parts['mask_head'] = count_part(InTurn(mask_heads), masks)
        parts['mask_head']['flops_paper'] = count_operators(before_predictor, masks)['flops_paper']
    return parts


def count_one_stage(model: nn.Module, pyramid: Sequence[Tensor], shape: tuple[int, int]) -> dict[str, dict]:
    return dict(head=count_part(model.bbox_head.to('meta'), pyramid))


def count_segmentor(model: nn.Module, maps: Sequence[Tensor], shape: tuple[int, int]) -> dict[str, dict]:
    parts = dict(decode_head=count_part(model.decode_head.to('meta'), maps))
    if model.with_auxiliary_head:
        # It has parameters, and computes in training alone.
        idle = dict.fromkeys(('flops_full', 'flops_paper', 'activations'), 0)
        parts['auxiliary_head'] = {**count_params(model.auxiliary_head), **idle}
    return parts


def count_transformer(model: nn.Module, pyramid: Sequence[Tensor], shape: tuple[int, int]) -> dict[str, dict]:
    """All behind the neck, on real numbers: deformable attention reads the shapes of its maps from tensors."""
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo=dict(batch_input_shape=shape, img_shape=shape))
    behind_neck = nn.ModuleList(module for module in model.children() if module not in (model.backbone, model.neck))

    def forward(maps: Sequence[Tensor]) -> None:
        with torch.no_grad():
            model.bbox_head(**model.forward_transformer(maps, [sample]))

    return dict(transformer=count_part(behind_neck, [torch.rand(map_.shape) for map_ in pyramid], forward))


class InTurn(nn.ModuleList):
    """The heads of a cascade, each of which works on all RoIs."""

    def forward(self, features: Tensor) -> list:
        return [head(features) for head in self]


def stages(part: nn.Module) -> list[nn.Module]:
    """The stages of a cascade; a part that is none is its only stage."""
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def count_part(module: nn.Module, features: Any, forward: Callable[[Any], Any] | None = None) -> dict[str, int]:
    return {**count_params(module), **count_operators(forward or module, features)}


def count_params(module: nn.Module) -> dict[str, int]:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    return dict(params=sum(size for size, _ in sizes), trainable=sum(size for size, trained in sizes if trained))


def roi_features(extractor: nn.Module, count: int) -> Tensor:
    first = stages(extractor)[0]
    return torch.empty(count, first.out_channels, *first.roi_layers[0].output_size, device='meta')


def count_operators(forward: Callable[[Any], Any], features: Any) -> dict[str, int]:
    """Multiply-adds in both conventions, and activations, of one forward."""
    with (
        FlopCounterMode(display=False, custom_mapping=NORMS) as flops,
        FlopCounterMode(display=False, custom_mapping=ACTIVATIONS) as activations,
    ):
        forward(features)
    by_operator = flops.get_flop_counts().get('Global', {})
    elements = activations.get_flop_counts().get('Global', {})
    full = sum(by_operator.values())
    attention = sum(by_operator.get(operator, 0) for operator in ATTENTION)
    return dict(
        flops_full=full // 2,
        flops_paper=(full - attention) // 2,
        activations=sum(elements.get(operator, 0) for operator in MATRIX_PRODUCTS) // 2,
    )
