"""The ImageNet configs resolve to the paper's recipe, train, and test what ImageNet's layout holds."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from helpers.golden import golden_state_dict
from helpers.project import ROOT, succeed
from helpers.sizes import large_ones_slow
from mmcv.transforms import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, PARAM_SCHEDULERS, TRANSFORMS, init_default_scope
from mmpretrain.structures import DataSample
from PIL import Image

from mmfasternet.datasets import make_crops
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError

GUIDE = ROOT / 'docs/imagenet.md'
WITHOUT_WORKERS = ('num_workers=0', 'persistent_workers=False')

# Table 6 of the paper, and drop path of its Table 8.
TABLE6 = dict(
    t0=dict(decay=0.005, mixup=0.05, magnitude=None, clip=None, batch=4096, drop_path=0),
    t1=dict(decay=0.01, mixup=0.1, magnitude=3, clip=None, batch=4096, drop_path=0.02),
    t2=dict(decay=0.02, mixup=0.1, magnitude=5, clip=None, batch=4096, drop_path=0.05),
    s=dict(decay=0.03, mixup=0.3, magnitude=7, clip=None, batch=4096, drop_path=0.1),
    m=dict(decay=0.05, mixup=0.5, magnitude=7, clip=1, batch=2048, drop_path=0.2),
    l=dict(decay=0.05, mixup=0.7, magnitude=7, clip=0.01, batch=2048, drop_path=0.3),
)
TOP1 = dict(t0=71.9, t1=76.2, t2=78.9, s=81.3, m=83.0, l=83.5)


def imagenet_config(arch: str):
    init_default_scope('mmpretrain')
    return load_config(ROOT / f'configs/classification/fasternet_{arch}_imagenet.py')


@pytest.mark.parametrize('arch', TABLE6)
def test_recipe_of_the_paper(arch):
    cfg, row = imagenet_config(arch), TABLE6[arch]
    optimizer = dict(type='AdamW', lr=0.001 * row['batch'] / 1024, weight_decay=row['decay'])
    clip = {} if row['clip'] is None else dict(clip_grad=dict(max_norm=row['clip']))
    assert cfg.optim_wrapper == dict(type='OptimWrapper', optimizer=optimizer, **clip)
    assert cfg.train_cfg.max_epochs == 300
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == row['batch']
    assert cfg.model.train_cfg.augments == [dict(type='Mixup', alpha=row['mixup']), dict(type='CutMix', alpha=1.0)]
    assert cfg.model.head.loss == dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')


@pytest.mark.parametrize('arch', ['t0', 'l'])
def test_learning_rate_of_every_epoch(arch):
    """From 1e-6 in 20 epochs to the highest, and by a cosine down to 1e-5."""
    cfg = imagenet_config(arch)
    highest = cfg.optim_wrapper.optimizer.lr
    optimizer = build_optim_wrapper(torch.nn.Linear(1, 1), cfg.optim_wrapper)
    schedulers = [PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer)) for scheduler in cfg.param_scheduler]
    rates = []
    for _ in range(300):
        rates.append(optimizer.get_lr()['lr'][0])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(1e-6) and rates[19] == pytest.approx(highest) == max(rates)
    assert rates[20 + 140] == pytest.approx((highest + 1e-5) / 2, rel=1e-3) and rates[-1] == pytest.approx(
        1e-5, rel=0.05
    )
    assert rates[20:] == sorted(rates[20:], reverse=True)


@pytest.mark.parametrize('arch', TABLE6)
def test_images_of_192_then_224(arch, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)).save(tmp_path / 'a.png')
    sample = dict(img_path=str(tmp_path / 'a.png'), gt_label=3)
    cfg = imagenet_config(arch)
    (hook,) = cfg.custom_hooks
    switched = HOOKS.build(hook).schedule
    assert list(switched) == [281]
    early, late = cfg.train_dataloader.dataset.pipeline, hook.schedule[0].train_pipeline
    pipelines = {192: Compose([TRANSFORMS.build(step) for step in early]), 224: switched[281]['train_pipeline']}
    for size, pipeline in pipelines.items():
        assert pipeline(dict(sample))['inputs'].shape == (3, size, size)
    for pipeline in (early, late):
        levels = [(s.magnitude_level, s.magnitude_std) for s in pipeline if s.type == 'RandAugment']
        assert levels == ([(TABLE6[arch]['magnitude'], 0.5)] if TABLE6[arch]['magnitude'] else [])
    test = cfg.test_dataloader.dataset.pipeline
    assert test[1].scale == int(224 / 0.9)
    assert Compose([TRANSFORMS.build(step) for step in test])(dict(sample))['inputs'].shape == (3, 224, 224)


@pytest.mark.parametrize('arch', large_ones_slow(TABLE6))
def test_classifier_trains_and_predicts(arch):
    model = MODELS.build(imagenet_config(arch).model)
    model.init_weights()
    assert type(model.head.avgpool_pre_head[2]) is type(model.backbone.stages[0].blocks[0].mlp[2])
    drop_path = model.backbone.stages[-1].blocks[-1].drop_path
    assert getattr(drop_path, 'drop_prob', 0) == pytest.approx(TABLE6[arch]['drop_path'])
    samples = [DataSample().set_gt_label(label) for label in (3, 999)]
    batch = dict(inputs=[torch.randint(256, (3, 64, 64), dtype=torch.uint8) for _ in samples], data_samples=samples)
    data = model.train().data_preprocessor(batch, training=True)
    loss = model(**data, mode='loss')['loss']
    loss.backward()
    # Of 1000 classes nothing is known yet.
    assert loss.item() == pytest.approx(np.log(1000), rel=0.2)
    # A dropped block has no gradient, but then one of zeros.
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    predicted = model.eval()(**model.data_preprocessor(batch), mode='predict')
    assert all(sample.pred_score.sum().item() == pytest.approx(1, abs=1e-4) for sample in predicted)


@pytest.mark.slow
def test_a_released_file_is_tested_on_imagenets_layout(tmp_path):
    names = [f'{number}.png' for number in range(4)]
    (tmp_path / 'imagenet/meta').mkdir(parents=True)
    (tmp_path / 'imagenet/val').mkdir()
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (260, 240, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'imagenet/val' / name)
    # Of the labels two are what the file predicts.
    cfg = imagenet_config('t0')
    pipeline = Compose([TRANSFORMS.build(step) for step in cfg.test_dataloader.dataset.pipeline])
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(golden_state_dict('t0', 'classification'))
    batch = [pipeline(dict(img_path=str(tmp_path / 'imagenet/val' / name), gt_label=0)) for name in names]
    data = dict(inputs=[item['inputs'] for item in batch], data_samples=[item['data_samples'] for item in batch])
    with torch.no_grad():
        predicted = model(**model.data_preprocessor(data), mode='predict')
    labels = [int(sample.pred_label) for sample in predicted]
    labels[2:] = [(label + 500) % 1000 for label in labels[2:]]
    lines = (f'{name} {label}\n' for name, label in zip(names, labels, strict=True))
    (tmp_path / 'imagenet/meta/val.txt').write_text(''.join(lines))
    torch.save(golden_state_dict('t0', 'classification'), tmp_path / 'released.pth')
    succeed(
        ROOT / 'tools/test.py',
        ROOT / 'configs/classification/fasternet_t0_imagenet.py',
        tmp_path / 'released.pth',
        *('--work-dir', tmp_path / 'work', '--cfg-options', f'data_root={tmp_path}/imagenet/'),
        *('test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False'),
        MMDET_DATASETS='/where/coco/lies',
    )
    metrics = json.loads(next((tmp_path / 'work').glob('*/*.json')).read_text())
    assert metrics['accuracy/top1'] == 50 and metrics['accuracy/top5'] >= 50


def test_absent_imagenet_is_one_message(mistake_of, tmp_path):
    message = mistake_of(
        ROOT / 'tools/train.py',
        ROOT / 'configs/classification/fasternet_t0_imagenet.py',
        *('--work-dir', tmp_path / 'work', '--cfg-options', f'data_root={tmp_path}/absent'),
    )
    assert message.startswith(f'error: no data at {tmp_path}/absent: it must hold train, and lacks train.')
    assert '--cfg-options data_root' in message


def test_folders_that_do_not_fit_the_classes_are_one_message(mistake_of, shapes_root, tmp_path):
    make_crops(shapes_root, tmp_path / 'crops')
    train = ROOT / 'tools/train.py', ROOT / 'configs/classification/fasternet_t0_imagenet.py'
    options = ['--work-dir', tmp_path / 'work', '--cfg-options', f'data_root={tmp_path}/crops']
    message = mistake_of(*train, *options)
    assert re.match(r'error: .*number of subfolders \(6\).*number of specified classes \(1000\)', message, re.DOTALL)
    for path in (tmp_path / 'crops/train').glob('*/*.png'):
        path.unlink()
    assert 'error: ' in (message := mistake_of(*train, *options)) and f'{tmp_path}/crops' in message


def test_what_is_not_for_classifiers_is_one_message(mistake_of):
    config = ROOT / 'configs/classification/fasternet_t0_imagenet.py'
    message = mistake_of(ROOT / 'tools/test.py', config, 'released.pth', '--tta')
    assert message.startswith('error: --show, --show-dir and --tta are not for classifiers')


@pytest.mark.slow
def test_guides_classifier_is_fine_tuned(shapes_root, tmp_path):
    make_crops(shapes_root, tmp_path / 'crops')
    torch.save(golden_state_dict('t0', 'classification'), tmp_path / 'released.pth')
    (code,) = re.findall(r'^```python\n(# my_classifier.py\n.*?)^```', GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    code = code.replace('./configs', str(ROOT / 'configs')).replace('fasternet_s_imagenet', 'fasternet_t0_imagenet')
    (tmp_path / 'my_classifier.py').write_text(code)
    done = succeed(
        ROOT / 'tools/train.py',
        tmp_path / 'my_classifier.py',
        *('--work-dir', tmp_path / 'work', '--cfg-options', f'data_root={tmp_path}/crops/', 'train_cfg.max_epochs=1'),
        *(f'load_from={tmp_path}/released.pth', 'train_dataloader.batch_size=16'),
        *(f'{split}_dataloader.{key}' for split in ('train', 'val') for key in WITHOUT_WORKERS),
    )
    assert 'start afresh: head.head.weight' in done.stdout
    trained = torch.load(tmp_path / 'work/epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert trained['head.head.weight'].shape == (6, 1280)


@pytest.mark.slow
def test_round_trip_from_a_classifier_of_crops_to_a_detector(shapes_root, tmp_path):
    make_crops(shapes_root, tmp_path / 'crops')
    done = succeed(
        ROOT / 'tools/train.py',
        ROOT / 'configs/demo/fasternet_t0_shape_crops.py',
        *('--work-dir', tmp_path / 'work', '--cfg-options', f'data_root={tmp_path}/crops/', 'train_cfg.max_epochs=2'),
    )
    assert 'accuracy/top1' in done.stdout
    classifier = tmp_path / 'work/epoch_2.pth'
    done = succeed(
        ROOT / 'tools/train.py',
        ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes_pretrained.py',
        *('--work-dir', tmp_path / 'detector', '--cfg-options', f'data_root={shapes_root}/', 'train_cfg.max_epochs=1'),
        *(f'model.backbone.init_cfg.checkpoint={classifier}', 'optim_wrapper.optimizer.lr=0.0'),
    )
    # Nothing has been learned, so that the detector has what the classifier had.
    files = [
        torch.load(file, map_location='cpu', weights_only=False)
        for file in (classifier, tmp_path / 'detector/epoch_1.pth')
    ]
    learned, taken = (file['state_dict'] for file in files)
    keys = [
        key for key in learned if key.startswith('backbone.') and 'running_' not in key and 'num_batches' not in key
    ]
    assert keys and all(torch.equal(learned[key], taken[key]) for key in keys)


def test_crops_show_every_object(shapes_root, tmp_path):
    root = make_crops(shapes_root, tmp_path / 'crops')
    for split in ('train', 'val'):
        coco = json.loads((shapes_root / f'annotations/instances_{split}.json').read_text())
        classes = {category['id']: category['name'] for category in coco['categories']}
        expected = {(classes[a['category_id']], f'{a["id"]:06d}.png'): a['bbox'] for a in coco['annotations']}
        found = {(path.parent.name, path.name): path for path in (root / split).glob('*/*.png')}
        assert found.keys() == expected.keys()
        for key, (_, _, width, height) in expected.items():
            with Image.open(found[key]) as crop:
                assert crop.width >= width - 1 and crop.height >= height - 1
    with pytest.raises(UserError, match='exists already; remove it, or choose another folder'):
        make_crops(shapes_root, root)
    with pytest.raises(
        UserError, match=r'instances_train.json does not exist; make the data set with .mmfasternet make_shapes'
    ):
        make_crops(tmp_path / 'absent', tmp_path / 'other')
    assert [path.name for path in tmp_path.iterdir()] == ['crops']
    broken = tmp_path / 'broken'
    shutil.copytree(shapes_root, broken)
    next((broken / 'val').iterdir()).write_bytes(b'no image')
    with pytest.raises(UserError, match='broken/val/.* cannot be read as an image'):
        make_crops(broken, tmp_path / 'other')
    with pytest.raises(UserError, match='cannot write .*crops'):
        make_crops(shapes_root, broken / 'annotations/instances_val.json/crops')
    assert not (tmp_path / 'other').exists()


def test_metafile_has_the_published_accuracies():
    models = yaml.safe_load((ROOT / 'configs/classification/metafile.yml').read_text())['Models']
    for arch, model in zip(TABLE6, models, strict=True):
        assert model['Config'] == f'configs/classification/fasternet_{arch}_imagenet.py'
        (result,) = model['Results']
        assert result['Metrics'] == {'Top 1 Accuracy': TOP1[arch]} and result['Figures'].startswith('published')
        assert f'fasternet_{arch}-epoch.' in model['Weights']
