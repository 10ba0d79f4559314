"""What a report is merged from, how its figures are computed, and its files, on records of machines that never were."""

import csv
import io
import json
import re
import sys

import cv2
import PIL.Image
import pytest
from helpers.made_up import CPU, DATE, GPU, ap, complexity, latency, two_machines
from helpers.markdown import tables
from helpers.project import ROOT

import mmfasternet.benchmark.comparison
from mmfasternet.benchmark.comparison.ahead import not_ahead
from mmfasternet.benchmark.comparison.collect import Ap, Correlation, collect, pareto_front
from mmfasternet.benchmark.comparison.model_zoo import zoo_page
from mmfasternet.benchmark.comparison.page import render_page
from mmfasternet.benchmark.comparison.plots import draw_comparison
from mmfasternet.benchmark.comparison.report import write_report
from mmfasternet.benchmark.comparison.tables import comparison_page, csv_table
from mmfasternet.benchmark.comparison.trained_report import trained_page
from mmfasternet.benchmark.engines.report import engines_page
from mmfasternet.benchmark.paper.ablation.report import REPORT as ABLATION
from mmfasternet.benchmark.paper.operators.report import REPORT as OPERATORS
from mmfasternet.benchmark.paper.saliency.report import REPORT as SALIENCY
from mmfasternet.benchmark.published.rows import ROWS, TRAINED_ROWS, Row
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.benchmark.report.style import COLOURS, family_styles
from mmfasternet.errors import UserError

NASTY = '<script>alert(1)</script> a|b\n$x_1$ & `c` \ud800'


def taken_on(machine, *records):
    return Records(machine, records=records)


def row_of(report, name):
    return next(row for row in report.rows if row.name == name)


def read_csv(text):
    return {line['name']: line for line in csv.DictReader(io.StringIO(text))}


def figures_of(page):
    """The large table: name of a row → column → cell."""
    head, *lines = max(tables(page), key=lambda table: len(table[0]))
    return {line[0]: dict(zip(head, line, strict=True)) for line in lines}


def correlations(report):
    (found,) = (table for table in tables(comparison_page(report)) if 'Spearman ρ' in table[0])
    return found


def without_plotly(html):
    """The page without the script of others, which holds any word."""
    scripts = re.findall(r'<script>.*?</script>', html, re.DOTALL)
    return html.replace(max(scripts, key=len), '<script></script>')


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    return collect(two_machines(tmp_path_factory.mktemp('records'), ap('fasternet_s', 39.5, 36.7)))


def test_known_rows_come_first_then_a_users_own():
    mine = latency('mine', 70.0, label='My net'), latency('yours', 80.0, family='PVT')
    report = collect([taken_on(CPU, *mine)])
    assert [row.name for row in report.rows] == [row.name for row in ROWS] + ['mine', 'yours']
    assert [(row.label, row.family, row.ap) for row in report.rows[-2:]] == [
        ('My net', 'other', None),
        ('yours', 'PVT', None),
    ]
    assert row_of(report, 'fasternet_s').label == 'FasterNet-S'


@pytest.mark.parametrize('turned', [False, True])
def test_newer_measurement_wins_whatever_the_order(turned):
    old = taken_on(
        CPU, latency('fasternet_s', 50.0, day=1), complexity('fasternet_s', 200, day=3), ap('swin_tiny', 1, 2)
    )
    new = taken_on(
        CPU, latency('fasternet_s', 60.0, day=2), complexity('fasternet_s', 100, day=2), ap('swin_tiny', 3, 4, day=9)
    )
    report = collect([new, old] if turned else [old, new])
    row = row_of(report, 'fasternet_s')
    assert [record['median_ms'] for record in row.latencies.values()] == [60.0]
    assert row.complexity['flops_paper'] == 200 * 10**9
    assert row_of(report, 'swin_tiny').ap == Ap(3, 4, 'measured', 'test.json, COCO val2017')
    assert len(report.machines) == 1


