"""Files of records merged into the rows of one report, with all that tables, plots and the page need of it."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmfasternet.benchmark.published.rows import ROWS, Row
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.records.machine import machine_id
from mmfasternet.benchmark.report.style import family_styles
from mmfasternet.errors import UserError

__all__ = ['Ap', 'Correlation', 'Group', 'Report', 'ReportRow', 'collect', 'pareto_front']

_KINDS = ('complexity', 'latency', 'ap')


@dataclass(frozen=True)
class Group:
    """Latencies that may be compared: taken on one machine in one way."""

    machine: str
    scope: str
    path: str
    precision: str
    threads: str  # '' on a GPU
    batch: str
    backend: str  # with the provider of ONNX Runtime, or the mode of torch.compile, where one was named
    shape: tuple[int, int]  # height and width
    weights: str = 'fp32'
    memory_format: str = 'contiguous'

    @property
    def setting(self) -> str:
        """All but the machine and its threads, in words."""
        height, width = self.shape
        words = [f'{self.scope}, {self.path} path', '' if self.backend == 'eager' else self.backend, self.precision]
        words += ['weights cast' * (self.weights == 'cast'), self.memory_format * (self.memory_format != 'contiguous')]
        return ', '.join([*filter(None, words), f'batch {self.batch}, {height} × {width} pixels'])


@dataclass(frozen=True)
class Ap:
    """The box and mask AP of a row that a report shows."""

    box: float
    mask: float
    kind: str  # 'measured' or 'published'
    source: str


@dataclass(frozen=True)
class Correlation:
    """How far two latencies order the same rows alike: 1 is the same order, -1 the reverse."""

    spearman: float
    kendall: float
    count: int


@dataclass(frozen=True)
class ReportRow(Row):
    """A row with its records, oldest first, each with the id of its ``machine``."""

    complexities: list[dict] = field(default_factory=list)
    aps: list[dict] = field(default_factory=list)
    latencies: dict[Group, dict] = field(default_factory=dict)

    @property
    def complexity(self) -> dict | None:
        """The newest count."""
        return self.complexities[-1] if self.complexities else None

    @property
    def measured(self) -> dict | None:
        """The newest record of its AP."""
        return self.aps[-1] if self.aps else None

    @property
    def ap(self) -> Ap | None:
        """The newest measured AP, else the published one, else None."""
        if self.measured:
            source = ', '.join(str(self.measured[key]) for key in ('source', 'dataset') if self.measured.get(key))
            return Ap(self.measured['box_ap'], self.measured['mask_ap'], 'measured', source)
        if self.published:
            return Ap(self.published.box_ap, self.published.mask_ap, 'published', self.published.source)
        return None


@dataclass(frozen=True)
class Report:
    """What tables, plots and the page are drawn from."""

    rows: list[ReportRow]
    machines: dict[str, dict]  # by id, their labels told apart
    groups: list[Group]
    styles: dict[str, tuple[str, str]]  # colour and marker of each family
    # With the published latencies; None with fewer than three rows in common, or where all latencies are equal.
    correlations: dict[Group, Correlation | None]

    def place(self, group: Group) -> str:
        """Machine and threads of a group, in words."""
        threads = f', {group.threads} thread{"s" * (group.threads != "1")}' if group.threads else ''
        return self.machines[group.machine]['label'] + threads

    def title(self, group: Group) -> str:
        """Machine, threads and setting of a group, in words."""
        return f'{self.place(group)}: {group.setting}'


def collect(files: Sequence[Records], known: Sequence[Row] = ROWS) -> Report:
    """Merge files of records; where two hold the same measurement, the newer counts."""
    newest: dict[tuple, dict] = {}
    found = [
        _printable(dict(record, machine=file.machine['id'], device=record.get('device', file.machine.get('device'))))
        for file in files
        for record in file.records
        if record['kind'] in _KINDS
    ]
    for record in sorted(found, key=lambda record: record['date']):
        # Removed first, so that it moves to the end.
        newest.pop(_measurement(record), None)
        newest[_measurement(record)] = record

    rows = {row.name: ReportRow(**vars(row)) for row in known}
    for record in newest.values():
        family, config = str(record.get('family') or 'other'), record.get('config')
        row = rows.setdefault(record['row'], ReportRow(record['row'], record['label'], family, config))
        if record['kind'] == 'complexity':
            row.complexities.append(record)
        elif record['kind'] == 'ap':
            row.aps.append(record)
        else:
            row.latencies[_group_of(record)] = record
    machines = _machines(files, {record['machine'] for record in newest.values()})
    order = list(machines)
    groups = sorted(
        {group for row in rows.values() for group in row.latencies},
        key=lambda group: (order.index(group.machine), group.setting, group.threads),
    )
    return Report(
        list(rows.values()),
        machines,
        groups,
        family_styles(row.family for row in rows.values()),
        {group: _correlation(rows.values(), group) for group in groups},
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (latency, AP) that no other beats, by rising latency; equal points stand together."""

    def beaten(latency: float, ap: float) -> bool:
        return any(x <= latency and y >= ap and (x, y) != (latency, ap) for x, y in points)

    return sorted((index for index, point in enumerate(points) if not beaten(*point)), key=lambda index: points[index])


