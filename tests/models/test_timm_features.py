"""Networks of timm as backbones."""

import re

import pytest
import safetensors.torch
import timm
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.deploy import optimize_for_inference
from mmfasternet.models.timm_features import TimmFeatures
from mmfasternet.weights.reader import CheckpointError

# One of each kind that timm makes: list, getter, hooks, and EfficientNet's own.
KINDS = ['test_resnet', 'test_byobnet', 'test_efficientnet', 'cspnext_tiny', 'xception41']
SWIN = 'swin_tiny_patch4_window7_224'


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def complete(arch: str, **options) -> nn.Module:
    """timm's network, with norms away from their initial values."""
    model = timm.create_model(arch, **options)
    for value in model.state_dict().values():
        if value.dim() == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.0)
    return model.eval()


def save(model: nn.Module, path) -> str:
    state_dict = {key: value.contiguous() for key, value in model.state_dict().items()}
    safetensors.torch.save_file(state_dict, path)
    return str(path)


def load(arch: str, path: str, **options) -> TimmFeatures:
    model = TimmFeatures(arch, **options, init_cfg=dict(type='Pretrained', checkpoint=path))
    model.init_weights()
    return model


class TestMaps:
    @pytest.mark.parametrize('arch', KINDS)
    def test_are_those_of_the_complete_network(self, arch, tmp_path):
        network = complete(arch)
        model = load(arch, save(network, tmp_path / 'model.safetensors'), out_indices=(3, 1)).eval()
        image = torch.rand(1, 3, 64, 96)
        strides = [entry['reduction'] for entry in network.feature_info]
        last = [max(i for i, stride in enumerate(strides) if stride == wanted) for wanted in (8, 32)]
        with torch.no_grad():
            outs = model(image)
            expected = network.forward_intermediates(image, indices=last, intermediates_only=True, norm=False)
        assert [tuple(out.shape) for out in outs] == [
            (1, channels, 64 // stride, 96 // stride)
            for channels, stride in zip(model.out_channels, (8, 32), strict=True)
        ]
        for out, map_ in zip(outs, expected, strict=True):
            torch.testing.assert_close(out, map_, rtol=0, atol=0)

    def test_of_swin_have_channels_first_and_any_size(self):
        model = TimmFeatures(SWIN).eval()
        with torch.no_grad():
            outs = model(torch.rand(1, 3, 64, 160))
        assert [tuple(out.shape) for out in outs] == [(1, 96, 16, 40), (1, 192, 8, 20), (1, 384, 4, 10), (1, 768, 2, 5)]
        assert all(out.is_contiguous() for out in outs)

    def test_later_stages_are_not_built(self):
        assert not any(
            name.startswith('layer3') for name, _ in TimmFeatures('test_resnet', (0, 1)).body.named_modules()
        )

    def test_of_plain_vit_is_the_last(self):
        model = TimmFeatures('test_vit', out_indices=(2,)).eval()
        assert model.out_channels == (64,)
        assert [tuple(out.shape) for out in model(torch.rand(1, 3, 64, 96))] == [(1, 64, 4, 6)]


class TestMistakes:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(arch='repvit_m9'), r"one of timm's networks.*'repvit_m9'"),
            (dict(arch='test_vit'), r'at strides 4, 8, 16, 32, but .* at 16: out_indices=\(2,\).*SimpleFPN'),
            (dict(arch='efficientvim_m1'), r'has them at 16, 32, 64: out_indices=\(2, 3\) takes what there is'),
            (dict(arch='convmixer_768_32'), r'at 7: take another network'),
            (dict(arch='inception_v4'), r"can't be a backbone: of an image of 320 × 320 .* promise"),
            (dict(arch='test_resnet', img_size=224), 'takes images of any size: leave img_size out'),
            (dict(arch='hiera_tiny_224', img_size=(225, 300)), r"can't be a backbone for images of 225 × 300"),
            (dict(arch='test_resnet', frozen_stages=5), 'frozen_stages must be from -1 to 4'),
            (dict(arch='test_vit', out_indices=(2,), frozen_stages=1), r'frozen_stages must be -1, 3 for'),
            (dict(arch='hrnet_w18_small', with_cp=True), "with_cp=True is not supported by 'hrnet_w18_small'"),
            (dict(arch='test_resnet', with_cp='elementwise'), 'with_cp must be one of False, True'),
            (
                dict(arch='test_resnet', drop_path_rate=1.0),
                'must be None or from 0 to less than 1, but got 1.0',
            ),
            (dict(arch='vgg11', drop_path_rate=0.1), "drop_path_rate is not supported by 'vgg11'"),
            (dict(arch='test_resnet', out_indices=(4,)), 'each of out_indices must be from 0 to 3'),
        ],
    )
    def test_are_named(self, options, message):
        with pytest.raises(ValueError, match=message):
            TimmFeatures(**options)

    @pytest.mark.parametrize('img_size', ['224', (224,), 2.5])
    def test_of_the_size_are_named(self, img_size):
        with pytest.raises(TypeError, match='img_size must be an int'):
            TimmFeatures(SWIN, img_size=img_size)

    def test_images_of_another_size_are_refused(self):
        model = TimmFeatures('efficientformerv2_s0').eval()
        with pytest.raises(ValueError, match=r'built for images of 224 × 224 pixels, but got 64 × 96: set img_size'):
            model(torch.rand(1, 3, 64, 96))
        model = TimmFeatures('efficientformerv2_s0', img_size=(64, 96)).eval()
        assert [out.shape[2:] for out in model(torch.rand(1, 3, 64, 96))][-1] == (2, 3)

    def test_images_of_no_multiple_are_refused(self):
        model = TimmFeatures('maxvit_pico_rw_256', out_indices=(3,), img_size=64).eval()
        assert model(torch.rand(1, 3, 64, 128))[0].shape == (1, 256, 2, 4)
        with pytest.raises(ValueError, match=r'a multiple of 64 .* got 64 × 96: set pad_size_divisor'):
            model(torch.rand(1, 3, 64, 96))


