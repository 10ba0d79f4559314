"""The page in a browser: `pytest -m page`."""

from dataclasses import dataclass, field

import pytest
from helpers.browser import open_chromium
from helpers.made_up import CPU, ap, latency, two_machines

from mmfasternet.benchmark.comparison.collect import collect, pareto_front
from mmfasternet.benchmark.comparison.report import write_report
from mmfasternet.benchmark.published.rows import ROWS
from mmfasternet.benchmark.records import Records

pytestmark = pytest.mark.page
NASTY = '<b>mine</b> <script>alert(1)</script> $x$'
PUBLISHED, FLOPS = 'Published latency (ms, RTX 2080 Ti)', 'FLOPs as the paper counts (G multiply-adds)'


@dataclass
class Opened:
    """A page in a window, with what it logged and asked for."""

    page: object
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def points(self):
        """Label and place of the points, read off the drawing's data."""
        return self.page.evaluate(
            """document.getElementById('plot').data.filter(trace => trace.hovertext).flatMap(trace => trace.x.map(
                (x, i) => [trace.hovertext[i].split('<br>')[0], x, trace.y[i], trace.marker.symbol[i]]))"""
        )

    def column(self, title):
        """Texts of a column of the table."""
        titles = self.page.locator('#table thead th').all_inner_texts()
        place = next(index for index, text in enumerate(titles, 1) if text.startswith(title))
        return [text.strip() for text in self.page.locator(f'#table tbody tr > :nth-child({place})').all_inner_texts()]

    def hover(self, index):
        """Text that shows over a point."""
        point = self.page.locator('#plot .scatterlayer .point').nth(index)
        point.scroll_into_view_if_needed()
        box = point.bounding_box()
        self.page.mouse.move(0, 0)
        self.page.mouse.move(box['x'] + box['width'] / 2, box['y'] + box['height'] / 2, steps=3)
        self.page.wait_for_selector('#plot .hoverlayer .hovertext')
        return self.page.locator('#plot .hoverlayer').text_content()


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    mine = [
        latency('mine', 700.0, label=NASTY, flags=['load of <i>3.1</i>'], command=NASTY, family=NASTY),
        ap('mine', 41.1, 38.0, label=NASTY),
    ]
    return two_machines(tmp_path_factory.mktemp('records'), *mine, ap('fasternet_s', 39.5, 36.7))


@pytest.fixture(scope='module')
def index(records, tmp_path_factory):
    return write_report(records, tmp_path_factory.mktemp('report'))['index.html']


@pytest.fixture(scope='module')
def browser():
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser):
    opened = []

    def open_page(path, width=1400):
        it = Opened(browser.new_page(viewport=dict(width=width, height=900)))
        # Only for what never happens: playwright's 30 seconds are short for a slow machine.
        it.page.set_default_timeout(600_000)
        it.page.on('console', lambda message: it.messages.append(message.text))
        it.page.on('pageerror', lambda error: it.messages.append(str(error)))
        it.page.on('dialog', lambda dialog: (it.messages.append(dialog.message), dialog.dismiss()))
        it.page.on('request', lambda request: it.requests.append(request.url))
        it.page.goto(path.as_uri())
        it.page.wait_for_selector('#plot .point')
        opened.append((it, path))
        return it

    yield open_page
    for it, path in opened:
        assert it.messages == []
        assert it.requests == [path.as_uri()]
        it.page.close()


@pytest.fixture
def opened(open_page, index):
    return open_page(index)


def test_a_point_for_each_row_with_ap_on_each_machine(opened, records):
    rows = collect(records).rows
    # The user's own row was measured on one machine only.
    places = sum(len({group.machine for group in row.latencies}) for row in rows if row.ap)
    assert opened.page.locator('#plot .scatterlayer .point').count() == len(opened.points()) == places
    missing = opened.page.locator('#missing').inner_text()
    unmeasured = [row.label for row in rows if row.ap and not row.latencies]
    for labels in ([row.label for row in rows if not row.ap], unmeasured):
        assert f': {", ".join(labels)}.' in missing