@pytest.mark.parametrize(
    'other',
    [
        dict(scope='detector'),
        dict(path='folded'),
        dict(precision='fp16'),
        dict(threads=1),
        dict(batch=8),
        dict(shape=[320, 320]),
        dict(backend='onnxruntime'),
    ],
)
def test_another_setting_is_another_group(other):
    report = collect([taken_on(CPU, latency('fasternet_s', 50.0), latency('fasternet_s', 60.0, **other))])
    assert len(report.groups) == len(row_of(report, 'fasternet_s').latencies) == 2
    assert len({report.title(group) for group in report.groups}) == 2


def test_half_precision_of_a_gpu_is_in_the_title_and_its_times_have_digits(tmp_path):
    gpu = Records(GPU, tmp_path / 'gpu.json')
    how = dict(device='cuda:0', precision='fp16', memory_format='channels_last', path='folded')
    cast, autocast = dict(how, weights='cast', backend='graph'), dict(how, weights='autocast')
    gpu.records = [
        latency('fasternet_t0', 0.0812, **cast, stream_ms=0.05),
        latency('fasternet_t0', 1.23, **autocast),
        latency('fasternet_t0', 2.5, **dict(autocast, memory_format='contiguous')),
    ]
    gpu.save()
    report = collect([Records.read(gpu.path)])
    assert {group.setting for group in report.groups} == {
        'backbone, folded path, graph, fp16, weights cast, channels_last, batch 1, 800 × 1280 pixels',
        'backbone, folded path, fp16, channels_last, batch 1, 800 × 1280 pixels',
        'backbone, folded path, fp16, batch 1, 800 × 1280 pixels',
    }
    page = comparison_page(report)
    assert '0.0812' in page and '1.23' in page and '0.0 ms' not in page


def test_a_title_names_the_threads_of_a_cpu_alone(report):
    threads = {report.place(group) for group in report.groups}
    assert threads == {'Some CPU, 2 threads', 'NVIDIA Some GPU'}
    (group,) = collect([taken_on(CPU, latency('fasternet_s', 50.0, threads=1))]).groups
    assert group.threads == '1' and collect([taken_on(CPU, latency('x', 1.0, threads=1))]).title(group) == (
        'Some CPU, 1 thread: backbone, reference path, fp32, batch 1, 800 × 1280 pixels'
    )


def test_two_machines_of_one_label_are_told_apart():
    machines = CPU, dict(CPU, id='other'), GPU
    report = collect([taken_on(machine, latency('fasternet_s', 50.0)) for machine in machines])
    labels = [machine['label'] for machine in report.machines.values()]
    assert labels == ['Some CPU (c0ffee00)', 'Some CPU (other)', 'NVIDIA Some GPU']


def test_ap_is_measured_else_published_else_none(report):
    assert row_of(report, 'fasternet_s').ap == Ap(39.5, 36.7, 'measured', 'test.json, COCO val2017')
    assert row_of(report, 'fasternet_m').ap == Ap(43.0, 39.1, 'published', 'FasterNet, CVPR 2023, Table 4')
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
    assert pareto_front(points) == front


def test_rank_correlation_by_hand():
    # Published: 54.3, 71.4, 93.8, 54.9 ms, ranks 1 3 4 2. Measured: ranks 1 4 3 2.
    # Σd² = 2, so ρ = 1 − 6·2 / (4·15) = 0.8; five pairs of six agree, so τ = (5 − 1) / 6.
    measured = dict(fasternet_s=10, fasternet_m=40, fasternet_l=30, resnet50=20, swin_tiny=1)
    report = collect([taken_on(CPU, *(latency(name, value) for name, value in measured.items()))])
    (found,) = report.correlations.values()
    assert found == Correlation(pytest.approx(0.8), pytest.approx(2 / 3), 4)
    assert correlations(report)[1][1:] == ['4', '0.80', '0.67']


@pytest.mark.parametrize(
    'measured', [dict(fasternet_s=1, resnet50=2, swin_tiny=3), dict(fasternet_s=5, fasternet_m=5, fasternet_l=5)]
)
def test_no_rank_correlation_of_too_few_or_all_equal(measured):
    report = collect([taken_on(CPU, *(latency(name, value) for name, value in measured.items()))])
    assert list(report.correlations.values()) == [None]
    assert 'fewer than three' in correlations(report)[1][1]