class TestFreezing:
    @pytest.mark.parametrize('stages', range(-1, 5))
    def test_freezes_what_the_maps_depend_on(self, stages):
        model = TimmFeatures('test_resnet', frozen_stages=stages)
        parts = ['conv1', 'bn1', *(f'layer{stage}' for stage in range(1, stages + 1))] if stages >= 0 else []
        for name, parameter in model.body.named_parameters():
            assert parameter.requires_grad == (name.partition('.')[0] not in parts), name
        for name, module in model.body.named_modules():
            if isinstance(module, _BatchNorm):
                assert module.training == (name.partition('.')[0] not in parts), name

    def test_reaches_stages_before_the_first_output(self):
        model = TimmFeatures('test_resnet', out_indices=(2,), frozen_stages=1).train()
        frozen = {name.partition('.')[0] for name, value in model.body.named_parameters() if not value.requires_grad}
        assert frozen == {'conv1', 'bn1', 'layer1'}

    def test_silences_drop_path(self):
        model = TimmFeatures(SWIN, frozen_stages=2).train()
        training = {name.split('.')[0] for name, m in model.body.named_modules() if name.count('.') > 2 and m.training}
        assert training == {'layers_2', 'layers_3'}

    def test_norm_eval(self):
        for norm_eval in (False, True):
            model = TimmFeatures('test_resnet', norm_eval=norm_eval).train()
            assert {m.training for m in model.modules() if isinstance(m, _BatchNorm)} == {not norm_eval}

    def test_parameters_that_no_map_needs_are_not_trained(self):
        model = TimmFeatures('efficientvim_m1', out_indices=(2,))
        assert [name for name, value in model.body.named_parameters() if not value.requires_grad] == ['model.weights']
        sum(out.sum() for out in model(torch.rand(2, 3, 64, 64))).backward()
        assert all(value.grad is not None for value in model.parameters() if value.requires_grad)


class TestRecomputation:
    @pytest.mark.parametrize('arch', ['test_resnet', 'test_efficientnet', 'cspnext_tiny'])
    def test_changes_nothing(self, arch):
        image = torch.rand(2, 3, 64, 96)
        plain, recomputed = TimmFeatures(arch), TimmFeatures(arch, with_cp=True)
        recomputed.load_state_dict(plain.state_dict())
        for model in (plain, recomputed):
            sum(out.square().mean() for out in model(image)).backward()
        for (name, parameter), other in zip(plain.named_parameters(), recomputed.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, other.grad, msg=name)
        for (name, buffer), other in zip(plain.named_buffers(), recomputed.buffers(), strict=True):
            torch.testing.assert_close(buffer, other, rtol=0, atol=0, msg=name)

    def test_recomputes(self):
        model = TimmFeatures('test_resnet', with_cp=True)
        calls = []
        model.body.layer2.register_forward_pre_hook(lambda *_: calls.append(1))
        sum(out.sum() for out in model(torch.rand(2, 3, 64, 64))).backward()
        assert len(calls) == 2


