"""A FasterNet that was trained here computes the same in timm, and comes back as it was."""

import pytest
import torch
from helpers.golden import golden_image, golden_state_dict, make_state_dict
from helpers.project import ROOT
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor

from mmfasternet import FasterNet
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError
from mmfasternet.models.to_timm import save_for_timm
from mmfasternet.models.variants import VARIANTS
from mmfasternet.weights.reader import CheckpointError
from mmfasternet.weights.state_dict import classifier_state_dict, fasternet_state_dict, timm_state_dict

timm = pytest.importorskip('timm')

TINY = dict(embed_dims=8, depths=(1, 2, 1, 1))


def save(path, state_dict: dict[str, Tensor], prefix: str = '') -> str:
    torch.save(dict(state_dict={f'{prefix}{key}': value for key, value in state_dict.items()}), path)
    return str(path)


def classifier_of_7() -> dict[str, Tensor]:
    """An ``ImageClassifier``'s state dict."""
    backbone = golden_state_dict('t0', 'classification')
    shapes = {'avgpool_pre_head.1.weight': (1280, 320, 1, 1), 'head.weight': (7, 1280), 'head.bias': (7,)}
    trunk = {f'backbone.{key}': value for key, value in backbone.items() if key not in shapes}
    return trunk | {f'head.{key}': value for key, value in make_state_dict(shapes).items()}


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('arch', ['t0', 's'])
def test_feature_maps_of_a_detector_are_timms(arch, suffix, tmp_path):
    golden = golden_state_dict(arch)
    others = {'neck.lateral_convs.0.conv.weight': torch.rand(1)}
    source = save(tmp_path / 'detector.pth', {f'backbone.{key}': value for key, value in golden.items()} | others)
    target = tmp_path / f'for_timm{suffix}'
    written = save_for_timm(source, target)
    assert written.name == f'fasternet_{arch}' and written.options == {}
    assert written.left_out == ('norm0', 'norm2', 'norm4', 'norm6')

    overlay = dict(file=str(target))
    theirs = timm.create_model(written.name, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    ours = FasterNet(arch, out_norm=False).eval()
    ours.load_state_dict({key: golden[key] for key in ours.state_dict()})
    with torch.no_grad():
        torch.testing.assert_close(list(ours(golden_image())), theirs(golden_image()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('form', ['classifier', 'wrapped', 'authors', 'timm'])
def test_logits_of_a_classifier_are_timms(form, tmp_path):
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')
    entries, classes = classifier_of_7(), 7
    if form in ('authors', 'timm'):
        entries, classes = golden_state_dict('t0', 'classification'), 1000
    config = load_config(ROOT / 'configs/classification/fasternet_t0_imagenet.py', {'model.head.num_classes': classes})
    ours = MODELS.build(config.model).eval()
    ours.load_state_dict(classifier_state_dict(entries))

    entries = timm_state_dict(entries) if form == 'timm' else entries
    source = save(tmp_path / 'source.pth', entries, prefix='module.' if form == 'wrapped' else '')
    written = save_for_timm(source, tmp_path / 'for_timm.pth')
    assert written.options == dict(num_classes=classes) and written.entries == 131 and written.left_out == ()
    theirs = timm.create_model(written.name, checkpoint_path=str(tmp_path / 'for_timm.pth'), **written.options).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(golden_image()), theirs(golden_image()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('arch', VARIANTS)
def test_a_round_trip_changes_nothing(arch, tmp_path):
    with torch.device('meta'):
        shapes = {key: value.shape for key, value in FasterNet(arch, out_norm=False).state_dict().items()}
        theirs = timm.create_model(f'fasternet_{arch}').state_dict()
    head = {'avgpool_pre_head.1.weight': (1280, VARIANTS[arch].channels[-1], 1, 1)}
    head |= {'head.weight': (1000, 1280), 'head.bias': (1000,)}
    ours = {
        key: torch.full(tuple(shape), float(index)) for index, (key, shape) in enumerate({**shapes, **head}.items())
    }
    renamed = timm_state_dict(ours)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in theirs.items()}
    back = fasternet_state_dict(renamed, 'timm')
    assert back.keys() == ours.keys() and all(torch.equal(back[key], ours[key]) for key in ours)


def test_images_of_another_number_of_channels(tmp_path):
    model = FasterNet('t0', in_channels=4, out_norm=False).eval()
    written = save_for_timm(save(tmp_path / 'source.pth', model.state_dict()), tmp_path / 'four.safetensors')
    assert written.options == dict(in_chans=4)
    overlay = dict(file=str(tmp_path / 'four.safetensors'))
    theirs = timm.create_model(
        written.name, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay, **written.options
    ).eval()
    image = torch.rand(1, 4, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(list(model(image)), theirs(image), atol=1e-5, rtol=1e-5)


def test_a_prefix_leaves_the_head_out(tmp_path):
    source = save(tmp_path / 'source.pth', classifier_of_7())
    written = save_for_timm(source, tmp_path / 'backbone.pth', prefix='backbone')
    assert written.options == {} and written.entries == 128


def test_notes_are_what_timm_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = save_for_timm(save(tmp_path / 'source.pth', classifier_of_7()), 'for_timm.pth')
    for line in written.notes('for_timm.pth'):
        assert eval(line.partition(': ')[2], dict(timm=timm)) is not None


def without_bn() -> dict[str, Tensor]:
    return FasterNet('t0', norm_cfg=dict(type='GN', num_groups=1)).state_dict()


def with_wide_head() -> dict[str, Tensor]:
    wide = {'avgpool_pre_head.1.weight': (640, 320, 1, 1), 'head.weight': (7, 640), 'head.bias': (7,)}
    return classifier_of_7() | {f'head.{key}': value for key, value in make_state_dict(wide).items()}


REFUSED = {
    'other sizes': (lambda: FasterNet(TINY).state_dict(), r"it has arch=.*'embed_dims': 8.*t0, t1, t2, s, m, l"),
    'three stages': (
        lambda: FasterNet('t0', out_indices=(0, 2)).state_dict(),
        r"it has arch=.*'depths': \(1, 2, 8, 0\).*complete variants",
    ),
    'layer scale': (lambda: FasterNet('t0', layer_scale_init_value=1).state_dict(), 'was trained with layer scale'),
    'no BN': (without_bn, 'its norms are not BN'),
    'no FasterNet': (lambda: dict(weight=torch.ones(1)), 'holds no FasterNet: it lacks patch_embed.proj.weight'),
    'a scalar': (
        lambda: golden_state_dict('t0') | {'patch_embed.proj.weight': torch.tensor(1.0)},
        'holds no FasterNet: its weights have impossible shapes',
    ),
    'a weight too few': (
        lambda: {
            key: value for key, value in golden_state_dict('t0').items() if key != 'stages.6.blocks.1.mlp.3.weight'
        },
        'does not fit this FasterNet: 1 missing: stages.6.blocks.1.mlp.3.weight',
    ),
    'NaN': (
        lambda: golden_state_dict('t0') | {'stages.0.blocks.0.mlp.1.bias': torch.full((80,), torch.nan)},
        'is unusable: 1 of 128 entries',
    ),
    'another head': (
        lambda: {
            **{f'backbone.{key}': value for key, value in golden_state_dict('t0').items()},
            'head.fc.bias': torch.ones(2),
        },
        "its head is not FasterNet's classifier.*pass --prefix backbone",
    ),
    'a normed input': (
        lambda: classifier_of_7() | {f'backbone.norm6.{key}': torch.ones(320) for key in ('weight', 'bias')},
        'its classifier takes the output of norm6',
    ),
    'a wide head': (with_wide_head, r"does not fit timm's: 2 of another shape: conv_head.weight \(640, 320, 1, 1\)"),
}


@pytest.mark.parametrize(('make', 'message'), REFUSED.values(), ids=REFUSED)
def test_what_timm_lacks_is_one_message(make, message, tmp_path):
    source = save(tmp_path / 'source.pth', make())
    with pytest.raises(CheckpointError, match=message):
        save_for_timm(source, tmp_path / 'target.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['source.pth']


def test_the_suffix_is_checked_before_the_source_is_read():
    with pytest.raises(UserError, match='x.txt must end in .pth or .safetensors'):
        save_for_timm('absent.pth', 'x.txt')
