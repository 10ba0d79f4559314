"""The results in docs/ are what their records say."""

import re
from statistics import mean

import pytest
from helpers.project import ROOT

from mmfasternet.benchmark.comparison.model_zoo import zoo_page
from mmfasternet.benchmark.comparison.trained_report import study_page
from mmfasternet.benchmark.paper.ablation.report import ablation_page
from mmfasternet.benchmark.paper.approximation.report import approximation_page
from mmfasternet.benchmark.paper.operators.report import operators_page
from mmfasternet.benchmark.paper.records import read_study
from mmfasternet.benchmark.paper.redundancy.report import redundancy_page
from mmfasternet.benchmark.paper.saliency.report import saliency_page
from mmfasternet.benchmark.published.rows import ROWS, TRAINED_ROWS
from mmfasternet.benchmark.records.records import of_kind, read_json, read_records
from mmfasternet.benchmark.report.table import collect, csv_table, markdown_table

RESULTS = ROOT / 'docs/results/compare'
DETECTORS = ROOT / 'docs/results/detectors'
STUDY = ROOT / 'docs/results/compare_trained'
STUDIES = ROOT / 'docs/results/studies'
CONFIGS = ROOT / 'configs'
# Of the round trip: how the page calls what a detector starts from → its row.
STARTS = {
    'random weights': 'trained_fasternet_t0',
    'the classifier': 'mask_rcnn_fasternet_t0_shapes_pretrained',
}
CURVES = ('box_ap', 'mask_ap')
PAGES = dict(
    operators=operators_page,
    redundancy=redundancy_page,
    saliency=saliency_page,
    approximation=approximation_page,
    ablation=ablation_page,
)


@pytest.fixture(scope='module')
def document():
    return read_records(RESULTS / 'records.json')


def test_tables_are_drawn_from_the_records(document):
    report = collect([document])
    assert (RESULTS / 'comparison.csv').read_text() == csv_table(report)
    assert (RESULTS / 'comparison.md').read_text() == markdown_table(report)


def test_every_row_is_measured_by_code_that_is_kept(document):
    names = {row.name for row in ROWS}
    for kind, settings in (
        ('complexity', {}),
        ('latency', dict(scope='backbone')),
        ('latency', dict(scope='detector')),
    ):
        records = [r for r in document['records'] if r['kind'] == kind and r.items() >= settings.items()]
        assert {record['row'] for record in records} == names and len(records) == len(names)
    for record in document['records']:
        # A '+' would stand for changes that were never committed.
        assert record['commit'] and not record['commit'].endswith('+')


def test_model_zoo_has_every_config_and_is_drawn_from_the_records():
    paths = [*sorted(ROOT.glob('docs/results/*/records.json')), ROOT / 'docs/results/demo/classifier.json']
    documents = [read_records(path) for path in paths]
    page = (ROOT / 'docs/model_zoo.md').read_text()
    assert page == zoo_page(documents)
    files = [path for path in CONFIGS.rglob('*.py') if not any(part.startswith('_') for part in path.parts)]
    assert sorted(re.findall(r'\(\.\./(configs/.*\.py)\)', page)) == sorted(
        path.relative_to(ROOT).as_posix() for path in files
    )
    for document in documents:
        assert not any((record['commit'] or '+').endswith('+') for record in document['records'])


def test_page_of_the_detectors_has_the_ap_of_the_record():
    trained = read_json(DETECTORS / 'retinanet_shapes.json')
    assert trained['box_ap'] >= 55
    assert f'**{trained["box_ap"] / 100:.3f}**' in (ROOT / 'docs/detectors.md').read_text()


def test_page_of_imagenet_is_drawn_from_the_records():
    page, records = (ROOT / 'docs/imagenet.md').read_text(), {}
    for record in read_records(ROOT / 'docs/results/classification/records.json')['records']:
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
        (record,) = read_study(ROOT / f'docs/results/demo/{task}.json', 'demo')['records']
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
    records = of_kind(read_records(ROOT / 'docs/results/pretraining/records.json'), 'ap')
    page = (ROOT / 'docs/imagenet.md').read_text()
    for start, row in STARTS.items():
        runs = [record for record in records if record['row'] == row]
        assert sorted(run['seed'] for run in runs) == [0, 1]
        cells = []
        for curves in zip(*(zip(*(run['curves'][key] for run in runs), strict=True) for key in CURVES), strict=True):
            assert len({epoch for kind in curves for epoch, _ in kind}) == 1
            cells.append(' / '.join(f'{mean(ap for _, ap in kind):.1f}' for kind in curves))
        assert f'| {start} | {" | ".join(cells)} |' in page


def test_study_is_drawn_from_the_records_of_two_seeds():
    study = read_records(STUDY / 'records.json')
    assert (STUDY / 'study.md').read_text() == study_page(study)
    runs = sorted((record['row'], record['seed']) for record in of_kind(study, 'ap'))
    assert runs == sorted((row.name, seed) for row in TRAINED_ROWS for seed in (0, 1))
    assert len(of_kind(study, 'latency')) == 3 * len(TRAINED_ROWS)
    for record in study['records']:
        assert record['commit'] and not record['commit'].endswith('+')


@pytest.mark.parametrize('study', PAGES)
def test_studies_are_drawn_from_their_records(study):
    folder = STUDIES / study
    document = read_study(folder / 'records.json', study)
    assert (folder / f'{study}.md').read_text() == PAGES[study](document)
    assert f'results/paper/{study}/{study}.png' in (ROOT / 'docs/paper.md').read_text()
    for record in document['records']:
        assert record['commit'] and not record['commit'].endswith('+')
