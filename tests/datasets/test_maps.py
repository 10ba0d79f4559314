"""Semantic maps of every layout and coding: what is read as which class, and what is refused with what to do."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.exports import HEIGHT, MASK, WIDTH, coco, write_image, write_text
from helpers.project import EXPORTS, ROOT, run_in_process, succeed
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from mmfasternet.datasets.check import check_dataset_config
from mmfasternet.datasets.formats import convert_maps, convert_source, find_format, parse_map, read_summary
from mmfasternet.datasets.pixels import check_images
from mmfasternet.datasets.recipe_segmentor import write_segmentor
from mmfasternet.errors import UserError


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / 'source'
    folder.mkdir()
    return folder


def write_map(path: Path, *values: int | tuple, mask: np.ndarray = MASK) -> Path:
    """The first value around a square of the second; of more, each has a column of pixels."""
    around, inside, *others = [np.array(value, np.uint8) for value in values]
    pixels = np.where(mask.reshape(*mask.shape, *[1] * around.ndim), inside, around)
    for column, value in enumerate(others):
        pixels[:, column] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def pair(root: Path, *values: int | tuple, name: str = 'a', image: str = 'images/{}.png', mapped: str = 'masks/{}.png'):
    write_image(root / image.format(name))
    return write_map(root / mapped.format(name), *values)


def convert(root: Path, text: str | None = None, **options) -> tuple[str, dict[str, np.ndarray], dict]:
    """The report, the written maps by the images' names, and the summary."""
    out = root.parent / 'out'
    report = convert_maps(root, out, parse_map(text) if text else None, **options).text
    folder = out / 'semantic'
    maps = {}
    for split in ('train', 'val', 'test'):
        if (folder / f'{split}.txt').is_file():
            for name in (folder / f'{split}.txt').read_text(encoding='utf-8').splitlines():
                maps[name] = np.asarray(Image.open(folder / split / f'{name}.png'))
    return report, maps, read_summary(folder)


def two(root: Path, *values: int | tuple) -> None:
    for name in 'ab':
        pair(root, *values, name=name)


LAYOUTS = [
    ('images/{}.png', 'masks/{}.png', [None, None]),
    ('images/{}.jpg', 'labels/{}.png', [None, None]),
    ('data/images/{}.png', 'data/annotations/{}.png', [None, None]),
    ('img_dir/{split}/{}.png', 'ann_dir/{split}/{}.png', ['train', 'val']),
    ('images/{split}/{}.png', 'masks/{split}/{}.png', ['train', 'val']),
    ('{split}/images/{}.png', '{split}/masks/{}.png', ['train', 'valid']),
    ('{split}/{}.png', '{split}annot/{}.png', ['train', 'val']),
    ('{split}/{}.png', '{split}_labels/{}_L.png', ['train', 'val']),
    ('{split}/{}.png', '{split}/{}_mask.png', ['train', 'val']),
    ('JPEGImages/{}.png', 'SegmentationClass/{}.png', [None, None]),
    ('train/{}.png', 'semantic/train/{}.png', [None, None]),
]


@pytest.mark.parametrize(('image', 'mapped', 'splits'), LAYOUTS)
def test_layouts(root, image, mapped, splits):
    for name, split in zip('ab', splits, strict=True):
        image_of, map_of = (text.replace('{split}', str(split)) for text in (image, mapped))
        pair(root, 0, 1, name=name, image=image_of, mapped=map_of)
    assert find_format(root) == 'maps'
    _, maps, facts = convert(root)
    assert facts['images'] == dict(train=1, val=1, test=0) and len(maps) == 2
    for name, labels in maps.items():
        assert (root / name).is_file() and (labels == MASK).all()


def test_two_images_of_one_map_are_named(root):
    """Neither takes the other's place unsaid."""
    for name in 'abc':
        pair(root, 0, 1, name=name)
    write_image(root / 'images/a.jpg')
    with pytest.raises(UserError, match='masks/a.png: 2 images fit equally well, such as images/a.(jpg and|png and)'):
        convert(root)
    _, maps, _ = convert(root, skip_bad=True)
    assert maps.keys() == {'images/b.png', 'images/c.png'}