def test_published_and_measured_markers(opened):
    symbols = {label: symbol for label, *_, symbol in opened.points()}
    assert symbols['<b>FasterNet-S</b>'] == 'circle' and symbols['<b>FasterNet-M</b>'] == 'circle-open'
    legend = opened.page.locator('#plot .legend').text_content()
    assert 'AP published' in legend and 'AP measured' in legend


def test_hover_shows_figures_and_where_they_come_from(opened):
    text = opened.hover(0).replace('\xa0', ' ')
    for part in (
        'FasterNet-S',
        'box AP 39.5; mask AP 36.7',
        'test.json, COCO val2017',
        'box AP 39.9, 61.2 at IoU 0.50, 43.6 at 0.75',
        'FasterNet, CVPR 2023, Table 4',
        '54.3 ms on RTX 2080 Ti',
        '258.0 G FLOPs',
        'Some CPU, 2 threads: backbone, reference path',
        '2026-01-01T00:00:00+00:00',
        'python measure.py',
    ):
        assert part in text


def test_axes(opened):
    def place():
        return next(point[1:3] for point in opened.points() if point[0] == '<b>FasterNet-M</b>')

    opened.page.get_by_label('Horizontal axis').select_option(label=PUBLISHED)
    assert place() == [71.4, 43.0]
    opened.page.get_by_label('Vertical axis').select_option(label='Mask AP (%)')
    assert place() == [71.4, 39.1]
    assert '344.0 G FLOPs' in opened.hover(1)
    opened.page.get_by_label('Horizontal axis').select_option(label=FLOPS)
    assert place() == [344, 39.1]
    assert opened.page.locator('#plot .xtitle').text_content() == FLOPS


def test_pareto_front_is_that_of_the_tables(opened):
    opened.page.get_by_label('Horizontal axis').select_option(label=PUBLISHED)
    points = [point[1:3] for point in opened.points()]
    front = opened.page.evaluate(
        """document.getElementById('plot').data.filter(({name}) => name.startsWith('Pareto'))
            .flatMap(({x, y}) => x.map((value, i) => [value, y[i]]))"""
    )
    assert front == [points[index] for index in pareto_front([tuple(point) for point in points])]


def test_machines_go_and_come(opened, records):
    columns, report = opened.page.locator('#table thead th'), collect(records)
    before = opened.page.locator('#plot .scatterlayer .point').count(), columns.count()
    of_gpu = [group for group in report.groups if not group.threads]
    drawn = sum(of_gpu[0] in row.latencies for row in report.rows if row.ap)
    opened.page.get_by_label('NVIDIA Some GPU', exact=True).uncheck()
    assert opened.page.locator('#plot .scatterlayer .point').count() == before[0] - drawn
    assert columns.count() == before[1] - len(of_gpu)
    assert not opened.page.get_by_role('heading', name='Machine: NVIDIA Some GPU').is_visible()
    opened.page.get_by_label('Some CPU', exact=True).uncheck()
    assert opened.page.locator('#plot .scatterlayer .point').count() == 0
    assert '○ 39.9' in opened.column('Box AP')
    opened.page.get_by_label('NVIDIA Some GPU', exact=True).check()
    opened.page.get_by_label('Some CPU', exact=True).check()
    assert (opened.page.locator('#plot .scatterlayer .point').count(), columns.count()) == before
    assert '● 39.5' in opened.column('Box AP')


def test_threads_of_one_machine_are_told_apart(open_page, tmp_path):
    both = [latency('fasternet_s', 50.0), latency('fasternet_s', 90.0, threads=1)]
    opened = open_page(write_report([Records(CPU, records=both)], tmp_path)['index.html'])
    assert {point[1] for point in opened.points()} == {50, 90}
    fronts = opened.page.evaluate(
        "document.getElementById('plot').data.map(({name}) => name).filter(name => name.startsWith('Pareto'))"
    )
    assert {name.split(', ', 1)[1] for name in fronts} == {'Some CPU, 1 thread', 'Some CPU, 2 threads'}


