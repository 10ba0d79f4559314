import csv
import io
import json
import re
import sys
from xml.etree import ElementTree

import cv2
import pytest
from helpers.made_up import CPU, DATE, GPU, ap, complexity, documents, latency

import mmfasternet.benchmark.report
from mmfasternet.benchmark.comparison.report import write_report
from mmfasternet.benchmark.published.rows import ROWS
from mmfasternet.benchmark.records.records import new_document
from mmfasternet.benchmark.report import page, plots, table
from mmfasternet.errors import UserError

NASTY = '<script>alert(1)</script> a|b\n$x_1$ & `c` \ud800'


def document(machine, *records):
    return dict(new_document(machine), records=list(records))


def row_of(report, name):
    return next(row for row in report.rows if row.name == name)


def read_csv(text):
    return {line['name']: line for line in csv.DictReader(io.StringIO(text))}


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    return table.collect(documents(tmp_path_factory.mktemp('records'), ap('fasternet_s', 39.5, 36.7)))


def test_rows_are_those_of_the_comparison_then_a_users_own():
    report = table.collect([document(CPU, latency('mine', 70.0, label='My net'), latency('yours', 80.0, family='PVT'))])
    assert [row.name for row in report.rows] == [row.name for row in ROWS] + ['mine', 'yours']
    assert [(row.label, row.family, row.ap) for row in report.rows[-2:]] == [
        ('My net', 'other', None),
        ('yours', 'PVT', None),
    ]
    assert row_of(report, 'fasternet_s').label == 'FasterNet-S'


@pytest.mark.parametrize('turned', [False, True])
def test_newer_measurement_wins_whatever_the_order(turned):
    old = document(
        CPU, latency('fasternet_s', 50.0, day=1), complexity('fasternet_s', 200, day=3), ap('swin_tiny', 1, 2)
    )
    new = document(
        CPU, latency('fasternet_s', 60.0, day=2), complexity('fasternet_s', 100, day=2), ap('swin_tiny', 3, 4, day=9)
    )
    report = table.collect([new, old] if turned else [old, new])
    row = row_of(report, 'fasternet_s')
    assert [record['median_ms'] for record in row.latencies.values()] == [60.0]
    assert row.complexity['flops_paper'] == 200 * 10**9
    assert row_of(report, 'swin_tiny').ap == table.Ap(3, 4, 'measured', 'test.json, COCO val2017')
    assert len(report.machines) == 1


@pytest.mark.parametrize(
    'other',
    [
        dict(scope='detector'),
        dict(path='deploy'),
        dict(precision='fp16'),
        dict(threads=1),
        dict(batch=8),
        dict(shape=[320, 320]),
    ],
)
def test_another_setting_is_another_group(other):
    report = table.collect([document(CPU, latency('fasternet_s', 50.0), latency('fasternet_s', 60.0, **other))])
    assert len(report.groups) == len(row_of(report, 'fasternet_s').latencies) == 2
    assert len({report.title(group) for group in report.groups}) == 2


def test_two_machines_of_one_label_are_told_apart():
    report = table.collect(
        [document(machine, latency('fasternet_s', 50.0)) for machine in (CPU, dict(CPU, id='other'), GPU)]
    )
    assert [machine['label'] for machine in report.machines.values()] == [
        'Some CPU, 2 threads (c0ffee00)',
        'Some CPU, 2 threads (other)',
        'NVIDIA Some GPU',
    ]


def test_ap_is_measured_else_published_else_none(report):
    assert row_of(report, 'fasternet_s').ap == table.Ap(39.5, 36.7, 'measured', 'test.json, COCO val2017')
    assert row_of(report, 'fasternet_m').ap == table.Ap(43.0, 39.1, 'published', 'FasterNet, CVPR 2023, Table 4')
    assert row_of(report, 'fasternet_t0').ap is None


