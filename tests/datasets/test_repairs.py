"""What users' annotation files have: repaired where there is one right answer, otherwise one message that says what."""

import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmfasternet.datasets.annotations import check_annotations, load_annotations, read_annotations
from mmfasternet.datasets.check import DataError, check_data, use_copies
from mmfasternet.datasets.shapes import CLASSES

MASKS = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


@pytest.fixture
def own(shapes_root, tmp_path):
    """A copy of the tiny data set that a test may spoil, with polygons: the boxes."""
    root = shutil.copytree(shapes_root, tmp_path / 'own')
    for split in ('train', 'val'):
        change(root, boxes_as_polygons, split)
    return root


def change(root, edit, split='train'):
    path = root / f'annotations/instances_{split}.json'
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def boxes_as_polygons(content):
    for entry in content['annotations']:
        x, y, w, h = entry['bbox']
        entry.update(segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]], area=w * h)


def boxes_as_runs(content):
    sizes = {image['id']: (image['height'], image['width']) for image in content['images']}
    for entry in content['annotations']:
        (runs,) = rle.frPyObjects(entry['segmentation'], *sizes[entry['image_id']])
        entry['segmentation'] = dict(runs, counts=runs['counts'].decode())


def data_set(root, split='train', **changes):
    config = dict(type='CocoDataset', metainfo=dict(classes=CLASSES), data_root=str(root), pipeline=deepcopy(MASKS))
    config.update(ann_file=f'annotations/instances_{split}.json', data_prefix=dict(img=f'{split}/'))
    return config | dict(test_mode=split == 'val') | changes


def metric(root, **changes):
    return dict(type='CocoMetric', ann_file=f'{root}/annotations/instances_val.json', metric=['bbox', 'segm']) | changes


def message(root, *configs, evaluators=None):
    with pytest.raises(DataError) as error:
        check_data(configs or [data_set(root)], evaluators, root / 'copies')
    return str(error.value)


