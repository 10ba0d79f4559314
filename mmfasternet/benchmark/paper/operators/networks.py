"""The networks of the paper's Fig. 2, folded: batch norms are part of the convolutions before them, in all alike."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.complexity import count_forward
from mmfasternet.benchmark.measure.paths import randomize_norms
from mmfasternet.deploy.fold import fold_model
from mmfasternet.errors import UserError
from mmfasternet.models import FasterNet

__all__ = ['NETWORKS', 'Network', 'build_network', 'find_networks']


def _from_timm(name: str) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise UserError(f"the networks need timm ({error}): pip install 'mmfasternet[compare]'") from error
    return timm.create_model(name)


def _from_torchvision(name: str) -> nn.Module:
    # Imported here, as timm is: the layers alone need neither.
    import torchvision

    return torchvision.models.get_model(name)


def _pvt_small() -> nn.Module:
    # Imported here, since it needs mmcv's ops. timm has the second version of PVT alone.
    from mmdet.models import PyramidVisionTransformer

    return PyramidVisionTransformer(num_layers=[3, 4, 6, 3], out_indices=(3,))


def _fasternet(arch: str) -> nn.Module:
    return FasterNet(arch, out_indices=(3,), out_norm=False)


@dataclass(frozen=True)
class Network:
    """A network of the paper's Table 3."""

    name: str
    label: str
    build: Callable[[], nn.Module]


# FasterNet and PVT are backbones, without a classifier: 0.5 % of T0's multiply-adds, less of the others'.
NETWORKS = (
    Network('fasternet_t0', 'FasterNet-T0', lambda: _fasternet('t0')),
    Network('fasternet_t1', 'FasterNet-T1', lambda: _fasternet('t1')),
    Network('fasternet_t2', 'FasterNet-T2', lambda: _fasternet('t2')),
    Network('fasternet_s', 'FasterNet-S', lambda: _fasternet('s')),
    Network('shufflenet_v2', 'ShuffleNetV2-x1.5', lambda: _from_torchvision('shufflenet_v2_x1_5')),
    # The norms of timm's contain the activation, which keeps them from being folded.
    Network('mobilenet_v2', 'MobileNetV2', lambda: _from_torchvision('mobilenet_v2')),
    Network('resnet50', 'ResNet50', lambda: _from_timm('resnet50')),
    Network('poolformer_s12', 'PoolFormer-S12', lambda: _from_timm('poolformer_s12')),
    Network('pvt_small', 'PVT-Small', _pvt_small),
    Network('swin_t', 'Swin-T', lambda: _from_timm('swin_tiny_patch4_window7_224')),
    Network('convnext_t', 'ConvNeXt-T', lambda: _from_timm('convnext_tiny')),
)


def find_networks(names: Iterable[str]) -> list[Network]:
    """The networks of these names, in this order."""
    known = {network.name: network for network in NETWORKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f'unknown network {", ".join(unknown)}; choose from {", ".join(known)}')
    return [known[name] for name in names]


def build_network(network: Network, pixels: int) -> tuple[nn.Module, int]:
    """A network with its batch norms folded, and the multiply-adds of the original for one image, as in Table 3."""
    torch.manual_seed(0)
    model = network.build().eval()
    randomize_norms(model)
    image = torch.rand(1, 3, pixels, pixels) * 2 - 1

    def forward(model: nn.Module) -> list[Tensor]:
        out = model(image)
        return [out] if isinstance(out, Tensor) else list(out)

    folded, _, _ = fold_model(model, forward, network.label)
    return folded.requires_grad_(False), count_forward(model, pixels, pixels)['flops_full']
