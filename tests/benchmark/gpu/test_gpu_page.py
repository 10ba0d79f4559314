"""The page of the GPU benchmark: predictions alone, made-up measurements of a GPU, and a rehearsal on a CPU."""

import pytest
from helpers.made_up import CPU, GPU, latency, record
from helpers.markdown import tables
from helpers.project import ROOT

from mmfasternet.benchmark.gpu.measured import cells_of, slower_than_plain, speedups
from mmfasternet.benchmark.gpu.report import gpu_page, write_gpu
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

FOLDER = ROOT / 'docs/results/gpu'
# Way → median and time in a row in ms, in the first cell.
TIMES = {
    'timm': (2.5, 2.4),
    'reference, NCHW': (2.6, 2.5),
    'folded': (2.0, 1.6),
    'optimized': (2.4, 1.92),
    'folded, graph': (0.31, 0.2),
    'optimized, graph': (0.19, 0.08),
    'fused, graph': (0.16, 0.05),
    'max-autotune': (0.2, 0.1),
}


def of_way(way: str, times: tuple[float, float], **fields) -> dict:
    """A latency of T0 as the benchmark records it; its quartiles are a hundredth from the median."""
    backend = 'graph' if way.endswith(', graph') else 'compile' if way == 'max-autotune' else 'eager'
    setting = dict(
        arch='t0', shape=[224, 224], batch=1, precision='fp16', weights='cast', contender=way, backend=backend
    )
    setting |= dict(memory_format='contiguous' if 'NCHW' in way else 'channels_last', device='cuda:0', peak_mib=12.4)
    if backend == 'compile':
        setting['compile_s'] = 41.0
    made = latency('fasternet_t0', times[0], **{**setting, **fields})
    return {**made, 'quartiles_ms': [0.99 * times[0], 1.01 * times[0]], 'stream_ms': times[1]}


def made_up(path, machine=GPU, **fields) -> Records:
    records = Records(machine, path)
    records.records += [of_way(way, times, **fields) for way, times in TIMES.items()]
    # The same in another precision, by autocast, and for more images.
    records.records += [
        of_way('folded', (4.0, 3.0), precision='tf32', weights='fp32'),
        of_way('optimized', (4.1, 3.1), precision='tf32', weights='fp32'),
        of_way('folded', (7.0, 7.0), weights='autocast'),
        of_way('folded', (3.2, 3.2), batch=32),
        of_way('optimized', (9.9, 9.9), batch=32, flags=['throttled']),
        of_way('folded', (2.6, 2.56), batch=256),
        of_way('fused, graph', (1.4, 1.28), batch=256),
        of_way('max-autotune', (2.1, 1.92), batch=256),
    ]
    gpu = dict(config=None, row='gpu', label='T0')
    records.records += [
        record('gpu', part='peaks', settings={}, figures=dict(bandwidth_gb_s=3000.0, fp16_gmacs=400_000.0), **gpu),
        record(
            'gpu',
            part='differences',
            settings=dict(precision='fp16', shape=[64, 96]),
            figures={'reference': 1.2e-3, 'fused': 9.4e-4},
            **gpu,
        ),
        record(
            'gpu',
            part='kernel',
            settings=dict(channels=40, activation='GELU', precision='fp16'),
            figures=dict(stream_ms=0.0123, gmacs_s=123_456, shared_kib=24, config='128 × 32'),
            **gpu,
        ),
    ]
    training = dict(arch='s', shape=[224, 224], batch=128, threads=1, device='cuda:0')
    training |= dict(precision='bf16', memory_format='channels_last')
    records.records += [
        record(
            'training', 'fasternet_s', contender=name, held_mib=held, median_ms=ms, quartiles_ms=[ms, ms], **training
        )
        for name, held, ms in (('as it is', 8000.0, 100.0), ('with_cp=True', 2000.0, 130.0))
    ]
    detector = dict(scope='end2end', precision='fp16', weights='autocast', device='cuda:0')
    records.records += [
        latency('fasternet_s', median, path=path, flags=flags, **detector)
        for path, median, flags in (('folded', 31.0, ['busy']), ('optimized', 29.0, []))
    ]
    demo = dict(config='some.py', options=['a=1'], amp=True), {'seconds': 61.2, 'box AP': 0.5}
    records.records.append(record('gpu', part='demo', settings=demo[0], figures=demo[1], **gpu))
    records.save()
    return Records.read(path)


@pytest.fixture
def records(tmp_path) -> Records:
    return made_up(tmp_path / 'records.json')


def section(page: str, title: str) -> list:
    """The first table below a heading."""
    return tables(page.split(f'\n## {title}', 1)[1])[0]


