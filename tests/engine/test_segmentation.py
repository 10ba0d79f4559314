"""The segmentation configs resolve to their recipes, build, learn and predict, and the tools train and test them."""

import json
import shutil
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest
import torch
from helpers.project import ROOT, succeed
from helpers.recipes import differences
from helpers.sizes import large_ones_slow
from mmengine.registry import MODELS, RUNNERS, init_default_scope
from mmengine.structures import PixelData
from mmseg.datasets import BaseSegDataset
from mmseg.structures import SegDataSample
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.datasets import CLASSES, draw_semantic_sheet
from mmfasternet.datasets.check import DataError, check_dataset_config, explain_empty
from mmfasternet.datasets.pixels import check_images
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError

CONFIGS = ROOT / 'configs/segmentation'
DEMO = ROOT / 'configs/demo/semantic_fpn_fasternet_t0_shapes.py'
DETECTOR = ROOT / 'configs/mask_rcnn_fasternet_t0.py'
CLASSIFIER = ROOT / 'configs/classification/fasternet_t0_imagenet.py'
TOOLS = ROOT / 'tools'
NAMES = sorted(path.stem for path in CONFIGS.glob('*.py'))
ZOO = Path(mmseg.__file__).parent / '.mim/configs'
PARTS = ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator')
LOOPS = ('train_cfg', 'val_cfg', 'test_cfg')
SWIN = 'swin/swin-small-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'
# Each family's zoo config, what of it is the recipe, and where they differ beside backbone, channels and data_root.
RECIPES = dict(
    semantic_fpn_fasternet_t0=('sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py', PARTS, ('dataset.pipeline',)),
    semantic_fpn_fasternet_s_cityscapes=('sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py', (*PARTS, *LOOPS), ()),
    upernet_fasternet_s=(
        SWIN,
        (*PARTS, *LOOPS, 'optim_wrapper', 'param_scheduler'),
        ('model.data_preprocessor.test_cfg.size_divisor', 'optim_wrapper.paramwise_cfg'),
    ),
)


def load(name: str, options: dict | None = None):
    return load_config(CONFIGS / f'{name}.py', options)


@pytest.mark.parametrize('name', RECIPES)
def test_recipe_is_the_zoos(name):
    zoo, keys, own = RECIPES[name]
    elsewhere = ('model.backbone', 'model.pretrained', 'in_channels', 'data_root', 'pin_memory')
    found = differences(load(name), load_config(ZOO / zoo), keys)
    found = {path for path in found if not any(part in path for part in elsewhere)}
    assert all(any(part in path for path in found) for part in own)
    assert not {path for path in found if not any(part in path for part in own)}


@pytest.mark.parametrize('name', [name for name in NAMES if name.startswith('semantic')])
def test_recipe_of_semantic_fpn(name):
    cfg = load(name)
    city = name.endswith('cityscapes')
    assert cfg.optim_wrapper == dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4))
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
    assert cfg.param_scheduler == [
        dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80000, by_epoch=False),
    ]
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == ((2, 8) if city else (4, 16))
    assert cfg.model.data_preprocessor.size == ((512, 1024) if city else (512, 512))
    assert cfg.model.decode_head.num_classes == (19 if city else 150)
    aligned = dict(type='ResizeToMultiple', size_divisor=32)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert (aligned in loader.dataset.pipeline) == (not city)


@pytest.mark.parametrize('name', [name for name in NAMES if name.startswith('upernet')])
def test_recipe_of_upernet(name):
    cfg = load(name)
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01)
    assert cfg.optim_wrapper.paramwise_cfg == dict(norm_decay_mult=0.0)
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
    assert cfg.param_scheduler == [
        dict(type='LinearLR', start_factor=1e-6, begin=0, end=1500, by_epoch=False),
        dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, end=160000, by_epoch=False),
    ]
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (2, 16)
    assert cfg.default_hooks.checkpoint.interval == 16000
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 150


def test_upernet_pads_images_of_any_size():
    cfg = load('upernet_fasternet_s')
    init_default_scope('mmseg')
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    sample = SegDataSample(metainfo=dict(img_shape=(65, 90), ori_shape=(65, 90)))
    image = torch.zeros(3, 65, 90, dtype=torch.uint8)
    assert preprocessor(dict(inputs=[image], data_samples=[sample]))['inputs'].shape == (1, 3, 96, 96)


