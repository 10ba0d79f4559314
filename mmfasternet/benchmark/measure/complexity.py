"""Parameters, multiply-adds and activations of a model, by part, without weights, data or a GPU.

Two conventions stand side by side. *Full* counts every operator of the detector that multiplies and adds, for 1000
proposals in the box head and 100 RoIs in the mask head, or the masks of 100 objects in RTMDet-Ins, but not the
interpolation of RoIAlign and deformable attention.
*Paper* counts as Table 4 of the FasterNet paper does, without the mask predictor (the last deconvolution and 1×1
convolution) and without the products of attention, of which both factors are activations. Norms count as in mmengine's
``FlopAnalyzer``: 2 for each element of a BN, 5 of an LN or GN. For classifiers, Table 3 of the paper counts so too;
its Table 8 counts convolutions and fully connected layers alone.
"""

import copy
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmfasternet.engine.build import backbone_of, build_model
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError

from .detector import FIXED_PROPOSALS, FIXED_ROIS, padded_shape

__all__ = ['count_backbone', 'count_classifier', 'count_complexity', 'count_forward']

_aten = torch.ops.aten
# Products of two activations; a linear layer is an mm or addmm.
_ATTENTION = (_aten.bmm, _aten.baddbmm)
_MATRIX_PRODUCTS = (_aten.convolution, _aten.addmm, _aten.mm, *_ATTENTION)


