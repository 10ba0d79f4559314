"""The COCO configs resolve to the paper's recipe, build, and follow the data; facts of a variant stand once."""

import pytest
import torch
import yaml
from helpers.project import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmfasternet import FasterNet
from mmfasternet.engine.config import find_config, load_config, move_data_root
from mmfasternet.errors import UserError
from mmfasternet.models.variants import VARIANTS

CONFIGS = ROOT / 'configs'
BACKBONES = CONFIGS / '_base_/backbones'
ARCHS = ('t0', 't1', 't2', 's', 'm', 'l')
FOLDERS = ('baselines', 'classification', 'detection', 'segmentation')
# Trainable parameters in millions: Table 4 of the paper, its three rows with FasterNet.
PAPER_PARAMS = dict(s=49.0, m=71.2, l=110.9)


def coco_config(arch: str, suffix: str = ''):
    return load_config(CONFIGS / f'mask_rcnn_fasternet_{arch}{suffix}.py')


@pytest.mark.parametrize('arch', ARCHS)
def test_recipe_of_the_paper(arch):
    cfg = coco_config(arch)
    learning_rate = 1e-4 if arch in 'ml' else 2e-4
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=learning_rate, weight_decay=1e-4)
    )
    assert cfg.train_cfg.max_epochs == 12
    warm_up, steps = cfg.param_scheduler
    assert warm_up == dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)
    assert steps == dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
    assert cfg.train_dataloader.batch_size == 2 and cfg.auto_scale_lr == dict(enable=False, base_batch_size=16)
    resize, flip = cfg.train_dataloader.dataset.pipeline[2:4]
    assert resize == dict(type='Resize', scale=(1333, 800), keep_ratio=True)
    assert flip == dict(type='RandomFlip', prob=0.5)
    assert cfg.load_from is None and cfg.runner_type == 'StrictRunner'


@pytest.mark.parametrize('arch', ARCHS)
def test_backbone_of_the_paper(arch):
    """Nothing frozen, BN in train mode, the variant's drop path, ImageNet weights of that variant."""
    backbone = coco_config(arch).model.backbone
    assert set(backbone) == {'type', 'arch', 'init_cfg'}
    assert backbone.init_cfg.type == 'Pretrained'
    assert f'/fasternet_{arch}-epoch.' in backbone.init_cfg.checkpoint
    model = FasterNet(arch=backbone.arch).train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    drop_path = dict(t0=0, t1=0.02, t2=0.05, s=0.15, m=0.2, l=0.3)[arch]
    last = model.stages[-1].blocks[-1].drop_path
    assert getattr(last, 'drop_prob', 0) == pytest.approx(drop_path)


@pytest.mark.parametrize('arch', ARCHS)
def test_detector_builds_offline(arch):
    cfg = coco_config(arch)
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmdet')
    detector = MODELS.build(cfg.model)
    assert [conv.conv.in_channels for conv in detector.neck.lateral_convs] == list(VARIANTS[arch].channels)
    if arch in PAPER_PARAMS:
        trainable = sum(p.numel() for p in detector.parameters() if p.requires_grad)
        assert trainable / 1e6 == pytest.approx(PAPER_PARAMS[arch], abs=0.05)


@pytest.mark.parametrize('arch', ['s', 'm', 'l'])
def test_3x_differs_in_schedule_and_scale_only(arch):
    once, thrice = coco_config(arch).to_dict(), coco_config(arch, '_3x').to_dict()
    differing = {key for key in once.keys() | thrice.keys() if once.get(key) != thrice.get(key)}
    assert differing == {'train_cfg', 'param_scheduler', 'train_pipeline', 'train_dataloader', 'work_dir'}
    assert thrice['train_cfg']['max_epochs'] == 36 and thrice['param_scheduler'][1]['milestones'] == [27, 33]
    _, load, resize, *_ = thrice['train_dataloader']['dataset']['pipeline']
    # mmdet's recipe has poly2mask=False, which leaves out objects whose masks are run lengths.
    assert load == once['train_dataloader']['dataset']['pipeline'][1]
    assert resize == dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True)


