"""The report of a segmentor's and of a classifier's result: figures, advice, page, and what is refused."""

import json
import re
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.exports import write_image
from helpers.project import ROOT

from mmfasternet.errors import UserError
from mmfasternet.reports.page import Matrix, Table
from mmfasternet.reports.result.labels.class_advice import advise_on_classes
from mmfasternet.reports.result.labels.class_result import ClassResult, likely_range
from mmfasternet.reports.result.labels.explain import explain_classes, explain_maps
from mmfasternet.reports.result.labels.map_advice import advise_on_maps
from mmfasternet.reports.result.labels.map_page import map_page
from mmfasternet.reports.result.labels.map_result import compute_map_result
from mmfasternet.reports.result.labels.truth import ImageList, read_class_list, read_scores

CLASSES = ['background', 'cat', 'dog']
SIZE = (120, 80)
EXPLAIN = ROOT / 'tools/explain.py'


def scene(*boxes: tuple[int, tuple[int, int, int, int]]) -> np.ndarray:
    """A map of the background with boxes of classes: x, y, width and height."""
    labels = np.zeros(SIZE[::-1], np.uint8)
    for label, (x, y, width, height) in boxes:
        labels[y : y + height, x : x + width] = label
    return labels


CAT, DOG = (1, (10, 10, 40, 40)), (2, (60, 10, 40, 40))
BOTH = scene(CAT, DOG)


def result_of(*pairs: tuple[np.ndarray, np.ndarray], classes: list[str] = CLASSES):
    return compute_map_result(classes, pairs)


# Figures of maps.


def test_metrics_are_those_of_mmseg():
    """On random maps with ignored pixels and a class that is never there."""
    metrics = pytest.importorskip('mmseg.evaluation')
    random = np.random.default_rng(0)
    pairs = [(random.integers(0, 3, (30, 40)), random.integers(0, 3, (30, 40))) for _ in range(5)]
    for true, _ in pairs:
        true[:3] = 255
    result = result_of(*((a.astype(np.uint8), b.astype(np.uint8)) for a, b in pairs), classes=[*'abcd'])
    metric = metrics.IoUMetric()
    metric.dataset_meta = dict(classes=[*'abcd'])
    parts = [metric.intersect_and_union(torch.tensor(found), torch.tensor(true), 4, 255) for true, found in pairs]
    expected = metric.compute_metrics(parts)
    got = [100 * value for value in (result.miou, result.accuracy, np.nanmean(result.recall))]
    assert got == pytest.approx([expected[key] for key in ('mIoU', 'aAcc', 'mAcc')], abs=0.005)
    assert (
        np.isnan(result.iou[3]) and result.pixels.tolist() == [27 * 40] * 5 and result.images.tolist() == [5, 5, 5, 0]
    )


def test_errors_by_place_and_kind():
    """A cat is a pixel wider, a dog is taken for a cat, one of a pixel is missed, and a cat of 20 × 10 is invented."""
    true = scene(CAT, DOG, (2, (110, 70, 1, 1)))
    found = scene((1, (10, 10, 41, 40)), (1, DOG[1]), (1, (20, 60, 20, 10)))
    result = result_of((true, found))
    kinds = {kind: wrong.tolist() for kind, wrong in result.kinds.items()}
    assert kinds == dict(
        border=[[0, 40, 0], [0, 0, 0], [0, 0, 0]],
        missed=[[0, 0, 0], [0, 0, 0], [1, 0, 0]],
        background=[[0, 200, 0], [0, 0, 0], [0, 0, 0]],
        confusion=[[0, 0, 0], [0, 0, 0], [0, 1600, 0]],
    )
    assert result.cost(sum(result.kinds.values())) == pytest.approx(1 - result.miou)
    # With the dog fixed, 240 pixels are cats too many, and one of the dog's is missing.
    ground = true.size - 3201
    fixed = np.mean([(ground - 240) / (ground + 1), 1600 / 1840, 1600 / 1601])
    assert result.cost(result.kinds['confusion']) == pytest.approx(fixed - result.miou)


@pytest.mark.parametrize(('by', 'at_border'), [(1, 160), (2, 8)])
def test_a_border_may_move_by_a_hundredth_of_the_image(by, at_border):
    """That is a pixel of 120; both sides of the boxes are moved, and their corners are near the other sides."""
    assert result_of((BOTH, np.roll(BOTH, by, 1))).kinds['border'].sum() == at_border


