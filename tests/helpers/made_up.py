"""Records of two machines that never were, for the tests of reports."""

from pathlib import Path

from mmfasternet.benchmark.published.rows import BUILT_ROWS
from mmfasternet.benchmark.records import Records

__all__ = ['CPU', 'DATE', 'GPU', 'ap', 'complexity', 'latency', 'record', 'two_machines']

DATE = '2026-01-{:02}T00:00:00+00:00'
CPU = dict(id='c0ffee00', label='Some CPU', device='cpu', cpu='Some CPU', cores=4, memory_gb=8.0)
GPU = dict(id='9b000000', label='NVIDIA Some GPU', device='cuda:0', device_name='Some GPU', cuda='12.8')


def record(kind: str, row: str, day: int = 1, **fields: object) -> dict:
    """What every record has; ``fields`` replace any of it."""
    origin = dict(config='some.py', date=DATE.format(day), commit='0123456789', command='python measure.py')
    return dict(kind=kind, row=row, **{'label': row, **origin, **fields})


def latency(row: str, median: float, day: int = 1, **fields: object) -> dict:
    """A latency of a backbone; its quartiles are 0.9 and 1.2 times the median."""
    timing = dict(scope='backbone', path='reference', backend='eager', provider=None, precision='fp32', device='cpu')
    timing |= dict(weights='fp32', memory_format='contiguous', threads=2, batch=1, shape=[800, 1280], flags=[])
    timing |= dict(median_ms=median, quartiles_ms=[0.9 * median, 1.2 * median], p90_ms=1.3 * median)
    return record('latency', row, day, **{**timing, 'throughput': 1000 / median, **fields})


def complexity(row: str, giga: int, day: int = 1, **fields: object) -> dict:
    """A detector of so many G multiply-adds, as the paper counts."""
    counts = dict(shape=[800, 1280], params=50_000_000, trainable=49_000_000)
    return record('complexity', row, day, **counts, flops_paper=giga * 10**9, flops_full=(giga + 16) * 10**9, **fields)


def ap(row: str, box: float, mask: float, day: int = 1, **fields: object) -> dict:
    """A measured AP."""
    return record('ap', row, day, box_ap=box, mask_ap=mask, source='test.json', dataset='COCO val2017', **fields)


def two_machines(folder: Path, *more: dict) -> list[Records]:
    """A CPU's and a GPU's, both read back from files, where they are checked; ``more`` goes into the CPU's."""
    cpu, gpu = Records(CPU, folder / 'cpu.json'), Records(GPU, folder / 'gpu.json')
    for index, row in enumerate(BUILT_ROWS):
        flops = row.published.flops_g if row.published and row.published.flops_g else 200 + 10 * index
        published = row.published.latency_ms if row.published and row.published.latency_ms else 60 + 5 * index
        cpu.records += [complexity(row.name, int(flops)), latency(row.name, 10.0 * published + 7 * (index % 3))]
        gpu.records += [
            latency(row.name, published / 5 + index % 4, path=path, device='cuda:0') for path in ('reference', 'folded')
        ]
    cpu.records += more
    for records in (cpu, gpu):
        records.save()
    return [Records.read(records.path) for records in (cpu, gpu)]