def test_lists_of_voc_tell_the_split(root):
    for name in 'abc':
        pair(root, 0, 1, name=name, image='JPEGImages/{}.jpg', mapped='SegmentationClass/{}.png')
    write_text(root / 'ImageSets/Segmentation/train.txt', 'a\nc')
    write_text(root / 'ImageSets/Segmentation/val.txt', 'b')
    write_text(root / 'ImageSets/Main/val.txt', 'a')
    convert(root)
    lists = {path.stem: path.read_text().split() for path in (root.parent / 'out/semantic').glob('*.txt')}
    assert lists == dict(train=['JPEGImages/a.jpg', 'JPEGImages/c.jpg'], val=['JPEGImages/b.jpg'])


# What the values mean.


def test_indices_of_a_palette_are_classes(root):
    two(root, 0, 15, 255)
    for path in (root / 'masks').iterdir():
        image = Image.open(path)
        image.putpalette([value for value in range(256) for _ in 'rgb'])
        image.save(path)
    report, maps, facts = convert(root)
    assert facts['classes'] == ['background', 'class_15'] and '255 is ignore' in report
    assert np.unique(maps['images/a.png']).tolist() == [0, 1, 255] and maps['images/a.png'][10, 12] == 1
    assert facts['pixels'] == [HEIGHT * (WIDTH - 1) - 400, 400]


@pytest.mark.parametrize(
    ('values', 'option', 'classes', 'inside'),
    [
        ((0, 127, 254), '127=smoke,254=fire', ['background', 'smoke', 'fire'], 1),
        ((0, 255), '255=fire', ['background', 'fire'], 1),
        ((0, 15, 4), '4=b,15=a', ['background', 'b', 'a'], 2),
    ],
)
def test_values_that_are_no_numbers_of_classes(root, values, option, classes, inside):
    two(root, *values)
    unnamed = re.sub('=[a-z]+', '=NAME', option)
    with pytest.raises(UserError, match=f'--map {unnamed}$'):
        convert(root)
    assert not (root.parent / 'out').exists()
    _, maps, facts = convert(root, option)
    assert facts['classes'] == classes and maps['images/a.png'][10, 12] == inside


def test_a_value_that_map_does_not_name(root):
    two(root, 0, 127, 254)
    with pytest.raises(UserError, match='values 254 .* not in --map.*--map 127=smoke,254=NAME$'):
        convert(root, '127=smoke')
    _, maps, facts = convert(root, '0=ignore,127=smoke,254=fire')
    assert facts['classes'] == ['smoke', 'fire'] and np.unique(maps['images/a.png']).tolist() == [0, 1, 255]


@pytest.mark.parametrize('text', ['127', '127=', 'a=b', '1=a,1=b', '-1=a'])
def test_a_map_that_cannot_be_read(text):
    with pytest.raises(UserError, match='--map names each value once'):
        parse_map(text)


@pytest.mark.parametrize(
    ('name', 'text', 'classes'),
    [
        ('classes.txt', 'sky\nsea', ['sky', 'sea']),
        ('masks/labels.txt', 'cat\n', ['background', 'cat']),
        ('_classes.csv', 'Pixel Value, Class\n0, sky\n1, deep sea', ['sky', 'deep sea']),
        ('class_dict.csv', 'name,r,g,b\nsky,1,2,3\nsea,4,5,6', ['sky', 'sea']),
    ],
)
def test_names_of_numbers(root, name, text, classes):
    two(root, 0, 1)
    write_text(root / name, text)
    report, _, facts = convert(root)
    assert facts['classes'] == classes and f'classes: as in {name}' in report