def test_cells_and_ways_stay_apart(records):
    cells = cells_of(records)
    titles = [cell.title for cell in cells]
    assert titles == [
        'T0, 224 × 224, batch 1, fp16',
        'T0, 224 × 224, batch 1, tf32',
        'T0, 224 × 224, batch 1, fp16 by autocast',
        'T0, 224 × 224, batch 32, fp16',
        'T0, 224 × 224, batch 256, fp16',
    ]
    assert list(next(iter(cells.values()))) == list(TIMES)
    # Whatever records call them, formats and graphs are told apart.
    records.records += [
        of_way('timm', (3.0, 3.0), memory_format='contiguous'),
        of_way('timm', (0.3, 0.3), backend='graph'),
    ]
    first = next(iter(cells_of(records).values()))
    assert {'timm', 'timm, NCHW', 'timm, graph'} < first.keys() and len(first) == len(TIMES) + 2


def test_speed_is_relative_to_the_best_plain_network_in_eager(records):
    first = next(iter(speedups(cells_of(records)).values()))
    assert first['folded'] == 1 and first['timm'] == pytest.approx(1.6 / 2.4)
    assert first['optimized, graph'] == pytest.approx(20)


def test_what_is_slower_comes_first(records):
    page = gpu_page(records)
    lines = [line for line in page.splitlines() if line.startswith('- ')]
    assert lines[0].startswith(
        '- Slower than the folded plain network in channels_last in 2 of 8 comparisons (each pair by two clocks);'
    )
    assert lines[0].endswith('Left out for flagged figures: 1.')
    worst = '- **T0, 224 × 224, batch 1, fp16**: optimized takes 1.20 times as long as folded, '
    assert lines[1:3] == [f'{worst}run after run.', f'{worst}each run waited for.']
    # Under 5 % is a tie: tf32 is not among them.
    assert 'tf32**' not in page
    assert (
        '*optimized* takes 1.11 times as long as *folded* run after run (geometric mean): slower in 1, tied in 1 and'
        in page
    )


def test_none_is_slower(records):
    found = [one for one in records.records if one.get('contender') != 'optimized']
    (line,) = slower_than_plain(cells_of(Records(GPU, records=found)))
    assert line.startswith('In none of 4 comparisons (each pair by two clocks) is a form')


def test_condition_of_the_fused_kernel(records):
    assert 'T0 and T1; it is, in all 2 cells, 1.73 times on average.' in gpu_page(records)
    records.records += [of_way('fused, graph', (1.8, 1.6), batch=256)]
    # What is flagged decides nothing.
    records.records += [of_way('max-autotune', (0.2, 0.01), batch=32, flags=['throttled'])]
    records.records += [of_way('fused, graph', (0.2, 0.1), batch=32)]
    text = 'it is not, in 1 of 2 cells: 1.20 (T0, 224 × 224, batch 256, fp16).'
    assert text in gpu_page(records)


def test_tables(records):
    page = gpu_page(records)
    assert page.startswith('# FasterNet on a GPU\n\nDrawn from `records.json`')
    assert 'NVIDIA Some GPU' in page and 'ehearsal' not in page
    assert '| 0.0 ' not in page and '0.0 ms' not in page and '| 0 ' not in page
    runs = page.split('Run after run.\n')[1]
    assert tables(runs)[0][1][1:] == ['2.40', '2.50', '1.60', '1.92', '0.200', '0.0800', '0.0500', '0.100']
    ratios = section(page, 'Speed as a multiple')
    assert ratios[1][1:5] == ['0.67', '0.64', '1.00', '0.83']
    # 3.0 and 3.1 ms are a tie.
    assert ratios[2][3:5] == ['1.00', '0.97 =']
    throughput = section(page, 'Throughput')
    batch_1, _, _, batch_32, batch_256 = throughput[1:]
    assert batch_1[6:9] == ['12,500', '20,000', '10,000'] and batch_1[-3:] == ['', '', '']
    # The paper's, and timm's.
    assert batch_32[-3:] == ['6,807', '', ''] and batch_256[-3:] == ['', '42,242', '67,656']
    assert 'throttled' in page and section(page, 'Latency')[4][4] == '9.90 \\*'
    # 0.67 G operations in 0.08 ms are 1 % of 800 TFLOP/s.
    assert section(page, 'Share of the two')[1][6].endswith(' / 1%')
    predicted = section(page, 'Prediction and measurement')
    # tf32 has no measured ceiling. A floor alone stands for the fused kernel.
    assert len(predicted) == 5 and predicted[0] == ['', 'eager', 'products', 'fused', 'max-autotune']
    assert predicted[1][1:] == [
        '0.232 / **0.200**',
        '0.180 / **0.0800**',
        '≥ 0.00353 / **0.0500**',
        '0.146 / **0.100**',
    ]
    assert section(page, 'Peak memory')[1][1] == '12' and section(page, 'Seconds to compile')[0] == ['', 'max-autotune']
    assert section(page, 'Difference')[1] == ['T0, 64 × 96, fp16', '1.2e-03', '9.4e-04']
    assert section(page, 'The fused kernel')[1] == ['40 channels, GELU, fp16', '0.0123', '123,456', '24', '128 × 32']
    assert section(page, 'Mask R-CNN') == [
        ['', 'folded', 'optimized'],
        ['fasternet_s, end2end, 800 × 1280, batch 1, fp16', '31.0 \\*', '29.0'],
    ]
    assert '\n`tools/train.py some.py --amp --cfg-options a=1` took 61 s with its data; box AP 0.500.\n' in page
    training = section(page, 'Training')
    assert training[2][1:] == ['2,000', '0.25', '130', '1.30']
    assert '*published*' in page.split('## What speaks against')[1]