@pytest.mark.parametrize('title', ['Published latency', 'Box AP', 'Latency (ms): Some CPU'])
def test_numbers_sort_as_numbers_and_empty_cells_last(opened, title):
    header = opened.page.locator('#table thead th').filter(has_text=title).first
    for direction in ('ascending', 'descending'):
        header.get_by_role('button').press('Enter')
        assert header.get_attribute('aria-sort') == direction
        texts = opened.column(title)
        values = [float(text.lstrip('○● ').split()[0]) for text in texts if text]
        assert values == sorted(values, reverse=direction == 'descending') and len(set(values)) > 9
        assert not any(texts[len(values) :])


def test_texts_sort(opened):
    button = opened.page.locator('#table').get_by_role('button', name='Backbone', exact=True)
    button.click()
    names = opened.column('Backbone')
    button.click()
    assert opened.column('Backbone') == names[::-1]
    assert names != names[::-1]


def test_html_in_texts_is_text(opened):
    assert NASTY in opened.column('Backbone')
    assert opened.page.locator('#table b, #table i, #table script').count() == 0
    opened.page.get_by_label('NVIDIA Some GPU', exact=True).uncheck()
    count = opened.page.locator('#plot .scatterlayer .point').count()
    text = opened.hover(count - 1)
    assert NASTY in text and 'load of <i>3.1</i>' in text
    assert NASTY in opened.page.locator('#plot .legend').text_content()
    opened.page.locator('summary').first.click()
    assert NASTY in opened.page.locator('details code').all_inner_texts()


def test_controls_have_names_and_take_the_keyboard(opened):
    for name in ('Horizontal axis', 'Vertical axis'):
        opened.page.get_by_role('combobox', name=name).focus()
    checkbox = opened.page.get_by_role('checkbox', name='NVIDIA Some GPU')
    checkbox.focus()
    opened.page.keyboard.press('Space')
    assert not checkbox.is_checked()


@pytest.mark.parametrize('width', [1400, 420])
def test_fits_the_window(open_page, index, width):
    opened = open_page(index, width)
    opened.page.locator('details').first.evaluate('details => details.open = true')
    assert opened.page.evaluate('document.documentElement.scrollWidth') <= width
    assert opened.page.locator('#plot .main-svg').first.bounding_box()['width'] <= width
    opened.page.set_viewport_size(dict(width=700, height=900))
    plot = opened.page.locator('#plot .main-svg').first
    # A minute for a slow machine. The page's policy forbids playwright's own waiting for a condition.
    for _ in range(600):
        if 600 < plot.bounding_box()['width'] <= 700:
            break
        opened.page.wait_for_timeout(100)
    assert 600 < plot.bounding_box()['width'] <= 700
    assert opened.page.evaluate('document.documentElement.scrollWidth') <= 700


def test_published_alone(open_page, tmp_path):
    opened = open_page(write_report([], tmp_path)['index.html'])
    published = [row for row in ROWS if row.published and row.published.latency_ms]
    assert opened.page.locator('#plot .scatterlayer .point').count() == len(published)
    first, *others = opened.page.locator('#x option').all_inner_texts()
    assert first == PUBLISHED and len(others) > 1
    assert all(other.startswith('Published ms for an image: ') for other in others)


def test_distilled_backbones_go_and_come(opened):
    def shown():
        return opened.column('Backbone'), opened.page.locator('#provenance tbody th').all_inner_texts()

    figures, origins = shown()
    assert 'RepViT-M1.1 ‡' in figures and 'iFormer-M ‡' in origins
    opened.page.get_by_label('Without distilled backbones').check()
    assert shown() == tuple([label for label in labels if '‡' not in label] for labels in (figures, origins))
    assert not any('‡' in label for label, *_ in opened.points())
    # Whether these are distilled, nobody says.
    assert 'FastViT-SA12' in shown()[0]
    opened.page.get_by_label('Without distilled backbones').uncheck()
    assert shown() == (figures, origins)


