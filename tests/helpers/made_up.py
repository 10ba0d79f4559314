"""Records of two machines that never were, for the tests of the report."""

from mmfasternet.benchmark.published.rows import ROWS
from mmfasternet.benchmark.records.records import new_document, read_records
from mmfasternet.files import write_json

DATE = '2026-01-{:02}T00:00:00+00:00'
CPU = dict(id='c0ffee00', label='Some CPU, 2 threads', device='cpu', cpu='Some CPU', cores=4, threads=2, memory_gb=8.0)
GPU = dict(id='9b000000', label='NVIDIA Some GPU', device='cuda:0', device_name='Some GPU', threads=8, cuda='12.8')


def record(kind, row, day=1, **fields):
    origin = dict(config='some.py', date=DATE.format(day), commit='0123456789', command='python measure.py')
    return dict(kind=kind, row=row, **{'label': row, **origin, **fields})


def latency(row, median, day=1, **fields):
    timing = dict(scope='backbone', path='reference', precision='fp32', threads=2, batch=1, shape=[800, 1280], flags=[])
    timing |= dict(median_ms=median, quartiles_ms=[0.9 * median, 1.2 * median], p90_ms=1.3 * median)
    return record('latency', row, day, **{**timing, 'throughput': 1000 / median, **fields})


def complexity(row, giga, day=1, **fields):
    counts = dict(shape=[800, 1280], params=50_000_000, trainable=49_000_000)
    return record('complexity', row, day, **counts, flops_paper=giga * 10**9, flops_full=(giga + 16) * 10**9, **fields)


def ap(row, box, mask, day=1, **fields):
    return record('ap', row, day, box_ap=box, mask_ap=mask, source='test.json', dataset='COCO val2017', **fields)


def documents(folder, *more):
    """A CPU's and a GPU's, both read back from files, where they are checked; ``more`` goes into the CPU's."""
    cpu, gpu = new_document(CPU), new_document(GPU)
    for index, row in enumerate(ROWS):
        flops = row.published.flops_g if row.published and row.published.flops_g else 200 + 10 * index
        published = row.published.latency_ms if row.published and row.published.latency_ms else 60 + 5 * index
        cpu['records'] += [complexity(row.name, int(flops)), latency(row.name, 10.0 * published + 7 * (index % 3))]
        gpu['records'] += [
            latency(row.name, published / 5 + index % 4, path=path, threads=8) for path in ('reference', 'deploy')
        ]
    cpu['records'] += more
    for name, document in (('cpu', cpu), ('gpu', gpu)):
        write_json(folder / f'{name}.json', document)
    return [read_records(folder / f'{name}.json') for name in ('cpu', 'gpu')]
