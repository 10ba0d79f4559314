"""What the page and the figure of operators read from the records."""

from mmfasternet.benchmark.records import Records

from .layers import OPERATORS

__all__ = [
    'batches',
    'complete',
    'gmacs',
    'intensity',
    'layers_of',
    'limits',
    'networks_of',
]

_BYTES = 4  # of an element in float32


def complete(records: Records) -> list[dict]:
    """The records of cells that were measured to their end: the machine's limits come last."""
    ended = [record['settings'] for record in records.records if record['row'] == 'machine']
    return [record for record in records.records if record['settings'] in ended]


def layers_of(records: list[dict], batch: int, row: str | None = None) -> list[dict]:
    """Records of ten layers, in the order of operators and sizes."""
    names = [operator.name for operator in OPERATORS]
    found = [record for record in _measured(records, 'layers', batch) if row in (None, record['row'])]
    return sorted(found, key=lambda record: (names.index(record['row']), record['settings']['channels']))


def networks_of(records: list[dict], batch: int) -> list[dict]:
    """Records of networks, in the order of their multiply-adds."""
    return sorted(_measured(records, 'network', batch), key=lambda record: record['figures']['flops'])


def _measured(records: list[dict], scope: str, batch: int) -> list[dict]:
    wanted = dict(scope=scope, batch=batch)
    return [record for record in records if record['row'] != 'machine' and wanted.items() <= record['settings'].items()]


def batches(records: list[dict], scope: str = 'layers') -> list[int]:
    """The batches that were measured."""
    return sorted({record['settings']['batch'] for record in records if record['settings']['scope'] == scope})


def gmacs(record: dict) -> float:
    """G multiply-adds per second."""
    return record['figures']['flops'] * record['settings']['batch'] / record['figures']['median_ms'] / 1e6


def intensity(record: dict) -> float:
    """Multiply-adds per byte that the equations count."""
    figures = record['figures']
    return figures['flops'] * record['settings']['batch'] / figures['memory_accesses'] / _BYTES


def limits(records: list[dict]) -> tuple[list[float], list[float]]:
    """The machine's peaks (GMAC/s) and bandwidths (GB/s), as measured after each cell."""
    found = [record['figures'] for record in records if record['row'] == 'machine']
    return [one['peak_gmacs'] for one in found], [one['bandwidth_gb_s'] for one in found]