def test_without_a_background_there_are_two_kinds():
    assert [*result_of((BOTH, BOTH), classes=['sky', 'cat', 'dog']).kinds] == ['border', 'confusion']


# Advice on maps.


@pytest.mark.parametrize(
    ('found', 'said'),
    [
        (BOTH, 'No kind of error costs more than 0.5 points of mIoU; there is nothing to advise.'),
        (
            BOTH * 0,
            'The mIoU of 22.2 is hardly that of saying one class of every pixel; 100% are predicted as “b',
        ),
        (scene(CAT, (1, DOG[1])), 'Pixels that are taken for another class cost 50.0 points of mIoU, and 100% of them'),
        (
            scene(CAT, (2, (60, 10, 20, 40))),
            'What is taken for background costs 20.3 points of mIoU, most of all of “d',
        ),
        (scene(CAT, DOG, (1, (0, 55, 120, 25))), 'Background that is taken for a class costs'),
        (
            scene((1, (11, 11, 38, 38)), (2, (61, 11, 38, 38))),
            'Borders between classes that are predicted a little beside',
        ),
    ],
)
def test_the_costliest_error_comes_first(found, said):
    first, *others = advise_on_maps(result_of((BOTH, found)))
    assert first.startswith(said) and len(others) < 3


def test_a_weak_class_is_named():
    said = advise_on_maps(result_of((BOTH, scene(CAT, (2, (60, 10, 10, 40))))))
    expected = '“dog” (25.0; 1 images, 16.7% of the pixels): a low IoU, where the other classes have 9'
    (found,) = [text for text in said if text.startswith(expected)]
    assert found.endswith('Add images of them; the IoU of so few images is uncertain, too.')


# The report of maps.


def write_maps(folder: Path, **pairs: tuple[np.ndarray, np.ndarray]) -> tuple[Path, Path]:
    """A list with its maps, and the predictions; names may have folders."""
    (folder / 'semantic').mkdir(parents=True, exist_ok=True)
    names = [name.replace('__', '/') + '.jpg' for name in pairs]
    for name, (true, found) in zip(names, pairs.values(), strict=True):
        write_image(folder / 'images' / name, SIZE)
        for path, labels in (
            (folder / f'semantic/val/{name}.png', true),
            ((folder / 'found' / name).with_suffix('.png'), found),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), labels)
    (folder / 'semantic/val.txt').write_text('\n'.join(names))
    (folder / 'semantic/summary.json').write_text(json.dumps(dict(classes=CLASSES)))
    return folder / 'semantic/val.txt', folder / 'found'


def test_the_report_of_maps(tmp_path):
    paths = write_maps(tmp_path, a__1=(BOTH, scene(CAT, (1, DOG[1]))), b__1=(BOTH, BOTH))
    said = explain_maps(*paths, tmp_path / 'images', tmp_path).splitlines()
    assert said[:5] == [
        'mIoU 72.2, 91.7% of the pixels are right',
        'class       images  IoU  accuracy  precision',
        'background       2  100.0     100.0      100.0',
        'cat              2  66.7     100.0       66.7',
        'dog              2  50.0      50.0      100.0',
    ]
    figures = json.loads((tmp_path / 'result.json').read_text())
    assert (
        figures['mIoU'] == 0.7222
        and figures['accuracy'] == 0.9167
        and figures['costs'].keys() == {*('border', 'missed', 'background', 'confusion')}
    )
    assert figures['classes'][2] == dict(name='dog', images=2, pixels=3200, IoU=0.5, accuracy=0.5, precision=1.0)
    page = (tmp_path / 'result.html').read_text()
    assert re.findall(r'<h2 .*>(.*)</h2>', page) == [
        *('What to do next', 'Classes', 'Errors by place and kind', 'Confusion', 'Images with the most errors')
    ]
    # Of two images of the same name in two folders, one has errors.
    assert re.findall(r'<figcaption>(.*)</figcaption>', page) == ['a/1.jpg: truth', '16.7% wrong: dog as cat 16.7%']
    assert re.findall(r'<text .*>(.*)</text>', page) == ['missed: dog', 'cat', 'wrong: cat', 'cat']