def test_retinanet_and_published_latencies(opened):
    iphone = 'Published ms for an image: backbone, iPhone 13, Core ML, 512 × 512, batch 1'
    opened.page.get_by_label('Horizontal axis').select_option(label=iphone)
    points = {label: values for label, *values in opened.points()}
    assert points['<b>iFormer-M ‡</b>'] == [4.0, 40.8, 'hexagon-open']
    text = opened.hover(list(points).index('<b>iFormer-M ‡</b>'))
    assert 'published figures alone' in text and 'ImageNet-1k, 300 epochs, distilled, ImageNet top-1 81.1' in text
    opened.page.get_by_label('Vertical axis').select_option(label='RetinaNet box AP (%)')
    opened.page.get_by_label('Horizontal axis').select_option(label=FLOPS)
    assert {label: y for label, _, y, _ in opened.points()}['<b>CPUBone-B3</b>'] == 42.9
    assert opened.page.locator('#plot .ytitle').text_content() == 'RetinaNet box AP (%)'


def test_provenance_links_to_its_sources(opened):
    line = opened.page.locator('#provenance tbody tr').filter(has_text='RepViT-M2.3')
    link = line.get_by_role('link', name='ImageNet-1k, 450 epochs, distilled')
    assert link.get_attribute('href') == 'https://github.com/THU-MIG/RepViT/blob/main/README.md'
    header = opened.page.locator('#provenance thead th').filter(has_text='ImageNet top-1')
    header.get_by_role('button').press('Enter')
    assert header.get_attribute('aria-sort') == 'ascending'
    assert opened.page.locator('#provenance tbody th').first.inner_text() == 'ResNet18'


@pytest.mark.parametrize('width', [1280, 390])
def test_chooser_answers_for_a_budget(open_page, tmp_path, width):
    rows = [
        latency('fasternet_s', 300.0, family='FasterNet'),
        latency('repvit_m1_1', 100.0),
        latency('resnet50', 310.0),
        latency('repvit_m2_3', 500.0, flags=['something ran']),
    ]
    opened = open_page(write_report([Records(CPU, records=rows)], tmp_path)['index.html'], width)
    slider, answer = opened.page.get_by_role('slider'), opened.page.locator('#choose-answer')
    choice, front = opened.page.locator('#choose-choice'), opened.page.locator('#choose-answer p').last

    def budget(place):
        slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')) }", place)
        return answer.inner_text()

    # The left end is faster than all.
    assert budget(0).strip() == 'No backbone meets this budget: the fastest is RepViT-M1.1 (39.8, 100.0 ms).'
    said = budget(900)
    ours, rival = 'FasterNet-S (39.9, 300.0 ms)', 'RepViT-M1.1 (39.8, 100.0 ms)'
    assert said.startswith(f'FasterNet is the choice by a tie in AP alone: {ours}, but {rival} takes 0.33 of its time.')
    assert choice.inner_text() == f'Choose {ours}.'
    assert 'One step up: RepViT-M2.3 (44.6, 500.0 ms, flagged): +4.7 points at 1.67 of the latency.' in said
    assert f'One step down: {rival}: −0.1 points at 0.33 of the latency.' in said
    assert front.inner_text() == f'Pareto front within the budget: {rival}, {ours}.'
    assert budget(1000).startswith(f'FasterNet is not the choice: {ours} is beaten, since {rival}')
    assert choice.inner_text() == 'Choose RepViT-M2.3 (44.6, 500.0 ms, flagged).'
    names = [trace['name'] for trace in opened.page.evaluate("document.getElementById('choose-plot').data")]
    assert names == ['Pareto front within the budget', 'within the budget', 'over budget', 'the choice', 'the budget']

    opened.page.locator('#choose-task').select_option(label='Masks')
    assert choice.inner_text() == 'Choose RepViT-M2.3 (40.8, 500.0 ms, flagged).'
    opened.page.locator('#choose-latency').select_option(label='Published: RTX 2080 Ti')
    assert choice.inner_text() == 'Choose FasterNet-L (39.9, 93.8 ms).'
    opened.page.get_by_label('Parameters of the detector').fill('50')
    assert choice.inner_text() == 'Choose PVT-Small (37.8, 89.5 ms).'
    assert opened.page.evaluate('document.documentElement.scrollWidth') <= width
