"""The results in docs/ are what their records say."""

import re
from statistics import mean

from helpers.project import ROOT

from mmfasternet.benchmark.records import Records

DETECTORS = ROOT / 'docs/results/detectors'
CONFIGS = ROOT / 'configs'
# Of the round trip: how the page calls what a detector starts from → its row.
STARTS = {
    'random weights': 'trained_fasternet_t0',
    'the classifier': 'mask_rcnn_fasternet_t0_shapes_pretrained',
}
CURVES = ('box_ap', 'mask_ap')


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
