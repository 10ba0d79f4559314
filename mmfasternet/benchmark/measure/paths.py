"""The paths of a latency: modules as they are trained, folded alike for all, or in FasterNet's own form."""

import copy
from collections.abc import Sequence

import torch
from mmcv.cnn.utils import fuse_conv_bn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.deploy import optimize_for_inference
from mmfasternet.errors import UserError
from mmfasternet.models import FasterNet

__all__ = ['PATHS', 'TOLERANCE', 'fold', 'largest_difference', 'randomize_norms']

PATHS = ('reference', 'deploy', 'optimized')
TOLERANCE = 1e-4


def randomize_norms(model: nn.Module) -> None:
    """Give every batch norm statistics and weights as if it were trained, so that a wrong fold shows.

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


def fold(model: nn.Module, name: str, path: str = 'deploy') -> tuple[nn.Module, int, float]:
    """Fold batch norms into the convolutions before them, and timm's parallel branches into one, or optimize FasterNet.

    The paper takes its latencies with folded norms. The new detector is checked against the original: on its neck's
    maps, or, without a neck, its backbone's.

    Args:
        model: A detector in eval mode, on the CPU; it stays as it is.
        name: What errors call it.
        path: 'deploy' does to all networks the same; 'optimized' is FasterNet's own inference form, much of which other
            networks could have too, and so is not for comparing with them. Defaults to 'deploy'.

    Returns:
        The new detector, how many batch norms are gone, and the largest difference between the two over the largest
        value of the map.

    Raises:
        UserError: If the copy computes something else, or a network other than FasterNet is to be optimized.

    Example:
        >>> from mmfasternet.engine.build import build_model
        >>> model = build_model('configs/mask_rcnn_fasternet_t0.py')[1]
        >>> fold(model, 'FasterNet-T0')[1]
        17
    """
    if path == 'optimized':
        if not isinstance(model.backbone, FasterNet):
            raise UserError(f'--path optimized is the inference form of FasterNet, which {name} is not; take deploy')
        folded = optimize_for_inference(model)
    else:
        folded = copy.deepcopy(model)
        if any(type(module).__module__.startswith('timm.') for module in folded.modules()):
            # Imported here, since only timm's models need it.
            from timm.utils.model import reparameterize_model

            folded.backbone = reparameterize_model(folded.backbone)
    folded = fuse_conv_bn(folded)
    difference = difference_of_detectors(model, folded)
    if not difference <= TOLERANCE:
        raise UserError(
            f'{name} folded computes something else (difference {difference:.1e} of the largest value, at most '
            f'{TOLERANCE:.0e} is allowed), so it has no latency on this path; take --path reference'
        )
    return folded, count_norms(model) - count_norms(folded), difference


def count_norms(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


@torch.inference_mode()
def difference_of_detectors(model: nn.Module, other: nn.Module) -> float:
    """Over the maps of the neck, which may have taken norms over from the backbone, on one small picture."""
    image = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    expected, maps = (
        network.neck(network.backbone(image)) if getattr(network, 'with_neck', False) else network.backbone(image)
        for network in (model, other)
    )
    return largest_difference(maps, expected)


def largest_difference(maps: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of maps, over the largest value of the map that was expected.

    Args:
        maps: Each of shape (N, C, H, W), of any floating type.
        expected: The same in float32.

    Returns:
        The largest over all maps.

    Example:
        >>> round(largest_difference([torch.tensor([1.0, 3.0])], [torch.tensor([1.0, 4.0])]), 2)
        0.25
    """
    return max(float((a.float() - b).abs().max() / b.abs().max()) for a, b in zip(maps, expected, strict=True))
