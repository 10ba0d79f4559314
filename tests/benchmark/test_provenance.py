"""What is published of the rows beside their AP: what is known, what is not, and how it is shown."""

import csv
import io
import re

import pytest
from helpers.made_up import CPU, latency
from helpers.markdown import tables
from matplotlib.text import Text

from mmfasternet.benchmark.comparison.collect import collect
from mmfasternet.benchmark.comparison.page import render_page
from mmfasternet.benchmark.comparison.plots import draw_comparison, draw_published
from mmfasternet.benchmark.comparison.provenance import by_setting, plotted_settings, provenance_sections
from mmfasternet.benchmark.comparison.tables import comparison_page, csv_table
from mmfasternet.benchmark.published.rows import BUILT_ROWS, ROWS, TRAINED_ROWS, find_row
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError


def cells(page, column):
    """The provenance table: label → cell of a column."""
    (found,) = (table for table in tables(page) if 'Pre-training' in table[0])
    place = found[0].index(column)
    return {line[0]: line[place] for line in found[1:]}


def test_rows():
    assert len(ROWS) >= 38 and len(BUILT_ROWS) < len(ROWS)
    assert not any(row.provenance.read or row.speeds for row in TRAINED_ROWS)
    for row in ROWS:
        assert re.fullmatch(r'20\d\d-[01]\d', row.provenance.read), row.name
        assert row.published is None or row.published.url, row.name
    for line in published('rows'):
        # A figure has a source, and a source has figures.
        assert bool(line['box_ap']) == bool(line['source']) == bool(line['url']), line['name']
        for figure, url in (('retinanet_ap', 'retinanet_url'), ('miou', 'miou_url'), ('top1', 'pretraining_url')):
            assert bool(line[figure]) == bool(line[url]), (line['name'], figure)
        assert bool(line['miou']) == bool(line['miou_head']), line['name']
        assert line['distilled'] in ('yes', 'no', '')
        for url in (value for key, value in line.items() if key.endswith('url') and value):
            assert url.startswith('https://')


def test_what_the_sources_say():
    b1, m = find_row('pvt_v2_b1'), find_row('iformer_m')
    assert (b1.published.box_ap, b1.published.mask_ap, b1.provenance.retinanet_ap) == (41.8, 38.8, 41.2)
    assert (b1.provenance.pretraining, b1.provenance.epochs, b1.provenance.distilled) == ('ImageNet-1k', 300, False)
    assert (b1.provenance.top1, b1.marked_label) == (78.7, 'PVTv2-B1')
    assert (m.published.box_ap, m.published.mask_ap50, m.provenance.distilled) == (40.8, 59.7, True)
    assert (m.provenance.miou, m.provenance.miou_head, m.marked_label) == (42.4, 'Semantic FPN', 'iFormer-M ‡')
    cpubone = find_row('cpubone_b3')
    assert cpubone.published is None and cpubone.provenance.retinanet_ap == 42.9
    # Nobody says.
    assert find_row('fastvit_sa12').provenance.distilled is None


def test_speeds():
    assert {line['row'] for line in published('latencies')} <= {row.name for row in ROWS}
    for row in ROWS:
        for speed in row.speeds:
            assert speed.value > 0 and speed.unit in ('ms', 'images/s') and speed.url.startswith('https://')
            assert speed.scope in ('backbone', 'classifier') and speed.resolution in (224, 256, 512)
        assert len({speed.setting for speed in row.speeds}) == len(row.speeds), row.name
    s = {speed.setting: speed for speed in find_row('fasternet_s').speeds}
    assert s['classifier, RTX 4090, PyTorch eager, 224 × 224, batch 1024'].value == 6413
    gpu = s['classifier, RTX 2080 Ti, PyTorch, 224 × 224, batch 32']
    assert (gpu.value, gpu.unit, gpu.image_ms) == (1029, 'images/s', pytest.approx(0.97182, abs=1e-4))
    # Figures of one line of the page can be compared: they have one unit.
    for pairs in by_setting(ROWS).values():
        assert len({speed.unit for _, speed in pairs}) == 1


def test_a_row_without_a_config_is_not_built():
    for row in ROWS:
        if row.config is None:
            with pytest.raises(UserError, match=f'{row.label} has published figures alone, and no config'):
                _ = row.config_path
            assert row.published


def test_page_in_markdown():
    page = comparison_page(collect([]))
    pretraining = cells(page, 'Pre-training')
    assert list(pretraining) == [row.marked_label for row in ROWS]
    assert pretraining['RepViT-M2.3 ‡'] == (
        '[ImageNet-1k, 450 epochs, distilled](https://github.com/THU-MIG/RepViT/blob/main/README.md)'
    )
    assert cells(page, 'Images per second')['FasterNet-S'].startswith('[6,413](https://github.com/huggingface/')
    assert cells(page, 'RetinaNet box AP')['CPUBone-B3'].startswith('[42.9](')
    assert '- iFormer-M, iFormer-L, iFormer-L2, EfficientFormer-L1,' in page
    (systems,) = (table for table in tables(page) if table[0][0] == 'System')
    assert {line[0].split('-')[0] for line in systems[1:]} == {'RTMDet', 'RF'}
    # Nothing is known of a user's own rows, nor of those that are trained here.
    assert provenance_sections(TRAINED_ROWS) == ''


def test_csv():
    lines = {line['name']: line for line in csv.DictReader(io.StringIO(csv_table(collect([]))))}
    assert (lines['iformer_m']['distilled'], lines['pvt_v2_b0']['distilled']) == ('True', 'False')
    assert lines['fastvit_sa12']['distilled'] == '' and lines['cpubone_b0']['retinanet_ap'] == '37.5'


def test_html_has_provenance_only_where_it_is_known():
    assert 'id="undistilled"' in render_page(collect([]))
    html = render_page(collect([Records(CPU, records=[latency('mine', 5.0)])], known=TRAINED_ROWS))
    assert 'id="undistilled"' not in html and 'Complete systems' not in html


def test_figure_of_published_latencies():
    settings = plotted_settings(ROWS)
    figure = draw_published(collect([]))
    assert len(figure.axes) == 2 * len(settings) and len(settings) >= 2
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert 'iFormer-M ‡' in texts and 'ResNet50' in texts
    assert draw_published(collect([], known=TRAINED_ROWS)) is None


def test_figure_says_what_it_does_not_show():
    figure = draw_comparison(collect([Records(CPU, records=[latency('resnet18', 5.0)])]))
    notes = ' '.join(text.get_text() for text in figure.findobj(Text)).replace('\n', ' ')
    assert 'Not drawn, since there is no config to measure: iFormer-M ‡' in notes
    unmeasured = re.search(r'since no latency was measured: (.*?)\. [A-Z‡]', notes).group(1)
    assert 'PVTv2-B0' in unmeasured and 'ResNet18' not in unmeasured and 'FasterNet-S' not in unmeasured