class TestWeights:
    def test_of_another_network_are_refused(self, tmp_path):
        path = save(complete('test_resnet'), tmp_path / 'model.safetensors')
        with pytest.raises(
            CheckpointError, match=rf"{re.escape(path)} does not fit timm's test_byobnet: \d+ missing: "
        ):
            load('test_byobnet', path)

    @pytest.mark.parametrize('change', ['missing', 'unknown'])
    def test_that_do_not_fit_in_one_entry_are_refused(self, change, tmp_path):
        network = complete('test_resnet')
        state_dict = network.state_dict()
        if change == 'missing':
            del state_dict['layer2.0.conv1.weight']
        else:
            state_dict['layer9.weight'] = torch.ones(1)
        torch.save(state_dict, tmp_path / 'model.pth')
        message = {'missing': '1 missing: layer2.0.conv1.weight', 'unknown': '1 not part of the model: layer9.weight'}
        with pytest.raises(CheckpointError, match=message[change]):
            load('test_resnet', str(tmp_path / 'model.pth'))

    def test_of_another_number_of_classes_and_under_a_prefix_fit(self, tmp_path):
        network = nn.ModuleDict(dict(module=complete('test_resnet', num_classes=7)))
        model = load('test_resnet', save(network, tmp_path / 'model.safetensors'))
        assert torch.equal(model.body.conv1[0].weight, network['module'].conv1[0].weight)

    def test_without_classifier_fit(self, tmp_path):
        load('test_resnet', save(complete('test_resnet', num_classes=0), tmp_path / 'model.safetensors'))

    def test_are_resized_to_the_images(self, tmp_path):
        network = complete('test_vit')
        model = load('test_vit', save(network, tmp_path / 'model.safetensors'), out_indices=(2,), img_size=(64, 96))
        assert network.pos_embed.shape == (1, 101, 64) and model.body.model.pos_embed.shape == (1, 25, 64)
        assert torch.equal(model.body.model.blocks[3].mlp.fc1.weight, network.blocks[3].mlp.fc1.weight)


class TestInference:
    @pytest.mark.parametrize('arch', ['repvit_m0_9', 'repghostnet_050'])
    def test_branches_are_fused(self, arch, tmp_path):
        model = load(arch, save(complete(arch), tmp_path / 'model.safetensors'), frozen_stages=1)
        image, parameters = torch.rand(1, 3, 64, 96), sum(value.numel() for value in model.parameters())
        fused = optimize_for_inference(model)
        assert not any(module.training for module in fused.modules())
        assert not any(value.requires_grad for value in fused.parameters())
        model.eval()
        with torch.no_grad():
            for out, expected in zip(fused(image), model(image), strict=True):
                torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
        assert sum(value.numel() for value in model.parameters()) == parameters
        assert sum(value.numel() for value in fused.parameters()) < parameters

    def test_of_a_detector_the_backbone_is_fused(self):
        model = nn.Module()
        model.backbone = TimmFeatures('repghostnet_050')
        fused = optimize_for_inference(model)
        assert len(fused.backbone.state_dict()) < len(model.backbone.state_dict())


@pytest.mark.parametrize(
    ('library', 'config'),
    [
        ('mmdet', dict(type='mmdet.RetinaNet', bbox_head=dict(type='mmdet.RetinaHead', num_classes=2, in_channels=8))),
        ('mmseg', dict(type='mmseg.EncoderDecoder', decode_head=dict(type='mmseg.FPNHead', in_channels=[8] * 4))),
        ('mmpretrain', dict(type='mmpretrain.ImageClassifier', head=None)),
    ],
)
def test_builds_in(library, config):
    pytest.importorskip(library)
    from mmengine.utils import import_modules_from_strings

    import_modules_from_strings([f'{library}.models'])
    backbone = dict(type='TimmFeatures', arch='test_resnet')
    neck = dict(type=f'{library}.FPN', in_channels=[32, 48, 192, 96], out_channels=8, num_outs=4)
    if library == 'mmseg':
        config['decode_head'] |= dict(
            in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32], channels=8, num_classes=2, align_corners=False
        )
    if library == 'mmpretrain':
        neck = dict(type='mmpretrain.GlobalAveragePooling')
    model = MODELS.build({**config, 'backbone': backbone, 'neck': neck}).eval()
    outs = model.extract_feat(torch.rand(1, 3, 64, 96))
    shapes = {
        'mmpretrain': [(1, 32), (1, 48), (1, 192), (1, 96)],
    }.get(library, [(1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3)])
    assert isinstance(model.backbone, TimmFeatures) and [tuple(out.shape) for out in outs] == shapes