def test_aims_of_an_h100(tmp_path):
    def said(records: Records) -> list[str]:
        return [line for line in gpu_page(records).splitlines() if 'aimed at' in line]

    records = made_up(tmp_path / 'records.json', dict(GPU, label='NVIDIA H100 80GB HBM3'))
    one = '- T0, 224 × 224, batch 1, fp16: at most 0.15 ms aimed at, 0.16 ms measured (fused, graph), **missed**.'
    many = '- T0, 224 × 224, batch 256, fp16: 220,000 images/s aimed at, 200,000 measured (fused, graph), **missed**.'
    assert said(records) == [one, many]
    # What is missed stands first.
    records.records.append(of_way('fused, graph', (0.1, 0.08)))
    assert said(records) == [many, one.replace('0.16', '0.1').replace(', **missed**', '')]
    assert said(made_up(tmp_path / 'others.json')) == []


def test_a_table_without_records_says_so(records):
    latencies = [one for one in records.records if one['kind'] == 'latency']
    page = gpu_page(Records(GPU, records=latencies))
    assert page.count('\nNot measured.\n') == 6 and 'They were not measured.' in page


def test_a_record_has_one_of_some_parts():
    with pytest.raises(ValueError, match='"part" should be one of peaks, differences, kernel'):
        Records(GPU).add(dict(kind='gpu', row='gpu', label='T0', part='peak', settings={}, figures=dict(a=1)))


def test_rehearsal_says_so_and_is_not_published(tmp_path):
    records = made_up(tmp_path / 'records.json', CPU, device='cpu')
    written = write_gpu(records, tmp_path)
    lines = written['gpu.md'].read_text().splitlines()
    assert lines[0] == '# Rehearsal on a CPU of the GPU benchmark'
    assert lines[2].startswith('**This is a rehearsal on a CPU: its times mean nothing for a GPU.**')
    with pytest.raises(UserError, match='rehearsal'):
        write_gpu(records, tmp_path / 'docs/results/gpu')


def test_figure_and_links(records, tmp_path):
    (tmp_path / 'operators').mkdir()
    (tmp_path / 'operators/operators.md').write_text('# Operators\n')
    written = write_gpu(records, tmp_path)
    assert '[operators](operators/operators.md)' in written['gpu.md'].read_text()
    assert written['gpu.png'].read_bytes().startswith(b'\x89PNG') and written['gpu.png'].stat().st_size < 300_000
    with pytest.raises(UserError, match='nothing to draw'):
        write_gpu(Records(GPU), tmp_path)


def test_page_without_a_gpu():
    page = gpu_page(None)
    assert page.splitlines()[2] == '**Nothing on this page was measured on a GPU by this project.**'
    against = page.split('\n## ')[1]
    assert 'RepViT-M1.1 processes 1.38 to 1.64 times as many images per second as FasterNet-S' in against
    fits = section(page, 'The prediction beside')
    assert len(fits) == 1 + 24 and fits[1][:3] == ['RTX 4090, eager', 'T0', '31,555']
    floors = section(page, 'Prediction for an H100')
    assert len(floors) == 1 + 12 and floors[3][0] == 'T0, 224 × 224, batch 256'


def test_committed_page_is_what_is_drawn():
    path = FOLDER / 'records.json'
    page = gpu_page(Records.read(path) if path.exists() else None)
    assert (FOLDER / 'gpu.md').read_text() == page
    assert (FOLDER / 'gpu.png').stat().st_size < 300_000
