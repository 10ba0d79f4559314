"""The results in docs/ are what their records say."""

import re
from pathlib import Path
from statistics import mean

import pytest
from helpers.project import ROOT

from mmfasternet.benchmark.artifacts.report import latest_run
from mmfasternet.benchmark.records import Records

DETECTORS = ROOT / 'docs/results/detectors'
CONFIGS = ROOT / 'configs'
# Of the round trip: how the page calls what a detector starts from → its row.
STARTS = {
    'random weights': 'trained_fasternet_t0',
    'the classifier': 'mask_rcnn_fasternet_t0_shapes_pretrained',
}
CURVES = ('box_ap', 'mask_ap')
# Detectors that were trained under one budget, as their configs are called.
NAMES = ('mask_rcnn', 'rtmdet_ins')


def test_page_of_the_detectors_has_the_ap_of_the_record():
    (trained,) = Records.read(DETECTORS / 'retinanet_shapes.json').of_kind('demo')
    assert trained['figures']['box_ap'] >= 0.55
    assert f'**{trained["figures"]["box_ap"]:.3f}**' in (ROOT / 'docs/detectors.md').read_text()


def test_page_of_imagenet_is_drawn_from_the_records():
    page, records = (ROOT / 'docs/imagenet.md').read_text(), {}
    for record in Records.read(ROOT / 'docs/results/classification/records.json').records:
        records[record['config'].split('_')[1]] = record
    files = [path.stem.split('_')[1] for path in CONFIGS.glob('classification/*.py')]
    assert sorted(records) == sorted(files)
    for arch, record in records.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f'| {arch.upper()} |')]
        assert line.endswith(f'| {record["params_conv_fc"] / 1e6:.1f} | {record["flops_conv_fc"] / 1e9:.2f} |')
    for words, key, unit in (
        ('G multiply-adds without norms', 'flops_conv_fc', 1e9),
        ('G multiply-adds with norms', 'flops', 1e9),
        ('M parameters without norms', 'params_conv_fc', 1e6),
        ('M parameters with norms', 'params', 1e6),
    ):
        (line,) = [line for line in page.splitlines() if line.startswith(f'| {words}')]
        figures = [f'{records[arch][key] / unit:.2f}' for arch in ('t0', 't1', 't2', 's', 'm', 'l')]
        assert line.endswith(f'| {" | ".join(figures)} |')


def test_demos_are_as_recorded():
    """Each whole demo was run, and the pages have its figures."""
    found = {}
    for task in ('detection', 'segmentation'):
        (record,) = Records.read(ROOT / f'docs/results/demo/{task}.json').of_kind('demo')
        assert record['label'] == task and not record['commit'].endswith('+')
        found[task] = record['figures']
    detection, segmentation = found['detection'], found['segmentation']
    assert min(detection['box_ap'], detection['mask_ap']) >= 0.6 and segmentation['miou'] >= 0.8
    assert sum(value for key, value in segmentation.items() if key.endswith('_s')) <= 360
    readme, page = (ROOT / 'README.md').read_text(), (ROOT / 'docs/segmentation.md').read_text()
    for name in ('box AP', 'mask AP'):
        assert f'│ {name:10} │ {detection[name.lower().replace(" ", "_")]:.3f} ' in readme
    for name in ('generate', 'train', 'test'):
        assert f'│ {name:10} │ {detection[f"{name}_s"]:.0f} s ' in readme
        assert re.search(rf'^\| {name}.* \| {segmentation[f"{name}_s"]:.0f} s \|$', page, re.MULTILINE)
    assert f'| mIoU | {segmentation["miou"]:.3f} |' in page


def test_round_trip_is_drawn_from_the_records_of_two_seeds():
    records = Records.read(ROOT / 'docs/results/pretraining/records.json').of_kind('ap')
    page = (ROOT / 'docs/imagenet.md').read_text()
    for start, row in STARTS.items():
        runs = [record for record in records if record['row'] == row]
        assert sorted(run['seed'] for run in runs) == [0, 1]
        cells = []
        for curves in zip(*(zip(*(run['curves'][key] for run in runs), strict=True) for key in CURVES), strict=True):
            assert len({epoch for kind in curves for epoch, _ in kind}) == 1
            cells.append(' / '.join(f'{mean(ap for _, ap in kind):.1f}' for kind in curves))
        assert f'| {start} | {" | ".join(cells)} |' in page