def _per_element(cost: int) -> Callable[..., int]:
    """A formula for torch's counter, which counts a multiply-add as two."""

    def formula(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        # A norm returns the map, its means and its deviations.
        return 2 * cost * prod(out_shape if isinstance(out_shape, torch.Size) else out_shape[0])

    return formula


# The costs are mmengine's, whose own analyzer takes minutes with real tensors; torch's counter needs shapes alone.
_NORMS = {
    _aten.native_batch_norm: _per_element(2),
    _aten.cudnn_batch_norm: _per_element(2),
    _aten._native_batch_norm_legit_no_training: _per_element(2),
    _aten.native_layer_norm: _per_element(5),
    _aten.native_group_norm: _per_element(5),
}
_ACTIVATIONS = dict.fromkeys(_MATRIX_PRODUCTS, _per_element(1))


def count_complexity(config: str | Path, height: int = 800, width: int = 1280) -> dict:
    """Count what a config's detector or segmentor costs for one image.

    Args:
        config: A config file.
        height: Height of the image in pixels, before padding. Defaults to 800.
        width: Width of the image in pixels. Defaults to 1280.

    Returns:
        ``config``, ``shape``, ``params`` and ``trainable`` (plain counts), ``flops_full`` and ``flops_paper``
        (multiply-adds), ``activations`` (elements of the outputs of convolutions and matrix products), and ``parts``,
        the same for each part of the model.

    Raises:
        UserError: If the config has no two-stage detector, one-stage detector or DETR of mmdet and no encoder-decoder
            of mmseg.

    Example:
        >>> count_complexity('configs/mask_rcnn_fasternet_s.py')['trainable']
        48989936
    """
    cfg, model = build_model(config)
    count_heads = _heads_counter(model, config, cfg.get('default_scope'))
    shape = padded_shape(cfg, height, width)
    # On the meta device tensors have shapes only, and nothing is computed.
    image = torch.empty(1, 3, *shape, device='meta')
    maps = model.backbone.to('meta')(image)
    parts = dict(backbone=_count_part(model.backbone, image))
    if model.with_neck:
        parts['neck'] = _count_part(model.neck.to('meta'), maps)
        maps = model.neck(maps)
    parts.update(count_heads(model, maps, shape))
    totals = {key: sum(part[key] for part in parts.values()) for key in parts['backbone']}
    # The parameters of all modules, including those that belong to no part.
    totals.update(_count_params(model))
    return dict(config=str(config), shape=[height, width], **totals, parts=parts)


def count_classifier(config: str | Path, height: int = 224, width: int = 224) -> dict:
    """Count what a config's classifier costs for one image.

    Args:
        config: A config file.
        height: Height of the image in pixels. Defaults to 224.
        width: Width of the image in pixels. Defaults to 224.

    Returns:
        ``config``, ``shape``, ``params`` and ``flops`` (multiply-adds, as in Table 3) of the complete network, and
        ``params_conv_fc`` and ``flops_conv_fc`` without its norms (both as in Table 8).

    Raises:
        UserError: If the config has no model with a backbone, or the model can't be built.

    Example:
        >>> count_classifier('configs/classification/fasternet_t0_imagenet.py')['params_conv_fc']
        3895820
    """
    model = build_model(config)[1].to('meta')
    flops, _ = _by_operator(model, torch.empty(1, 3, height, width, device='meta'))
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    return dict(
        config=str(config),
        shape=[height, width],
        params=_count_params(model)['params'],
        params_conv_fc=sum(_count_params(layer)['params'] for layer in layers),
        flops=sum(flops.values()),
        flops_conv_fc=sum(value for operator, value in flops.items() if operator not in _NORMS),
    )


def count_backbone(config: str | Path, height: int = 800, width: int = 1280) -> dict[str, int]:
    """Count what only the backbone of a config costs for one image: a fraction of the time of :func:`count_complexity`.

    Args:
        config: A config file.
        height: Height of the image in pixels, before padding. Defaults to 800.
        width: Width of the image in pixels. Defaults to 1280.

    Returns:
        As :func:`count_forward`.

    Raises:
        UserError: If the config has no model with a backbone, or the backbone can't be built.

    Example:
        >>> count_backbone('configs/mask_rcnn_fasternet_s.py')['params']
        28593152
    """
    cfg = load_config(config)
    return count_forward(backbone_of(cfg, str(config)), *padded_shape(cfg, height, width))


def count_forward(model: nn.Module, height: int, width: int) -> dict[str, int]:
    """Count what any network costs for one image.

    Args:
        model: Takes an image of shape (1, 3, height, width); it stays as it is.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        ``params``, ``trainable``, ``flops_full``, ``flops_paper`` (multiply-adds) and ``activations``.

    Example:
        >>> count_forward(nn.Conv2d(3, 8, 1), 4, 4)['flops_full']
        384
    """
    model = copy.deepcopy(model).to('meta')
    # Not chained: ResNet of mmdet returns nothing from train().
    model.eval()
    return _count_part(model, torch.empty(1, 3, height, width, device='meta'))


def _heads_counter(
    model: nn.Module, config: str | Path, scope: str | None
) -> Callable[[nn.Module, Sequence[Tensor], tuple], dict]:
    """The function that counts the parts after the neck."""
    # Imported here: mmseg and mmdet don't need each other.
    if scope == 'mmseg':
        from mmseg.models import EncoderDecoder

        if isinstance(model, EncoderDecoder):
            return _count_segmentor
    else:
        from mmdet.models import DetectionTransformer, SingleStageDetector, TwoStageDetector

        kinds = {
            TwoStageDetector: _count_two_stages,
            SingleStageDetector: _count_one_stage,
            DetectionTransformer: _count_transformer,
        }
        for kind, count_heads in kinds.items():
            if isinstance(model, kind) and model.with_neck and model.with_bbox:
                return count_heads
    raise UserError(
        f'{config} has nothing that can be counted: a two-stage detector, a one-stage detector or a DETR of mmdet with '
        f'a neck and boxes, or an encoder-decoder of mmseg is needed, but it builds a {type(model).__name__}'
    )


def _count_two_stages(model: nn.Module, pyramid: Sequence[Tensor], shape: tuple[int, int]) -> dict[str, dict]:
    model.to('meta')
    head = model.roi_head
    boxes = _roi_features(head.bbox_roi_extractor, FIXED_PROPOSALS)
    parts = dict(
        rpn=_count_part(model.rpn_head, pyramid), box_head=_count_part(_InTurn(_stages(head.bbox_head)), boxes)
    )
    if head.with_mask:
        masks, mask_heads = _roi_features(head.mask_roi_extractor, FIXED_ROIS), _stages(head.mask_head)
        before_predictor = _InTurn(nn.Sequential(*mask_head.convs) for mask_head in mask_heads)
        parts['mask_head'] = _count_part(_InTurn(mask_heads), masks)
        parts['mask_head']['flops_paper'] = _count_operators(before_predictor, masks)['flops_paper']
    return parts


def _count_one_stage(model: nn.Module, pyramid: Sequence[Tensor], shape: tuple[int, int]) -> dict[str, dict]:
    head = model.bbox_head.to('meta')

    def forward(maps: Sequence[Tensor]) -> None:
        outputs = head(maps)
        if hasattr(head, 'num_gen_params'):
            # RTMDet-Ins convolves the mask features by weights that it predicts for each object.
            features = outputs[-1][0]
            weights, priors = (features.new_empty(FIXED_ROIS, columns) for columns in (head.num_gen_params, 4))
            head._mask_predict_by_feat_single(features, weights, priors)

    return dict(head=_count_part(head, pyramid, forward))


def _count_segmentor(model: nn.Module, maps: Sequence[Tensor], shape: tuple[int, int]) -> dict[str, dict]:
    parts = dict(decode_head=_count_part(model.decode_head.to('meta'), maps))
    if model.with_auxiliary_head:
        # It has parameters, but computes in training only.
        idle = dict.fromkeys(('flops_full', 'flops_paper', 'activations'), 0)
        parts['auxiliary_head'] = {**_count_params(model.auxiliary_head), **idle}
    return parts


def _count_transformer(model: nn.Module, pyramid: Sequence[Tensor], shape: tuple[int, int]) -> dict[str, dict]:
    """Everything after the neck, with real numbers: deformable attention reads the shapes of its maps from tensors."""
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo=dict(batch_input_shape=shape, img_shape=shape))
    after_neck = nn.ModuleList(module for module in model.children() if module not in (model.backbone, model.neck))

    def forward(maps: Sequence[Tensor]) -> None:
        with torch.no_grad():
            model.bbox_head(**model.forward_transformer(maps, [sample]))

    return dict(transformer=_count_part(after_neck, [torch.rand(map_.shape) for map_ in pyramid], forward))


