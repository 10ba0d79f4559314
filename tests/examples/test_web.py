"""The page of docs/examples/web in Chromium finds what Python finds with the same file: `pytest -m page`."""

import base64
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers.browser import open_chromium
from helpers.examples import expected_lines, read_lines, share_of_matches
from helpers.project import EXPORTS, ROOT, run_tool, succeed
from PIL import Image

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

from helpers.onnx_files import BOXES, write_detector, write_probe, write_segmentor

pytestmark = pytest.mark.page

BUILD = ROOT / 'docs/examples/web/build.sh'
PIXEL = """([x, y]) => [...document.querySelector('canvas').getContext('2d').getImageData(x, y, 1, 1).data]"""


class Site(NamedTuple):
    """The page, what it loads and a detector, on a server of this machine."""

    folder: Path
    url: str


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Iterator[Site]:
    if shutil.which('npm') is None:
        pytest.fail('npm is missing: apt-get install npm', pytrace=False)
    folder = tmp_path_factory.mktemp('site')
    succeed(BUILD, write_detector(folder / 'made_up.onnx'), folder / 'page')

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None: ...

    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Silent, directory=folder / 'page')) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Site(folder / 'page', f'http://127.0.0.1:{server.server_port}/')
        server.shutdown()


@pytest.fixture(scope='module')
def browser():
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser, site):
    """Open the page with a detector; it may log nothing, and ask no other server."""
    opened, said, asked = [], [], []

    def open_page(file: Path, width: int = 1280):
        (site.folder / 'detector.onnx').write_bytes(file.read_bytes())
        page = browser.new_page(viewport=dict(width=width, height=900))
        # Only for what never happens, on a slow machine too.
        page.set_default_timeout(600_000)
        page.on('console', lambda message: said.append(message.text))
        page.on('pageerror', lambda error: said.append(str(error)))
        page.on('request', lambda request: asked.append(request.url))
        page.goto(site.url)
        page.wait_for_selector('#drop:visible, #error:visible')
        opened.append(page)
        return page

    yield open_page
    assert said == [] and asked and all(url.startswith((site.url, f'blob:{site.url}')) for url in asked)
    for page in opened:
        page.close()


def choose(page, image: Path) -> list:
    """The objects that the page finds in an image."""
    page.set_input_files('input', image)
    page.wait_for_selector('canvas:visible, #error:visible')
    lines = read_lines(page.locator('li').all_inner_texts())
    assert page.inner_text('#status').startswith(f'{image.name}: {len(lines)} objects in ')
    return lines


def pixel(page, x: int, y: int) -> list[int]:
    return page.evaluate(PIXEL, [x, y])[:3]


@pytest.mark.parametrize('options', [{}, dict(masks='small', shape=(160, 256))], ids=['full', 'small'])
def test_it_finds_what_python_finds(open_page, export, photo, options, tmp_path):
    file = export('Mask R-CNN', **options)
    expected = expected_lines(file, photo, tmp_path / 'out')
    page = open_page(file)
    assert page.inner_text('#status') == 'small.py: 80 classes'
    assert len(expected) > 20 and share_of_matches(expected, choose(page, photo), pixels=0.5) > 0.9
    assert page.evaluate('({width, height}) => [width, height]', page.query_selector('canvas')) == [300, 200]


def test_colours_and_padding(open_page, tmp_path):
    """What the model sees: red, green and blue at their places, an image in the upper left, and the padding."""
    Image.new('RGB', (96, 64), (204, 153, 102)).save(tmp_path / 'a.png')
    meaning = dict(resize=[dict(type='Fit', width=64, height=64)], pad=[127.5, 178.5, 229.5])
    for (x, y), scores in (((63, 42), [0.8, 0.6, 0.4]), ((63, 43), [0.5, 0.7, 0.9])):
        found = choose(open_page(write_probe(tmp_path / 'a.onnx', x, y, (64, 64), input=meaning)), tmp_path / 'a.png')
        assert [(one.name, one.score) for one in found] == list(zip(('dog', 'cat', 'dog'), scores, strict=True))
        # From 64 × 43 pixels back to 96 × 64.
        scaled = BOXES * np.array([96 / 64, 64 / 43] * 2)
        np.testing.assert_allclose([one.box for one in found], scaled, atol=0.051)


def _full() -> np.ndarray:
    masks = np.zeros((3, 32, 48), bool)
    masks[0, 4:20, 8:16] = True
    return masks