def test_confusion_in_percent_of_the_truth(tmp_path):
    truth, found = write_maps(tmp_path, a=(BOTH, scene(CAT, (1, (60, 10, 10, 40)), (2, (70, 10, 30, 40)))))
    known = ImageList(CLASSES, ['a.jpg'], maps=truth.with_suffix(''))
    result = result_of((BOTH, scene(CAT, (1, (60, 10, 10, 40)), (2, (70, 10, 30, 40)))))
    sections = {section.title: section.parts for section in map_page(result, [], known, found, tmp_path / 'x').sections}
    (matrix,) = sections['Confusion']
    assert isinstance(matrix, Matrix) and matrix.counts == [[100, 0, 0], [0, 100, 0], [0, 25, 75]]
    # The folder of the images is another one.
    *_, said, images = sections['Images with the most errors']
    assert said == 'These images could not be shown:' and images.items[0].startswith('a.jpg, 4.2% wrong: ')


def test_many_classes_have_a_list_of_confusions(tmp_path):
    classes = [f'class {number}' for number in range(30)]
    true = np.repeat(np.arange(30, dtype=np.uint8), 20).reshape(20, 30)
    found = np.where(true == 7, 9, true).astype(np.uint8)
    known = ImageList(classes, ['a.png'], maps=tmp_path)
    page = map_page(result_of((true, found), classes=classes), [], known, tmp_path, tmp_path)
    (table,) = next(section.parts for section in page.sections if section.title == 'Confusion')
    assert isinstance(table, Table) and table.rows == [['class 7', 'class 9', 20]]


@pytest.mark.parametrize(
    ('found', 'message'),
    [
        (None, 'a.png is missing; give the folder'),
        (BOTH[:-1], 'a.png and the true map have 120 × 79 and 120 × 80 pixels'),
        (np.where(BOTH == 2, 3, BOTH).astype(np.uint8), 'a.png has the number 3, but there are 3 classes from 0 on'),
        (cv2.merge([BOTH, BOTH, BOTH]), 'a.png has the mode RGB; expected a gray PNG'),
    ],
)
def test_predicted_maps_that_are_refused(tmp_path, found, message):
    paths = write_maps(tmp_path, a=(BOTH, BOTH if found is None else found))
    if found is None:
        (tmp_path / 'found/a.png').unlink()
    with pytest.raises(UserError, match=re.escape(message)):
        explain_maps(*paths, tmp_path / 'images', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_maps_that_ignore_everything_are_refused(tmp_path):
    paths = write_maps(tmp_path, a=(np.full_like(BOTH, 255), BOTH))
    with pytest.raises(UserError, match='ignore every pixel'):
        explain_maps(*paths, tmp_path / 'images', tmp_path / 'out')


# Classifiers.

NAMES = ['cat', 'dog', 'cow']


def classified(*rows: tuple[int, int, float], names: list[str] = NAMES) -> ClassResult:
    """A result of images by their true class, the predicted one and its score; the others share the rest."""
    scores = np.array(
        [
            [score if label == found else (1 - score) / (len(names) - 1) for label in range(len(names))]
            for _, found, score in rows
        ]
    )
    files = [f'{true}/{place}.png' for place, (true, _, _) in enumerate(rows)]
    return ClassResult(ImageList(names, files, labels=np.array([true for true, _, _ in rows])), scores)


def test_figures_of_a_classifier():
    result = classified((0, 0, 0.9), (0, 1, 0.8), (1, 1, 0.95), (1, 1, 0.7))
    assert result.accuracy == 0.75 and result.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert result.recall[:2].tolist() == [0.5, 1] and result.precision[:2].tolist() == [1, 2 / 3]
    assert result.f1[:2].tolist() == [2 / 3, 0.8] and np.isnan(result.recall[2]) and np.isnan(result.f1[2])
    assert result.top(1) == 0.75 and result.top(2) == 1 and result.mistakes.tolist() == [1]
    assert [(one.count, one.right) for one in result.bins[7:]] == [(1, 1), (1, 0), (2, 1)]


def test_the_range_of_a_perfect_accuracy_ends_at_one():
    assert likely_range(1.0, 10) == (pytest.approx(0.722, abs=0.001), 1.0)
    low, high = likely_range(0.5, 10_000)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.5098, abs=1e-4))


