"""The paths of a latency: the model as it is trained, with norms folded as for all networks, or FasterNet optimized."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.deploy import optimize_for_inference
from mmfasternet.deploy.fold import check_same, count_norms, fold_model
from mmfasternet.errors import UserError
from mmfasternet.models import FasterNet

__all__ = ['PATHS', 'randomize_norms', 'take_path']

PATHS = ('reference', 'folded', 'optimized')


def randomize_norms(model: nn.Module) -> None:
    """Give every batch norm random statistics and weights, as if it were trained, so that a wrong fold shows.

    Args:
        model: A model with random weights; it is changed in place.

    Example:
        >>> norm = nn.BatchNorm2d(2)
        >>> randomize_norms(norm)
        >>> bool((norm.running_var != 1).all())
        True
    """
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            for tensor, low, high in (
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.5, 1.5),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.1, 0.1),
            ):
                if tensor is not None:
                    tensor.data.uniform_(low, high, generator=generator)


def take_path(model: nn.Module, name: str, path: str) -> tuple[nn.Module, int, float | None]:
    """Put a model on one of the paths, and check that it computes the same.

    The paper takes its latencies with folded norms. *folded* treats all networks alike. *optimized* is for FasterNet
    only, although other networks could have much of it too, so do not compare them by it. The check compares the neck's
    feature maps, since norms of the backbone may be folded into the neck; without a neck, the backbone's.
    """
    if path == 'reference':
        return model, 0, None
    if path == 'folded':
        return fold_model(model, _feature_maps, name)
    if not isinstance(model.backbone, FasterNet):
        raise UserError(f'--path optimized is for FasterNet, which {name} is not; use folded')
    # optimize_for_inference leaves the neck's own norms, which are folded here.
    optimized, _, _ = fold_model(optimize_for_inference(model), _feature_maps, name)
    difference = check_same(model, optimized, _feature_maps, f'{name} optimized')
    return optimized, count_norms(model) - count_norms(optimized), difference


def _feature_maps(model: nn.Module) -> list[Tensor]:
    image = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    maps = model.backbone(image)
    return list(model.neck(maps) if getattr(model, 'with_neck', False) else maps)
