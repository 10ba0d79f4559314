"""Other backbones as files for images of any size: the values of PyTorch, also where patches need padding."""

import pytest
import torch
from helpers.project import EXPORTS

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import mmpretrain.models  # noqa: F401, its backbones
import onnxruntime
from mmdet.models.layers import AdaptivePadding
from mmengine.registry import MODELS
from torch import nn

from mmfasternet.deploy.any_size import of_any_size
from mmfasternet.deploy.export import to_onnx
from mmfasternet.deploy.fold import merge_branches
from mmfasternet.deploy.verify import check_maps
from mmfasternet.models import timm_features  # noqa: F401, registers it

# Families of the comparison, with one block in a stage.
SMALL = dict(
    resnet=dict(type='mmdet.ResNet', depth=18, base_channels=16),
    pvt=dict(type='mmdet.PyramidVisionTransformer', embed_dims=16, num_layers=[1, 1, 1, 1]),
    convnext=dict(
        type='mmpretrain.ConvNeXt',
        arch=dict(depths=[1, 1, 1, 1], channels=[16, 32, 64, 128]),
        out_indices=[0, 1, 2, 3],
        gap_before_final_norm=False,
    ),
    poolformer=dict(
        type='mmpretrain.PoolFormer',
        arch=dict(layers=[1] * 4, embed_dims=[16, 32, 64, 128], mlp_ratios=[4] * 4, layer_scale_init_value=1e-5),
        out_indices=[0, 2, 4, 6],
    ),
    repvit=dict(type='TimmFeatures', arch='repvit_m0_9'),
)


@pytest.mark.parametrize('kernel, stride, dilation', [(4, 4, 1), (2, 2, 1), (7, 4, 1), (3, 2, 2), ((2, 3), (2, 1), 1)])
@pytest.mark.parametrize('size', [(1, 1), (5, 8), (12, 7)])
def test_padding_is_that_of_openmmlab(kernel, stride, dilation, size):
    padding = AdaptivePadding(kernel, stride, dilation)
    changed = of_any_size(nn.Sequential(padding))
    assert type(changed[0]) is not AdaptivePadding
    maps = torch.rand(2, 3, *size)
    assert torch.equal(changed(maps), padding(maps))


def test_what_needs_no_change_is_left_alone():
    """Padding on both sides has other steps, and a smaller kernel leaves pixels out."""
    for layers in (nn.Sequential(nn.Conv2d(3, 3, 1)), nn.Sequential(AdaptivePadding(3, 2, padding='same'))):
        assert of_any_size(layers) is layers
    layers = nn.Sequential(AdaptivePadding(1, 2))
    assert of_any_size(layers) is layers


# The others take as long, and are those of `make test-exports`.
@pytest.mark.parametrize(
    'family',
    [
        pytest.param(name, marks=pytest.mark.slow if name in ('pvt', 'repvit') else pytest.mark.exports)
        for name in SMALL
    ],
)
@torch.no_grad()
def test_a_file_gives_the_maps_of_the_backbone(family):
    torch.manual_seed(0)
    backbone = MODELS.build(SMALL[family]).requires_grad_(False)
    backbone.eval()  # which not every backbone returns
    for value in backbone.parameters():
        if value.dim() < 2 or value.shape[0] == 1:  # norms, biases, position encodings
            value.add_(0.2 * torch.rand_like(value))
    session = onnxruntime.InferenceSession(
        to_onnx(merge_branches(backbone)).SerializeToString(), providers=['CPUExecutionProvider']
    )
    for size in ((1, 3, 67, 93), (2, 3, 160, 226)):
        image = torch.randn(size)
        check_maps(session.run(None, {'image': image.numpy()}), [out.numpy() for out in backbone(image)])
