"""One artifact, one row: figures by value on made-up files, times and records, and the tool on an exported model."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.made_up import CPU, record
from helpers.markdown import tables
from helpers.project import EXPORTS, ROOT, run_in_process, succeed

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

from helpers.artifacts import MASKS, write_data
from helpers.onnx_files import write_detector, write_segmentor

from mmfasternet.benchmark.artifacts import demo, measure, start
from mmfasternet.benchmark.artifacts.demo import demo_files
from mmfasternet.benchmark.artifacts.figures import summarize_images
from mmfasternet.benchmark.artifacts.measure import Plan, measure_artifacts
from mmfasternet.benchmark.artifacts.report import artifacts_page, draw_artifacts, latest_run, write_artifacts
from mmfasternet.benchmark.artifacts.runtimes import RUNTIMES, open_detector
from mmfasternet.benchmark.records import Records
from mmfasternet.datasets import make_shapes, read_image
from mmfasternet.engine.annotated import average_precision, read_data, to_entries
from mmfasternet.errors import UserError

TOOL = ROOT / 'tools/benchmark/artifact.py'
TINY = Plan(timed=3, seconds=0, starts=1)
ONNXRUNTIME, OPENVINO = RUNTIMES['onnxruntime'].label, RUNTIMES['openvino'].label


def found_by(name: str, file: Path, config: Path) -> tuple[dict, list[dict]]:
    data, detector = read_data(config), open_detector(name, file, config, threads=1)
    entries = [e for image, path in data.images.items() for e in to_entries(data, image, detector(read_image(path)))]
    return average_precision(data, entries), entries


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino', 'openvino-streams'])
def test_what_predicts_the_truth_has_an_ap_of_100(tmp_path, name):
    config = write_data(tmp_path, images=3)
    ap, entries = found_by(name, write_detector(tmp_path / 'a.onnx', MASKS), config)
    assert ap == dict(box_ap=100, mask_ap=100)
    # The ids of dog and cat, in the order of the scores; all of them are kept, the low ones too.
    assert [(one['category_id'], one['bbox']) for one in entries[:3]] == [
        (3, [8, 4, 16, 16]),
        (7, [0, 0, 16, 8]),
        (3, [30, 10, 10, 20]),
    ]


def test_an_object_that_is_missed_costs_ap(tmp_path):
    """One of six dogs lies half its width beside what is found first: five of six are found, at a precision of 5/6."""
    config = write_data(tmp_path, images=3, moved=8)
    ap, _ = found_by('onnxruntime', write_detector(tmp_path / 'a.onnx'), config)
    # 84 of COCO's 101 recalls are up to 5/6; cats are all found.
    assert ap == dict(box_ap=pytest.approx(100 * (1 + 84 / 101 * 5 / 6) / 2, abs=1e-3), mask_ap=None)


@pytest.mark.parametrize('indices, ids', [(2, [1, 2]), (-2, [4, 5]), ([4, 0, 2], [5, 1, 3]), (range(1, 3), [2, 3])])
def test_the_ap_is_of_the_subset_that_a_config_tests_on(tmp_path, indices, ids):
    """As mmengine reads it. The only object that is missed is in the first image."""
    config = write_data(tmp_path, moved=8)
    config.write_text(f'{config.read_text()}test_dataloader["dataset"]["indices"] = {indices!r}\n')
    assert list(read_data(config).images) == ids and list(read_data(config, most=2).images) == [ids[0], ids[-1]]
    ap, entries = found_by('onnxruntime', write_detector(tmp_path / 'a.onnx'), config)
    assert {one['image_id'] for one in entries} == set(ids) and (ap['box_ap'] == 100) == (1 not in ids)


def test_a_subset_of_images_that_there_are_not_is_refused(tmp_path):
    config = write_data(tmp_path)
    config.write_text(f'{config.read_text()}test_dataloader["dataset"]["indices"] = [1, 5]\n')
    with pytest.raises(UserError, match=r'must be a number of images, or a list of numbers below 5, but got \[1, 5\]'):
        read_data(config)


def test_nothing_found_is_an_ap_of_0(tmp_path):
    data = read_data(write_data(tmp_path))
    assert average_precision(data, []) == dict(box_ap=0, mask_ap=0)


def test_an_openvino_ir_says_what_its_onnx_file_says(tmp_path):
    import openvino

    from mmfasternet.benchmark.measure.openvino_core import openvino_core

    small = np.ones((3, 28, 28), np.float32)
    file, config = write_detector(tmp_path / 'a.onnx', small), write_data(tmp_path)
    openvino.save_model(openvino_core().read_model(str(file)), str(tmp_path / 'a.xml'))
    assert found_by('openvino', tmp_path / 'a.xml', config)[0] == dict(box_ap=100, mask_ap=100)
    with pytest.raises(UserError, match=r'a\.xml cannot be read by OpenVINO: .+'):
        (tmp_path / 'a.xml').write_text('no model')
        open_detector('openvino', tmp_path / 'a.xml', config, 1)


def turn(first: list[float], second: list[float], parallel_s: float = 0.1, load: float = 0.0) -> dict:
    return dict(times_ms=[*first, *second], parallel_s=parallel_s, load_average=load, clock_mhz=None)


def test_figures_are_of_distinct_images():
    times = list(range(1, 101))
    turns = [turn(times[n : n + 20], times[n : n + 20], 0.1 * (1 + n // 20)) for n in range(0, 100, 20)]
    figures = summarize_images(turns, 2)
    assert figures['median_ms'] == 50.5 and figures['p95_ms'] == pytest.approx(95.5, abs=0.5)
    # Twenty images in 0.1 to 0.5 seconds; the median turn.
    assert figures['throughput'] == pytest.approx(20 / 0.3, abs=1e-3) and figures['flags'] == []
    low, high = figures['interval_ms']
    # That of the median of 100 evenly spread values is about ±1.96 · 100 / (2 √100).
    assert low == pytest.approx(40.7, abs=2.5) and high == pytest.approx(60.3, abs=2.5)
    # More images narrow it, and images that take equally long leave nothing open.
    assert np.ptp(summarize_images(turns * 9, 2)['interval_ms']) < (high - low) / 2
    assert summarize_images([turn([5.0] * 20, [5.0] * 20)], 2)['interval_ms'] == [5, 5]


def test_a_disturbed_run_is_flagged_and_images_of_different_sizes_are_not():
    assert summarize_images([turn([1, 10, 100], [1.05, 10.5, 105])], 2)['flags'] == []
    (flag,) = summarize_images([turn([1, 10, 100], [1.5, 12, 130])], 2)['flags']
    assert 'two runs of an image lie 30% apart' in flag
    (flag,) = summarize_images([turn([1, 10], [1, 10], load=4.0)], 2)['flags']
    assert 'load average was 2.0 above' in flag


def test_artifacts_take_turns_over_the_same_images(monkeypatch):
    """In each round all of them, another one first; each image is timed twice."""
    timed, rows = [], [measure.Artifact(Path(f'{name}.onnx'), 'onnxruntime', name) for name in 'ab']

    def take_turn(contender, clock):
        contender.run()  # the warm-up, wherever it ends
        images = [contender.run() for _ in range(clock.least_runs)]
        timed.append((contender.label[0], sorted(images)))
        return dict(times_ms=[100.0] * len(images), load_average=0, clock_mhz=None), None

    def figures(seconds, images=45):
        timed.clear()
        detectors = {row: lambda image: image for row in rows}
        return measure._take_turns(detectors, list(range(images)), Plan(seconds=seconds), threads=2)

    monkeypatch.setattr(measure, 'take_turn', take_turn)
    assert [one['images'] for one in figures(60).values()] == [45, 45]
    assert [name for name, _ in timed] == ['a', 'b', 'b', 'a', 'a', 'b']
    assert timed[0][1] == timed[1][1] == sorted([*range(20)] * 2)
    assert timed[4][1] == sorted([*range(40, 45)] * 2)
    # A turn has 40 runs of 0.1 s, so that a second one is begun after 4 s and not after 5.
    assert [one['images'] for one in figures(4.1).values()] == [40, 40]
    assert [one['images'] for one in figures(4).values()] == [20, 20]
    # A percentile needs more runs than five images give.
    assert [one['images'] for one in figures(60, images=5).values()] == [5, 5]
    assert timed[0][1] == sorted([*range(5)] * 8)


@pytest.fixture(scope='module')
def measured(tmp_path_factory) -> Records:
    """A made-up file that finds all objects, and one that finds them in boxes alone, in two runtimes."""
    folder = tmp_path_factory.mktemp('artifacts')
    files = [write_detector(folder / 'masks.onnx', MASKS), write_detector(folder / 'boxes.onnx')]
    records = Records.open(folder / 'records.json')
    measure_artifacts(files, write_data(folder), records, ('onnxruntime', 'openvino'), TINY)
    return records


def test_a_row_has_every_figure_of_its_file(measured):
    rows = Records.read(measured.path).of_kind('artifact')
    assert [one['label'] for one in rows] == [
        f'{name}.onnx, {runtime}' for name in ('masks', 'boxes') for runtime in (ONNXRUNTIME, OPENVINO)
    ]
    for one in rows:
        file = measured.path.parent / one['file']
        assert one['size_bytes'] == file.stat().st_size and one['box_ap'] == 100
        assert one['mask_ap'] == (100 if one['file'] == 'masks.onnx' else None)
        assert (one['data_images'], one['images'], len(one['starts_s'])) == (5, 3, 1)
        assert 0 < one['interval_ms'][0] <= one['median_ms'] <= one['interval_ms'][1] and one['throughput'] > 0
        # Nothing that needs torch is loaded, which alone takes more memory than this.
        assert 0 < one['start_s'] < 60 and one['peak_mib'] < 400
    assert len({one['run'] for one in rows}) == 1
    page = (ROOT / 'docs/records.md').read_text()
    assert all(f'`{key}`' in page for one in rows for key in one)


def test_what_is_recorded_is_not_measured_again(measured, monkeypatch):
    files = [measured.path.parent / name for name in ('masks.onnx', 'boxes.onnx')]
    before = measured.path.read_bytes()
    for name in ('_open_all', '_take_turns', 'start_once', 'average_precision'):
        monkeypatch.setattr(measure, name, None)
    both = ('onnxruntime', 'openvino')
    measure_artifacts(files, measured.path.parent / 'made_up.py', measured, both, TINY)
    assert measured.path.read_bytes() == before


def test_a_run_that_was_interrupted_resumes(measured, monkeypatch):
    """After the first AP: the other parts are measured, and the latencies of all together."""
    first = {key: value for key, value in measured.records[0].items() if key not in ('run', 'start_s', 'median_ms')}
    begun = Records(measured.machine, records=[first, *measured.records[1:]])
    monkeypatch.setattr(measure, 'average_precision', None)
    starts = []

    def start_once(name, path, *rest):
        starts.append((name, path.name))
        return dict(seconds=1.5, peak_mib=50.0)

    monkeypatch.setattr(measure, 'start_once', start_once)
    files = [measured.path.parent / name for name in ('masks.onnx', 'boxes.onnx')]
    measure_artifacts(files, measured.path.parent / 'made_up.py', begun, ('onnxruntime', 'openvino'), TINY)
    assert starts == [('onnxruntime', 'masks.onnx')] and begun.records[0]['start_s'] == 1.5
    pairs = zip(begun.records, measured.records, strict=True)
    assert all(new['rounds'] != old['rounds'] for new, old in pairs)


def test_a_process_of_its_own_loads_what_it_runs_alone(tmp_path):
    file, config = write_detector(tmp_path / 'a.onnx'), write_data(tmp_path, images=1)
    given = dict(runtime='onnxruntime', path=str(file), config=str(config), threads=1, trust=False)
    code = (
        f"{start._CODE}; import sys; print([name for name in ('torch', 'mmengine', 'openvino') if name in sys.modules])"
    )
    done = succeed(sys.executable, '-c', code, json.dumps(given | dict(images=[str(tmp_path / 'val/1.png')])))
    figures, loaded = done.stdout.splitlines()
    assert json.loads(figures)['seconds'] > 0 and loaded == '[]'
    with pytest.raises(UserError, match='a.onnx does not start in a process of its own: .*cannot be read'):
        file.write_bytes(b'')
        start.start_once('onnxruntime', file, config, 1, [tmp_path / 'val/1.png'], trust=False)


def refused(match: str, *files: Path, config: Path, runtimes: tuple = ('onnxruntime',)) -> None:
    """Before anything is measured."""
    records = Records(CPU)
    with pytest.raises(UserError, match=match):
        measure_artifacts(files, config, records, runtimes, TINY)
    assert records.records == []


def test_files_that_cannot_be_compared_are_refused(tmp_path):
    config, good = write_data(tmp_path), write_detector(tmp_path / 'good.onnx')
    part = write_detector(tmp_path / 'neck.onnx', part='neck')
    refused('neck.onnx: the file holds no complete model', good, part, config=config)
    birds = write_detector(tmp_path / 'birds.onnx', classes=['bird', 'dog'])
    refused(
        r'birds.onnx has the classes bird, dog \(2\), but .*coco.json has cat, dog \(2\)', good, birds, config=config
    )
    maps = write_segmentor(tmp_path / 'maps.onnx')
    refused('maps.onnx is for segmentation', maps, config=config)
    refused('none.onnx does not exist', good, tmp_path / 'none.onnx', config=config)
    refused(r'a.txt is none of \*.onnx, \*.ncnn.param and \*.pte', tmp_path / 'a.txt', config=config)
    refused('none of the files runs in openvino', tmp_path / 'a.pth', config=config, runtimes=('openvino',))
    (tmp_path / 'other').mkdir()
    refused('several are named good.onnx', good, write_detector(tmp_path / 'other/good.onnx'), config=config)


def test_data_without_images_or_annotations_is_refused(tmp_path):
    config, file = write_data(tmp_path), write_detector(tmp_path / 'a.onnx')
    segmentor = ROOT / 'configs/demo/semantic_fpn_fasternet_t0_shapes.py'
    refused('names no COCO annotations that a detector is tested on', file, config=segmentor)
    (tmp_path / 'val/2.png').unlink()
    refused(r'1 of 5 images of .*coco.json do not exist, such as .*val/2.png', file, config=config)
    content = json.loads((tmp_path / 'coco.json').read_text())
    (tmp_path / 'coco.json').write_text(json.dumps(content | dict(annotations=[])))
    refused('coco.json has no object of cat, dog', file, config=config)
    (tmp_path / 'coco.json').write_text(json.dumps(content | dict(annotations=[], images=[])))
    refused('coco.json has no image', file, config=config)
    config.write_text(config.read_text().replace("'coco.json'", "''"))
    refused('names no COCO annotations', file, config=config)


def test_a_runtime_that_is_not_installed_is_named_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    config, file = write_data(tmp_path), write_detector(tmp_path / 'a.onnx')
    refused('OpenVINO f32 is not installed .*: pip install openvino', file, config=config, runtimes=('openvino',))


def test_a_precision_that_the_cpu_lacks_is_left_out(tmp_path, monkeypatch):
    config, file = write_data(tmp_path), write_detector(tmp_path / 'a.onnx')
    monkeypatch.setattr(measure, 'start_once', lambda *_: dict(seconds=1.0, peak_mib=None))
    both = ('onnxruntime', 'openvino-bf16')
    old = SimpleNamespace(get_property=lambda *_: ['FP32'])
    records = Records.open(tmp_path / 'old.json')
    with monkeypatch.context() as patch:
        patch.setattr(measure, 'openvino_core', lambda: old)
        measure_artifacts([file], config, records, both, TINY)
    (lacking,), (row,) = records.of_kind('lacking'), records.of_kind('artifact')
    assert lacking['contender'] == RUNTIMES['openvino-bf16'].label and row['peak_mib'] is None
    assert 'OpenVINO bf16 is left out on this machine: this CPU has no instructions' in artifacts_page(records)
    # The list may promise what the compiled model does not do.
    records = Records.open(tmp_path / 'other.json')
    monkeypatch.setattr(measure, 'openvino_precision', lambda compiled: 'fp32')
    monkeypatch.setattr(measure, '_lacked', lambda runtime: False)
    measure_artifacts([file], config, records, both, TINY)
    assert records.of_kind('lacking')[0]['reason'] == 'OpenVINO computes in fp32 here when bf16 is asked for'
    assert [one['runtime'] for one in records.of_kind('artifact')] == [ONNXRUNTIME]


def row(runtime: str, median: float, box_ap: float, file: str = 'a.onnx', **fields) -> dict:
    figures = dict(box_ap=box_ap, mask_ap=40.0, start_s=0.5, starts_s=[0.5], peak_mib=200.0, median_ms=median)
    figures |= dict(p95_ms=2 * median, interval_ms=[0.99 * median, 1.01 * median], images=100, throughput=10.0)
    figures |= dict(flags=[], rounds=[], run='one', sha256=file, size_bytes=12_345_678, file=file, runtime=runtime)
    figures |= dict(version='runtime 1.0', dataset='coco.json', data_images=120, threads=2)
    return record('artifact', file, label=f'{file}, {runtime}', **figures | fields)


def made_up(*rows: dict) -> Records:
    return Records(CPU, records=list(rows))


FOUR = (
    row('ONNX Runtime', 50.0, 70.0),
    row('PyTorch', 100.0, 70.02, file='a.pth', mask_ap=40.5),
    row('OpenVINO f32', 48.0, 70.0),
    row('OpenVINO bf16', 20.0, 68.7, flags=['it was busy']),
)


def test_made_up_records_pass_the_schema(tmp_path):
    records = Records(CPU, tmp_path / 'records.json', FOUR)
    records.save()
    assert Records.read(records.path).records == list(FOUR)
    for wrong in (dict(box_ap=101), dict(median_ms=0), dict(interval_ms=[1.0]), dict(flags='busy'), dict(sha256=None)):
        with pytest.raises(ValueError, match=f'"{next(iter(wrong))}" should be'):
            Records(CPU).add(FOUR[0] | wrong)


def test_page_shows_drops_first_and_leaves_flagged_figures_out_of_the_headline():
    page = artifacts_page(made_up(*FOUR))
    (table,) = tables(page)
    assert [line[0] for line in table[1:]] == [
        'a.pth, PyTorch',
        *(f'a.onnx, {runtime}' for runtime in ('ONNX Runtime', 'OpenVINO f32', 'OpenVINO bf16')),
    ]
    # Size, box and mask AP with their differences from the reference, latency, interval, percentile, and the rest.
    assert table[1][1:6] == ['12.3', '70.0', '–', '40.5', '–']
    assert table[2][1:] == [
        *('12.3', '70.0', '0.0', '40.0', '−0.5', '50.0', '49.5–50.5', '100', '10.0', '0.50', '200'),
    ]
    assert table[4][2:7] == ['68.7', '−1.3', '40.0', '−0.5', '20.0 \\*']
    lines = [line for line in page.splitlines() if line.startswith('- ')]
    assert lines[0] == '- **a.onnx, OpenVINO bf16** loses 1.3 points of box AP against a.pth, PyTorch.'
    assert 'loses 0.5 points of mask AP' in lines[1]
    # The fastest one is flagged; the next two lie within 5 %.
    assert '- The shortest latency is 48.0 ms, of **a.onnx, OpenVINO f32**, a tie with a.onnx, ONNX Runtime.' in lines
    assert '- That is 2.08 times as fast as the reference, a.pth, PyTorch.' in lines
    assert '- \\* a.onnx, OpenVINO bf16: it was busy' in lines


def test_overlapping_intervals_are_a_tie_and_a_lone_reference_is_not_faster_than_itself():
    wide = row('OpenVINO f32', 40.0, 70.0, interval_ms=[30.0, 49.8])
    page = artifacts_page(made_up(FOUR[0], wide))
    assert 'of **a.onnx, OpenVINO f32**, a tie with a.onnx, ONNX Runtime.' in page and 'times as fast' not in page
    assert 'No artifact loses AP' in page
    apart = row('OpenVINO f32', 40.0, 70.0)
    assert 'is 40.0 ms, of **a.onnx, OpenVINO f32**.' in artifacts_page(made_up(FOUR[0], apart))
    assert 'That is' not in artifacts_page(made_up(FOUR[0]))
    busy = artifacts_page(made_up(row('ONNX Runtime', 50.0, 70.0, flags=['busy'])))
    assert 'All latencies are flagged' in busy and 'shortest latency is' not in busy


def test_only_artifacts_that_took_turns_are_compared(tmp_path):
    older = row('ONNX Runtime', 1.0, 99.0, file='old.onnx', run='older')
    newer = [dict(one, date='2026-02-01T00:00:00+00:00') for one in FOUR[:2]]
    begun = dict(row('OpenVINO f32', 2.0, 99.0, file='begun.onnx'), median_ms=None)
    assert [one['file'] for one in latest_run(made_up(older, *newer, begun))] == ['a.pth', 'a.onnx']
    with pytest.raises(UserError, match='nothing to draw in .* yet: no artifact is complete'):
        write_artifacts(made_up(begun), tmp_path)


def test_plot_marks_what_is_flagged(tmp_path):
    figure = draw_artifacts(made_up(*FOUR))
    (axes,) = figure.axes
    points = [line for line in axes.lines if line.get_marker() != 'None']
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in points] == [
        (100.0, 70.02),
        (50.0, 70.0),
        (48.0, 70.0),
        (20.0, 68.7),
    ]
    assert [line.get_markerfacecolor() == 'white' for line in points] == [False, False, False, True]
    labels = [text.get_text() for text in axes.texts]
    assert sorted(labels) == ['ONNX Runtime', 'OpenVINO bf16 †', 'OpenVINO f32', 'PyTorch']
    # A colour is a file's.
    colours = [line.get_color() for line in points]
    assert len(set(colours)) == 2 and len(set(colours[1:])) == 1
    entries = [text.get_text() for text in figure.legends[0].texts]
    assert entries == ['a.pth', 'a.onnx', '†, hollow: flagged']
    written = write_artifacts(made_up(*FOUR), tmp_path)
    assert written['artifacts.png'].read_bytes().startswith(b'\x89PNG')
    assert written['artifacts.png'].stat().st_size < 300_000


def test_records_of_other_machines_have_sections_of_their_own(tmp_path):
    """Their figures are compared with the reference on the same machine, not across machines."""
    rows = [row('ncnn', 400.0, 70.0, file='a.ncnn.param', mask_ap=None), row('ONNX Runtime', 500.0, 70.0)]
    path = tmp_path / 'board.json'
    Records(CPU | dict(id='b0a2d000', label='Some_Board', cpu='Some Board'), path, rows).save()
    board = Records.read(path)
    alone = artifacts_page(made_up(*FOUR))
    page = artifacts_page(made_up(*FOUR), [board])
    assert page.startswith(alone) and '## ' not in alone
    section = page.removeprefix(alone)
    assert section.startswith('\n## Some_Board\n\n- No artifact loses AP against the reference, a.ncnn.param, ncnn.')
    assert 'Measured on Some_Board, 2026-01-01' in section and 'The shortest latency is 400 ms' in section
    first, second = tables(page)
    assert len(first) == 5 and [line[0] for line in second[1:]] == ['a.ncnn.param, ncnn', 'a.onnx, ONNX Runtime']
    written = write_artifacts(made_up(*FOUR), tmp_path / 'out', [board])
    assert written['artifacts.md'].read_text() == page
    with pytest.raises(UserError, match='no artifact is complete in'):
        write_artifacts(made_up(*FOUR), tmp_path / 'none', [Records(CPU, tmp_path / 'empty.json')])
    assert not (tmp_path / 'none').exists()


def test_names_of_files_are_texts():
    page = artifacts_page(made_up(row('ONNX Runtime', 50.0, 70.0, file='a|b<i>.onnx')))
    assert tables(page)[0][1][0] == 'a\\|b&lt;i&gt;.onnx, ONNX Runtime'


def test_a_quick_run_takes_the_short_demo_where_there_is_no_complete_one(tmp_path, monkeypatch):
    """What tools/demo.py --quick leaves, with its own images; a complete run wants the complete demo."""
    monkeypatch.chdir(tmp_path)
    exported, name = [], 'mask_rcnn_fasternet_t0_shapes'
    monkeypatch.setattr(demo, 'export_onnx', lambda config, path, **options: exported.append((Path(config), path)))
    for end in ('_quick', ''):
        make_shapes(tmp_path / f'data/shapes{end}', num_train=1, num_val=1)
        folder = Path(f'work_dirs/{name}{end}')
        folder.mkdir(parents=True)
        torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=dict(epoch=1, iter=4)), folder / 'epoch_1.pth')
        base = str(ROOT / f'configs/demo/{name}.py')
        (folder / f'{name}.py').write_text(f"_base_ = {base!r}\ndata_root = 'data/shapes{end}/'\n")
        if end:
            with pytest.raises(UserError, match=rf'no trained demo here \(work_dirs/{name} and its images\): run'):
                demo_files('out', quick=False)
        config, files = demo_files('out', quick=True)
        assert Path(config) == (folder / f'{name}.py' if end else Path(base))
        assert files == [folder / 'epoch_1.pth', Path('out/detector.onnx')] and exported[-1] == (Path(config), files[1])


def test_the_tool(tmp_path, monkeypatch, capsys):
    """Measured and drawn in one command, which measures nothing again; without arguments, it takes the demo."""
    monkeypatch.chdir(tmp_path)
    file, config = write_detector(tmp_path / 'a.onnx', MASKS), write_data(tmp_path)
    command = (TOOL, '--quick', '--runtimes', 'onnxruntime', 'openvino', '--out-dir', 'out')
    run_in_process(*command, file, '--data', config)
    rows = Records.read('out/records.json').of_kind('artifact')
    assert [(one['file'], one['runtime']) for one in rows] == [('a.onnx', ONNXRUNTIME), ('a.onnx', OPENVINO)]
    assert all(one['box_ap'] == one['mask_ap'] == 100 and one['start_s'] > 0 for one in rows)
    assert len(tables(Path('out/artifacts.md').read_text())[0]) == 1 + len(rows)
    assert 'out/artifacts.md' in capsys.readouterr().out
    before = Path('out/records.json').read_bytes()
    run_in_process(*command, file, '--data', config)
    assert Path('out/records.json').read_bytes() == before
    for words, message in (((file,), 'files and --data go together'), ((), 'there is no trained demo here')):
        with pytest.raises(SystemExit, match=message):
            run_in_process(*command, *words)


def test_committed_figures_are_those_of_the_records():
    folder = ROOT / 'docs/results/artifacts'
    records = Records.read(folder / 'records.json')
    run = latest_run(records)
    assert len(run) == 9 and not any(record['flags'] or record['commit'].endswith('+') for record in run)
    assert (folder / 'artifacts.md').read_text() == artifacts_page(records)
    ratios = [run[0]['median_ms'] / record['median_ms'] for record in run[1:]]
    starts = [record['start_s'] for record in run]
    words = (
        f'{min(ratios):.1f} to\n{max(ratios):.1f} times as fast as the checkpoint in PyTorch, start in '
        f'{min(starts[1:]):.1f} to {max(starts[1:]):.1f} s instead of {starts[0]:.1f} s'
    )
    assert words in (ROOT / 'docs/deploy.md').read_text()
