"""A page for people: what it shows, that names in it are text, and where labels stand; `pytest -m page` opens it."""

import base64
import re
from itertools import combinations

import cv2
import numpy as np
import pytest
from helpers.browser import open_chromium

from mmfasternet.reports.outlines import CANVAS, Label, Outline, box_corners, outline_image, shorten
from mmfasternet.reports.page import Bars, Bullets, Figure, Gallery, Page, Section, Table, write_page

NASTY = '"><script>alert(1)</script>\x1b[2J\u202e\'x'
ESCAPED = '&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J\\u202e&#39;x'
LONG = 'long_' * 100
PIXELS = np.full((300, 400, 3), 200, np.uint8)
PNG = cv2.imencode('.png', PIXELS[:8, :8])[1].tobytes()


def boxes(*labelled: tuple, **options) -> list[Outline]:
    return [Outline([box_corners(*box)], label, **options) for label, *box in labelled]


@pytest.fixture
def write(tmp_path):
    """Write a page of one section, and return its text."""

    def write(*parts, figures=None) -> str:
        return write_page(tmp_path / 'page.html', Page('T', 'S', figures or {}, [Section('A', parts)])).read_text()

    return write


@pytest.fixture
def nasty(tmp_path):
    """A page that says the same hostile texts in every place."""
    texts = (NASTY, LONG, '猫' * 60, 'שלום עולם')
    image = outline_image(PIXELS, boxes(*((text, 80, 70 * n, 50, 30) for n, text in enumerate(texts))), NASTY + LONG)
    parts = [
        *texts,
        Bullets(texts),
        Table(texts, [texts, texts], NASTY),
        Bars(texts, [(text, (1, 2, 0, 3)) for text in texts], NASTY),
        Figure(PNG, NASTY, LONG),
        Gallery([image, image]),
    ]
    figures = {text: text[:40] for text in texts}
    return write_page(tmp_path / 'nasty.html', Page(NASTY, LONG, figures, [Section(text, parts) for text in texts]))


def test_numbers_are_aligned_right(write):
    text = write(Table(['class', 'n', 'AP'], [('cat', 1234, 12.345), ('dog', None, float('nan')), ('cow', 0, None)]))
    assert re.findall(r'<th scope="col"(.*)>(.*)</th>', text) == [
        ('', 'class'),
        (' class="number"', 'n'),
        (' class="number"', 'AP'),
    ]
    assert re.findall(r'<td class="number">(.*)</td>', text) == ['1,234', '12.3', '–', '–', '0', '–']
    assert re.findall(r'<th scope="row" class="short">(.*)</th>', text) == ['cat', 'dog', 'cow']


def test_a_column_with_a_text_is_one_of_texts(write):
    assert 'class="number"' not in write(Table(['a', 'b'], [('x', 1), ('y', 'none')]))


def test_bars_are_parts_of_the_longest(write):
    text = write(Bars(('train', 'val'), [('cat', (30, 10)), ('dog', (0, 20)), ('cow', (0, 0))]))
    widths = re.findall(r'<i class="(s\d)" style="width: (.*)%">', text)
    assert widths == [('s0', '75.00'), ('s1', '25.00'), ('s1', '50.00')]
    assert re.findall(r'<td class="number">(.*)</td>', text) == ['40', '20', '0']
    assert text.count('</i>train') == text.count('</i>val') == 1
    assert '</i>only' not in write(Bars(('only',), [('cat', (3,))]))


def test_key_figures_and_links(write):
    text = write('words', figures={'images': 1234, 'size': '8 px'})
    assert '<dt>images</dt><dd>1,234</dd>' in text and '<dt>size</dt><dd>8 px</dd>' in text
    assert '<a href="#section-1">A</a>' in text and '<h2 id="section-1">A</h2>' in text and '<p>words</p>' in text


def test_images_are_in_the_file(write):
    image = outline_image(np.zeros((1200, 900, 3), np.uint8), boxes(('cat', 0, 0, 300, 400), dashed=True), 'Tom')
    text = write(Figure(PNG, 'eight', 'a figure'), Gallery([image]))
    assert f'<img src="data:image/png;base64,{base64.b64encode(PNG).decode()}" alt="eight">' in text
    jpeg = base64.b64decode(re.search(r'href="data:image/jpeg;base64,(.*?)"', text)[1])
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (480, 360, 3)
    assert 'x="105.0" y="0.0" width="270.0" height="360.0"' in text
    path = 'M105 0L195 0L195 120L105 120Z'
    assert text.count(f'd="{path}"') == 2 and 'class="line dashed"' in text
    assert '<title>cat</title>' in text and '<figcaption>Tom</figcaption>' in text