@pytest.mark.parametrize('name', large_ones_slow(NAMES))
def test_config_learns_and_predicts(name):
    """ImageNet weights of its variant, nothing frozen; a loss with finite gradients; a map of the image's size."""
    cfg = load(name)
    assert cfg.default_scope == 'mmseg' and cfg.runner_type == 'StrictRunner'
    backbone = cfg.model.backbone
    assert f'/fasternet_{backbone.arch}-epoch.' in backbone.init_cfg.checkpoint and f'fasternet_{backbone.arch}' in name
    backbone.update(init_cfg=None, drop_path_rate=0.0)  # by which a block may go without a gradient
    size = cfg.model.data_preprocessor.size = (64, 96)
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    assert all(norm.training and isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)

    samples = []
    for _ in range(2):
        truth = torch.randint(cfg.model.decode_head.num_classes, (1, 60, 96))
        metainfo = dict(img_shape=(60, 96), ori_shape=(120, 192))
        samples.append(SegDataSample(metainfo=metainfo, gt_sem_seg=PixelData(data=truth)))
    images = list(torch.randint(256, (2, 3, 60, 96), dtype=torch.uint8))
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    assert data['inputs'].shape == (2, 3, *size)
    losses = model(**data, mode='loss')
    sum(loss for key, loss in losses.items() if 'loss' in key).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    assert all(parameter.grad.abs().max() > 0 for parameter in model.backbone.parameters())

    with torch.no_grad():
        found = model.eval().test_step(dict(inputs=images, data_samples=samples))
    assert found[0].pred_sem_seg.data.shape == (1, 120, 192)
    assert found[0].seg_logits.data.shape == (cfg.model.decode_head.num_classes, 120, 192)


def test_coco_elsewhere_does_not_move_ade20k(monkeypatch):
    monkeypatch.setenv('MMDET_DATASETS', '/coco')
    assert load('semantic_fpn_fasternet_s').train_dataloader.dataset.data_root == 'data/ade/ADEChallengeData2016/'
    cfg = load('semantic_fpn_fasternet_s', dict(data_root='/ade'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root.rstrip('/') == '/ade'


# Tools and demo -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def trained(tmp_path_factory, shapes_root) -> tuple[Path, Path]:
    """The demo's config and a checkpoint of three iterations on the tiny images."""
    folder = tmp_path_factory.mktemp('trained')
    options = [f'data_root={shapes_root}', 'train_cfg.max_iters=3', 'train_dataloader.batch_size=4']
    succeed(TOOLS / 'train.py', DEMO, '--work-dir', folder, '--cfg-options', *options)
    return folder / DEMO.name, folder / 'iter_3.pth'


@pytest.mark.slow
def test_test_reports_miou_and_writes_maps(trained, shapes_root, tmp_path):
    config, checkpoint = trained
    maps, drawn = tmp_path / 'maps', tmp_path / 'drawn'
    succeed(
        *(TOOLS / 'test.py', config, checkpoint, '--work-dir', tmp_path / 'test'),
        *('--out', maps, '--show-dir', drawn),
    )
    metrics = json.loads(next((tmp_path / 'test').glob('*/*.json')).read_text())
    assert len(list((drawn / 'vis_data/vis_image').glob('*.png'))) == 6

    # The maps that were written have the mIoU that was reported.
    found, truth = (
        np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob('*.png'))])
        for folder in (maps, shapes_root / 'semantic/val')
    )
    assert found.shape == truth.shape == (6, 96, 128)
    union = [((found == k) | (truth == k)).sum() for k in range(7)]
    shared = [((found == k) & (truth == k)).sum() for k in range(7)]
    iou = [100 * a / b for a, b in zip(shared, union, strict=True) if b]
    assert metrics['mIoU'] == pytest.approx(np.mean(iou), abs=0.01)


@pytest.mark.slow
def test_flip_tta_averages_both_directions(trained, tmp_path):
    """The maps that the tool writes are those of the image's and its mirror image's mean probabilities."""
    config, checkpoint = trained
    succeed(
        *(TOOLS / 'test.py', config, checkpoint, '--work-dir', tmp_path / 'test'),
        *('--tta', '--out', tmp_path / 'maps'),
    )
    cfg = load_config(config, work_dir=str(tmp_path / 'own'))
    cfg.load_from = str(checkpoint)
    runner = RUNNERS.build(cfg)
    runner.load_or_resume()
    data = next(iter(runner.test_dataloader))
    mirrored = dict(data, inputs=[image.flip(-1) for image in data['inputs']])
    with torch.no_grad():
        plain, flipped = (
            torch.stack([sample.seg_logits.data.softmax(0) for sample in runner.model.eval().test_step(batch)])
            for batch in (data, mirrored)
        )
    expected = (plain + flipped.flip(-1)).argmax(1)
    found = torch.stack([torch.tensor(cv2.imread(str(path), -1)) for path in sorted((tmp_path / 'maps').iterdir())])
    assert (found == expected).float().mean() > 0.999
    assert (found == plain.argmax(1)).float().mean() < 0.999


