"""The classifier computes the authors' logits from the authors' files, and feeds a detector."""

from pathlib import Path

import pytest
import torch
from helpers.golden import golden_image, golden_outputs, golden_state_dict
from helpers.project import ROOT
from mmengine.registry import MODELS, RUNNERS, init_default_scope
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.engine.config import load_config
from mmfasternet.weights.reader import CheckpointError
from mmfasternet.weights.state_dict import check_whole_model

pytest.importorskip('mmpretrain')
from mmpretrain.apis import get_model

from mmfasternet.models.classifier_head import FasterNetClsHead

CONFIGS = ROOT / 'configs/classification'


def config_of(arch: str, work_dir: Path | None = None, **options):
    cfg = load_config(CONFIGS / f'fasternet_{arch}_imagenet.py', options, work_dir and str(work_dir))
    cfg.experiment_name = f'run_{id(cfg)}'
    return cfg


def build(arch: str, **options) -> nn.Module:
    init_default_scope('mmpretrain')
    return MODELS.build(config_of(arch, **options).model)


def released(folder: Path, arch: str = 't0', edit=lambda entries: None) -> str:
    """A file of the released classifiers' form."""
    entries = golden_state_dict(arch, 'classification')
    edit(entries)
    torch.save(entries, folder / f'fasternet_{arch}.pth')
    return str(folder / f'fasternet_{arch}.pth')


def run_untrained(arch: str, work_dir: Path, **options) -> nn.Module:
    """The model of a runner as it is when its test begins."""
    cfg = config_of(arch, work_dir, **options)
    for key in list(cfg):
        if key.startswith(('train_', 'val_', 'test_', 'optim_wrapper', 'param_scheduler')):
            cfg.pop(key)
    runner = RUNNERS.build(cfg)
    runner.load_or_resume()
    return runner.model


def by_load_from(arch, file, tmp_path):
    return run_untrained(arch, tmp_path, load_from=file)


def by_init_cfg(arch, file, tmp_path):
    init_cfg = dict(type='Pretrained', checkpoint=file)
    model = build(arch, **{'model.backbone.init_cfg': init_cfg, 'model.head.init_cfg': init_cfg})
    model.init_weights()
    return model


def by_get_model(arch, file, tmp_path):
    return get_model(config_of(arch), pretrained=file, device='cpu')


@pytest.mark.parametrize('door', [by_load_from, by_init_cfg, by_get_model])
@pytest.mark.parametrize('arch', ['t0', 's'])
def test_logits_of_a_released_file_are_the_authors(arch, door, tmp_path):
    model = door(arch, released(tmp_path, arch), tmp_path).eval()
    with torch.no_grad():
        logits = model(golden_image())
    torch.testing.assert_close(logits, torch.from_numpy(golden_outputs(arch)['logits']), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('door', [by_load_from, by_init_cfg, by_get_model])
def test_logits_of_timms_file_are_timms(door, tmp_path):
    timm = pytest.importorskip('timm')
    theirs = timm.create_model('fasternet_t0').eval()
    torch.save(theirs.state_dict(), tmp_path / 'timm.pth')
    ours = door('t0', str(tmp_path / 'timm.pth'), tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(golden_image()), theirs(golden_image()), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('door', [by_load_from, by_init_cfg])
@pytest.mark.parametrize(
    'edit, complaint',
    [
        (lambda entries: entries.pop('avgpool_pre_head.1.weight'), '1 missing: .*avgpool_pre_head.1.weight'),
        (lambda entries: entries.update({'head.weight': torch.rand(7, 1280)}), r'head.weight \(7, 1280\) instead of'),
        (lambda entries: entries.pop('stages.6.blocks.1.mlp.3.weight'), '1 missing: .*stages.6.blocks.1.mlp.3.weight'),
    ],
)
def test_a_file_that_lacks_something_is_refused(door, edit, complaint, tmp_path):
    file = released(tmp_path, edit=edit)
    with pytest.raises(CheckpointError, match=f'{file} does not fit this .*{complaint}'):
        door('t0', file, tmp_path)


def test_a_file_of_another_variant_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r'patch_embed.proj.weight \(40, 3, 4, 4\) instead of \(64, 3, 4, 4\)'):
        by_load_from('t1', released(tmp_path), tmp_path)


def test_the_last_layer_starts_afresh_for_other_classes():
    entries = golden_state_dict('t0', 'classification')
    model = build('t0', **{'model.head.num_classes': 7})
    taken, afresh = check_whole_model(model, entries, 'released.pth', heads_may_differ=True)
    assert afresh == ['head.head.weight', 'head.head.bias'] and len(taken) == len(entries) - 2


def test_a_wrapped_classifier_loads_its_own_weights(tmp_path):
    """As an average of weights keeps it: mmpretrain's hook sees a prefix there."""
    model = nn.Sequential(build('t0'))
    own = {
        key: torch.rand_like(value) if value.is_floating_point() else value for key, value in model.state_dict().items()
    }
    model.load_state_dict(own)
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())


def test_a_detector_starts_from_a_classifier_trained_here(tmp_path):
    classifier = build('t0')
    classifier.init_weights()
    torch.save(dict(state_dict=classifier.state_dict(), meta={}), tmp_path / 'epoch_1.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'epoch_1.pth'))
    backbone = FasterNet('t0', init_cfg=init_cfg)
    backbone.init_weights()
    taken = classifier.backbone.state_dict()
    assert {key for key in backbone.state_dict() if key not in taken} == {
        key for key in backbone.state_dict() if key.startswith('norm')
    }
    assert all(torch.equal(backbone.state_dict()[key], value) for key, value in taken.items())
    head = FasterNetClsHead(1000, 320, init_cfg=init_cfg)
    head.init_weights()
    assert torch.equal(head.head.weight, classifier.head.head.weight)


@pytest.mark.parametrize(
    'arguments, error, message',
    [
        (dict(num_classes=0), ValueError, 'num_classes must be at least 1, but got 0'),
        (dict(in_channels='320'), TypeError, "in_channels must be an int, but got '320'"),
        (dict(act_cfg=dict(type='NoSuchActivation')), ValueError, 'act_cfg=.* gives no activation'),
        (dict(chanels=320), TypeError, 'chanels'),
        (dict(init_cfg='fasternet_t0.pth'), TypeError, 'init_cfg must be a dict'),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        FasterNetClsHead(**{**dict(num_classes=10, in_channels=320), **arguments})