def test_a_small_image_is_not_blown_up():
    image = outline_image(PIXELS[:30, :40], [], '')
    assert cv2.imdecode(np.frombuffer(image.jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (30, 40, 3)
    assert image.frame == (0, 0, *CANVAS)


def test_names_are_text(nasty):
    text = nasty.read_text()
    assert '<script' not in text and '\x1b' not in text and '\u202e' not in text
    assert text.count(ESCAPED) > 40
    assert not re.search(r'\bon\w+=|https?:|javascript:|@import|url\(', text)
    sources = re.findall(r'(?:src|href)="([^#"]{5})', text)
    assert sources and set(sources) == {'data:'}
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in policy and 'script' not in policy
    assert LONG not in text.replace(f'<p>{LONG}</p>', '')


@pytest.mark.parametrize(
    ('text', 'short'),
    [('abcdefghij', 'abcdefghij'), ('abcdefghijk', 'abcde…hijk'), ('\x00' * 3, '\\x00\\…\\x00'), (LONG, 'long_…ong_')],
)
def test_shortened(text, short):
    assert shorten(text, 10) == short


def extent(label: Label) -> tuple[float, float, float, float]:
    """What a label covers at least, whatever the font."""
    return label.x, label.y - 14, label.x + 6 * len(label.text), label.y + 2


def test_labels_are_inside_and_apart():
    random = np.random.default_rng(0)
    corners = random.uniform(0, 250, (60, 2)).round()
    sizes = random.uniform(2, 150, (60, 2)).round()
    image = outline_image(
        PIXELS, boxes(*((f'class {n}', *box) for n, box in enumerate(np.hstack([corners, sizes]).tolist()))), ''
    )
    assert len(image.paths) == 60 and 15 < len(image.labels) <= 60
    places = [extent(label) for label in image.labels]
    assert all(x >= 0 and y >= 0 and right <= CANVAS[0] and bottom <= CANVAS[1] for x, y, right, bottom in places)
    for one, other in combinations(places, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_label_stands_above_its_object_or_below():
    middle, top = outline_image(PIXELS, boxes(('猫', 200, 150, 50, 50), ('cat', 200, 0, 50, 50)), '').labels
    assert (middle.text, middle.x, middle.y) == ('猫', 240, 172.4)
    assert top.y == pytest.approx(0.8 * 18 + 4)


def test_a_polygon_of_many_corners_is_thinned_out():
    angles = np.linspace(0, 2 * np.pi, 20_000)
    circle = (150 + 100 * np.stack([np.cos(angles), np.sin(angles)], 1)).ravel().tolist()
    [(path, _)] = outline_image(PIXELS, [Outline([circle])], '').paths
    assert 20 < path.count('L') < 200


@pytest.mark.page
@pytest.mark.parametrize(('width', 'scheme'), [(1400, 'light'), (390, 'dark')])
def test_in_a_browser(nasty, width, scheme):
    said, asked = [], []
    with open_chromium() as browser:
        page = browser.new_page(viewport=dict(width=width, height=900), color_scheme=scheme)
        page.set_default_timeout(600_000)
        page.on('console', lambda message: said.append(message.text))
        page.on('pageerror', lambda error: said.append(str(error)))
        page.on('dialog', lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on('request', lambda request: asked.append(request.url))
        page.goto(nasty.as_uri())
        assert page.title().startswith('"><script>')
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        assert page.evaluate('[...document.images].every(image => image.complete && image.naturalWidth === 8)')
        # As wide as the browser's own fonts make them.
        labels = page.evaluate(
            """[...document.querySelectorAll('svg:first-of-type text')].map(text => {
                const {x, y, width, height} = text.getBBox(); return [x, y, x + width, y + height]; })"""
        )
        dark = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert said == [] and asked == [nasty.as_uri()]
    assert labels and all(x >= 0 and y >= -4 and right <= CANVAS[0] for x, y, right, _ in labels)
    assert dark == ('rgb(21, 24, 27)' if scheme == 'dark' else 'rgb(251, 251, 250)')