def average_precision(path) -> float:
    """Of the truth itself."""
    truth = COCO(str(path))
    found = [dict(entry, score=1.0) for entry in deepcopy(truth.dataset['annotations'])]
    evaluation = COCOeval(truth, truth.loadRes(found), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


def from_zero(content):
    for number, entry in enumerate(content['annotations']):
        entry['id'] = number


def as_text(content):
    for number, entry in enumerate(content['annotations']):
        entry['id'] = f'a{number}'


def twice(content):
    content['annotations'][1]['id'] = content['annotations'][0]['id']


def without(key):
    def edit(content):
        for entry in content['annotations']:
            del entry[key]

    return edit


def set_first(key, value):
    return lambda content: content['annotations'][0].__setitem__(key, value)


@pytest.mark.parametrize('edit', [from_zero, as_text, twice, without('id'), without('iscrowd'), without('area')])
def test_the_truth_has_ap_1_after_the_repair(own, edit):
    change(own, edit, 'val')
    before = (own / 'annotations/instances_val.json').read_bytes()
    data, evaluator = data_set(own, 'val'), metric(own)
    copies, notes = check_data([data], evaluator, own / 'copies')
    use_copies([data, evaluator], copies)
    assert data['ann_file'] == evaluator['ann_file'] and data['ann_file'].startswith(str(own / 'copies'))
    assert average_precision(data['ann_file']) == 1
    assert (own / 'annotations/instances_val.json').read_bytes() == before
    assert len(notes) == 1 and notes[0].startswith(f'{own}/annotations/instances_val.json is read from a repaired copy')
    # The copy needs no other.
    assert check_data([data], evaluator, own / 'copies') == ({}, [])
    # As mmengine reads the copy without what is remembered of it.
    assert not check_annotations(shutil.copy(data['ann_file'], own / 'again.json')).repairs


def test_a_file_that_is_repaired_is_parsed_once(own, monkeypatch):
    read, real = [], json.loads
    monkeypatch.setattr('mmfasternet.datasets.annotations.json.loads', lambda data: (read.append(data), real(data))[1])
    change(own, from_zero, 'val')
    read.clear()
    data, evaluator = data_set(own, 'val'), metric(own)
    copies, _ = check_data([data], evaluator, own / 'copies')
    use_copies([data, evaluator], copies)
    check_data([data], evaluator, own / 'copies')
    assert len(read) == 1
    # Elsewhere, or after its removal, the copy is written again.
    for folder in ('others', 'copies'):
        (copy,) = check_data([data_set(own, 'val')], None, own / folder)[0].values()
        assert Path(copy).is_file() and Path(copy).parent == own / folder
        Path(copy).unlink()


def test_ids_from_zero_lose_ap_without_the_repair(own):
    """As pycocotools is; when this fails, the repair is no longer needed."""
    change(own, from_zero, 'val')
    assert average_precision(own / 'annotations/instances_val.json') < 1


TRIANGLE = [5, 5, 30, 5, 30, 30]


@pytest.mark.parametrize(
    ('key', 'value', 'repaired'),
    [
        ('segmentation', TRIANGLE, [TRIANGLE]),
        ('segmentation', [[5, 5], [30, 5], [30, 30]], [TRIANGLE]),
        ('segmentation', [[[5, 5], [30, 5], [30, 30]]], [TRIANGLE]),
        ('segmentation', [TRIANGLE, [1, 1, 9, 9], []], [TRIANGLE]),
    ],
)
def test_polygons_in_another_form(own, key, value, repaired):
    change(own, set_first(key, value))
    assert load_annotations(own / 'annotations/instances_train.json')['annotations'][0][key] == repaired


@pytest.mark.parametrize('masks', [lambda content: None, boxes_as_runs])
def test_missing_boxes_and_areas_are_those_of_the_masks(own, masks):
    path = own / 'annotations/instances_train.json'
    change(own, masks)
    truth = read_annotations(path)['annotations']
    change(own, without('bbox'))
    change(own, without('area'))
    found = load_annotations(path)['annotations']
    assert [entry['bbox'] for entry in found] == [entry['bbox'] for entry in truth]
    assert [entry['area'] for entry in found] == [entry['area'] for entry in truth]


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-32'])
def test_other_encodings(own, encoding):
    path = own / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    content['categories'].append(dict(id=99, name='猫'))
    path.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    data = data_set(own)
    copies, _ = check_data([data], None, own / 'copies')
    copy = Path(copies[str(path)]).read_bytes()
    assert json.loads(copy) == content and copy.isascii()


def test_a_locale_other_than_utf_8(own, monkeypatch):
    path = own / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    content['categories'].append(dict(id=99, name='猫'))
    path.write_text(json.dumps(content, ensure_ascii=False))
    assert not check_annotations(path).repairs
    monkeypatch.setattr('locale.getpreferredencoding', lambda *_: 'cp1252')
    path.write_text(json.dumps(content, ensure_ascii=False) + ' ')
    assert 'pycocotools reads cp1252' in check_annotations(path).repairs[0]


def test_latin_1_is_named(own):
    path = own / 'annotations/instances_train.json'
    path.write_bytes('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "câble"}]}'.encode('latin-1'))
    assert 'instances_train.json is not in UTF-8: byte 69 is 0xe2' in message(own)


def test_a_category_without_objects_of_anothers_name_is_left_out(own):
    """As Roboflow's category 0, which has the project's name."""
    change(own, lambda content: content['categories'].insert(0, dict(id=99, name='circle')))
    data = data_set(own)
    copies, notes = check_data([data], None, own / 'copies')
    (copy,) = copies.values()
    assert [entry['name'] for entry in json.loads(Path(copy).read_text())['categories']] == list(CLASSES)
    assert "category 99, 'circle', has no object" in notes[0]


def category_of_half(content):
    content['categories'].append(dict(id=99, name='circle'))
    content['annotations'][0]['category_id'] = 99
    content['annotations'][1]['category_id'] = content['categories'][0]['id']


def set_all(**values):
    def edit(content):
        for entry in content['annotations']:
            entry.update(values)

    return edit


def corners(content):
    for entry in content['annotations']:
        x, y, w, h = entry['bbox']
        entry['bbox'] = [x, y, x + w, y + h]


def centres(content):
    for entry in content['annotations']:
        x, y, w, h = entry['bbox']
        entry['bbox'] = [x + w / 2, y + h / 2, w, h]


def of_others(content):
    boxes = [entry['bbox'] for entry in content['annotations']]
    for entry, box in zip(content['annotations'], boxes[1:] + boxes[:1], strict=True):
        entry['bbox'] = box


def then(*edits):
    return lambda content: [edit(content) for edit in edits]


def same_image(content):
    content['images'][1]['id'] = content['images'][0]['id']


def same_category(content):
    content['categories'][1]['id'] = content['categories'][0]['id']


@pytest.mark.parametrize(
    ('edit', 'expected'),
    [
        (same_image, 'two entries have the image id 1; give each its own'),
        (same_category, 'two entries have the category id 1; give each its own'),
        (category_of_half, "has several categories of one name, each with objects: 'circle' (ids [1, 99])"),
        (lambda content: content['images'][0].update(id='1'), 'some of the image ids are numbers and others texts'),
        (
            lambda content: content['images'][0].pop('width'),
            'image 1: "width" must be a number of pixels, but is missing',
        ),
        (
            lambda content: content.pop('categories'),
            'an object with the lists images, annotations, categories: it lacks',
        ),
        (set_all(area=0), 'leaves no object: of '),
        (set_all(iscrowd=1), 'are crowds ("iscrowd" is 1)'),
        (then(boxes_as_runs, set_all(bbox=[200, 200, 20, 20])), 'have a box without size or outside of the image'),
        (then(boxes_as_runs, set_all(bbox=[5, 5, 0, 0])), 'have a box without size or outside of the image'),
        (corners, 'the corners of the box; subtract the first two numbers from the last two'),
        (centres, 'are its centre and size; subtract half of the last two numbers from the first two'),
        (of_others, 'remove "bbox" from all annotations, and the boxes are taken from the polygons'),
        (then(boxes_as_runs, corners), 'the corners of the box; subtract the first two numbers from the last two'),
        (set_first('segmentation', [[1, 1, 9, 9]]), 'has an object without a segmentation: annotation 1 in 000001.png'),
        (set_first('segmentation', [[]]), 'has an object without a segmentation: annotation 1 in 000001.png'),
        (set_first('segmentation', None), 'has an object without a segmentation: annotation 1 in 000001.png'),
        (set_first('category_id', 77), 'annotation 1: "category_id" must be an id that the file has, but is 77'),
    ],
)
@pytest.mark.parametrize('split', ['train', 'val'])
def test_what_cannot_be_repaired_is_named(own, edit, expected, split):
    change(own, edit, split)
    configs = [dict(type='RepeatDataset', times=2, dataset=data_set(own)), data_set(own, 'val')]
    text = message(own, *configs, evaluators=[metric(own)])
    assert f'{own}/annotations/instances_{split}.json' in text
    if 'image 1' in expected or '000001.png' in expected:
        first = json.loads((own / f'annotations/instances_{split}.json').read_text())['images'][0]
        expected = expected.replace('000001.png', first['file_name'])
    assert expected in text


def test_ten_examples_and_a_count(own):
    change(own, set_all(category_id=77))
    change(own, lambda content: content['images'][0].update(height='a'), 'val')
    lines = message(own, data_set(own), data_set(own, 'val')).splitlines()
    count = len(json.loads((own / 'annotations/instances_train.json').read_text())['annotations'])
    assert lines[0].endswith(f'instances_train.json: {count} faults:')
    assert lines[1] == '  annotation 1: "category_id" must be an id that the file has, but is 77'
    assert lines[11] == f'  … and {count - 10} more of this kind'
    assert len(lines) == 13 and 'instances_val.json: image 1: "height" must be a number of pixels' in lines[12]


def test_faults_of_one_kind_with_other_values_are_of_one_kind(own):
    change(own, lambda content: [image.update(id=str(image['id'])) for image in content['images']])
    lines = message(own).splitlines()
    assert len(lines) == 12 and lines[1].endswith('"image_id" must be an id that the file has (it has \'1\'), but is 1')
    change(own, lambda content: [image.update(id=int(image['id'])) for image in content['images']])
    change(own, lambda content: [image.update(width=60 + image['id']) for image in content['images']])
    change(own, set_all(bbox=[5, 5, 1e6, 20]))
    assert len(message(own).splitlines()) == 12


def test_run_lengths_where_polygons_are_read(own):
    change(own, boxes_as_runs)
    check_data([data_set(own)], None, own / 'copies')
    only_polygons = data_set(own, pipeline=[dict(MASKS[0], poly2mask=False)])
    assert 'set poly2mask=True in LoadAnnotations' in message(own, only_polygons)
    change(own, set_first('iscrowd', 1), 'val')
    crowds = data_set(own, 'val', test_mode=False, pipeline=[dict(MASKS[0], poly2mask=False)])
    check_data([crowds], None, own / 'copies')


@pytest.mark.parametrize(
    ('filter_cfg', 'expected'),
    [
        (dict(min_size=1000), 'filter_cfg leaves out 12 of 12, which have a side of less than 1000 pixels'),
        (dict(filter_empty_gt=True), "it has 0 annotations, and none of the classes ('circle',"),
    ],
)
def test_every_image_is_filtered_out(own, filter_cfg, expected):
    if 'filter_empty_gt' in filter_cfg:
        change(own, lambda content: content['annotations'].clear())
    assert f'leaves no image: {expected}' in message(own, data_set(own, filter_cfg=filter_cfg))


def test_no_annotation_at_all(own):
    for split in ('train', 'val'):
        change(own, lambda content: content['annotations'].clear(), split)
    assert 'instances_train.json leaves no object to train on: it has 0 annotations' in message(own)
    assert 'has no annotation, so that nothing can be measured on it' in notes_of(own, data_set(own, 'val'))
    # The images without labels of a semi-supervised training.
    check_data([data_set(own, pipeline=[dict(type='LoadEmptyAnnotations', with_bbox=True)])], None, own / 'copies')


def notes_of(own, *configs):
    return '\n'.join(check_data(configs or [data_set(own)], None, own / 'copies')[1])


def test_what_is_left_out_is_said(own):
    change(own, lambda content: content['images'][0].update(width=30, height=40))
    change(own, lambda content: [entry.update(bbox=[1, 1, 9, 9]) for entry in content['annotations'][:20]])
    change(own, set_first('bbox', [5, 5, 0, 20]))
    change(own, lambda content: content['categories'].append(dict(id=99, name='cat')))
    config = data_set(own, filter_cfg=dict(min_size=32), metainfo=dict(classes=(*CLASSES, 'cat')))
    notes = notes_of(own, config)
    assert 'filter_cfg leaves out 1 of 12, which has a side of less than 32 pixels' in notes
    assert "instances_train.json has no object of ('cat',)" in notes
    assert 'annotation 1 is left out: its box [5.0, 5.0, 0.0, 20.0] has no size' in notes
    assert 'pixels off its polygons' in notes


def test_boxes_that_are_wider_than_their_polygons(own):
    change(own, lambda content: [e.update(bbox=[e['bbox'][0], e['bbox'][1], e['bbox'][2] + 7, e['bbox'][3]])
                                 for e in content['annotations'][:1]])  # fmt: skip
    first = json.loads((own / 'annotations/instances_train.json').read_text())['annotations'][0]['bbox']
    expected = f'annotation 1: the box {[float(value) for value in first]} is 7.0 pixels off its polygons'
    assert expected in notes_of(own) or first[0] + first[2] > 128


def test_every_image_file_is_looked_for(own):
    for name in ('000003.png', '000007.png'):
        (own / 'train' / name).unlink()
    text = message(own)
    assert '000003.png, which does not exist, and 1 of 12 others, such as ' in text and '000007.png' in text


def test_backslashes_of_windows(own):
    change(own, lambda content: content['images'][0].update(file_name='sub\\000001.png'))
    assert 'backslashes, as on Windows: write / in their place' in message(own)


@pytest.mark.parametrize(
    ('key', 'value'), [('image_id', '9' * 5000), ('image_id', ['a']), ('category_id', {}), ('id', '\x1b[2K' * 50)]
)
def test_hostile_ids(own, key, value):
    change(own, set_first(key, value))
    change(own, set_first('iscrowd', 7))
    change(own, lambda content: content['images'][1].update(file_name='\ud800/../\x1b[2K.png'))
    assert len(message(own)) < 1000


def test_evaluators_of_other_images(own):
    other = own / 'annotations/other.json'
    content = json.loads((own / 'annotations/instances_val.json').read_text())
    for image in content['images']:
        image['id'] += 100
    for entry in content['annotations']:
        entry['image_id'] += 100
    other.write_text(json.dumps(content))
    val = data_set(own, 'val')
    text = message(own, val, evaluators=metric(own, ann_file=str(other)))
    assert f'the evaluator compares with {other}, which lacks 6 of the 6 image ids' in text
    text = message(own, val, evaluators=metric(own, ann_file='no.json'))
    assert 'compares with no.json, which does not exist' in text


def test_one_scale_for_random_resize(own):
    config = data_set(own, pipeline=[*MASKS, dict(type='RandomResize', scale=(1333, 800), keep_ratio=True)])
    assert 'write scale=[(1066, 640), (1333, 800)]' in message(own, config)
    both = dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True)
    check_data([data_set(own, pipeline=[*MASKS, both])], None, own / 'copies')


def test_subclasses_and_classes_of_the_new_style(own):
    """The type of a config is a name that may not tell what it is, or the class itself."""
    from mmdet.datasets import CocoDataset, CocoPanopticDataset, Objects365V1Dataset

    class Mine(CocoDataset):
        METAINFO = dict(classes=CLASSES)

    change(own, set_first('category_id', 77))
    assert '"category_id" must be' in message(own, ConfigDict(data_set(own, type=Mine)))
    init_default_scope('mmdet')
    assert '"category_id" must be' in message(own, data_set(own, type='mmdet.CocoDataset'))
    # These read other formats, or in another way.
    change(own, set_first('category_id', 1))
    change(own, lambda content: content['categories'].reverse())
    for kind in (CocoPanopticDataset, Objects365V1Dataset):
        check_data([data_set(own, type=kind)], None, own / 'copies')