def test_a_colour_belongs_to_a_family_by_its_name():
    known = family_styles(row.family for row in (*ROWS, *TRAINED_ROWS))
    assert len(set(known.values())) == len(known) and {colour for colour, _ in known.values()} <= set(COLOURS)
    # Whatever else is drawn, and in whatever order; also of families that nobody knows yet.
    mine = family_styles(['Mine'])['Mine']
    assert family_styles(['Mine', 'ConvNeXt', 'FasterNet']) == dict(
        Mine=mine, ConvNeXt=known['ConvNeXt'], FasterNet=known['FasterNet']
    )
    many = [f'Family {number}' for number in range(20)]
    styles = family_styles([*many, *known])
    assert family_styles([*known, *many[::-1]]) == styles
    assert len(set(styles.values())) == len(styles)
    # More families than styles are still drawn.
    assert len(family_styles(f'Family {number}' for number in range(99))) == 99


def test_where_fasternet_is_not_ahead():
    measured = [
        latency('fasternet_s', 100.0),
        # About FasterNet-S's AP, at half its latency.
        latency('repvit_m1_1', 50.0, flags=['load']),
        # More AP within the same time.
        latency('repvit_m1_5', 102.0),
        # Less AP, or slower: no rivals.
        latency('resnet50', 50.0),
        latency('resnet101', 200.0),
    ]
    text = not_ahead(collect([taken_on(CPU, *measured)]))
    _, *lines = tables(text)[0]
    assert lines == [
        ['RepViT-M1.1 ‡, 39.8 / 37.2', 'FasterNet-S, 39.9 / 36.9', r'0.50 \*'],
        ['RepViT-M1.5 ‡, 41.6 / 38.6', 'FasterNet-S, 39.9 / 36.9', '1.02 (*tie*)'],
    ]
    assert r'\* One of the two latencies is flagged' in text
    highest, fastest = [line for line in text.splitlines() if line.startswith('- ')]
    assert '47.2 (Next-ViT-B)' in highest and '44.0 (FasterNet-L)' in highest
    assert '0.50' in fastest and 'FasterNet-S' in fastest


def test_where_fasternet_is_ahead():
    rows = [Row('ours', 'Ours', 'FasterNet', 'a.py'), Row('theirs', 'Theirs', 'ResNet', 'b.py')]
    measured = [ap('ours', 40, 36), ap('theirs', 38, 34), latency('ours', 10.0), latency('theirs', 20.0)]
    text = not_ahead(collect([taken_on(CPU, *measured)], known=rows))
    assert tables(text) == [] and 'No other backbone' in text and '\n- ' not in text
    # Overlapping seeds are no lead.
    ranges = [dict(measured[0], box_range=[38.5, 41], mask_range=[35, 37]), dict(measured[1], box_range=[37, 39])]
    ranges[1]['mask_range'] = [33, 35]
    report = collect([taken_on(CPU, *ranges, latency('ours', 20.0), latency('theirs', 10.0))], known=rows)
    assert tables(not_ahead(report))[0][1][-1] == '0.50' and 'a tie' in not_ahead(report)


def test_csv_comes_back(report):
    lines = read_csv(csv_table(report))
    assert list(lines) == [row.name for row in report.rows]
    for row in report.rows:
        line = lines[row.name]
        assert line['label'] == row.label
        assert line['box_ap'] == ('' if row.ap is None else str(row.ap.box))
        assert line['flops_full'] == (str(row.complexity['flops_full']) if row.config else '')
        for group, record in row.latencies.items():
            title = report.title(group)
            assert float(line[f'{title}: median_ms']) == record['median_ms']
            assert [float(line[f'{title}: quartile{part}_ms']) for part in (1, 3)] == record['quartiles_ms']


def test_published_figures_in_the_csv():
    lines = read_csv(csv_table(collect([])))
    for row in ROWS:
        line = lines[row.name]
        assert line['ap_kind'] == ('published' if row.published else '')
        for key in ('params_m', 'latency_ms', 'box_ap', 'box_ap50', 'mask_ap', 'mask_ap75', 'latency_device'):
            value = getattr(row.published, key, None)
            assert line[f'published_{key}'] == ('' if value is None else str(value))
    # As Table 4 prints it.
    assert (lines['fasternet_l']['published_latency_ms'], lines['fasternet_l']['box_ap']) == ('93.8', '44.0')