@pytest.mark.parametrize(
    'tool, args, message',
    [
        ('test.py', [DEMO, 'x.pth', '--out', 'predictions.pkl'], '--out must be a folder for a segmentor'),
        ('test.py', [DETECTOR, 'x.pth', '--out', 'out'], '--out must end in .pkl or .pickle for a detector'),
        ('test.py', [CLASSIFIER, 'x.pth', '--out', 'out.pkl'], '--out must end in .json for a classifier'),
    ],
)
def test_what_belongs_to_the_other_task_is_one_message(tool, args, message, mistake_of):
    assert mistake_of(TOOLS / tool, *args).startswith(f'error: {message}')


def test_sheet_shows_maps_beside_each_other(shapes_root, tmp_path):
    truth, images, sheet = shapes_root / 'semantic/val', shapes_root / 'val', tmp_path / 'sheet.png'
    perfect = cv2.imread(str(draw_semantic_sheet(truth, truth, images, sheet, CLASSES, count=3)))
    assert perfect.shape == (28 + 2 * (192 + 34), 4 * (256 + 12), 3)  # three images in two rows of two pairs
    left, right = np.split(perfect[28:254, :536], 2, 1)
    assert (left[28:] == right[28:]).all() and (left[:28] != right[:28]).any()
    assert (perfect[254:, 536:] == 255).all() and (perfect[:28] < 255).any()

    nothing = tmp_path / 'nothing'
    nothing.mkdir()
    for path in truth.glob('*.png'):
        cv2.imwrite(str(nothing / path.name), np.zeros((96, 128), np.uint8))
    empty = cv2.imread(str(draw_semantic_sheet(nothing, truth, images, sheet, CLASSES, count=3)))
    left_again, right = np.split(empty[28:254, :536], 2, 1)
    # Each sheet has a palette of its own.
    assert np.abs(left_again.astype(int) - left).mean() < 4 and (right[28:] != left_again[28:]).any()
    with pytest.raises(UserError, match='000001.png cannot be read as an image'):
        draw_semantic_sheet(truth, tmp_path, images, sheet, CLASSES)


# Data that does not fit -----------------------------------------------------------------------------------------------


@pytest.fixture
def own(shapes_root, tmp_path):
    """A copy of the tiny data set that a test may spoil."""
    return shutil.copytree(shapes_root, tmp_path / 'own')


def dataset(root, **changes):
    config = dict(metainfo=dict(classes=('background', *CLASSES)), data_root=str(root), img_suffix='.png', pipeline=[])
    return dict(config, data_prefix=dict(img_path='train', seg_map_path='semantic/train'), **changes)


def test_complete_data_passes(own):
    check_dataset_config(dataset(own))
    check_images(BaseSegDataset(**dataset(own)))
    foreground = dict(dataset(own, reduce_zero_label=True), metainfo=dict(classes=CLASSES))
    check_images(BaseSegDataset(**foreground))


def test_absent_folder_of_maps_is_named(own):
    shutil.rmtree(own / 'semantic')
    with pytest.raises(DataError, match=r'lacks semantic/train\. .*--cfg-options data_root'):
        check_dataset_config(dataset(own))


def test_folder_without_images(own):
    explain_empty(dataset(own))
    with pytest.raises(DataError, match=r'own/train has no image whose name ends in \.jpg'):
        explain_empty(dict(dataset(own), img_suffix='.jpg'))


@pytest.mark.parametrize(
    'spoiled, complaint',
    [
        (None, r'the image .*000003\.png has no semantic map .*semantic/train/000003\.png'),
        (np.zeros((64, 64), np.uint8), r'has width and height \(64, 64\), but its image .* has \(128, 96\)'),
        (np.zeros((96, 128, 3), np.uint8), 'is a colour image'),
        (np.full((96, 128), 7, np.uint8), 'has class number 7, but the 7 classes of the data set end at 6'),
    ],
)
def test_maps_that_do_not_fit(own, spoiled, complaint):
    path = own / 'semantic/train/000003.png'
    path.unlink()
    if spoiled is not None:
        Image.fromarray(spoiled).save(path)
    with pytest.raises(DataError, match=complaint):
        check_images(BaseSegDataset(**dataset(own)))
