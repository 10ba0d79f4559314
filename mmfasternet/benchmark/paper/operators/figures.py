"""What the report of the study of operators reads from its records and from the paper's tables."""

from mmfasternet.benchmark.published.tables import published

from .layers import OPERATORS

__all__ = [
    'batches',
    'complete',
    'flags',
    'gmacs',
    'intensity',
    'layers_of',
    'limits',
    'networks_of',
    'partner',
    'printed_layer',
    'printed_network',
    'ratio',
]

BYTES = 4  # of an element in float32


def complete(document: dict) -> list[dict]:
    """The records of what was measured to its end: the machine's limits come last."""
    records = document['records']
    ended = [record['settings'] for record in records if record['row'] == 'machine']
    return [record for record in records if record['settings'] in ended]


def layers_of(records: list[dict], batch: int | None = None, row: str | None = None) -> list[dict]:
    """Records of ten layers, in the order of operators and sizes."""
    names = [operator.name for operator in OPERATORS]
    found = [
        record
        for record in records
        if record['settings']['scope'] == 'layers'
        and record['row'] != 'machine'
        and row in (None, record['row'])
        and batch in (None, record['settings']['batch'])
    ]
    return sorted(found, key=lambda record: (names.index(record['row']), record['settings']['channels']))


def networks_of(records: list[dict], batch: int) -> list[dict]:
    return [
        record
        for record in records
        if record['settings']['scope'] == 'network'
        and record['row'] != 'machine'
        and record['settings']['batch'] == batch
    ]


def batches(records: list[dict], scope: str = 'layers') -> list[int]:
    return sorted({record['settings']['batch'] for record in records if record['settings']['scope'] == scope})


def partner(records: list[dict], record: dict, row: str) -> dict:
    """The record of another operator at the same size and batch."""
    return next(other for other in records if (other['row'], other['settings']) == (row, record['settings']))


def flags(record: dict) -> list[str]:
    return record['figures'].get('flags', [])


def ratio(record: dict, other: dict, figure: str) -> float:
    return record['figures'][figure] / other['figures'][figure]


def gmacs(record: dict) -> float:
    """G multiply-adds per second."""
    return record['figures']['flops'] * record['settings']['batch'] / record['figures']['median_ms'] / 1e6


def intensity(record: dict) -> float:
    """Multiply-adds for each byte that the equations count."""
    figures = record['figures']
    return figures['flops'] * record['settings']['batch'] / figures['memory_accesses'] / BYTES


def limits(records: list[dict]) -> tuple[float, float]:
    """The machine's peak (G multiply-adds per second) and bandwidth (GB/s): the most that was measured."""
    found = [record['figures'] for record in records if record['row'] == 'machine']
    return max(one['peak_gmacs'] for one in found), max(one['bandwidth_gb_s'] for one in found)


def printed_layer(record: dict) -> dict[str, str] | None:
    """The row of Table 1 of the same operator and size."""
    wanted = record['row'], str(record['settings']['channels']), str(record['settings']['height'])
    for row in published('table1_operators'):
        if (row['operator'], row['channels'], row['height']) == wanted:
            return row
    return None


def printed_network(record: dict) -> dict[str, str]:
    """The row of Table 3 of the same network."""
    return next(row for row in published('table3_imagenet') if row['network'] == record['label'])
