"""Folders of classes: which folder is a class, that all splits have the same, and that mmpretrain reads every name."""

import json
import re
from pathlib import Path
from zlib import crc32

import pytest
from helpers.exports import write_image
from helpers.project import EXPORTS, ROOT, run_in_process, succeed
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmfasternet.datasets import make_crops
from mmfasternet.datasets.check import check_dataset_config
from mmfasternet.datasets.formats import convert_classes, find_format, read_summary
from mmfasternet.datasets.recipe_classifier import write_classifier
from mmfasternet.errors import UserError


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / 'source'
    folder.mkdir()
    return folder


def write(root: Path, *names: str) -> None:
    for name in names:
        write_image(root / name, seed=crc32(name.encode()))


def convert(root: Path, **options) -> tuple[str, dict[str, list[str]]]:
    """The report, and the lines of each list."""
    report = convert_classes(root, root.parent / 'out', **options).text
    lists = [path for path in (root.parent / 'out/labels').glob('*.txt') if path.stem != 'classes']
    return report, {path.stem: path.read_text(encoding='utf-8').splitlines() for path in lists}


@pytest.mark.parametrize('top', ['', 'my data/'])
@pytest.mark.parametrize('val', ['val', 'valid', 'validation'])
def test_splits(root, top, val):
    write(root, *(f'{top}{split}/{name}/1.png' for split in ('train', val, 'test') for name in ('cat', 'dog')))
    write(root, f'{top}train/dog/deep/2.jpg')
    assert find_format(root) == 'classes'
    report, lists = convert(root)
    assert lists == dict(
        train=[f'{top}train/cat/1.png 0', f'{top}train/dog/1.png 1', f'{top}train/dog/deep/2.jpg 1'],
        val=[f'{top}{val}/cat/1.png 0', f'{top}{val}/dog/1.png 1'],
        test=[f'{top}test/cat/1.png 0', f'{top}test/dog/1.png 1'],
    )
    assert 'read: 7 images of 2 classes' in report and 'split: as the source has it' in report


def test_without_splits(root):
    write(root, *(f'{name}/{number}.png' for name in ('10', '9', 'Cat') for number in range(5)))
    report, lists = convert(root, val=0.4)
    assert (root.parent / 'out/labels/classes.txt').read_text().split() == ['9', '10', 'Cat']
    assert {split: len(lines) for split, lines in lists.items()} == dict(train=9, val=6)
    assert sorted(line.split()[1] for line in lists['val']) == ['0', '0', '1', '1', '2', '2']
    assert convert(root, val=0.4)[1] == lists and 'all are split by the seed 0' in report


def test_a_class_may_have_the_name_of_a_split(root):
    write(root, *(f'{name}/{number}.png' for name in ('train', 'car') for number in range(3)))
    report, lists = convert(root)
    assert (root.parent / 'out/labels/classes.txt').read_text().split() == ['car', 'train']
    assert sum(map(len, lists.values())) == 6 and 'as the source has it' not in report


def test_different_classes_are_refused(root):
    write(root, 'train/cat/1.png', 'train/dog/1.png', 'val/cat/1.png', 'val/cow/1.png')
    with pytest.raises(UserError, match='val has other folders .* than .*train: it lacks dog and has cow besides'):
        convert(root)
    (root / 'val/dog').mkdir()
    (root / 'train/cow').mkdir()
    report, _ = convert(root)
    assert 'no image to train on has cow' in report


def test_what_cannot_be_read_is_listed(root):
    write(root, *(f'{name}/{number}.png' for name in ('cat', 'dog') for number in range(3)), 'stray.png')
    (root / 'cat/3.png').write_bytes(b'no image')
    write(root, 'dog/a\nb.png')
    with pytest.raises(UserError, match=r'2 files cannot be used(.|\n)*3.png cannot be read(.|\n)*no line of a list'):
        convert(root)
    report, lists = convert(root, skip_bad=True)
    assert sum(map(len, lists.values())) == 6 and 'image in no folder of a class\n  stray.png' in report


@pytest.mark.parametrize(
    'names',
    [['a.png', 'b.png'], ['train/a.png', 'val/b.png'], ['images/train/a.png', 'images/val/b.png'], ['cat/1.png']],
)
def test_images_without_classes_are_no_classes(root, names):
    write(root, *names)
    with pytest.raises(UserError, match='no annotations of a known format'):
        find_format(root)
    with pytest.raises(UserError, match='no folders of classes'):
        convert(root)


@pytest.mark.parametrize('names', [['Images', 'Instances'], ['HR', 'LR'], ['gt', 'rgb'], ['a_train', 'a_val']])
def test_parts_of_another_data_set_are_classes_only_if_the_user_says_so(root, names):
    write(root, *(f'{name}/{number}.png' for name in names for number in range(2)))
    with pytest.raises(UserError, match='no annotations of a known format'):
        find_format(root)
    assert find_format(root, 'classes') == 'classes' and sum(map(len, convert(root)[1].values())) == 4