@pytest.mark.parametrize('how', ['option', 'environment', 'both'])
def test_data_root_moves_every_path(how, monkeypatch):
    options = dict(data_root='/elsewhere/coco/') if how != 'environment' else None
    if how != 'option':
        monkeypatch.setenv('MMDET_DATASETS', '/elsewhere/coco' if how == 'environment' else '/overruled')
    cfg = load_config(CONFIGS / 'mask_rcnn_fasternet_s.py', options)
    assert cfg.val_evaluator.ann_file == '/elsewhere/coco/annotations/instances_val2017.json'
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root.rstrip('/') == '/elsewhere/coco'
    assert 'data/coco' not in cfg.pretty_text


def test_move_data_root_leaves_neighbours_alone():
    config = dict(a='data/coco', b=['data/coco/x', ('data/coco2/x', 3)], c='some data/coco/')
    assert move_data_root(config, 'data/coco/', 'new/') == dict(
        a='new', b=['new/x', ('data/coco2/x', 3)], c='some data/coco/'
    )
    assert config['a'] == 'data/coco'


def test_missing_config_is_one_message():
    with pytest.raises(UserError, match=r'config no/such\.py does not exist'):
        load_config('no/such.py')


@pytest.mark.parametrize('name', ['mask_rcnn_fasternet_t0_shapes', 'mask_rcnn_fasternet_t0_shapes.py'])
def test_a_config_is_found_by_its_name(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cfg = load_config(name)
    assert cfg.filename == str(CONFIGS / 'demo/mask_rcnn_fasternet_t0_shapes.py')
    assert cfg.work_dir == 'work_dirs/mask_rcnn_fasternet_t0_shapes'


def test_a_file_of_the_current_folder_comes_before_a_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mask_rcnn_fasternet_s.py').write_text("own = 'mine'\nmodel = dict(type='MaskRCNN')\n")
    assert load_config('mask_rcnn_fasternet_s.py').own == 'mine'
    assert 'own' not in load_config('mask_rcnn_fasternet_s')


@pytest.mark.parametrize('name', ['mask_rcnn_fasternet', 'fasternet_s', '_base_shapes', 'elsewhere/coco_instance.py'])
def test_bases_have_no_name(name):
    with pytest.raises(UserError, match=f'config {name} does not exist'):
        find_config(name)


@pytest.mark.parametrize('name', ['mask_rcnn_fastrnet_s', 'configs/mask_rcnn_fasternet_s.py', 'Mask_RCNN_fasternet_s'])
def test_an_unknown_name_is_answered_with_near_ones(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f'config {name} does not exist; .*names like it: .*mask_rcnn_fasternet_s'):
        find_config(name)


def test_a_name_of_two_files_is_refused(monkeypatch, tmp_path):
    files = [tmp_path / 'configs' / folder / 'mine.py' for folder in ('a', 'b')]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    monkeypatch.setattr('mmfasternet.engine.config.project_root', lambda: tmp_path)
    with pytest.raises(UserError, match=f'config mine names several files.*{files[0]}, {files[1]}'):
        find_config('mine')


@pytest.mark.parametrize(('text', 'fact'), [('_base_ = "./absent.py"', 'absent.py'), ('model = (', 'SyntaxError')])
def test_a_config_that_can_not_be_read_is_one_message(tmp_path, text, fact):
    path = tmp_path / 'mine.py'
    path.write_text(text)
    with pytest.raises(UserError, match=f'mine.py cannot be loaded.*{fact}'):
        load_config(path)


@pytest.mark.parametrize(
    ('text', 'fact'),
    [
        ('a = 1\nb = a / 0\n', r': line 2 of .*/base.py \(ZeroDivisionError: division by zero\)'),
        ('a = dict(b=1)\n\nc = a["d"]\n', r": line 3 of .*/base.py \(KeyError: 'd'\)"),
        ('raise RuntimeError("first\\nsecond")\n', r': line 1 of .*/base.py \(RuntimeError: first\)$'),
        ('a = 1\nb = (', r': line 2 of .*/base.py \(SyntaxError'),
        ('\0', r': .*/base.py \(SyntaxError'),
        ('_base_ = "./base.py"\n', r'RecursionError: maximum recursion depth exceeded'),
    ],
)
def test_whatever_a_config_raises_is_one_message_with_its_line(tmp_path, text, fact):
    (tmp_path / 'base.py').write_text(text)
    path = tmp_path / 'mine.py'
    path.write_text('_base_ = "./base.py"\n')
    with pytest.raises(UserError, match=f'{path} cannot be loaded.*{fact}'):
        load_config(path)


@pytest.mark.parametrize(
    ('name', 'content', 'fact'),
    [
        ('epoch_1.pth', b'PK\3\4\0\xff', r'epoch_1.pth is not a config: it must be a .py, .yaml or .json file'),
        ('mine.py', b'PK\3\4\0\xff', 'mine.py cannot be loaded'),
        ('mine.py', b'def main(): ...\n', 'mine.py is not a config: it has no model'),
        ('mine.json', b'[1]', 'mine.json cannot be loaded'),
    ],
)
def test_a_file_that_is_no_config_is_one_message(tmp_path, name, content, fact):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=fact):
        load_config(tmp_path / name)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr('mmfasternet.engine.config.find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'needs mmdet, which is not installed: pip install onedl-mmdetection'):
        coco_config('t0')


@pytest.mark.parametrize('arch', ARCHS)
def test_backbone_has_the_channels_and_the_weights_of_its_variant(arch):
    cfg = Config.fromfile(BACKBONES / f'fasternet_{arch}.py')
    outs = FasterNet(**{key: value for key, value in cfg.backbone.items() if key != 'type'})(torch.rand(1, 3, 64, 64))
    assert [out.shape[1] for out in outs] == cfg.channels
    assert f'/fasternet_{arch}-epoch.' in cfg.backbone.init_cfg.checkpoint


def test_facts_of_a_variant_stand_in_its_backbone_only():
    facts = [str(list(v.channels)[i:]) for v in VARIANTS.values() for i in (0, 1)]
    facts = {fact[1:-1] for fact in facts} | {variant.checkpoint for variant in VARIANTS.values()}
    # ResNet-18, ResNet-50, RepViT, Swin and ConvNeXt have channels that some variant has.
    others = [path for path in CONFIGS.rglob('*.py') if 'fasternet' in path.name and path.parent != BACKBONES]
    assert others and not {path.name: fact for path in others for fact in facts if fact in path.read_text()}


def test_every_config_with_fasternet_inherits_its_backbone():
    for path in (path for path in CONFIGS.rglob('*fasternet*.py') if '_base_' not in path.parts):
        cfg = Config.fromfile(path, import_custom_modules=False)
        assert cfg.model.backbone.type == 'FasterNet'
        assert cfg.backbone.arch == cfg.model.backbone.arch in path.stem.split('_')


def test_a_config_elsewhere_inherits_ours_by_its_path(tmp_path):
    mine = tmp_path / 'mine.py'
    base = CONFIGS / 'mask_rcnn_fasternet_s.py'
    mine.write_text(f'_base_ = {str(base)!r}\nmodel = dict(neck=dict(in_channels=_base_.channels[::-1]))\n')
    cfg, ours = load_config(mine), load_config(base)
    assert cfg.model.neck.in_channels == [1024, 512, 256, 128]
    assert cfg.model.backbone == ours.model.backbone
    # What a training run saves can be loaded again.
    ours.dump(tmp_path / 'saved.py')
    assert load_config(tmp_path / 'saved.py').model == ours.model


def test_basenames_are_unique():
    """MIM looks configs up by basename."""
    names = [path.name for path in CONFIGS.rglob('*.py')]
    assert sorted(set(names)) == sorted(names)


def test_metafile_names_what_exists():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = [model for path in index['Import'] for model in yaml.safe_load((ROOT / path).read_text())['Models']]
    # Demos and bases are not listed.
    listed = [*CONFIGS.glob('*.py'), *(path for folder in FOLDERS for path in (CONFIGS / folder).glob('*.py'))]
    assert sorted(model['Config'] for model in models) == sorted(path.relative_to(ROOT).as_posix() for path in listed)
    for model in models:
        for result in model.get('Results', []):
            assert 'published' in result['Figures']
    published = {model['Name']: [r['Metrics'] for r in model['Results']] for model in models if 'Results' in model}
    assert published['mask_rcnn_fasternet_s'] == [{'box AP': 39.9}, {'mask AP': 36.9}]
    assert published['mask_rcnn_fasternet_m'] == [{'box AP': 43.0}, {'mask AP': 39.1}]
    assert published['mask_rcnn_fasternet_l'] == [{'box AP': 44.0}, {'mask AP': 39.9}]
    kinds = {model['Name']: model['Metadata'].get('Architecture') for model in models}
    assert kinds['rtmdet_fasternet_t0'] == 'RTMDet' and kinds['rtmdet_ins_fasternet_t0'] == 'RTMDet-Ins'