COLOURS = ((0, 0, 0), (64, 128, 64), (250, 170, 30))


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('label_colors.txt', '250 170 30\ttraffic light\n64 128 64\tAnimal\n9 9 9 Void'),
        ('class_dict.csv', 'name,r,g,b\ntraffic light,250,170,30\nAnimal,64,128,64\nVoid,9,9,9'),
        (
            'labelmap.txt',
            '# label:color_rgb:parts:actions\ntraffic light:250,170,30::\nAnimal:64,128,64::\nVoid:9,9,9::',
        ),
    ],
)
@pytest.mark.parametrize('palette', [False, True])
def test_colours(root, name, text, palette):
    two(root, *COLOURS)
    if palette:
        for path in (root / 'masks').iterdir():
            Image.open(path).quantize(8).save(path)
    write_text(root / name, text)
    report, maps, facts = convert(root)
    assert facts['classes'] == ['background', 'traffic light', 'Animal'] and 'class without a pixel\n  Void' in report
    assert maps['images/a.png'][10, 12] == 2 and maps['images/a.png'][0, 0] == 1 and maps['images/a.png'][0, 1] == 0


def test_colours_that_nothing_names(root):
    two(root, *COLOURS)
    with pytest.raises(UserError, match='classes in colours.*put label_colors.txt into'):
        convert(root)
    write_text(root / 'label_colors.txt', '64 128 64 Animal')
    with pytest.raises(UserError, match='1 colours .* not in label_colors.txt.*\n  250 170 30'):
        convert(root)


def test_gray_values_in_three_channels(root):
    two(root, (0, 0, 0), (1, 1, 1))
    assert (convert(root)[1]['images/a.png'] == MASK).all()


# What is left out, and what is refused.


def test_faults_have_names(root):
    two(root, 0, 1)
    write_image(root / 'images/c.png')
    write_map(root / 'masks/d.png', 0, 1)
    pair(root, 0, 1, name='e').write_bytes(b'no image')
    pair(root, 0, 1, name='f')
    write_map(root / 'masks/f.png', 0, 1, mask=MASK[:-1])
    pair(root, 0, 1, name='g', mapped='masks/{}.jpg')
    with pytest.raises(
        UserError, match='3 files cannot be used(.|\n)*e.png cannot be read(.|\n)*f.png: has 64 × 47'
    ) as end:
        convert(root)
    assert 'g.jpg is a semantic map in JPEG' in str(end.value)
    report, maps, _ = convert(root, skip_bad=True)
    assert sorted(maps) == ['images/a.png', 'images/b.png']
    assert 'image without a semantic map\n  images/c.png' in report
    assert 'semantic map without an image\n  masks/d.png' in report


@pytest.mark.parametrize('upright', [False, True])
def test_a_map_is_turned_as_its_image(root, upright):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in 'ab':
        write_image(root / f'images/{name}.jpg', exif=exif)
        path = write_map(root / f'masks/{name}.png', 0, 1)
        if upright:
            Image.open(path).transpose(Image.Transpose.ROTATE_270).save(path)
    labels = convert(root)[1]['images/a.jpg']
    assert labels.shape == (WIDTH, HEIGHT) and (labels == np.rot90(MASK, -1)).all()


def test_nothing_of_another_source_is_replaced(root, tmp_path):
    two(root, 0, 1)
    convert(root)
    assert len(convert(root, '1=cat')[1]) == 2
    (tmp_path / 'other').mkdir()
    two(tmp_path / 'other', 0, 1)
    with pytest.raises(UserError, match='was not made from'):
        convert_maps(tmp_path / 'other', tmp_path / 'out')
    with pytest.raises(UserError, match='choose a folder outside'):
        convert_maps(root, root / 'out')


def test_a_png_for_each_object_is_no_semantic_map(root):
    write_image(root / 'images/a.png')
    write_map(root / 'masks/a/1.png', 0, 255)
    assert find_format(root) == 'masks'


def test_objects_come_first(root, tmp_path):
    for split in ('train', 'val'):
        coco(root / split)
        write_map(root / f'masks/{split}/a.png', 0, 1)
    assert find_format(root) == 'coco' and find_format(root, 'maps') == 'maps'
    assert 'it holds 2 semantic maps too, which --format maps reads' in convert_source(root, tmp_path / 'coco').text


# The config.