def test_page_in_markdown(tmp_path):
    flagged = latency('resnet50', 500.0, day=2, flags=['load of 3.1', 'clock fell'])
    page = comparison_page(collect(two_machines(tmp_path, ap('fasternet_s', 39.5, 36.7), flagged)))
    figures = figures_of(page)
    assert figures['FasterNet-S']['box AP'] == '39.5 *measured*[^1]'
    assert figures['FasterNet-S']['mask AP'] == '36.7 *measured*[^1]'
    assert figures['FasterNet-M']['box AP'] == '43.0 *published*'
    assert figures['FasterNet-M']['Latency (ms), published'] == '71.4'
    assert figures['FasterNet-T0']['box AP'] == ''
    (column,) = [column for column in figures['ResNet50'] if 'Some CPU, 2 threads: backbone' in column]
    assert figures['ResNet50'][column] == '500 (450 – 600)[^2][^3]'
    assert '[^1]: test.json, COCO val2017\n[^2]: load of 3.1\n[^3]: clock fell\n' in page
    # Where FasterNet is not ahead stands before all figures.
    assert page.index('not ahead') < page.index('| Backbone | box AP')


def test_markdown_of_nasty_labels():
    page = comparison_page(collect([taken_on(CPU, latency('mine', 70.0, label=NASTY, flags=[NASTY]))]))
    assert r'&lt;script&gt;alert(1)&lt;/script&gt; a\|b \$x\_1\$ &amp; \`c\`' in figures_of(page)


def test_html_of_nasty_texts():
    nasty = dict(CPU, label=NASTY, cpu=NASTY, packages={NASTY: NASTY})
    record = latency('mine', 70.0, label=NASTY, command=NASTY, family=NASTY, flags=[NASTY], path=NASTY)
    html = without_plotly(render_page(collect([taken_on(nasty, record)])))
    assert '<script>alert' not in html and '</script> a' not in html
    assert html.count('<script') == html.count('</script>') == 4
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))
    assert data['rows'][-1]['label'] == '<script>alert(1)</script> a|b $x_1$ & `c`'


def test_files_of_a_report(tmp_path):
    nasty = taken_on(dict(GPU, id='mine', label=NASTY), latency('mine', 70.0, label=NASTY), ap('mine', 40, 35))
    two = [two_machines(tmp_path)[0], nasty]
    files = write_report(two, tmp_path / 'new' / 'report')
    figures = {'compare.png', 'published.png', 'flops_latency.png'}
    assert set(files) == {'compare.csv', 'compare.md', 'index.html', *figures}
    assert sorted(files.values()) == sorted((tmp_path / 'new' / 'report').iterdir())
    for name in figures:
        assert cv2.imread(str(files[name])).std() > 10
        # A palette makes it small enough to be kept.
        assert PIL.Image.open(files[name]).mode == 'P'
    again = write_report(two, tmp_path / 'again')
    for name in files:
        assert again[name].read_bytes() == files[name].read_bytes(), f'{name} differs'


def test_labels_in_the_figure_are_cut_and_taken_as_they_are():
    records = [latency('mine', 70.0, label='$long_' * 9, flags=['load']), ap('mine', 40, 35, label='$long_' * 9)]
    texts = [text.get_text() for text in draw_comparison(collect([taken_on(CPU, *records)])).axes[2].texts]
    assert texts == ['$long_$long_$long_$long_$long_$… †']


def test_published_alone(tmp_path):
    # A file without records, as --report-only finds on a machine that has measured nothing.
    files = write_report([taken_on(CPU)], tmp_path)
    assert 'flops_latency.png' not in files
    assert cv2.imread(str(files['compare.png'])).std() > 10
    assert 'Some CPU' not in without_plotly(files['index.html'].read_text())


def test_latencies_without_flops_or_ap(undrawn, tmp_path):
    files = write_report([taken_on(CPU, latency('fasternet_t0', 70.0, day=1))], tmp_path)
    assert 'flops_latency.png' not in files and 'compare.png' in files
    assert DATE.format(1) in files['index.html'].read_text()


