"""A config for your own data: what follows from the objects, and that it trains."""

import json
import re
from pathlib import Path

import pytest
from helpers.project import EXPORTS, ROOT, run_in_process, succeed

from mmfasternet.datasets.formats import convert_source
from mmfasternet.datasets.recipe import Recipe, plan_training
from mmfasternet.datasets.recipe_config import write_config
from mmfasternet.engine.build import build_model
from mmfasternet.engine.own_data import prepare_config, train_own_data
from mmfasternet.errors import UserError

CONFIGS = ROOT / 'configs'


@pytest.fixture
def write(tmp_path):
    """Write a COCO file of images of 640 × 480 pixels with objects of (class, width, height, whether it has a mask)."""

    def write(*objects: tuple, images: int = 8) -> Path:
        annotations = [
            dict(
                id=number,
                image_id=1 + number % images,
                category_id=kind,
                bbox=[5, 5, width, height],
                area=width * height,
                iscrowd=0,
                segmentation=[[5, 5, 5 + width, 5, 5, 5 + height]] if has_mask else [],
            )
            for number, (kind, width, height, has_mask) in enumerate(objects, 1)
        ]
        content = dict(
            images=[
                dict(id=number, file_name=f'{number}.png', width=640, height=480) for number in range(1, images + 1)
            ],
            annotations=annotations,
            categories=[dict(id=1, name='cat'), dict(id=2, name="a 'dog'")],
        )
        for split in ('train', 'val'):
            (tmp_path / f'instances_{split}.json').write_text(json.dumps(content))
        return tmp_path

    return write


@pytest.mark.parametrize('masks, detector', [([True] * 8, 'mask_rcnn'), ([True] * 7 + [False], 'retinanet')])
def test_masks_are_trained_where_every_object_has_one(write, masks, detector):
    path = write(*((1, 60, 60, has_mask) for has_mask in masks))
    assert plan_training(path).detector == detector


def test_a_detector_of_masks_without_masks_is_an_error(write):
    with pytest.raises(UserError, match='without a mask, which Mask R-CNN needs; take faster_rcnn'):
        plan_training(write((1, 60, 60, False)), 'mask_rcnn')


def test_nothing_to_learn_from_is_an_error(write):
    with pytest.raises(UserError, match='instances_train.json has no object to learn from'):
        plan_training(write())