@pytest.mark.parametrize(
    ('points', 'front'),
    [
        ([], []),
        ([(1, 1)], [0]),
        ([(3, 30), (1, 10), (2, 20)], [1, 2, 0]),
        ([(1, 10), (2, 10)], [0]),  # as precise, but slower
        ([(1, 10), (1, 20)], [1]),  # as fast, but less precise
        ([(1, 10), (1, 10), (2, 9)], [0, 1]),  # equal in both
        ([(2, 20), (1, 30)], [1]),
    ],
)
def test_pareto_front(points, front):
    assert table.pareto_front(points) == front


def test_rank_correlation_by_hand():
    # Published: 54.3, 71.4, 93.8, 54.9 ms, ranks 1 3 4 2. Measured: ranks 1 4 3 2.
    # Σd² = 2, so ρ = 1 − 6·2 / (4·15) = 0.8; five pairs of six agree, so τ = (5 − 1) / 6.
    measured = dict(fasternet_s=10, fasternet_m=40, fasternet_l=30, resnet50=20, swin_tiny=1)
    report = table.collect([document(CPU, *(latency(name, value) for name, value in measured.items()))])
    found = table.rank_correlation(report, report.groups[0])
    assert found == table.Correlation(pytest.approx(0.8), pytest.approx(2 / 3), 4)


@pytest.mark.parametrize(
    'measured', [dict(fasternet_s=1, resnet50=2, swin_tiny=3), dict(fasternet_s=5, fasternet_m=5, fasternet_l=5)]
)
def test_no_rank_correlation_of_too_few_or_all_equal(measured):
    report = table.collect([document(CPU, *(latency(name, value) for name, value in measured.items()))])
    assert table.rank_correlation(report, report.groups[0]) is None
    assert 'fewer than three' in table.markdown_table(report)


def test_csv_comes_back(report):
    lines = read_csv(table.csv_table(report))
    assert list(lines) == [row.name for row in report.rows]
    for row in report.rows:
        line = lines[row.name]
        assert line['label'] == row.label
        assert line['box_ap'] == ('' if row.ap is None else str(row.ap.box))
        assert int(line['flops_full']) == row.complexity['flops_full']
        for group, record in row.latencies.items():
            title = report.title(group)
            assert float(line[f'{title}: median_ms']) == record['median_ms']
            assert [float(line[f'{title}: quartile{part}_ms']) for part in (1, 3)] == record['quartiles_ms']


def test_published_figures_in_the_csv():
    lines = read_csv(table.csv_table(table.collect([])))
    keys = [
        *('params_m', 'flops_g', 'latency_ms', 'box_ap', 'box_ap50', 'box_ap75'),
        *('mask_ap', 'mask_ap50', 'mask_ap75', 'latency_device'),
    ]
    assert [lines['fasternet_l'][f'published_{key}'] for key in keys] == [
        *('110.9', '484', '93.8', '44.0', '65.6', '48.2', '39.9', '62.3', '43.0', 'RTX 2080 Ti')
    ]
    assert [lines['pvt_small'][f'published_{key}'] for key in keys[:4]] == ['44.1', '238', '89.5', '40.4']
    assert lines['swin_tiny']['published_box_ap'] == '42.7' and lines['swin_tiny']['published_latency_ms'] == ''
    assert lines['fasternet_t0']['box_ap'] == '' and lines['fasternet_s']['ap_kind'] == 'published'


def test_markdown(tmp_path):
    flagged = latency('resnet50', 500.0, day=2, flags=['load of 3.1', 'clock fell'])
    text = table.markdown_table(table.collect(documents(tmp_path, ap('fasternet_s', 39.5, 36.7), flagged)))
    lines = {line.split(' | ')[0]: line for line in text.splitlines() if line.startswith('| ')}
    assert '| 39.5 *measured*[^1] | 36.7 *measured*[^1] |' in lines['| FasterNet-S']
    assert '| 43.0 *published* | 39.1 *published* |' in lines['| FasterNet-M']
    assert '500 (450 – 600)[^2][^3]' in lines['| ResNet50']
    assert '[^1]: test.json, COCO val2017\n[^2]: load of 3.1\n[^3]: clock fell\n' in text