RIGHT = [(label, label, 0.99) for label in range(3) for _ in range(100)]


@pytest.mark.parametrize(
    ('rows', 'said'),
    [
        (RIGHT, ['Nothing is wrong often enough to advise anything.']),
        ([(0, 0, 0.99)] * 900, ['Nothing is wrong often enough to advise anything.']),
        (
            [(true, 0, 0.5) for true, *_ in RIGHT],
            ['A mean recall of 33% is hardly that of always giving the same class, 33%; 100% of the images are taken'],
        ),
        (
            [*RIGHT, *[(0, 2, 0.6)] * 10, *[(2, 0, 0.6)] * 5, (1, 2, 0.6)],
            ['15 of 16 mistakes are between “cat” and “cow”: check the labels'],
        ),
        (
            [*RIGHT, *[(0, 2, 0.95)] * 6, *[(1, 0, 0.6)] * 2],
            ['6 of 8 mistakes are between “cat” and “cow”', '6 of 8 mistakes have a score of 0.9 or more'],
        ),
        (
            [*RIGHT[:200], *[(2, 2, 0.99)] * 10, *[(2, 0, 0.5)] * 15, *[(2, 1, 0.5)] * 15],
            ['The recall of “cow” (25% of 40 images) is low, where the other classes have 100% on average'],
        ),
        (
            [(true, found, 0.6) for true, found, _ in RIGHT],
            ['Scores are 0.40 off the share that is right on average, mostly too low'],
        ),
        (RIGHT[::30], ['The accuracy of 100% is that of 10 images, so that it may be anything from 72% to 100%']),
    ],
)
def test_advice_on_classes(rows, said):
    found = advise_on_classes(classified(*rows))
    for text, expected in zip(found, said, strict=False):
        assert text.startswith(expected)
    assert len(said) <= len(found) <= 3


def write_classes(folder: Path, result: ClassResult) -> tuple[Path, Path]:
    (folder / 'labels').mkdir(parents=True)
    truth = result.truth
    for file in truth.files:
        write_image(folder / 'images' / file, (32, 24))
    lines = [f'{file} {label}' for file, label in zip(truth.files, truth.labels, strict=True)]
    (folder / 'labels/val.txt').write_text('\n'.join(lines))
    (folder / 'labels/summary.json').write_text(json.dumps(dict(classes=truth.classes)))
    images = [dict(file=file, scores=scores) for file, scores in zip(truth.files, result.scores.tolist(), strict=True)]
    (folder / 'scores.json').write_text(json.dumps(dict(classes=truth.classes, images=images[::-1])))
    return folder / 'labels/val.txt', folder / 'scores.json'


def test_the_report_of_classes(tmp_path):
    """The scores are in another order than the list."""
    result = classified((0, 0, 0.9), (0, 1, 0.6), (1, 1, 0.9), (1, 2, 0.8), names=['<b>', 'dog', 'cow'])
    paths = write_classes(tmp_path, result)
    (tmp_path / 'images/0/1.png').unlink()
    said = explain_classes(*paths, tmp_path / 'images', tmp_path)
    assert said.splitlines()[:5] == [
        '50.0% of the images are right',
        'class  images  recall  precision  F1',
        '<b>         2    50.0      100.0  66.7',
        'dog         2    50.0       50.0  50.0',
        'cow         0       –        0.0  0.0',
    ]
    figures = json.loads((tmp_path / 'result.json').read_text())
    assert figures['accuracy'] == figures['mean recall'] == 0.5 and figures['classes'][0]['F1'] == 0.6667
    page = (tmp_path / 'result.html').read_text()
    assert re.findall(r'<h2 .*>(.*)</h2>', page) == [
        *('What to do next', 'Classes', 'Confusion', 'Scores', 'The most confident mistakes')
    ]
    captions = re.findall(r'<figcaption>(.*)</figcaption>', page)
    assert captions[1:] == ['cow 0.80; truth: dog 0.10; 1/3.png']
    assert re.search(r'<li>dog 0.60; truth: &lt;b&gt; 0.20; 0/1.png: .*1.png cannot be read', page)
    assert '<b>' not in page and '2 of 4 images are right, 50.0%.' in page


