"""The classifiers of the paper's Fig. 2, in inference form: batch norms folded, for all networks alike."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from mmcv.cnn.utils import fuse_conv_bn
from torch import nn

from mmfasternet.benchmark.measure.complexity import count_operators
from mmfasternet.benchmark.measure.paths import TOLERANCE, largest_difference, randomize_norms
from mmfasternet.errors import UserError
from mmfasternet.models import FasterNet

__all__ = ['NETWORKS', 'Network', 'build_network', 'find_networks']


def from_timm(name: str) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise UserError(f'the networks need timm ({error}): pip install mmfasternet[compare]') from error
    return timm.create_model(name)


def from_torchvision(name: str) -> nn.Module:
    # Imported here, as timm is: the layers alone need neither.
    import torchvision

    return torchvision.models.get_model(name)


def pvt_small() -> nn.Module:
    # Imported here, since it needs mmcv's ops. timm has the second version of PVT alone.
    from mmdet.models import PyramidVisionTransformer

    return PyramidVisionTransformer(num_layers=[3, 4, 6, 3], out_indices=(3,))


def fasternet(arch: str) -> nn.Module:
    return FasterNet(arch, out_indices=(3,), out_norm=False)


@dataclass(frozen=True)
class Network:
    """A network of the paper's Table 3.

    Args:
        name: What records and commands call it.
        label: What Table 3, tables and plots call it.
        build: Makes it, with random weights.
    """

    name: str
    label: str
    build: Callable[[], nn.Module]


# FasterNet and PVT are backbones, without a classifier behind them: 0.5 % of T0's multiply-adds, less of the others'.
NETWORKS = (
    Network('fasternet_t0', 'FasterNet-T0', lambda: fasternet('t0')),
    Network('fasternet_t1', 'FasterNet-T1', lambda: fasternet('t1')),
    Network('fasternet_t2', 'FasterNet-T2', lambda: fasternet('t2')),
    Network('fasternet_s', 'FasterNet-S', lambda: fasternet('s')),
    Network('shufflenet_v2', 'ShuffleNetV2-x1.5', lambda: from_torchvision('shufflenet_v2_x1_5')),
    # timm's has norms with an activation of their own, which would keep them from being folded.
    Network('mobilenet_v2', 'MobileNetV2', lambda: from_torchvision('mobilenet_v2')),
    Network('resnet50', 'ResNet50', lambda: from_timm('resnet50')),
    Network('poolformer_s12', 'PoolFormer-S12', lambda: from_timm('poolformer_s12')),
    Network('pvt_small', 'PVT-Small', pvt_small),
    Network('swin_t', 'Swin-T', lambda: from_timm('swin_tiny_patch4_window7_224')),
    Network('convnext_t', 'ConvNeXt-T', lambda: from_timm('convnext_tiny')),
)


def find_networks(names: Iterable[str]) -> list[Network]:
    """The networks of these names.

    Args:
        names: Such as 'resnet50'.

    Returns:
        The networks, in that order.

    Raises:
        UserError: If there is no such network.

    Example:
        >>> find_networks(['resnet50'])[0].label
        'ResNet50'
    """
    known = {network.name: network for network in NETWORKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f'no network is called {", ".join(unknown)}; choose from {", ".join(known)}')
    return [known[name] for name in names]


def build_network(network: Network, size: int) -> tuple[nn.Module, int]:
    """A network with its batch norms folded into the convolutions before them, checked to compute the same.

    Args:
        network: Which.
        size: Height and width of the pictures in pixels.

    Returns:
        The folded network in evaluation mode, and the multiply-adds of the unfolded one for a picture, norms counted
        as in the paper's Table 3.

    Raises:
        UserError: If a package is missing, or the folded network computes something else.

    Example:
        >>> build_network(find_networks(['fasternet_t0'])[0], 224)[1]
        336336000
    """
    torch.manual_seed(0)
    model = network.build().eval()
    randomize_norms(model)
    flops = count_operators(copy.deepcopy(model).to('meta'), torch.empty(1, 3, size, size, device='meta'))['flops_full']
    folded = fuse_conv_bn(copy.deepcopy(model)).requires_grad_(False)
    image = torch.rand(1, 3, size, size) * 2 - 1
    # A classifier gives a tensor, whose rows stand for maps.
    with torch.inference_mode():
        difference = largest_difference(folded(image), model(image))
    if not difference <= TOLERANCE:
        raise UserError(
            f'{network.label} folded computes something else (difference {difference:.1e} of the largest value, at '
            f'most {TOLERANCE:.0e} is allowed), so it has no latency here; leave it out of --networks'
        )
    return folded, flops