@pytest.mark.parametrize('page', ['own_data.md', 'own_data.zh.md'])
def test_own_data_is_as_recorded(page):
    """Each was run within its budget of twenty minutes."""
    text = (ROOT / 'docs' / page).read_text()
    rows = [line for line in text.splitlines() if line.startswith('| [')]
    paths = sorted((ROOT / 'docs/results/own_data').glob('*.json'))
    assert len(rows) == len(paths) == 3
    for path in paths:
        (record,) = Records.read(path).of_kind('demo')
        figures = record['figures']
        minutes = sum(value for key, value in figures.items() if key.endswith('_s')) / 60
        assert record['label'] == path.stem and not record['commit'].endswith('+') and minutes < 20
        (row,) = [row for row in rows if row.lower().startswith(f'| [{path.stem}]')]
        shown = [
            f'{figures[key]:.3f}' if key in figures else '–' for key in ('box_ap', 'box_ap50', 'mask_ap', 'mask_ap50')
        ]
        assert row.endswith(f'| {" | ".join(shown)} | {minutes:.1f} |')
        if path.stem == 'bccd':
            assert figures['box_ap50'] >= 0.8


@pytest.mark.parametrize('page', ['detectors.md', 'detectors.zh.md'])
@pytest.mark.parametrize('data', ['shapes', 'animals'])
def test_detectors_under_one_budget_are_as_recorded(page, data):
    """Of each detector the exported file, which took turns with the others."""
    records = latest_run(Records.read(DETECTORS.parent / f'realtime/{data}.json'))
    assert records and not any(record['commit'].endswith('+') for record in records)
    found = {}
    for record in records:
        name, seed = record['file'].removesuffix('.onnx').split('_seed_')
        found.setdefault(name, {})[int(seed)] = record
    lines = (ROOT / 'docs' / page).read_text().splitlines()
    detectors = {f'{detector}_fasternet_t0_{data}{"_short" * (data == "shapes")}' for detector in NAMES}
    assert detectors <= set(found)
    for name, seeds in found.items():
        ordered = [seeds[seed] for seed in sorted(seeds)]
        cells = [' / '.join(f'{record[key]:.1f}' for record in ordered) for key in ('box_ap', 'mask_ap')]
        # A flagged latency is no figure.
        cells.append(' / '.join('–' if record['flags'] else f'{record["median_ms"]:.1f}' for record in ordered))
        (line,) = [line for line in lines if line.startswith('|') and f'`{name}`' in line]
        assert line.endswith(f'| {" | ".join(cells)} |')


@pytest.mark.parametrize('page', ['deploy.md', 'deploy.zh.md'])
def test_int8_and_activations_are_as_recorded(page):
    """Of each form the files of both seeds, which took turns with the others."""
    records = latest_run(Records.read(ROOT / 'docs/results/int8/records.json'))
    found = {record['file'].removesuffix('.onnx'): record for record in records}
    assert len(found) == 10 and not any(record['commit'].endswith('+') for record in records)
    lines = (ROOT / 'docs' / page).read_text().splitlines()
    for name in {stem.rpartition('_seed_')[0] for stem in found}:
        pair = [found[f'{name}_seed_{seed}'] for seed in (0, 1)]
        cells = [' / '.join(f'{record[key]:.1f}' for record in pair) for key in ('box_ap', 'mask_ap')]
        cells.append(' / '.join('–' if record['flags'] else f'{record["median_ms"]:.1f}' for record in pair))
        cells.append(f'{pair[0]["size_bytes"] / 1e6:.1f}')
        (line,) = [line for line in lines if line.startswith('|') and f'| `{name}` |' in line]
        assert line.endswith(f'| {" | ".join(cells)} |')


def test_share_of_the_backbone_is_as_recorded():
    counts = {}
    for path in DETECTORS.parent.glob('*/records.json'):
        for record in Records.read(path).of_kind('complexity'):
            if record['shape'] == [800, 1280]:
                counts[Path(record['config']).stem] = record
    pages = [(ROOT / 'docs' / page).read_text() for page in ('detectors.md', 'detectors.zh.md')]
    for arch in ('s', 't2', 't1', 't0'):
        found = [counts[f'{detector}_fasternet_{arch}'] for detector in ('mask_rcnn', 'rtmdet', 'rtmdet_ins')]
        giga = [f'{count["flops_full"] / 1e9:.0f} G' for count in found]
        shares = [f'{count["parts"]["backbone"]["flops_full"] / count["flops_full"]:.0%}' for count in found]
        english = ' | '.join(f'{share} of {all}' for share, all in zip(shares, giga, strict=True))
        chinese = ' | '.join(f'{all} 的 {share}' for share, all in zip(shares, giga, strict=True))
        for page, cells in zip(pages, (english, chinese), strict=True):
            assert f'| {arch.upper()} | {cells} |' in page
