"""Every form of a FasterNet file is loaded completely, or not at all and with the reason."""

import logging
import re

import pytest
import safetensors.torch
import torch
from helpers.golden import golden_image, golden_outputs, golden_state_dict, make_state_dict
from mmengine.logging import MMLogger
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.weights import initialize
from mmfasternet.weights.convert import save_backbone
from mmfasternet.weights.initialize import load_pretrained
from mmfasternet.weights.reader import CheckpointError
from mmfasternet.weights.state_dict import check_whole_model, fasternet_state_dict, load_exactly, unwrap

ARCHS = ('t0', 't1', 't2', 's', 'm', 'l')
TINY = dict(embed_dims=8, depths=(1, 2, 1, 1))
# Trunk, classifier and output norms of T0, by the authors' own lists.
TRUNK, HEAD, NORMS = 128, 3, 20


@pytest.fixture
def log(caplog):
    """What mmengine's logger says."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


def pretrained(checkpoint, arch='t0', trust=None, prefix=None, **options) -> FasterNet:
    """A model as a config makes it from a file."""
    given = {key: value for key, value in dict(trust=trust, prefix=prefix).items() if value is not None}
    model = FasterNet(arch, init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint), **given), **options)
    model.init_weights()
    return model


def lead(state_dict: dict, prefix: str) -> dict:
    return {f'{prefix}{key}': value for key, value in state_dict.items()}


def shapes_of(arch: str | dict, **options) -> dict:
    """A state dict of an arch, of tensors that take no room."""
    with torch.device('meta'):
        return FasterNet(arch, **options).state_dict()


@pytest.fixture
def save_shapes(monkeypatch):
    """Put a state dict that takes no room where a file would be read."""

    def save(state_dict: dict) -> None:
        monkeypatch.setattr(initialize, 'read_checkpoint', lambda *_: state_dict)

    return save


def mmdet_2_form(state_dict: dict) -> dict:
    """A file as mmdet 2.x wrote it for a Mask R-CNN."""
    others = {
        'neck.lateral_convs.0.conv.weight': torch.rand(8, 40, 1, 1),
        'roi_head.bbox_head.fc_cls.bias': torch.rand(81),
    }
    meta = dict(
        mmdet_version='2.24.1+',
        config="model = dict(\n    type='MaskRCNN')\n",
        CLASSES=('person', 'bicycle'),
        PALETTE=[(220, 20, 60), (119, 11, 32)],
        epoch=12,
        iter=87960,
        seed=None,
    )
    return dict(meta=meta, state_dict={**lead(state_dict, 'backbone.'), **others})


FORMS = {
    'bare': lambda s: s,
    'state_dict': lambda s: dict(state_dict=s, epoch=3),
    'model': lambda s: dict(model=s, args='--lr 1'),
    'model_state_dict': lambda s: dict(model_state_dict=s),
    'nested': lambda s: dict(model=dict(state_dict=s)),
    'module': lambda s: lead(s, 'module.'),
    'backbone': lambda s: dict(state_dict=lead(s, 'backbone.')),
    'module.backbone': lambda s: dict(state_dict=lead(s, 'module.backbone.')),
    'backbone.module': lambda s: dict(state_dict=lead(s, 'backbone.module.')),
}


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('kind', ['classification', 'detection'])
def test_forms_of_the_authors_files(form, kind, tmp_path, log):
    golden = golden_state_dict('t0', kind)
    torch.save(FORMS[form](golden), tmp_path / 'file.pth')
    model = pretrained(tmp_path / 'file.pth')
    state_dict = model.state_dict()
    for key, value in state_dict.items():
        if key in golden:
            assert torch.equal(value, golden[key]), key
        else:  # a fresh norm
            expected = key.endswith(('norm.weight', 'weight', 'running_var'))
            assert (value == int(expected)).all(), key
    fresh = set(state_dict) - set(golden)
    assert fresh == ({key for key in state_dict if key.startswith('norm')} if kind == 'classification' else set())

    taken, dropped, fresh = (TRUNK, HEAD, NORMS) if kind == 'classification' else (TRUNK + NORMS, 0, 0)
    [line] = [line for record in log.records if 'entries loaded' in (line := record.getMessage())]
    numbers = re.findall(r'(\d+) (entries loaded|dropped|not in the file)', line)
    assert f'{tmp_path}/file.pth' in line
    assert numbers == [(str(taken), 'entries loaded'), (str(dropped), 'dropped'), (str(fresh), 'not in the file')]


@pytest.mark.parametrize('arch', ['t0', 's'])
def test_outputs_after_loading_are_the_authors(arch, tmp_path):
    torch.save(mmdet_2_form(golden_state_dict(arch)), tmp_path / 'mask_rcnn.pth')
    golden = golden_outputs(arch)
    for i, out in enumerate(pretrained(tmp_path / 'mask_rcnn.pth', arch).eval()(golden_image())):
        error = abs(out[0, :16, :3, :3].detach().numpy() - golden[f'corner{i}']).max()
        assert error <= 1e-5 * max(1, out.abs().max().item())


@pytest.mark.parametrize('prefix', ['backbone', 'backbone.', 'encoder.net', None])
def test_prefix(prefix, tmp_path):
    golden = golden_state_dict('t0')
    torch.save(lead(golden, f'module.{(prefix or "backbone").rstrip(".")}.'), tmp_path / 'file.pth')
    model = pretrained(tmp_path / 'file.pth', prefix=prefix)
    assert torch.equal(model.state_dict()['norm6.weight'], golden['norm6.weight'])


def test_prefix_picks_one_of_two(tmp_path):
    golden = golden_state_dict('t0')
    other = {key: value + 1 for key, value in golden.items()}
    torch.save({**lead(other, 'student.backbone.'), **lead(golden, 'teacher.backbone.')}, tmp_path / 'file.pth')
    model = pretrained(tmp_path / 'file.pth', prefix='teacher.backbone')
    assert torch.equal(model.state_dict()['norm6.weight'], golden['norm6.weight'])


def test_unknown_prefix(tmp_path):
    torch.save(lead(golden_state_dict('t0'), 'backbone.'), tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match="no entry under prefix='encoder'.*backbone.patch_embed"):
        pretrained(tmp_path / 'file.pth', prefix='encoder')


@pytest.fixture(scope='module')
def timm_t0():
    timm = pytest.importorskip('timm')
    peer = timm.create_model('fasternet_t0')
    peer.load_state_dict(make_state_dict({key: list(value.shape) for key, value in peer.state_dict().items()}))
    return peer.eval()


@pytest.mark.parametrize('form', ['.pth', '.bin', '.safetensors', 'wrapped', 'features_only', 'first feature'])
def test_forms_of_timms_files(form, timm_t0, tmp_path, log):
    import timm

    state_dict = timm_t0.state_dict()
    expected = timm_t0.forward_intermediates(golden_image(), intermediates_only=True)
    options = dict(out_norm=False)
    if form in ('features_only', 'first feature'):
        options['out_indices'] = (0, 1, 2, 3) if form == 'features_only' else (0,)
        features = timm.create_model('fasternet_t0', features_only=True, out_indices=options['out_indices'])
        assert 'stages_0.blocks.0.mlp.0.weight' in features.state_dict()
        state_dict = {key: state_dict[key.replace('stages_', 'stages.')] for key in features.state_dict()}
    path = tmp_path / f'timm{form if form.startswith(".") else ".pth"}'
    if form == '.safetensors':
        safetensors.torch.save_file(state_dict, path)
    else:
        torch.save(dict(state_dict=state_dict, arch='fasternet_t0') if form == 'wrapped' else state_dict, path)
    outs = pretrained(path, **options).eval()(golden_image())
    torch.testing.assert_close(outs, tuple(expected[: len(outs)]), atol=1e-4, rtol=1e-5)
    dropped = HEAD if not options.get('out_indices') else 0
    assert f'{dropped} dropped' in log.text and '0 not in the file' in log.text


def test_legacy_file_and_half_precision(tmp_path):
    golden = golden_state_dict('t0')
    half = {key: value.half() if value.is_floating_point() else value for key, value in golden.items()}
    torch.save(half, tmp_path / 'legacy.pth', _use_new_zipfile_serialization=False)
    state_dict = pretrained(tmp_path / 'legacy.pth').state_dict()
    assert all(value.dtype in (torch.float32, torch.int64) for value in state_dict.values())
    assert torch.equal(state_dict['norm0.bias'], half['norm0.bias'].float())


def test_own_file_after_training(tmp_path):
    torch.manual_seed(0)
    model = FasterNet(TINY, drop_path_rate=0)
    optimizer = torch.optim.AdamW(model.parameters())
    sum(out.square().sum() for out in model(torch.rand(2, 3, 64, 64))).backward()
    optimizer.step()
    torch.save(dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict()), tmp_path / 'own.pth')
    loaded = pretrained(tmp_path / 'own.pth', TINY)
    image = torch.rand(1, 3, 64, 64)
    assert all(map(torch.equal, loaded.eval()(image), model.eval()(image)))


@pytest.mark.parametrize(('out_indices', 'out_norm'), [((0, 2), True), ((1,), False), ((3,), True)])
def test_part_of_a_file(out_indices, out_norm, tmp_path, log):
    golden = golden_state_dict('t0')
    torch.save(golden, tmp_path / 'file.pth')
    model = pretrained(tmp_path / 'file.pth', out_indices=out_indices, out_norm=out_norm)
    whole = FasterNet('t0', out_norm=out_norm)
    whole.load_state_dict({key: golden[key] for key in whole.state_dict()})
    expected = whole.eval()(golden_image())
    outs = model.eval()(golden_image())
    assert all(torch.equal(out, expected[i]) for out, i in zip(outs, out_indices, strict=True))
    taken = len(model.state_dict())
    assert f'{taken} entries loaded, {len(golden) - taken} dropped' in log.text and ' 0 not in the file' in log.text


def test_list_of_initializers_keeps_the_file(tmp_path):
    golden = golden_state_dict('t0')
    torch.save(golden, tmp_path / 'file.pth')
    for order in (1, -1):
        init_cfg = [
            dict(type='Constant', layer='Conv2d', val=3),
            dict(type='Pretrained', checkpoint=str(tmp_path / 'file.pth')),
        ][::order]
        model = FasterNet('t0', init_cfg=init_cfg)
        model.init_weights()
        assert torch.equal(model.state_dict()['stages.1.reduction.weight'], golden['stages.1.reduction.weight'])
        assert model.init_cfg == init_cfg


def test_failure_leaves_the_config_and_the_weights(tmp_path):
    golden = golden_state_dict('t0')
    del golden['stages.6.blocks.1.mlp.3.weight']
    torch.save(golden, tmp_path / 'file.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'file.pth'))
    model = FasterNet('t0', init_cfg=init_cfg)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        model.init_weights()
    assert model.init_cfg == init_cfg
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# What does not fit.


@pytest.mark.parametrize('kind', ['classification', 'detection'])
@pytest.mark.parametrize(
    'key', ['patch_embed.norm.bias', 'stages.4.blocks.7.mlp.3.weight', 'stages.5.norm.num_batches_tracked']
)
def test_one_entry_missing(key, kind, tmp_path):
    golden = golden_state_dict('t0', kind)
    del golden[key]
    torch.save(golden, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=f'file.pth does not fit this FasterNet: 1 missing: {key}$'):
        pretrained(tmp_path / 'file.pth')


@pytest.mark.parametrize(
    'key', ['stages.0.blocks.0.mlp.0.weight', 'stages.0.blocks.0.spatial_mixing.partial_conv3.weight']
)
def test_an_entry_missing_that_the_arch_is_read_from(key, tmp_path):
    golden = golden_state_dict('t0')
    del golden[key]
    torch.save(golden, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=f'FasterNet: 1 missing: {key}$'):
        pretrained(tmp_path / 'file.pth')


def test_one_output_norm_missing(tmp_path):
    golden = {key: value for key, value in golden_state_dict('t0').items() if not key.startswith('norm4')}
    torch.save(golden, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='5 missing: norm4.weight, norm4.bias, norm4.running_mean, …$'):
        pretrained(tmp_path / 'file.pth')


def test_unnamed_prefix_is_told(tmp_path):
    golden = golden_state_dict('t0')
    torch.save({**lead(golden, 'student.backbone.'), **lead(golden, 'teacher.backbone.')}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match="prefix='student.backbone.' or 'teacher.backbone.'"):
        pretrained(tmp_path / 'file.pth')


def test_no_embedding(tmp_path):
    golden = golden_state_dict('t0')
    del golden['patch_embed.proj.weight']
    torch.save(golden, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='lacks patch_embed.proj.weight'):
        pretrained(tmp_path / 'file.pth')


def test_one_entry_misshapen(tmp_path):
    golden = golden_state_dict('t0')
    golden['stages.3.norm.bias'] = torch.zeros(7)
    torch.save(golden, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=r'1 of another shape: stages.3.norm.bias \(7,\) instead of \(160,\)'):
        pretrained(tmp_path / 'file.pth')


def test_one_entry_too_many(tmp_path):
    torch.save({**golden_state_dict('t0'), 'stages.0.gate': torch.ones(1)}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='1 not part of the model: stages.0.gate'):
        pretrained(tmp_path / 'file.pth')


@pytest.mark.parametrize('arch', ARCHS)
def test_file_of_another_variant_is_named(arch, save_shapes):
    save_shapes(lead(shapes_of(arch), 'backbone.'))
    asked = 't0' if arch != 't0' else 's'
    for options in (dict(), dict(out_indices=(0, 1))):
        with pytest.raises(CheckpointError, match=f"it fits arch='{arch}', but arch='{asked}' was asked for"):
            pretrained('file.pth', asked, **options)


@pytest.mark.parametrize('arch', [TINY, {**TINY, 'mlp_ratio': 3}, {**TINY, 'partial_ratio': 1 / 2}])
def test_file_of_an_arch_dict_is_described(arch, save_shapes):
    save_shapes(shapes_of(arch))
    with pytest.raises(CheckpointError) as error:
        pretrained('file.pth', 't2')
    told = {'mlp_ratio': 2, 'partial_ratio': 0.25, **arch}
    found = error.value.args[0].split('it fits arch=')[1].split(', but arch=')[0]
    assert eval(found) == told


def test_file_of_a_variant_for_a_like_arch_dict(save_shapes):
    save_shapes(shapes_of('t0'))
    arch = dict(embed_dims=40, depths=(1, 2, 8, 2), mlp_ratio=3)
    with pytest.raises(CheckpointError, match="it fits arch='t0', but arch={'mlp_ratio': 3,"):
        pretrained('file.pth', arch)


def test_arch_that_fits_is_not_blamed(save_shapes):
    state_dict = shapes_of(TINY)
    del state_dict['stages.2.blocks.1.mlp.1.bias']
    save_shapes(state_dict)
    with pytest.raises(CheckpointError, match='FasterNet: 1 missing: stages.2.blocks.1.mlp.1.bias$'):
        pretrained('file.pth', TINY)


@pytest.mark.parametrize(
    ('file', 'model', 'message'),
    [
        (dict(), dict(in_channels=4), 'trained on images of 3 channels, but in_channels=4'),
        (dict(in_channels=1), dict(), 'trained on images of 1 channels, but in_channels=3'),
        (dict(), dict(norm_cfg=dict(type='LN')), 'trained with BN; set norm_cfg'),
        (dict(), dict(norm_cfg=dict(type='GN', num_groups=4)), 'trained with BN; set norm_cfg'),
        (dict(norm_cfg=dict(type='LN')), dict(), 'trained without BN; set norm_cfg'),
        (dict(layer_scale_init_value=1), dict(), 'trained with layer scale; set layer_scale_init_value'),
        (dict(), dict(layer_scale_init_value=1), 'trained without layer scale; set layer_scale_init_value'),
    ],
)
def test_option_that_does_not_fit_is_named(file, model, message, save_shapes):
    save_shapes(shapes_of(TINY, **file))
    with pytest.raises(CheckpointError, match=message):
        pretrained('file.pth', TINY, **model)


@pytest.mark.parametrize('arch', ['resnet18', 'swin_tiny_patch4_window7_224', 'convnext_atto'])
def test_foreign_file(arch, save_shapes):
    timm = pytest.importorskip('timm')
    with torch.device('meta'):
        save_shapes(timm.create_model(arch).state_dict())
    with pytest.raises(CheckpointError, match='file.pth holds no FasterNet: it lacks'):
        pretrained('file.pth')


@pytest.mark.parametrize(
    ('content', 'kind'),
    [([1, 2], 'list'), ({}, 'dict'), (dict(state_dict={}), 'dict'), (dict(model='s'), 'str'), (5, 'int')],
)
def test_no_state_dict(content, kind, tmp_path):
    torch.save(content, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=f'holds no state dict, but a {kind} without tensors'):
        pretrained(tmp_path / 'file.pth')


def test_trust_reaches_the_reader(tmp_path):
    torch.save(dict(model=golden_state_dict('t0'), args=logging.Formatter()), tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='logging.Formatter'):
        pretrained(tmp_path / 'file.pth')
    assert pretrained(tmp_path / 'file.pth', trust=True).state_dict()['norm0.weight'].std() > 0


def test_typo_in_init_cfg(tmp_path):
    with pytest.raises(TypeError, match='prefx'):
        FasterNet(TINY, init_cfg=dict(type='Pretrained', checkpoint='a.pth', prefx='backbone')).init_weights()


def test_load_pretrained_without_init_cfg(tmp_path):
    torch.save(golden_state_dict('t0'), tmp_path / 'file.pth')
    model = FasterNet('t0')
    load_pretrained(model, tmp_path / 'file.pth')
    assert torch.equal(model.norm4.bias, golden_state_dict('t0')['norm4.bias'])


def test_fasternet_state_dict_keeps_the_classifier():
    golden = golden_state_dict('t0', 'classification')
    found = fasternet_state_dict(dict(state_dict=lead(golden, 'module.')), 'file')
    assert list(found) == list(golden)


def test_unwrap_keeps_tensors_alone():
    assert unwrap(dict(state_dict=dict(weight=torch.ones(1), version='2')), 'file') == dict(weight=torch.ones(1))


# Whole detectors.


class Detector(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 3)
        self.rpn_head = nn.Linear(3, classes)
        self.bbox_head = nn.Module()
        self.bbox_head.fc_cls = nn.Linear(3, classes + 1)


def test_whole_model_fits():
    state_dict = Detector(4).state_dict()
    taken, left_out = check_whole_model(Detector(4), {**state_dict, 'extra': torch.ones(1)}, 'file', False)
    assert taken == state_dict and left_out == []


def test_heads_may_have_other_classes_in_training_alone():
    state_dict = {**Detector(4).state_dict(), **lead(Detector(9).bbox_head.state_dict(), 'bbox_head.')}
    taken, left_out = check_whole_model(Detector(4), state_dict, 'file', True)
    assert left_out == ['bbox_head.fc_cls.weight', 'bbox_head.fc_cls.bias']
    assert set(taken) == set(state_dict) - set(left_out)
    with pytest.raises(
        CheckpointError, match=r'2 of another shape: bbox_head.fc_cls.weight \(10, 3\) instead of \(5, 3\)'
    ):
        check_whole_model(Detector(4), state_dict, 'file', False)


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda s: s.pop('backbone.bias'), '1 missing: backbone.bias'),
        (lambda s: s.update({'backbone.bias': torch.ones(4)}), r'backbone.bias \(4,\) instead of \(3,\)'),
        (lambda s: s.update({'rpn_head.bias': torch.ones(9)}), r'rpn_head.bias \(9,\) instead of \(4,\)'),
        (lambda s: s.update({'bbox_head.fc_cls.weight': torch.ones(5, 9)}), r'\(5, 9\) instead of \(5, 3\)'),
        (lambda s: [s.pop(key) for key in list(s) if key.startswith('backbone')], 'has no detector.*init_cfg'),
    ],
)
def test_whole_model_does_not_fit(edit, message):
    state_dict = Detector(4).state_dict()
    edit(state_dict)
    with pytest.raises(CheckpointError, match=message):
        check_whole_model(Detector(4), state_dict, 'file', True)


# Values that no model can use.


def spoil(state_dict: dict, key: str, value: float) -> dict:
    spoiled = {name: entry.clone() for name, entry in state_dict.items()}
    spoiled[key].view(-1)[-1] = value
    return spoiled


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('key', ['stages.0.blocks.0.mlp.0.weight', 'patch_embed.norm.running_var'])
def test_backbone_of_a_training_that_diverged(key, value, tmp_path):
    torch.save(spoil(golden_state_dict('t0'), key, value), tmp_path / 'file.pth')
    expected = f'unusable: 1 of 148 entries have values that are NaN or infinite: {key}. .* diverged'
    with pytest.raises(CheckpointError, match=expected):
        pretrained(tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=expected):
        save_backbone(tmp_path / 'file.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('key', ['backbone.weight', 'bbox_head.fc_cls.bias'])
def test_whole_model_of_a_training_that_diverged(key):
    with pytest.raises(CheckpointError, match=f'file is unusable: 1 of 6 entries .*: {key}'):
        check_whole_model(Detector(4), spoil(Detector(4).state_dict(), key, float('nan')), 'file', False)


def test_exact_weights_of_a_training_that_diverged():
    module = nn.BatchNorm2d(2)
    with pytest.raises(CheckpointError, match='file is unusable: 1 of 5 entries .*: running_mean'):
        load_exactly(module, spoil(module.state_dict(), 'running_mean', float('nan')), 'file', 'norm')
    assert module.running_mean.tolist() == [0, 0]


@pytest.mark.parametrize('dtype', [torch.complex64, torch.int8, torch.int64])
def test_weights_of_another_kind(dtype, tmp_path):
    golden = golden_state_dict('t0')
    golden['stages.3.norm.bias'] = golden['stages.3.norm.bias'].to(dtype)
    torch.save(golden, tmp_path / 'file.pth')
    with pytest.raises(
        CheckpointError, match=f'1 of another kind: stages.3.norm.bias {dtype} instead of torch.float32'
    ):
        pretrained(tmp_path / 'file.pth')


@pytest.mark.parametrize('value', [torch.ones(3), torch.tensor(1.0)])
def test_embedding_without_channels(value, tmp_path):
    torch.save({**golden_state_dict('t0'), 'patch_embed.proj.weight': value}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='FasterNet: 1 of another shape: patch_embed.proj.weight'):
        pretrained(tmp_path / 'file.pth')


def test_key_that_is_a_number(tmp_path):
    torch.save({**golden_state_dict('t0'), 5: torch.ones(1)}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='names of weights are texts, not 5'):
        pretrained(tmp_path / 'file.pth')


def test_checkpoint_that_holds_itself():
    loop = {}
    loop['state_dict'] = loop
    with pytest.raises(CheckpointError, match='file holds no state dict'):
        unwrap(loop, 'file')


@pytest.mark.parametrize('prefix', ['model.', 'encoder.', 'module.model.'])
def test_prefix_of_other_trainers_is_told(prefix, tmp_path):
    torch.save(lead(golden_state_dict('t0'), prefix), tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=f"prefix: set prefix='{prefix.removeprefix('module.')}'"):
        pretrained(tmp_path / 'file.pth')


def test_escapes_in_keys_are_not_obeyed(tmp_path):
    torch.save({'\x1b[2K' + key: value for key, value in golden_state_dict('t0').items()}, tmp_path / 'file.pth')
    for prefix in (None, 'encoder'):
        with pytest.raises(CheckpointError, match=r'\\x1b\[2K') as error:
            pretrained(tmp_path / 'file.pth', prefix=prefix)
        assert '\x1b' not in str(error.value)