def test_markdown_of_nasty_labels():
    text = table.markdown_table(table.collect([document(CPU, latency('mine', 70.0, label=NASTY, flags=[NASTY]))]))
    head, _, *lines = text.splitlines()
    cells = [len(re.findall(r'(?<!\\)\|', line)) for line in [head, *lines[: len(ROWS) + 1]]]
    assert len(set(cells)) == 1
    assert lines[len(ROWS)].startswith(r'| &lt;script&gt;alert(1)&lt;/script&gt; a\|b \$x\_1\$ &amp; \`c\` |')


def test_page_of_nasty_texts():
    nasty = dict(CPU, label=NASTY, cpu=NASTY, packages={NASTY: NASTY})
    record = latency('mine', 70.0, label=NASTY, command=NASTY, family=NASTY, flags=[NASTY], path=NASTY)
    html = page.render_page(table.collect([document(nasty, record)]))
    html = html.replace(page.get_plotlyjs(), '')
    assert '<script>alert' not in html and '</script> a' not in html
    assert html.count('<script') == html.count('</script>') == 3
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))
    assert data['rows'][-1]['label'] == '<script>alert(1)</script> a|b $x_1$ & `c`'


def test_files_of_a_report(tmp_path):
    nasty = document(dict(GPU, id='mine', label=NASTY), latency('mine', 70.0, label=NASTY), ap('mine', 40, 35))
    two = [documents(tmp_path)[0], nasty]
    files = write_report(two, tmp_path / 'new' / 'report')
    assert sorted(files) == [
        *('comparison.csv', 'comparison.md', 'comparison.png', 'comparison.svg'),
        *('flops_latency.png', 'flops_latency.svg', 'index.html'),
    ]
    assert sorted(files.values()) == sorted((tmp_path / 'new' / 'report').iterdir())
    for name in ('comparison', 'flops_latency'):
        assert cv2.imread(str(files[f'{name}.png'])).std() > 10
        ElementTree.parse(files[f'{name}.svg'])
    again = write_report(two, tmp_path / 'again')
    for name in files:
        assert again[name].read_bytes() == files[name].read_bytes(), f'{name} differs'


def test_labels_in_the_picture_are_cut_and_taken_as_they_are():
    records = [latency('mine', 70.0, label='$long_' * 9, flags=['load']), ap('mine', 40, 35, label='$long_' * 9)]
    texts = [text.get_text() for text in plots.draw_comparison(table.collect([document(CPU, *records)])).axes[2].texts]
    assert texts == ['$long_$long_$long_$long_$long_$… †']


def test_published_alone(tmp_path):
    files = write_report([], tmp_path)
    assert 'flops_latency.png' not in files
    assert cv2.imread(str(files['comparison.png'])).std() > 10
    assert 'Machines whose records' not in files['index.html'].read_text().replace(page.get_plotlyjs(), '')


def test_latencies_without_flops_or_ap(tmp_path):
    files = write_report([document(CPU, latency('fasternet_t0', 70.0, day=1))], tmp_path)
    assert 'flops_latency.png' not in files and 'comparison.png' in files
    assert DATE.format(1) in files['index.html'].read_text()


def test_unwritable_folder(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'can not write .*file/report/comparison.csv .*; name another place'):
        write_report([], tmp_path / 'file' / 'report')


def test_failed_write_leaves_what_was_there(tmp_path):
    (tmp_path / 'comparison.md').mkdir()
    with pytest.raises(UserError, match='can not write .*comparison.md'):
        write_report([], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['comparison.csv', 'comparison.md']


@pytest.mark.parametrize(
    ('package', 'module'), [('jinja2', 'page'), ('plotly.offline', 'page'), ('scipy.stats', 'table')]
)
def test_missing_package(tmp_path, monkeypatch, package, module):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f'mmfasternet.benchmark.report.{module}')
    monkeypatch.delattr(mmfasternet.benchmark.report, module)
    with pytest.raises(UserError, match=r'pip install mmfasternet\[compare\]'):
        write_report([], tmp_path)