class _InTurn(nn.ModuleList):
    """The heads of a cascade, each of which works on all RoIs."""

    def forward(self, features: Tensor) -> list:
        return [head(features) for head in self]


def _stages(part: nn.Module) -> list[nn.Module]:
    """The stages of a cascade; a part that is no cascade is its only stage."""
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def _count_part(module: nn.Module, features: Any, forward: Callable[[Any], Any] | None = None) -> dict[str, int]:
    return {**_count_params(module), **_count_operators(forward or module, features)}


def _count_params(module: nn.Module) -> dict[str, int]:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    return dict(params=sum(size for size, _ in sizes), trainable=sum(size for size, trained in sizes if trained))


def _roi_features(extractor: nn.Module, count: int) -> Tensor:
    first = _stages(extractor)[0]
    return torch.empty(count, first.out_channels, *first.roi_layers[0].output_size, device='meta')


def _count_operators(forward: Callable[[Any], Any], features: Any) -> dict[str, int]:
    """Multiply-adds in both conventions, and activations, of one forward."""
    flops, elements = _by_operator(forward, features)
    full = sum(flops.values())
    return dict(
        flops_full=full,
        flops_paper=full - sum(flops.get(operator, 0) for operator in _ATTENTION),
        activations=sum(elements.get(operator, 0) for operator in _MATRIX_PRODUCTS),
    )


def _by_operator(forward: Callable[[Any], Any], features: Any) -> tuple[dict, dict]:
    """Operator → multiply-adds, and operator → elements of its outputs, of one forward."""
    with (
        FlopCounterMode(display=False, custom_mapping=_NORMS) as flops,
        FlopCounterMode(display=False, custom_mapping=_ACTIVATIONS) as elements,
    ):
        forward(features)
    # Halved, since torch's counter counts a multiply-add as two.
    return tuple(
        {operator: value // 2 for operator, value in counter.get_flop_counts().get('Global', {}).items()}
        for counter in (flops, elements)
    )