def test_copies_are_on_one_side(root):
    write(root, *(f'{name}/{number}.png' for name in ('cat', 'dog') for number in range(4)))
    for number in range(4):
        (root / f'cat/copy {number}.png').write_bytes((root / f'cat/{number}.png').read_bytes())
    report, lists = convert(root, val=0.3)
    sides = {line.rpartition(' ')[0]: split for split, lines in lists.items() for line in lines}
    assert all(sides[f'cat/{number}.png'] == sides[f'cat/copy {number}.png'] for number in range(4))
    assert '4 images are copies of others' in report


def test_mmpretrain_reads_names_of_any_kind(root, tmp_path):
    names = ["it's a", '图像 1', 'c 2', 'é', '100%', '#f']
    write(
        root,
        *(f'{split}/{kind}/{name}.JPG' for split in ('train', 'val') for kind in ('好 的', "'x") for name in names),
    )
    convert(root)
    config = tmp_path / 'out/config.py'
    write_classifier(config, ROOT / 'configs', tmp_path / 'out', root)
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        check_dataset_config(loader.dataset)
        dataset = DATASETS.build(loader.dataset)
        assert dataset.metainfo['classes'] == ("'x", '好 的') and len(dataset) == 12
        for index in range(12):
            info = dataset.get_data_info(index)
            path = Path(info['img_path'])
            assert path.is_file() and path.parent.name == dataset.metainfo['classes'][info['gt_label']]
        assert dataset[0]['inputs'].shape == (3, 64, 64)


@pytest.mark.parametrize(
    ('images', 'size', 'side', 'epochs'),
    [(40, [40, 30], 64, 200), (1000, [100, 75], 96, 27), (9999, [640, 480], 128, 5)],
)
def test_size_and_schedule_follow_from_the_images(tmp_path, images, size, side, epochs):
    path = tmp_path / 'labels/summary.json'
    path.parent.mkdir()
    path.write_text(json.dumps(dict(classes=['a', 'b'], images=dict(train=images), sizes=[[*size, images]])))
    write_classifier(tmp_path / 'config.py', ROOT / 'configs', tmp_path, tmp_path, arch='t1')
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert cfg.train_dataloader.dataset.pipeline[1].scale == side and cfg.train_cfg.max_epochs == epochs
    assert cfg.val_dataloader.dataset.pipeline[1].scale == cfg.test_dataloader.dataset.pipeline[1].scale == (side, side)
    assert cfg.model.backbone.arch == 't1' and cfg.model.head.num_classes == 2


def test_nothing_of_another_source_is_replaced(root, tmp_path):
    write(root, *(f'{name}/{number}.png' for name in ('cat', 'dog') for number in range(2)))
    convert(root)
    convert(root)
    assert read_summary(tmp_path / 'out/labels')['classes'] == ['cat', 'dog']
    (tmp_path / 'out/labels/mine.txt').touch()
    root.rename(tmp_path / 'moved')
    with pytest.raises(UserError, match='was not made from'):
        convert_classes(tmp_path / 'moved', tmp_path / 'out')


@pytest.mark.slow
def test_folders_become_a_training_and_its_predictions(shapes_root, tmp_path, capsys):
    out, crops = tmp_path / 'out', make_crops(shapes_root, tmp_path / 'crops')
    command = (ROOT / 'tools/own_data.py', crops, '--out', out)
    run_in_process(*command)
    said = capsys.readouterr().out
    assert 'trains a light classifier' in said and 'Classes with fewer than 20 images to train on: ' in said
    assert 'Images of each class' in (out / 'report.html').read_text()
    config = out / 'config.py'
    config.write_text(re.sub('max_epochs = .*', 'max_epochs = 1', config.read_text()))
    trained = succeed(*command, '--train').stdout
    assert re.search(r'^top-1: [01]\.\d{3}$', trained, re.MULTILINE)
    checkpoint = re.search('^checkpoint: (.*)$', trained, re.MULTILINE)[1]
    assert 'The most confident mistakes' in (out / 'result.html').read_text()
    explained = json.loads((out / 'result.json').read_text())
    accuracy = float(re.search(r'^top-1: (.*)$', trained, re.MULTILINE)[1])
    assert explained['accuracy'] == pytest.approx(accuracy, abs=0.001)
    if EXPORTS:
        session = pytest.importorskip('onnxruntime').InferenceSession(out / 'model.onnx')
        names = json.loads(session.get_modelmeta().custom_metadata_map['classes'])
        assert names == (out / 'labels/classes.txt').read_text().split()
    demo = ('--out-dir', tmp_path / 'drawn', '--device', 'cpu', '--batch-size', 4)
    run_in_process(ROOT / 'tools/image_demo.py', shapes_root / 'val', config, checkpoint, *demo)
    found = json.loads((tmp_path / 'drawn/predictions.json').read_text())
    assert found['classes'] == (out / 'labels/classes.txt').read_text().split() and len(found['images']) == 6