def test_unwritable_folder(undrawn, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'file/report/compare'):
        write_report([], tmp_path / 'file' / 'report')


def test_failed_write_leaves_what_was_there(undrawn, tmp_path):
    (tmp_path / 'compare.md').mkdir()
    with pytest.raises(UserError, match='compare.md'):
        write_report([], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['compare.csv', 'compare.md']


@pytest.mark.parametrize(
    ('package', 'module'), [('jinja2', 'page'), ('plotly.offline', 'page'), ('scipy.stats', 'collect')]
)
def test_missing_package(tmp_path, monkeypatch, package, module):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f'mmfasternet.benchmark.comparison.{module}')
    monkeypatch.delattr(mmfasternet.benchmark.comparison, module)
    # As many as a correlation with the published latencies takes.
    latencies = [latency(f'fasternet_{arch}', ms) for arch, ms in zip('sml', (1.0, 2.0, 3.0), strict=True)]
    with pytest.raises(UserError, match=r'pip install mmfasternet\[compare\]'):
        write_report([taken_on(CPU, *latencies)], tmp_path)


@pytest.mark.parametrize('start', ['=', '+', '-', '@', '\t=', '\r='])
def test_csv_holds_no_formula(start):
    record = dict(ap('mine', 30, 28), label=f'{start}HYPERLINK("http://evil")', source=f'{start}1')
    report = collect([taken_on(dict(CPU, label=f'{start}cmd'), record, latency('mine', 5.0))], known=())
    text = csv_table(report)
    cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    assert any('HYPERLINK' in cell for cell in cells) and any('cmd' in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(('=', '+', '-', '@', '\t', '\r'))]


def test_a_machine_under_the_id_of_another_is_refused():
    forged = Records(dict(id=CPU['id'], label='NVIDIA H100, forged'), 'forged.json')
    with pytest.raises(UserError, match="forged.json has the machine 'NVIDIA H100, forged' under the id"):
        collect([taken_on(CPU, ap('a', 30, 28)), forged])
    renamed = Records(dict(CPU, label='mine'), records=[ap('a', 31, 28, day=2)])
    assert collect([taken_on(CPU, ap('a', 30, 28)), renamed]).machines[CPU['id']]['label'] == CPU['label']


HOSTILE = '<img src=x onerror=alert(1)> [x](javascript:y) `|\n# title\x1b[2K'


def spoiled(path):
    """The records of a results page, from a hostile machine and commit."""
    records = Records.read(ROOT / 'docs/results' / path / 'records.json')
    machine = dict(records.machine, label=HOSTILE, cpu=HOSTILE, packages={HOSTILE: HOSTILE})
    return Records(machine, records=[dict(record, commit=HOSTILE) for record in records.records])


@pytest.mark.parametrize(
    ('path', 'draw'),
    [
        ('compare_trained', trained_page),
        ('engines', engines_page),
        *((f'paper/{report.name}', report.page) for report in (ABLATION, OPERATORS, SALIENCY)),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_pages_show_the_texts_of_records_as_texts(path, draw):
    page = draw(spoiled(path))
    assert '&lt;img src=x' in page
    for raw in ('<img', '[x](', '\n# title', '\x1b', ' `|'):
        assert raw not in page


def test_the_model_zoo_shows_configs_as_texts(tmp_path):
    record = complexity(
        'a', 250, config='configs/mask_rcnn_<script>alert(1)</script>', parts=dict(backbone=dict(flops_full=1))
    )
    records = Records(CPU, tmp_path / 'records.json', [record])
    records.save()
    page = zoo_page([records.path])
    assert 'mask_rcnn_' in page and '<script' not in page


def test_a_folder_that_looks_like_markup_is_printed_as_it_is(tmp_path, capsys):
    out_dir = tmp_path / 'runs[/x]' / 'v[2]'
    args = new_parser('Measure.', str(out_dir), 'short').parse_args([])
    run_command(args, lambda path: Records(CPU), lambda records, folder: {'index.html': folder / 'index.html'})
    assert capsys.readouterr().out == f'index.html: {out_dir}/index.html\n'
