"""The report as a whole: its page, its figures for scripts, its summary, and its command."""

import json
import re
import runpy
import sys

import numpy as np
import pytest
from helpers.browser import open_chromium
from helpers.project import ROOT
from helpers.results import CAT, DOG, coco, found, random_results, with_masks, write

from mmfasternet.reports.page import Matrix, Page, Section, write_page
from mmfasternet.reports.result.explain import explain_result

HERE, THERE = [0, 0, 40, 40], [100, 0, 40, 40]
NASTY = '"><script>alert(1)</script>\x1b[2J'
CHINESE = '猫科动物'


def explain(folder, truth, *predictions, **options):
    paths = write(folder, truth=truth, **{f'found{n}': found for n, found in enumerate(predictions)})
    said = explain_result(paths[0], paths[1:], folder, folder / 'out', **options)
    page = (folder / 'out/result.html').read_text()
    return said, page, json.loads((folder / 'out/result.json').read_text())


def test_perfect_predictions(tmp_path):
    objects = [(1, CAT, HERE), (1, DOG, THERE), (2, CAT, HERE)]
    said, page, figures = explain(
        tmp_path, coco(objects), found(*((*one, 0.9) for one in objects), (2, CAT, HERE, 0.01))
    )
    assert said.splitlines() == [
        'box AP 100.0, AP50 100.0',
        'class  objects  box AP  AP50',
        'cat          2   100.0  100.0',
        'dog          1   100.0  100.0',
        '- No kind of error costs more than 0.5 points of AP50; there is nothing to advise.',
    ]
    assert 'No image has an error.' in page
    assert '<dt>box AP</dt><dd>100.0</dd>' in page and 'mask AP' not in page
    assert figures['box AP'] == 1 and figures['threshold'] == 0.9 and figures['costs']['missed'] == 0
    assert figures['box AP by size'] == {'small': None, 'medium': 1, 'large': None}


@pytest.fixture(scope='module')
def of_all_kinds(tmp_path_factory):
    """A page of masks with hostile and Chinese names."""
    truth, detections = random_results(4)
    for category, name in zip(truth['categories'], (NASTY, CHINESE, 'cat'), strict=True):
        category['name'] = name
    truth['annotations'] = with_masks(truth['annotations'])
    folder = tmp_path_factory.mktemp('report')
    return folder, *explain(
        folder, truth, detections, with_masks(detections), facts={'speed': '31 images/s', NASTY: 'x'}
    )


def test_a_page_has_all_parts(of_all_kinds):
    _, said, page, figures = of_all_kinds
    assert re.findall(r'<h2 .*>(.*)</h2>', page) == [
        *('What to do next', 'AP', 'Errors by kind', 'Confusion', 'Precision and recall', 'Scores'),
        'Images with the most errors',
    ]
    assert '<dt>speed</dt><dd>31 images/s</dd>' in page
    assert said.startswith('box AP ') and '; mask AP ' in said
    assert 0 < figures['mask AP'] < 1 and {'mask AP50', 'box AP'} <= figures['classes'][0].keys()
    assert page.count('<svg') == 40 and page.count('data:image/png') == 2


def test_names_are_text(of_all_kinds):
    _, said, page, _ = of_all_kinds
    assert '<script' not in page and '\x1b' not in page
    assert '&lt;script&gt;' in page and CHINESE in page
    assert '\x1b' not in said and CHINESE in said
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_what_is_wrong_in_an_image(tmp_path):
    objects = [(1, CAT, HERE), (1, DOG, THERE), (2, CAT, HERE), (2, DOG, THERE)]
    detections = found(
        (1, CAT, HERE, 0.9),
        (1, CAT, [2, 0, 40, 40], 0.9),
        (2, DOG, HERE, 0.9),
        (2, DOG, [100, 60, 20, 20], 0.9),
    )
    _, page, _ = explain(tmp_path, coco(objects), detections)
    captions = re.findall(r'<figcaption>(.*)</figcaption>', page)[2:]
    assert captions == [
        *('2.png: truth', '1 missed: dog; 1 classification: dog for cat; 1 background: dog'),
        *('1.png: truth', '1 missed: dog; 1 duplicate: cat'),
    ]
    labels = re.findall(r'<text .*>(.*)</text>', page)
    assert labels == [
        *('missed: dog', 'cat', 'wrong: dog 0.90', 'nothing: dog 0.90'),
        *('missed: dog', 'cat', 'twice: cat 0.90', 'cat 0.90'),
    ]