@pytest.mark.parametrize('side, longer', [(160, 256), (40, 256), (32, 320), (24, 448), (10, 512)])
def test_small_objects_have_large_images(write, side, longer):
    """16 pixels for the smaller objects of the smallest class, as far as the limits allow."""
    recipe = plan_training(write(*[(1, 200, 200, False)] * 20, *[(2, side, side, False)] * 4))
    assert recipe.image_size == (longer, longer * 3 // 4)


def test_anchors_are_as_long_as_the_objects(write):
    assert plan_training(write(*[(1, 60, 60, False)] * 9)).ratios == (1.0,)
    assert plan_training(write(*[(1, 120, 40, False)] * 9)).ratios == (0.5, 1.0, 2.0)


@pytest.mark.parametrize('images, epochs', [(8, 300), (200, 40), (100_000, 4)])
def test_few_images_are_seen_more_often(write, images, epochs):
    recipe = plan_training(write(*[(1, 60, 60, False)] * images, images=images))
    assert (recipe.num_images, recipe.max_epochs) == (images, epochs)


@pytest.mark.parametrize('start, most', [('scratch', [(1, 50), (40, 100), (900, 300)]), ('released', [(1, 100)])])
def test_crowded_images_have_more_to_find(write, start, most):
    """Half as many again as the fullest image has."""
    for objects, found in most:
        assert plan_training(write(*[(1, 60, 60, True)] * objects, images=1), start=start).max_per_img == found


FORMS = [
    ('mask_rcnn', 'scratch', 't1', 2),
    ('faster_rcnn', 'scratch', 't0', 1),
    ('retinanet', 'scratch', 't0', 1),
    ('mask_rcnn', 'released', 's', 2),
    ('faster_rcnn', 'released', 'm', 1),
]


@pytest.mark.parametrize('detector, start, arch, heads', FORMS)
def test_a_written_config_is_a_model_of_the_classes(tmp_path, detector, start, arch, heads):
    classes = ('cat', "a 'dog'", 'c')
    recipe = Recipe(
        detector, start, classes, (320, 256), (20.0, 700.0), (0.5, 1.0), num_images=9, max_epochs=7, max_per_img=150
    )
    path = write_config(tmp_path / "it's.py", recipe, CONFIGS, tmp_path, tmp_path / 'images', arch)
    cfg, model = build_model(path)
    assert cfg.train_dataloader.dataset.metainfo.classes == classes
    assert cfg.train_dataloader.dataset.data_prefix.img == f'{tmp_path}/images/'
    assert cfg.val_evaluator.ann_file == f'{tmp_path}/annotations/instances_val.json'
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps.get('RandomResize', steps.get('Resize')).scale == (320, 256)
    assert steps['LoadAnnotations'].with_mask is (detector == 'mask_rcnn')
    # A test sees the images as the validations did.
    assert cfg.val_dataloader == cfg.test_dataloader
    assert cfg.test_evaluator == {**cfg.val_evaluator, 'outfile_prefix': f'{tmp_path}/predictions'}
    steps = {step.type: step for step in cfg.val_dataloader.dataset.pipeline}
    assert steps['Resize'].scale == (320, 256) and steps['LoadAnnotations'].with_mask is (detector == 'mask_rcnn')
    assert recipe.epoch_length == -(-9 // cfg.train_dataloader.batch_size)
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.param_scheduler[0].end >= 1
    assert cfg.model.test_cfg.get('rcnn', cfg.model.test_cfg).max_per_img == 150
    if 'rpn' in cfg.model.test_cfg:
        assert cfg.model.test_cfg.rpn.max_per_img == (300 if start == 'scratch' else 1000)
    parts = [module for name, module in model.named_modules() if re.fullmatch(r'(.*\.)?(bbox|mask)_head', name)]
    assert [part.num_classes for part in parts] == [3] * heads
    released = f'mask_rcnn_fasternet_{arch}_fpn_1x_coco'
    assert (cfg.load_from is None) if start == 'scratch' else (released in cfg.load_from)


def test_what_is_not_released_is_refused(write, tmp_path):
    path = write((1, 60, 60, False))
    assert plan_training(path, start='released').detector == 'faster_rcnn'
    with pytest.raises(UserError, match='released no RetinaNet: take faster_rcnn'):
        plan_training(path, 'retinanet', 'released')
    with pytest.raises(UserError, match='no Mask R-CNN with FasterNet-T0: take --arch s, m, l, or random weights'):
        write_config(tmp_path / 'c.py', plan_training(path, start='released'), CONFIGS, tmp_path, tmp_path, 't0')


def test_an_object_to_evaluate_on_without_a_mask_makes_it_boxes(write):
    folder = write((1, 60, 60, False))
    val = (folder / 'instances_val.json').read_text()
    write((1, 60, 60, True))
    (folder / 'instances_val.json').write_text(val)
    assert plan_training(folder).detector == 'retinanet'


@pytest.mark.slow
def test_an_export_becomes_a_trained_detector_by_one_command(shapes_root, tmp_path, capsys):
    """One with masks; the guide's commands train one without."""
    out = tmp_path / 'out'
    command = (ROOT / 'tools/own_data.py', shapes_root, '--out', out, '--detector', 'mask_rcnn')
    run_in_process(*command)
    assert f'train.py {out}/config.py' in capsys.readouterr().out
    edited = out / 'config.py'
    edited.write_text(re.sub('max_epochs = .*', 'max_epochs = 1', edited.read_text()))
    done = succeed(*command, '--train').stdout
    assert 'no option changes it' in done
    said = dict(line.split(': ', 1) for line in done.splitlines() if ': ' in line)
    for name in ('checkpoint', 'losses and metrics', *(['exported file'] if EXPORTS else [])):
        assert Path(said[name]).stat().st_size > 1000, done
    # After an epoch, a detector may predict nothing.
    explained = 'nothing was predicted' not in done
    assert (out / 'result.html').is_file() == explained == ('report of the result' in said)
    if explained:
        assert 0 <= float(said['box AP']) <= float(said['box AP50']) <= 1 and 'mask AP' in said
        assert 'ms an image in the test' in (out / 'result.html').read_text()
    assert said['classes'].count(',') == 5
    assert f'image_demo.py IMAGES {edited} ' in done
    if EXPORTS:
        assert f'predict_onnx.py {out}/model.onnx IMAGES --out-dir outputs_onnx' in done


def test_a_config_that_is_there_stays(shapes_root, tmp_path):
    config, recipe, _ = prepare_config_of(shapes_root, tmp_path)
    config.write_text(config.read_text().replace(f'max_epochs = {recipe.max_epochs}', 'max_epochs = 3') + '# mine\n')
    again, known, note = prepare_config_of(shapes_root, tmp_path, arch='t2', budget=1)
    assert again == config and config.read_text().endswith('# mine\n') and 'no option changes it' in note
    assert known.max_epochs == 3 and known.image_size == recipe.image_size


def test_a_config_of_another_form_is_refused_before_a_training(shapes_root, tmp_path):
    config, _, _ = prepare_config_of(shapes_root, tmp_path)
    wrapped = "train_dataloader['dataset'] = dict(_delete_=True, type='RepeatDataset', times=2, dataset=dict(a=1))\n"
    config.write_text(config.read_text() + wrapped)
    with pytest.raises(UserError, match='wrapped data sets .* train it by'):
        train_own_data(config, tmp_path)
    assert not (tmp_path / 'training').exists()


def prepare_config_of(source, out, **options):
    convert_source(source, out)
    return prepare_config(out, source, **options)