def test_thresholds_for_a_person_who_looks_at_the_rest(tmp_path):
    paths = write_classes(tmp_path, classified((0, 0, 0.96), (0, 1, 0.6), (1, 1, 0.92), (1, 2, 0.8)))
    explain_classes(*paths, tmp_path / 'images', tmp_path)
    page = (tmp_path / 'result.html').read_text()
    table = page[page.index('left to a person') :].partition('</table>')[0]
    cells = re.findall(r'<td class="number">(.*?)</td>', table)
    rows = [tuple(cells[start : start + 4]) for start in range(0, len(cells), 4)]
    assert rows == [
        *(('0.5', '4', '100.0', '50.0'), ('0.7', '3', '75.0', '66.7'), ('0.8', '3', '75.0', '66.7')),
        *(('0.9', '2', '50.0', '100.0'), ('0.95', '1', '25.0', '100.0'), ('0.99', '0', '0.0', '–')),
    ]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda content: content.update(classes=NAMES[::-1]),
            'is of other classes than the truth, or in another',
        ),
        (lambda content: content.update(images=3), 'is no file of scores'),
        (lambda content: content['images'].pop(), 'lacks 1 of 2 images, such as 0/0.png'),
        (lambda content: content['images'][0].update(scores=[0.5, 0.5]), 'expected 3 scores between 0 and 1'),
        (lambda content: content['images'][0].update(scores=[0.9, 0.9, 0.9]), 'expected 3 scores between 0 and 1'),
        (lambda content: content['images'][0].update(scores=[2, -1, 0]), 'expected 3 scores between 0 and 1'),
        (lambda content: content['images'][0].update(scores=[float('nan'), 0, 1]), r'but got \[nan, 0, 1\]'),
        (lambda content: content['images'].append('x'), 'but got None for None'),
    ],
)
def test_scores_that_are_refused(tmp_path, change, message):
    truth, path = write_classes(tmp_path, classified((0, 0, 0.9), (1, 1, 0.9)))
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_scores(path, read_class_list(truth))


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('a.png', r"line 2: expected an image and a number below 3, got 'a.png'"),
        ('a.png 3', 'line 2: expected an image and a number below 3'),
        ('a.png -1', 'line 2: expected'),
    ],
)
def test_lists_that_are_refused(tmp_path, line, message):
    truth, _ = write_classes(tmp_path, classified((0, 0, 0.9)))
    truth.write_text(f'0/0.png 0\n{line}\n')
    with pytest.raises(UserError, match=message):
        read_class_list(truth)
    truth.write_text('\n')
    with pytest.raises(UserError, match='names no image'):
        read_class_list(truth)
    truth.with_name('summary.json').write_text('{}')
    with pytest.raises(UserError, match=r'has no summary\.json with classes'):
        read_class_list(truth)


# The command.


@pytest.mark.parametrize('kind', ['maps', 'classes'])
def test_the_command(tmp_path, monkeypatch, capsys, kind):
    if kind == 'maps':
        paths, said = write_maps(tmp_path, a=(BOTH, BOTH)), 'mIoU 100.0, 100.0% of the pixels are right\n'
    else:
        paths, said = write_classes(tmp_path, classified((0, 0, 0.9), (1, 1, 0.9))), '100.0% of the images are right\n'
    words = ['explain', *paths, '--images', tmp_path / 'images', '--out', tmp_path / 'x']
    monkeypatch.setattr(sys, 'argv', [str(word) for word in words])
    runpy.run_path(str(EXPLAIN), run_name='__main__')
    printed = capsys.readouterr().out
    assert printed.startswith(said) and printed.endswith(f'page: {tmp_path}/x/result.html\n')


@pytest.mark.parametrize('more', [['b.json'], ['--image-size', '9', '9']])
def test_what_is_for_detectors_is_refused(monkeypatch, capsys, more):
    monkeypatch.setattr(sys, 'argv', ['explain', 'val.txt', 'a.json', *more, '--images', 'x'])
    with pytest.raises(SystemExit):
        runpy.run_path(str(EXPLAIN), run_name='__main__')
    assert 'a list of images goes with one folder or file of predictions' in capsys.readouterr().err