def _small() -> np.ndarray:
    masks = np.zeros((3, 28, 28), np.float32)
    masks[0, :, :14] = 0.6
    return masks


@pytest.mark.parametrize('masks', [_full, _small])
def test_masks_and_boxes_are_drawn(masks, open_page, tmp_path):
    """The left half of the first object, in an image of twice the size that the detector sees."""
    Image.new('RGB', (96, 64)).save(tmp_path / 'a.png')
    steps = dict(resize=[dict(type='Resize', scale=[48, 32], keep_ratio=True)])
    options = dict(palette=[[0, 255, 0], [255, 0, 0]], input=steps, mask_thr=0.55)
    page = open_page(write_detector(tmp_path / 'a.onnx', masks(), **options))
    found = choose(page, tmp_path / 'a.png')
    assert found == [('dog', 0.9, (16, 8, 48, 40)), ('cat', 0.6, (0, 0, 32, 16))]
    assert pixel(page, 24, 32) == [102, 0, 0] and pixel(page, 40, 32) == [0, 0, 0]
    assert pixel(page, 30, 39)[0] > 100 and pixel(page, 90, 60) == [0, 0, 0]


@pytest.mark.parametrize('width', [400, 1280])
def test_an_image_is_dropped(open_page, width, tmp_path):
    """After something that is no file; and the page is as wide as its window."""
    page = open_page(write_detector(tmp_path / 'a.onnx', config=f'{"long_" * 50}.py'), width)
    Image.new('RGB', (2000, 100)).save(tmp_path / 'a.png')
    drop = """(content) => {
        const moved = new DataTransfer();
        if (content) {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            moved.items.add(new File([bytes], 'dropped.png'));
        }
        document.querySelector('#drop').dispatchEvent(new DragEvent('drop', { dataTransfer: moved }));
    }"""
    page.evaluate(drop, None)
    page.wait_for_selector('#error:visible')
    assert page.inner_text('#error') == 'What was dropped is no file: drop an image.'
    page.evaluate(drop, base64.b64encode((tmp_path / 'a.png').read_bytes()).decode())
    page.wait_for_selector('canvas:visible')
    assert page.inner_text('#status').startswith('dropped.png: 2 objects in ') and not page.is_visible('#error')
    assert page.evaluate('document.documentElement.scrollWidth') <= width


def test_a_mistake_is_one_message(open_page, tmp_path):
    Image.new('RGB', (64, 48)).save(tmp_path / 'a.png')
    Image.new('RGB', (64, 20)).save(tmp_path / 'low.png')
    (tmp_path / 'b.png').write_text('no image')
    write_detector(tmp_path / 'a.onnx')
    write_detector(tmp_path / 'fewer.onnx', classes=['cat'])
    write_detector(tmp_path / 'crop.onnx', input=dict(resize=[dict(type='CenterCrop', crop_size=32)]))
    write_detector(tmp_path / 'classes.onnx', classes='[cat')
    write_detector(tmp_path / 'part.onnx', part='neck')
    write_segmentor(tmp_path / 'maps.onnx')
    for file, image, message in (
        ('a.onnx', 'b.png', 'b.png is no image that this browser can read: '),
        ('a.onnx', 'low.png', 'FasterNet takes images of at least 32 × 32 pixels'),
        ('fewer.onnx', 'a.png', 'The file gives the label 1, '),
        ('crop.onnx', 'a.png', 'This example cannot resize images as the file asks for: '),
        ('classes.onnx', None, 'The file has metadata that tools/export.py does not write: '),
        ('part.onnx', None, 'detector.onnx holds no detector: export one by '),
        ('maps.onnx', None, 'detector.onnx holds no detector: export one by '),
        ('a.png', None, 'detector.onnx holds no detector: export one by '),
    ):
        page = open_page(tmp_path / file)
        if image:
            page.set_input_files('input', tmp_path / image)
            page.wait_for_selector('#error:visible')
        assert page.inner_text('#error').startswith(message) and not page.inner_text('#status')
        assert not page.is_visible('canvas') and page.is_visible('#drop') == bool(image)


def test_a_mistake_of_the_build_is_one_message(tmp_path):
    for arguments, status, message in (
        ((), 2, f'usage: {BUILD} DETECTOR.onnx FOLDER'),
        ((tmp_path / 'none.onnx', tmp_path), 1, f'error: {tmp_path}/none.onnx does not exist or is no file; export '),
    ):
        done = run_tool(BUILD, *arguments)
        assert done.returncode == status and done.stderr.startswith(message) and done.stderr.count('\n') == 1