def _machines(files: Sequence[Records], used: set[str]) -> dict[str, dict]:
    """The machines that have records, with labels that tell them apart."""
    machines: dict[str, dict] = {}
    for file in files:
        machine = _printable(file.machine)
        # The first file names it.
        if machine_id(machines.setdefault(machine['id'], machine)) != machine_id(machine):
            raise UserError(
                f'{file.path} has the machine {machine["label"]!r} under the id {machine["id"]!r} of another one '
                f'({machines[machine["id"]]["label"]!r}), so that their latencies would be mixed: leave out one of them'
            )
    machines = {key: machine for key, machine in machines.items() if key in used}
    labels = Counter(machine['label'] for machine in machines.values())
    return {
        key: dict(machine, label=f'{machine["label"]} ({key})' if labels[machine['label']] > 1 else machine['label'])
        for key, machine in machines.items()
    }


def _printable(value: Any) -> Any:
    """The same with texts that any file and font can hold, and None for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, str):
        return ' '.join(''.join(letter if letter.isprintable() else ' ' for letter in value).split())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _group_of(record: dict) -> Group:
    threads = str(record['threads']) if record['device'] == 'cpu' else ''
    backend = ' '.join(filter(None, [record['backend'], record.get('provider'), record.get('compile_mode')]))
    path, precision, batch, weights, memory_format = (
        str(record[key]) for key in ('path', 'precision', 'batch', 'weights', 'memory_format')
    )
    shape = tuple(record['shape'])
    return Group(
        record['machine'], record['scope'], path, precision, threads, batch, backend, shape, weights, memory_format
    )


def _measurement(record: dict) -> tuple:
    """What two records share if the newer replaces the older."""
    if record['kind'] == 'latency':
        return record['row'], _group_of(record)
    details = ('shape',) if record['kind'] == 'complexity' else ('dataset', 'checkpoint')
    return record['row'], record['kind'], record['machine'], *(str(record.get(key)) for key in details)


def _correlation(rows: Sequence[ReportRow], group: Group) -> Correlation | None:
    pairs = [
        (row.published.latency_ms, row.latencies[group]['median_ms'])
        for row in rows
        if row.published and row.published.latency_ms and group in row.latencies
    ]
    if len(pairs) < 3 or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    # Imported here, since choosing a backbone needs no correlation.
    from scipy.stats import kendalltau, spearmanr

    published, measured = zip(*pairs, strict=True)
    return Correlation(
        float(spearmanr(published, measured).statistic), float(kendalltau(published, measured).statistic), len(pairs)
    )