def test_many_objects_have_labels_only_where_something_is_wrong(tmp_path):
    objects = [(1, CAT, [20 * n, 0, 15, 15]) for n in range(10)] + [(1, DOG, [20 * n, 50, 15, 15]) for n in range(10)]
    _, page, _ = explain(tmp_path, coco(objects), found(*((*one, 0.9) for one in objects[1:])))
    assert re.findall(r'<text .*>(.*)</text>', page) == ['missed: cat']
    assert page.count('class="line') == 39


def test_a_hundred_classes_have_a_list_of_confusions(tmp_path):
    classes = {n: f'class {n}' for n in range(1, 101)}
    objects = [(1 + n % 2, n, [20 * (n // 2 % 10), 30 * (n // 20), 15, 15]) for n in range(1, 41)]
    said, page, _ = explain(
        tmp_path, coco(objects, classes), found((2, 77, objects[0][2], 0.9), *((*one, 0.8) for one in objects[1:]))
    )
    assert len(said.splitlines()) == 24 and '… 80 classes with a higher AP are on the page' in said
    assert 'The most frequent confusions' in page and 'Truth in rows' not in page
    row = r'<th scope="row"[^>]*>class 1</th>\s*<td[^>]*>class 77</td>\s*<td class="number">1</td>'
    assert re.search(row, page)


def test_images_that_cannot_be_shown(tmp_path):
    objects = [(1, CAT, HERE), (2, CAT, HERE)]
    paths = write(tmp_path, truth=coco(objects, images=3), found=found((1, DOG, HERE, 0.9), (2, DOG, HERE, 0.8)))
    (tmp_path / '1.png').write_text('no image')
    (tmp_path / '2.png').unlink()
    explain_result(paths[0], paths[1:], tmp_path, tmp_path / 'out')
    page = (tmp_path / 'out/result.html').read_text()
    assert '1 of the 3 images are not in the folder, such as 2.png.' in page
    assert page.count('could not be read') == 1 and '1.png: 1 classification: dog for cat' in page


def test_a_matrix_shades_shares_of_its_rows(tmp_path):
    matrix = Matrix(['cat', 'dog'], ['cat', 'dog', 'none'], [[30, 0, 10], [0, 0, 0]], 'Seen')
    page = write_page(tmp_path / 'page.html', Page('T', 'S', {}, [Section('A', [matrix])])).read_text()
    cells = re.findall(r'<td(?: style="--share: (\d+)%")? class="(\w*)">(.*)</td>', page)
    assert cells == [('75', 'same', '30'), ('', '', ''), ('25', '', '10'), ('', '', ''), ('', 'same', ''), ('', '', '')]


def test_the_command(tmp_path, monkeypatch, capsys):
    objects = [(1, CAT, HERE), (2, CAT, HERE)]
    paths = write(tmp_path, truth=coco(objects), found=found((1, CAT, HERE, 0.9)))
    words = ['explain', *paths, '--images', tmp_path, '--out', tmp_path / 'x', '--image-size', 640, 640]
    monkeypatch.setattr(sys, 'argv', [str(word) for word in words])
    runpy.run_path(str(ROOT / 'tools/explain.py'), run_name='__main__')
    printed = capsys.readouterr().out
    assert printed.startswith('box AP 50.5, AP50 50.5\n') and printed.endswith(f'page: {tmp_path}/x/result.html\n')


def test_a_mistake_is_one_message(tmp_path, mistake_of):
    paths = write(tmp_path, truth=coco([(1, CAT, HERE)]), found=[])
    message = mistake_of(ROOT / 'tools/explain.py', *paths, '--images', tmp_path, '--out', tmp_path / 'x')
    assert message.startswith(f'error: {paths[1]} holds no detections') and not (tmp_path / 'x').exists()


@pytest.mark.page
@pytest.mark.parametrize('width', [390, 1400])
def test_the_page_fits_its_window(of_all_kinds, width):
    with open_chromium() as browser:
        page = browser.new_page(viewport=dict(width=width, height=900))
        messages = []
        page.on('console', lambda message: messages.append(message.text))
        page.on('pageerror', lambda error: messages.append(str(error)))
        page.goto((of_all_kinds[0] / 'out/result.html').as_uri())
        assert page.evaluate('document.documentElement.scrollWidth') == width and not messages
        lefts = page.evaluate(
            "[...document.querySelectorAll('.pairs figure')].slice(0, 2).map(one => one.getBoundingClientRect().left)"
        )
        assert np.ptp(lefts) == 0 if width == 390 else np.ptp(lefts) > 300