def test_mmseg_reads_names_of_any_kind(root, tmp_path):
    names = ["it's a", '图像 1', 'c.d', 'é', '100%', '#f']
    for name in names:
        pair(root, 0, 1, 255, name=name, image='my images/{}.jpg', mapped='my images/masks/{}.png')
        (root / 'images').mkdir(exist_ok=True)
        (root / f'my images/{name}.jpg').rename(root / f'images/{name}.jpg')
        (root / 'masks').mkdir(exist_ok=True)
        (root / f'my images/masks/{name}.png').rename(root / f'masks/{name}.png')
    convert(root)
    config = tmp_path / 'out/config.py'
    write_segmentor(config, ROOT / 'configs', tmp_path / 'out', root)
    cfg = Config.fromfile(config)
    init_default_scope('mmseg')
    found = []
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        check_dataset_config(loader.dataset)
        dataset = DATASETS.build(loader.dataset)
        check_images(dataset)
        found += [Path(dataset.get_data_info(index)['img_path']) for index in range(len(dataset))]
        sample = dataset[0]['data_samples'].gt_sem_seg.data
        assert {*np.unique(sample.numpy()).tolist()} <= {0, 1, 255}
    assert {path.stem for path in found} == {*names}


def test_sizes_losses_and_schedule_follow_from_the_data(tmp_path):
    facts = dict(classes=['background', 'a', 'b'], images=dict(train=40), sizes=[[480, 640, 40]], pixels=[900, 90, 10])
    path = tmp_path / 'semantic/summary.json'
    path.parent.mkdir()
    path.write_text(json.dumps(facts))
    write_segmentor(tmp_path / 'config.py', ROOT / 'configs', tmp_path, tmp_path)
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert cfg.train_dataloader.dataset.pipeline[2].scale == cfg.test_dataloader.dataset.pipeline[1].scale == (320, 240)
    assert cfg.train_dataloader.dataset.pipeline[3].crop_size == cfg.model.data_preprocessor.size == (320, 256)
    assert cfg.train_cfg.max_iters == 1500 and cfg.model.decode_head.num_classes == 3
    entropy, dice = cfg.model.decode_head.loss_decode
    assert entropy.class_weight == [1.0, 1.0, 3.0] and dice.ignore_index == 0
    path.write_text(json.dumps(dict(facts, classes=['sky', 'a', 'b'], images=dict(train=3))))
    write_segmentor(tmp_path / 'config.py', ROOT / 'configs', tmp_path, tmp_path)
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert cfg.train_cfg.max_iters == 300 and cfg.model.decode_head.loss_decode[1].ignore_index is None


@pytest.mark.slow
def test_maps_become_a_training_and_its_predictions(shapes_root, tmp_path, capsys):
    out = tmp_path / 'out'
    options = ('--format', 'maps', '--map', ','.join(f'{number}=class {number}' for number in range(1, 7)))
    command = (ROOT / 'tools/own_data.py', shapes_root, '--out', out, *options)
    run_in_process(*command)
    said = capsys.readouterr().out
    assert 'trains a light Semantic FPN' in said and 'noticed: Images to train on: 12.' in said
    assert 'Share of the pixels in %' in (out / 'report.html').read_text()
    config = out / 'config.py'
    config.write_text(config.read_text() + "train_cfg['max_iters'] = train_cfg['val_interval'] = 2\n")
    trained = succeed(*command, '--train').stdout
    assert re.search(r'^mIoU: 0\.\d{3}$', trained, re.MULTILINE)
    checkpoint = re.search('^checkpoint: (.*)$', trained, re.MULTILINE)[1]
    assert (out / 'model.onnx').is_file() == EXPORTS
    assert (
        f'report of the result: {out}/result.html' in trained and 'Errors by place' in (out / 'result.html').read_text()
    )
    # The maps that the test has written have the mIoU that it has reported.
    explained = json.loads((out / 'result.json').read_text())
    assert explained['mIoU'] == pytest.approx(float(re.search(r'^mIoU: (.*)$', trained, re.MULTILINE)[1]), abs=0.001)
    demo = ('--out-dir', tmp_path / 'drawn', '--device', 'cpu', '--batch-size', 4)
    run_in_process(ROOT / 'tools/image_demo.py', shapes_root / 'val', config, checkpoint, *demo)
    found = json.loads((tmp_path / 'drawn/predictions.json').read_text())
    assert found['classes'] == ['background', *(f'class {number}' for number in range(1, 7))]
    assert len(found['images']) == len(list((tmp_path / 'drawn/maps').iterdir())) == 6
