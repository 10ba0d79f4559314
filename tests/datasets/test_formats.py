"""Exports of annotation tools: what is kept of each, and that every repair and every loss has a name."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.exports import (
    BOX,
    CELLS,
    HEIGHT,
    MASK,
    TRIANGLE,
    WIDTH,
    coco,
    cvat,
    labelme,
    labelme_mask,
    pairs,
    via,
    voc,
    voc_box,
    write_image,
    write_mask,
    write_text,
    yolo,
    yolo_box,
    yolo_polygon,
)
from helpers.project import ROOT, run_tool
from mmdet.datasets import CocoDataset
from PIL import Image

from mmfasternet.datasets.check import check_dataset_config
from mmfasternet.datasets.formats import FORMATS, Source, SourceObject, convert_source, read_source
from mmfasternet.datasets.images import read_image
from mmfasternet.datasets.pixels import check_images
from mmfasternet.errors import UserError


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / 'source'
    folder.mkdir()
    return folder


def only(root: Path, **options) -> SourceObject:
    [image] = read_source(root, **options).images
    [item] = image.objects
    return item


def said(source: Source) -> str:
    return '\n'.join(source.notes.lines())


# What is kept: format × (boxes, masks).


@pytest.mark.parametrize(('format', 'holds'), CELLS)
def test_cell_of_the_matrix(root, format, holds):
    write, area = CELLS[format, holds]
    write(root)
    source = read_source(root)
    [image] = source.images
    [item] = image.objects
    assert source.format == format and source.classes == ['cat'] and not source.notes.left_out
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert item.box == pytest.approx([10, 8, 20, 20], abs=0.1)
    assert bool(item.segmentation) == (area is not None)
    assert item.area == pytest.approx(area or 400, abs=12)


@pytest.mark.parametrize(('format', 'holds'), CELLS)
def test_mmdet_loads_what_is_written(tmp_path, root, format, holds):
    write, area = CELLS[format, holds]
    # A split needs two scenes.
    for seed, folder in enumerate(('one', 'two')):
        write(root / folder)
        for path in (root / folder).rglob('a.png'):
            if path.parent.name != 'SegmentationObject':
                write_image(path, seed=seed)
    (root / 'two/data.yaml').unlink(missing_ok=True)
    convert_source(root, tmp_path / 'out')
    kept = []
    for split in ('train', 'val'):
        cfg = dict(
            data_root=str(tmp_path / 'out'),
            metainfo=dict(classes=('cat',)),
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'{root}/'),
        )
        check_dataset_config(dict(cfg, type='CocoDataset'))
        dataset = CocoDataset(**cfg, pipeline=[])
        check_images(dataset)
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        assert all(Path(info['img_path']).is_file() for info in infos)
        kept += [instance for info in infos for instance in info['instances']]
    assert len(kept) == 2
    for instance in kept:
        assert np.allclose(instance['bbox'], BOX, atol=0.1) and ('mask' in instance) == (area is not None)


def test_written_values(root, tmp_path):
    for number in range(5):
        coco(root / str(number), dict(segmentation=[TRIANGLE]), dict(iscrowd=1), name=f'{number}.png')
        (root / str(number) / 'a.png').unlink()
        write_image(root / str(number) / f'{number}.png')
    report = convert_source(root, tmp_path / 'out').text
    train, val = (
        json.loads((tmp_path / f'out/annotations/instances_{name}.json').read_text()) for name in ('train', 'val')
    )
    assert [len(train['images']), len(val['images'])] == [4, 1]
    assert [entry['id'] for entry in train['images']] == [1, 2, 3, 4]
    assert [entry['id'] for entry in train['annotations']] == list(range(1, 9))
    assert train['categories'] == val['categories'] == [dict(id=1, name='cat')]
    first, crowd = train['annotations'][:2]
    assert first == dict(
        id=1, image_id=1, category_id=1, bbox=[10, 8, 20, 20], area=first['area'], iscrowd=0, segmentation=[TRIANGLE]
    )
    assert first['area'] == pytest.approx(200, abs=12) and crowd['iscrowd'] == 1 and crowd['segmentation'] == []
    for image in train['images']:
        assert not Path(image['file_name']).is_absolute() and (root / image['file_name']).is_file()
    assert str(root) not in json.dumps(train)
    assert f'data_prefix=dict(img={str(root) + "/"!r})' in report and "classes=('cat',)" in report
    assert '5 images, 10 objects of 1 classes, 5 with masks' in report and '5 objects have no mask' in report


# The format.


def test_two_formats_ask_for_a_choice(root):
    coco(root)
    yolo(root)
    with pytest.raises(UserError, match='several formats.*--format:\n  coco: .*coco.json\n  yolo: .*data.yaml'):
        read_source(root)
    assert read_source(root, format='coco').format == 'coco'


def test_no_format(root):
    write_image(root / 'a.png')
    write_text(root / 'notes.json', '{')
    with pytest.raises(UserError, match='no annotations of a known format .*1 images and 1 other files\n.*not JSON'):
        read_source(root)
    with pytest.raises(UserError, match='not a folder'):
        read_source(root / 'missing')
    with pytest.raises(UserError, match=f'choose one of {", ".join(FORMATS)}'):
        read_source(root, format='tfrecord')


# COCO.


@pytest.mark.parametrize(
    'name', ['images\\a.png', 'C:\\data\\a.png', '/home/x/y/a.png', '../../a.png', 'A.PNG', 'a', 'a.jpg']
)
def test_names_of_another_machine_are_found_below_the_source(root, name):
    coco(root, name=name, folder='images')
    assert read_source(root).images[0].path == Path('images/a.png')


def test_via_writes_text_ids_and_bare_polygons(root):
    path = coco(root, dict(segmentation=TRIANGLE))
    content = json.loads(path.read_text())
    content['images'][0]['id'] = '7'
    content['annotations'][0]['category_id'] = '3'
    path.write_text(json.dumps(content))
    item = only(root)
    assert item.segmentation == [TRIANGLE] and item.label == 'cat'


@pytest.mark.parametrize(
    'bbox', [[0, 0, float('inf'), 1], [10, 8, 0, 0], 'wrong', [50, 40, 5, 5], [10**400, 0, 1, 1], None]
)
def test_a_wrong_box_is_replaced_by_the_one_around_its_mask(root, bbox):
    coco(root, dict(segmentation=[TRIANGLE], bbox=bbox), {})
    first, second = read_source(root).images[0].objects
    assert first.box == second.box == [10, 8, 20, 20]


@pytest.mark.parametrize(
    ('change', 'loss'),
    [
        (dict(image_id=8), 'object of an image that the file does not have'),
        (dict(category_id=8), 'object of a category that the file does not have'),
        (dict(bbox=[1, 2, 3, 4, 0.5]), 'rotated box'),
        (dict(bbox=[1, 2, 0, 4]), 'box without a size'),
        (dict(bbox=[100, 2, 5, 4]), 'box outside of its image'),
        (dict(bbox=[float('nan'), 2, 5, 4]), 'box that is not four finite numbers'),
        (dict(bbox=['1', 2, 5, 4]), 'box that is not four finite numbers'),
        (dict(bbox=...), 'object without a box and without a mask'),
        (dict(keypoints=[1, 2, 2]), 'keypoints of an object, whose box and mask are kept'),
        (dict(segmentation=[[1, 2, 3, 4]]), 'polygon that is not three or more points of finite numbers'),
        (dict(segmentation=[[1, 2, 3, 4, 5, 1e300]]), 'polygon farther than'),
        (dict(segmentation=[[100, 2, 103, 4, 105, 9]]), 'polygon outside of its image'),
        (dict(segmentation=[[5, 5, 5, 5, 5, 5]]), 'mask without a pixel'),
        (dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=[5])), 'mask that cannot be read'),
        (dict(segmentation=dict(size=[HEIGHT, WIDTH], counts='\x00')), 'mask that cannot be read'),
        (dict(segmentation=dict(size=[10**9, 10**9], counts=[10**18])), 'mask that cannot be read'),
        (dict(segmentation='polygon'), 'segmentation that is neither'),
    ],
)
def test_losses_of_coco_have_names(root, change, loss):
    coco(root, change, {})
    source = read_source(root)
    [places] = [places for kind, places in source.notes.left_out.items() if kind.startswith(loss)]
    assert places == ['coco.json: annotation 0']
    assert source.images[0].objects[-1].box == [10, 8, 20, 20]


def test_what_reaches_over_the_border_is_cut_there(root):
    coco(root, dict(bbox=[50, -10, 30, 30], segmentation=[[50, -10, 80, -10, 80, 20, 50, 20]]))
    item = only(root)
    assert item.box == [50, 0, 14, 20] and item.area == 280
    assert {*map(tuple, pairs(item.segmentation[0]))} == {(50, 0), (64, 0), (64, 20), (50, 20)}


def test_cocos_folder_has_the_same_images_several_times(root):
    path = coco(root)
    content = path.read_text()
    path.rename(root / 'instances_train.json')
    write_text(root / 'captions_train.json', content)
    source = read_source(root)
    assert len(source.images[0].objects) == 1
    assert source.notes.left_out['JSON beside those named instances…'] == ['captions_train.json']


def test_an_image_annotated_twice_is_read_once(root):
    path = coco(root)
    write_text(root / 'train.json', path.read_text())
    source = read_source(root)
    assert len(source.images[0].objects) == 1 and source.images[0].split == 'train'
    assert 'annotated in two places' in said(source)


# VOC.


@pytest.mark.parametrize('size', ['<width>0</width><height>0</height>', '', '<width>x</width>'])
def test_voc_without_a_size(root, size):
    voc(root, size=size)
    source = read_source(root)
    assert source.images[0].width == WIDTH and '<size> absent or 0' in said(source)


@pytest.mark.parametrize('name', ['a', 'a.jpg', '', 'C:\\x\\a.png'])
def test_voc_file_names(root, name):
    voc(root, name=name)
    assert only(root).label == 'cat'


def test_voc_of_a_copied_file(root):
    voc(root, xml='b.xml', image='b.png', name='a.png')
    write_image(root / 'a.png')
    source = read_source(root)
    assert [str(image.path) for image in source.images] == ['b.png'] and '<filename> of another image' in said(source)


def test_voc_numbers(root):
    voc(root, voc_box('10.5', '8.25', '30.0', '2.8e1'), voc_box(30, 28, 10, 8), voc_box('x', 8, 30, 28))
    source = read_source(root)
    assert [item.box for item in source.images[0].objects] == [[10.5, 8.25, 19.5, 19.75], [10, 8, 20, 20]]
    assert source.notes.repaired == {'box whose minimum and maximum are exchanged': ['a.xml: object 2']}
    assert source.notes.left_out == {'box that is not four finite numbers': ['a.xml: object 3']}


def test_voc_things_that_are_no_boxes(root):
    part = f'<part><name>head</name>{voc_box(1, 1, 2, 2)}</part>'
    voc(root, '<robndbox/>', '<pose/>', voc_box(*BOX) + part + '<difficult>1</difficult>')
    source = read_source(root)
    assert [item.box for item in source.images[0].objects] == [[10, 8, 20, 20]]
    assert {'rotated box', 'object without <bndbox>'} == {*source.notes.left_out}
    assert 'difficult' in said(source)


@pytest.mark.parametrize('values', [[1, 2], [2, 1], [9, 7]])
@pytest.mark.parametrize('colours', [False, True])
def test_voc_masks_in_numbers_or_in_colours(root, values, colours):
    voc(root, voc_box(*BOX), voc_box(40, 20, 60, 40), image='JPEGImages/a.png', xml='Annotations/a.xml')
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[8:28, 10:30], ids[20:40, 40:59], ids[0:5, 0:5] = *values, 3
    palette = {1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 7: (128, 128, 128), 9: (192, 0, 0)}
    if colours:
        ids = np.array([palette.get(value, (0, 0, 0)) for value in range(10)], np.uint8)[ids]
    path = root / 'SegmentationObject/a.png'
    path.parent.mkdir()
    Image.fromarray(ids).save(path)
    source = read_source(root)
    assert [item.area for item in source.images[0].objects] == [400, 380]
    [(kind, places)] = source.notes.left_out.items()
    assert kind == 'object in a mask that fits no box of the XML' and places[0].endswith('a.png: value 3')


def test_voc_lists_with_carriage_returns(root, tmp_path):
    for name in ('my a', 'b', 'c', 'd'):
        voc(root, xml=f'Annotations/{name}.xml', image=f'JPEGImages/{name}.png', name=f'{name}.png')
    for split, names in (('train', 'my a\r\nb\r\n'), ('val', '\r\nc\r\nb\r\n')):
        write_text(root / f'ImageSets/Main/{split}.txt', names)
    write_text(root / 'ImageSets/Main/cat_train.txt', 'd 1')
    report = convert_source(root, tmp_path / 'out').text
    names = {
        split: [image['file_name'] for image in json.loads(path.read_text())['images']]
        for split in ('train', 'val')
        for path in [tmp_path / f'out/annotations/instances_{split}.json']
    }
    assert names == dict(train=['JPEGImages/b.png', 'JPEGImages/my a.png'], val=['JPEGImages/c.png'])
    assert '1 × image of no split\n  JPEGImages/d.png' in report and 'name in two lists, kept in train' in report


# YOLO.


def test_yolo_mixes_boxes_and_polygons(root):
    yolo(root, yolo_box(), yolo_polygon(), f'{yolo_box()} 0.87', f'{yolo_polygon()} 0.87')
    source = read_source(root)
    assert [bool(item.segmentation) for item in source.images[0].objects] == [False, True, False, True]
    assert all(item.box == pytest.approx([10, 8, 20, 20]) for item in source.images[0].objects)
    assert len(source.notes.left_out['score at the end of a line, whose object is kept']) == 2


@pytest.mark.parametrize(
    'names', ['names: {0: cat, 2: dog}', 'names: {"2": dog, "0": cat}', 'nc: 3\nnames:\n  0: cat\n  2: dog\n']
)
def test_yolo_names_with_gaps(root, names):
    yolo(root, yolo_box(0), yolo_box(1), yolo_box(2), names=names)
    source = read_source(root)
    assert source.classes == ['cat', 'dog'] and [item.label for item in source.images[0].objects] == ['cat', 'dog']
    assert source.notes.left_out == {'object of a class number that has no name': ['labels/a.txt: line 2: class 1']}


def test_yolo_names_are_texts(root):
    yolo(root, yolo_box(0), yolo_box(1), names='names: [no, 1.0]')
    assert read_source(root).classes == ['no', '1.0']


def test_yolo_names_in_a_text_file(root):
    yolo(root, yolo_box(1), names=None)
    with pytest.raises(UserError, match='no file with the names of its classes.*classes.txt'):
        read_source(root)
    write_text(root / 'classes.txt', 'cat\r\nblack dog\r\n')
    assert only(root).label == 'black dog'


@pytest.mark.parametrize('names', ['names: {0: [a]}', 'names: {a: b}', 'names: []', 'names: cat'])
def test_yolo_names_that_are_none(root, names):
    yolo(root, names=names)
    with pytest.raises(UserError, match='neither a list of names nor numbers'):
        read_source(root)


def test_yolo_images_without_objects(root):
    yolo(root)
    write_image(root / 'images/empty.png')
    write_text(root / 'labels/empty.txt', '')
    write_image(root / 'images/absent.png')
    write_text(root / 'labels/alone.txt', yolo_box())
    source = read_source(root)
    assert {str(image.path): len(image.objects) for image in source.images} == {
        'images/a.png': 1,
        'images/absent.png': 0,
        'images/empty.png': 0,
    }
    [places] = source.notes.noticed.values()
    assert places == ['images/absent.png', 'images/empty.png']
    assert source.notes.left_out == {'label file without an image': ['labels/alone.txt']}


@pytest.mark.parametrize(
    ('line', 'loss'),
    [
        ('0 10 8 20 20', 'object whose coordinates are not shares'),
        ('0 nan .5 .1 .1', 'object whose coordinates are not shares'),
        ('cat .5 .5 .1 .1', 'line that is not numbers'),
        ('0 .5 .5', 'line that is neither a box nor a polygon'),
        ('0 .5 .5 .2 .2 .4 .4 2', 'keypoints'),
        ('-1 .5 .5 .1 .1', 'object of a class number that has no name'),
        ('0.5 .5 .5 .1 .1', 'object of a class number that has no name'),
    ],
)
def test_losses_of_yolo_have_names(root, line, loss):
    yolo(root, yolo_box(), line, yolo_polygon([1, 1, 9, 1, 9, 9, 5, 12, 1, 9]))
    source = read_source(root)
    [(kind, places)] = source.notes.left_out.items()
    assert kind.startswith(loss) and places[0].startswith('labels/a.txt: line 2')
    assert len(source.images[0].objects) == 2


@pytest.mark.parametrize(
    ('lines', 'kind'),
    [
        (['0 .5 .5 .2 .2 .4 .4 2 .6 .6 0', '0 .5 .5 .2 .2 .4 .4 2 .6 .6 1'], 'keypoints'),
        (['0 .5 .1 .9 .5 .5 .9 .1 .5', '0 .3 .2 .4 .3 .3 .4 .2 .3'], 'rotated boxes'),
        (['10 8 30 8 30 28 10 28 cat 0'], "rotated boxes in DOTA's form"),
    ],
)
def test_yolo_of_another_task_is_refused(root, lines, kind):
    yolo(root, *lines)
    with pytest.raises(UserError, match=f'{kind}.*not read'):
        read_source(root)


def test_yolo_polygons_that_are_boxes_are_read(root):
    yolo(root, yolo_polygon([10, 8, 30, 8, 30, 28, 10, 28]))
    assert only(root).area == pytest.approx(400)


def test_yolo_of_keypoints_by_its_yaml(root):
    yolo(root, names='names: [cat]\nkpt_shape: [17, 3]')
    with pytest.raises(UserError, match='keypoints'):
        read_source(root)


def test_yolo_splits_by_a_yaml_of_another_machine(root):
    for name in ('one', 'two', 'three'):
        write_image(root / name / 'images/a.png', seed=len(name))
        write_text(root / name / 'labels/a.txt', yolo_box())
    paths = dict(train='/home/x/set/one/images', val='../two/images', test='C:\\set\\three\\images')
    write_text(root / 'data.yaml', json.dumps(dict(names=['cat'], **paths)))
    assert {image.path.parts[0]: image.split for image in read_source(root).images} == dict(
        one='train', two='val', three='test'
    )


def test_yolo_lists_of_images(root):
    for name in 'abc':
        write_image(root / f'data/{name}.jpg')
        write_text(root / f'data/{name}.txt', yolo_box())
    write_text(root / 'obj.names', 'cat')
    write_text(root / 'train.txt', 'data/obj/a.jpg\r\nx/data/b.jpg')
    write_text(root / 'val.txt', 'data/c.jpg')
    assert [image.split for image in read_source(root).images] == ['train', 'train', 'val']


# LabelMe, VIA, CVAT, masks.


def test_labelme_groups_are_one_object(root):
    left, right = [[1, 1], [9, 1], [9, 9]], [[20, 1], [30, 1], [30, 9]]
    labelme(
        root,
        dict(points=left, group_id=1),
        dict(points=right, group_id=1),
        dict(points=right, group_id=2),
        dict(points=right, group_id=1, label='dog'),
    )
    objects = read_source(root).images[0].objects
    assert [(item.label, len(item.segmentation)) for item in objects] == [('cat', 2), ('cat', 1), ('dog', 1)]
    assert objects[0].box == [1, 1, 29, 8]


@pytest.mark.parametrize('kind', ['line', 'linestrip', 'point', 'points', 'rotation'])
def test_labelme_shapes_without_an_area(root, kind):
    labelme(root, dict(shape_type=kind, points=[[1, 1], [9, 9]]), dict(points=pairs(TRIANGLE)))
    source = read_source(root)
    assert source.notes.left_out == {
        f'shape of the type {kind}, which is neither a box nor a mask': ['a.json: shape 1']
    }
    assert len(source.images[0].objects) == 1


@pytest.mark.parametrize(
    'change',
    [
        dict(mask='no base64!'),
        dict(points=[[60, 8], [79, 27]]),
        dict(points=[[-5, 0], [9, 9]]),
        dict(points=[['a', 0], [9, 9]]),
    ],
)
def test_labelme_masks_that_do_not_fit(root, change):
    labelme(root, {**labelme_mask(), **change}, dict(points=pairs(TRIANGLE)))
    source = read_source(root)
    assert len(source.images[0].objects) >= 1
    for item in source.images[0].objects:
        assert item.box[0] >= 0 and item.box[0] + item.box[2] <= WIDTH


def test_via_projects_and_attributes(root):
    rect = dict(name='rect', x=10, y=8, width=20, height=20)
    kinds = ({'colour': 'red', 'type': 'cat'}, {'type': {'dog': True, 'cow': False}}, {'colour': 'red'})
    via(root, rect, rect, rect, dict(name='polyline'), attributes=(*kinds, {'type': 'cat'}), project=True)
    source = read_source(root)
    assert [item.label for item in source.images[0].objects] == ['cat', 'dog']
    assert 'the class is the attribute type of a region; the others, colour, are not read' in said(source)
    assert {*source.notes.left_out} == {
        'object without a class',
        'shape of the type polyline, which is neither a box nor a mask',
    }


def test_via_without_attributes(root):
    via(root, dict(name='rect', x=10, y=8, width=20, height=20), attributes=({},))
    source = read_source(root)
    assert source.classes == ['object'] and 'no attributes' in said(source)


def test_cvat_subsets_and_shapes(root):
    corners = 'label="cat" xtl="10" ytl="8" xbr="30" ybr="28"'
    things = [
        f'<box {corners} group_id="3"/>',
        f'<box {corners} rotation="30"/>',
        '<polyline label="cat" points="1,1;2,2"/>',
    ]
    cvat(root, *things, '<mask label="cat" rle="1, 2" left="60" top="0" width="20" height="20"/>', subset='Validation')
    source = read_source(root)
    [image] = source.images
    assert image.split == 'val' and [item.box for item in image.objects] == [[10, 8, 20, 20]]
    assert [*source.notes.noticed] == ['shape of a group, read as an object of its own']
    assert [kind.partition(' (')[0] for kind in source.notes.left_out] == [
        'rotated box',
        'shape of the type polyline, which is neither a box nor a mask',
        'mask that cannot be read',
        'object without a box and without a mask',
    ]


def test_cvat_tracks_are_frames(root):
    boxes = ''.join(
        f'<box frame="{frame}" outside="{outside}" xtl="10" ytl="8" xbr="30" ybr="28"/>'
        for frame, outside in ((0, 0), (5, 0), (6, 1))
    )
    write_text(root / 'a.xml', f'<annotations><track id="0" label="cat">{boxes}</track></annotations>')
    for frame in (0, 5, 6):
        write_image(root / f'images/frame_{frame:06}.PNG')
    assert [str(image.path) for image in read_source(root).images] == [
        'images/frame_000000.PNG',
        'images/frame_000005.PNG',
    ]


def test_masks_without_classes(root):
    write_image(root / 'x1/images/x1.png')
    for name, value in (('p', 1), ('q', 255)):
        write_mask(root / f'x1/masks/{name}.png', value=value)
    Image.fromarray(MASK.astype(np.uint16) * 700).save(root / 'x1/masks/deep.png')
    write_mask(root / 'x1/masks/small.png', MASK[:9, :9])
    source = read_source(root)
    assert source.classes == ['object'] and [item.area for item in source.images[0].objects] == [400] * 3
    assert 'mask that cannot be read (it has 9 × 9 pixels)' in source.notes.left_out
    write_text(root / 'classes.txt', 'nucleus')
    assert read_source(root, format='masks').classes == ['nucleus']


# Images.


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def write_turned(path: Path, orientation: int) -> Image.Image:
    """A white box on black, whose stored pixels are turned; returns them."""
    stored = Image.fromarray(np.repeat(MASK[..., None], 3, 2).astype(np.uint8) * 255).transpose(TURNS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif, quality=95)
    return stored


@pytest.mark.parametrize('orientation', TURNS)
def test_annotations_of_the_upright_image(root, orientation):
    voc(root, image='a.jpg')
    write_turned(root / 'a.jpg', orientation)
    source = read_source(root)
    assert source.images[0].objects[0].box == [10, 8, 20, 20]
    assert read_image(root / 'a.jpg')[8:28, 10:30].mean() > 200
    assert 'image that its EXIF data turns' in said(source)


@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_annotations_of_the_stored_image_are_turned(root, orientation):
    path = coco(root, name='a.jpg')
    (root / 'a.png').unlink()
    stored = np.asarray(write_turned(root / 'a.jpg', orientation)).max(axis=2) > 128
    content = json.loads(path.read_text())
    content['images'][0].update(width=HEIGHT, height=WIDTH)
    (top, left), (bottom, right) = (f(np.argwhere(stored), axis=0).tolist() for f in (np.min, np.max))
    bbox = [left, top, right + 1 - left, bottom + 1 - top]
    corners = [left, top, right + 1, top, right + 1, bottom + 1, left, bottom + 1]
    runs = np.flatnonzero(np.diff(np.r_[False, stored.T.ravel(), False]))
    counts = np.diff(np.r_[0, runs, stored.size]).tolist()
    usual = content['annotations'][0]
    content['annotations'] = [
        dict(usual, bbox=bbox, segmentation=[corners]),
        dict(usual, bbox=bbox, segmentation=dict(size=[WIDTH, HEIGHT], counts=counts), id=1),
    ]
    path.write_text(json.dumps(content))
    source = read_source(root)
    [image] = source.images
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    for item in image.objects:
        assert item.box == pytest.approx([10, 8, 20, 20], abs=1) and item.area == pytest.approx(400, abs=41)
    assert 'turned upright, as its EXIF data says' in said(source)


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'LA', 'I;16', '1'])
def test_modes_of_png(root, mode):
    voc(root)
    image = Image.open(root / 'a.png')
    values = np.asarray(image.convert('L'), np.uint16) * 257
    image = Image.fromarray(values) if mode == 'I;16' else image.convert(mode)
    image.save(root / 'a.png')
    source = read_source(root)
    assert source.images[0].width == WIDTH and source.images[0].fingerprint.any()
    assert ('upper eight' in said(source)) == (mode == 'I;16')


def test_cmyk_and_wrong_endings(root):
    voc(root)
    Image.open(root / 'a.png').convert('CMYK').save(root / 'a.png', 'JPEG')
    assert only(root).box == [10, 8, 20, 20]


def test_five_endings_and_names_in_one_folder(root):
    names = ['a.png', 'B.JPG', 'with space.jpeg', 'it\'s "c".bmp', '图像.tif', 'e.WebP']
    for name in names:
        voc(root, xml=f'{Path(name).stem}.xml', image=name, name=name.replace('"', '&quot;'))
    source = read_source(root)
    assert {str(image.path) for image in source.images} == {*names} and not source.notes.left_out


def test_names_that_are_no_text(root):
    voc(root)
    (root / os.fsdecode(b'\xff.png')).write_bytes((root / 'a.png').read_bytes())
    assert 'name is not UTF-8, which OpenCV cannot open\n  \\udcff.png' in said(read_source(root))
    folder = root / os.fsdecode(b'\xff')
    voc(folder)
    assert len(read_source(root).images) == 1
    with pytest.raises(UserError, match='not UTF-8'):
        read_source(folder)


def test_same_names_in_several_folders(root):
    for split in ('train', 'valid', 'test'):
        coco(root, folder=split)
    assert [(str(image.path), image.split) for image in read_source(root).images] == [
        ('test/a.png', 'test'),
        ('train/a.png', 'train'),
        ('valid/a.png', 'val'),
    ]


def test_names_of_images_tell_no_split(root):
    for name in ('train_1.png', 'bus_1.png', 'test.png'):
        voc(root, xml=f'{Path(name).stem}.xml', image=name, name=name)
    voc(root, xml='train_station/a.xml', image='train_station/a.png')
    voc(root, xml='images_train2017/b.xml', image='images_train2017/b.png', name='b.png')
    splits = {str(image.path): image.split for image in read_source(root).images}
    assert splits.pop('images_train2017/b.png') == 'train' and {*splits.values()} == {None}


def test_small_images_are_counted(root):
    voc(root, voc_box(1, 1, 5, 5), size='')
    write_image(root / 'a.png', (40, 31))
    source = read_source(root)
    assert source.notes.noticed == {'image with a side below 32 pixels, which trainings leave out': ['a.png']}


def test_images_that_cannot_be_used(root):
    for name in ('a.png', 'cut.png', 'cut.jpg', 'text.jpg', 'empty.png', 'other.png'):
        voc(root, xml=f'{name}.xml', image=name, name=name)
    for name in ('cut.png', 'cut.jpg'):
        write_image(root / name, (640, 480))
        (root / name).write_bytes((root / name).read_bytes()[:-200])
    (root / 'text.jpg').write_text('no image')
    (root / 'empty.png').write_bytes(b'')
    write_image(root / 'other.png', (100, 100))
    voc(root, xml='gone.xml', image='z.png', name='gone.png')
    (root / 'z.png').unlink()
    write_text(root / 'broken.xml', '<annotation><object>')
    with pytest.raises(UserError, match='7 files cannot be used.*--skip-bad') as error:
        read_source(root)
    for name in ('cut.png', 'cut.jpg', 'text.jpg', 'empty.png', 'gone.png', 'other.png', 'broken.xml'):
        assert name in str(error.value)
    assert 'annotated as an image of 64 × 48 pixels, but it has 100 × 100' in str(error.value)
    source = read_source(root, skip_bad=True)
    assert [str(image.path) for image in source.images] == ['a.png']
    assert 'left out: 7 × file that cannot be used' in said(source)


def test_images_that_no_annotation_names(root):
    coco(root)
    for number in range(12):
        write_image(root / f'{number}.png')
    source = read_source(root)
    assert '12 × image that no annotation names' in said(source) and '… and 2 more' in said(source)
    assert '9.png' not in said(source)


# Files of strangers.


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>'
EXTERNAL = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotation><filename>&a;</filename></annotation>'
DEEP = '<annotation>' + '<a>' * 10**5


@pytest.mark.parametrize(
    ('text', 'reason'), [(BOMB, 'document type'), (EXTERNAL, 'document type'), (DEEP, 'deeper than 64')]
)
def test_hostile_xml(root, text, reason):
    voc(root)
    write_text(root / 'b.xml', text)
    with pytest.raises(UserError, match=reason):
        read_source(root)
    with pytest.raises(UserError, match=reason):
        read_source(root, format='cvat')


@pytest.mark.parametrize(
    'text',
    [
        '[' * 10**5,
        '{"a": ' * 10**5,
        '{"images": [' + '9' * 5000 + ']}',
        '\x00',
        '"\ud800'.encode('utf-8', 'surrogatepass').decode('latin-1'),
    ],
)
def test_hostile_json(root, text):
    write_image(root / 'a.png')
    write_text(root / 'a.json', text)
    for format in (None, 'coco', 'via', 'labelme'):
        with pytest.raises(UserError):
            read_source(root, format=format)


@pytest.mark.parametrize('value', [None, 1, 'x', [], {}, [[]], [None], dict(a=1), [dict(id=[])], True])
@pytest.mark.parametrize(
    'key', ['images', 'annotations', 'categories', 'bbox', 'segmentation', 'file_name', 'width', 'name']
)
def test_values_of_other_types(root, key, value):
    path = coco(root, dict(segmentation=[TRIANGLE]), {})
    content = json.loads(path.read_text())
    for entry in (content, content['images'][0], content['annotations'][0], content['categories'][0]):
        if key in entry:
            entry[key] = value
    path.write_text(json.dumps(content))
    try:
        for item in read_source(root, format='coco', skip_bad=True).images[0].objects:
            assert 0 < item.area <= WIDTH * HEIGHT
    except UserError as error:
        assert str(error)  # rather than any other exception


@pytest.mark.parametrize('text', ['names: &a [*a]', '[' * 5000, 'names: {'])
def test_hostile_yaml(root, text):
    yolo(root, names=text)
    with pytest.raises(UserError):
        read_source(root, format='yolo')


def test_a_broken_yaml_is_named(root):
    yolo(root, names='names: {')
    with pytest.raises(UserError, match='data.yaml is not YAML'):
        read_source(root)


def test_yaml_runs_nothing(root, tmp_path):
    yolo(root, names=f"names: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    read_source(root)
    assert not (tmp_path / 'made').exists()


def test_names_never_lead_out_of_the_source(root, tmp_path):
    write_image(tmp_path / 'outside.png')
    coco(root, name='../outside.png')
    with pytest.raises(UserError, match='../outside.png: no such image below the source'):
        read_source(root)
    os.symlink(tmp_path / 'outside.png', root / 'outside.png')
    os.symlink(tmp_path, root / 'folder')
    with pytest.raises(UserError, match='no such image below the source(.|\n)*2 links lead out of the source'):
        read_source(root)
    os.symlink(root / 'a.png', root / 'inside.png')
    coco(root, name='inside.png')
    source = read_source(root)
    assert str(source.images[0].path) == 'inside.png'
    assert source.notes.left_out['link that leads out of the source'] == ['outside.png', 'folder']


@pytest.mark.parametrize('size', [(10**5, 10**5), (2**31 - 1, 2**31 - 1)])
def test_an_image_that_declares_a_huge_size(root, size):
    voc(root)
    header = struct.pack('>IIBBBBB', *size, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(b'')), (b'IEND', b'')]
    data = b''.join(struct.pack('>I', len(d)) + t + d + struct.pack('>I', zlib.crc32(t + d)) for t, d in chunks)
    (root / 'a.png').write_bytes(b'\x89PNG\r\n\x1a\n' + data)
    with pytest.raises(UserError, match='1 files cannot be used'):
        read_source(root)


def test_a_polygon_that_would_take_gigabytes(root):
    zigzag = [value for number in range(50_000) for value in (0 if number % 2 else WIDTH, number % HEIGHT)]
    coco(root, dict(segmentation=[zigzag]))
    source = read_source(root)
    assert not source.images[0].objects[0].segmentation and 'longer than' in said(source)


def test_control_characters_of_names_are_escaped(root, tmp_path):
    for name in ('a.png', 'b.png'):
        voc(root, xml=f'{name}.xml', image=name, name=name)
        text = (root / f'{name}.xml').read_text()
        write_text(root / f'{name}.xml', text.replace('<name>cat', '<name> ca\u0085t \n\u202ex'))
    report = convert_source(root, tmp_path / 'out').text
    content = json.loads((tmp_path / 'out/annotations/instances_train.json').read_text())
    assert content['categories'][0]['name'] == 'ca t \\u202ex' and '\u202e' not in report


# What is written.


@pytest.fixture
def two_scenes(root) -> Path:
    for name in ('a.png', 'b.png'):
        voc(root, xml=f'{name}.xml', image=name, name=name)
    return root


def test_another_data_set_is_not_replaced(two_scenes, tmp_path):
    other = write_text(tmp_path / 'out/annotations/instances_train.json', '{"info": {}}')
    with pytest.raises(UserError, match='was not made from'):
        convert_source(two_scenes, tmp_path / 'out')
    assert other.read_text() == '{"info": {}}'
    other.rename(other.with_name('boxes_train.json'))
    with pytest.raises(UserError, match='boxes_train.json was not made from'):
        convert_source(two_scenes, tmp_path / 'out')


def test_the_same_source_is_converted_again(two_scenes, tmp_path):
    convert_source(two_scenes, tmp_path / 'out')
    first = (tmp_path / 'out/annotations/instances_train.json').read_bytes()
    convert_source(two_scenes, tmp_path / 'out')
    assert (tmp_path / 'out/annotations/instances_train.json').read_bytes() == first
    with pytest.raises(UserError, match='was not made from'):
        convert_source(ROOT, tmp_path / 'out')


def test_an_interrupted_conversion_leaves_nothing(two_scenes, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr('mmfasternet.datasets.formats.convert._coco', fail)
    with pytest.raises(KeyboardInterrupt):
        convert_source(two_scenes, tmp_path / 'out')
    assert [*(tmp_path / 'out').iterdir()] == []


def test_out_is_not_in_the_source(two_scenes):
    for out in (two_scenes, two_scenes / 'out'):
        with pytest.raises(UserError, match='choose a folder outside'):
            convert_source(two_scenes, out)


@pytest.mark.parametrize('val', [0, 1, -1, float('nan')])
def test_share_to_evaluate_on(two_scenes, tmp_path, val):
    with pytest.raises(UserError, match='--val'):
        convert_source(two_scenes, tmp_path / 'out', val=val)


def test_scenes_on_both_sides_of_a_given_split_are_reported(root, tmp_path):
    for split, name in (('train', 'a.rf.1'), ('valid', 'a.rf.2'), ('train', 'b')):
        voc(root, xml=f'{split}/{name}.xml', image=f'{split}/{name}.png', name=f'{name}.png')
    report = convert_source(root, tmp_path / 'out').text
    assert 'split: as the source has it' in report
    assert '1 scenes are in several splits, which flatters results\n  train/a.rf.1.png, valid/a.rf.2.png' in report


def test_a_source_without_images_to_evaluate_on(root, tmp_path):
    for split, name in (('train', 'a'), ('train', 'b'), ('test', 'c')):
        voc(root, xml=f'{split}/{name}.xml', image=f'{split}/{name}.png', name=f'{name}.png')
    report = convert_source(root, tmp_path / 'out').text
    assert '20% of those to train on are taken' in report
    assert sorted(path.name for path in (tmp_path / 'out/annotations').iterdir()) == [
        f'instances_{split}.json' for split in ('test', 'train', 'val')
    ]


@pytest.mark.slow
def test_the_tool(two_scenes, tmp_path):
    done = run_tool(ROOT / 'tools/own_data.py', str(two_scenes), '--out', str(tmp_path / 'out'))
    assert done.returncode == 0 and "format: VOC's XML, as in a.png.xml" in done.stdout
    report = tmp_path / 'out/report.html'
    assert f'{report}: the data in figures and images' in done.stdout and report.read_text().count('<svg') == 2
    done = run_tool(ROOT / 'tools/own_data.py', str(tmp_path / 'gone'), '--out', str(tmp_path / 'out'))
    assert done.returncode == 1 and 'error:' in done.stderr and 'Traceback' not in done.stderr
