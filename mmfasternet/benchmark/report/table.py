"""Files of records merged into the rows of one report, and the report as CSV and Markdown."""

import csv
import html
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import kendalltau, spearmanr

from mmfasternet.benchmark.published.rows import ROWS, Published, Row
from mmfasternet.benchmark.records.records import is_number

from .markdown import milliseconds

__all__ = [
    'Ap',
    'Correlation',
    'Group',
    'Report',
    'ReportRow',
    'collect',
    'csv_table',
    'markdown_table',
    'pareto_front',
    'rank_correlation',
]


@dataclass(frozen=True)
class Group:
    """Latencies that may be compared: taken on one machine in one way.

    Args:
        machine: Id of the machine.
        scope: 'backbone', 'detector' or 'end2end'.
        path: 'reference' or 'deploy'.
        precision: 'fp32', 'fp16' or 'bf16'.
        threads: Threads that torch may use on the CPU.
        batch: Number of pictures at once.
        backend: What runs the model, with ONNX Runtime's provider where one was named.
        shape: Height and width of a picture in pixels.
    """

    machine: str
    scope: str
    path: str
    precision: str
    threads: str
    batch: str
    backend: str
    shape: tuple[int, int]

    @property
    def setting(self) -> str:
        """All but the machine and its threads, in words."""
        height, width = self.shape
        backend = '' if self.backend == 'eager' else f', {self.backend}'
        return (
            f'{self.scope}, {self.path} path{backend}, {self.precision}, batch {self.batch}, {height} × {width} pixels'
        )


@dataclass(frozen=True)
class Ap:
    """The box and mask AP of a row that a report shows.

    Args:
        box: Box AP in percent points.
        mask: Mask AP in percent points.
        kind: 'measured' or 'published'.
        source: The file of the test, or where it is printed.
    """

    box: float
    mask: float
    kind: str
    source: str


@dataclass
class ReportRow:
    """One backbone with all that is known about it; records lie oldest first, each with the id of its ``machine``.

    Args:
        name: What commands call it.
        label: What tables and plots call it.
        family: What it shares colour and line with.
        config: Its config, or None if no record says.
        schedule: What ``published`` was trained for, or None.
        published: Figures that others have printed, or None.
        complexities: Records of kind 'complexity'.
        aps: Records of kind 'ap'.
        latencies: The record of each group.
    """

    name: str
    label: str
    family: str
    config: str | None
    schedule: str | None = None
    published: Published | None = None
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


@dataclass
class Report:
    """What tables, plots and the page are drawn from.

    Args:
        rows: The rows of the comparison, then those that only records name.
        machines: Id → machine, its ``label`` told apart from the others' labels.
        groups: All groups of latencies, by machine.
    """

    rows: list[ReportRow]
    machines: dict[str, dict]
    groups: list[Group]

    def setting(self, group: Group) -> str:
        """The setting of a group in words, with its threads where they are not the machine's own."""
        own = group.threads == str(self.machines[group.machine].get('threads'))
        return group.setting if own else f'{group.setting}, {group.threads} threads'

    def title(self, group: Group) -> str:
        """Machine and setting of a group, in words."""
        return f'{self.machines[group.machine]["label"]}: {self.setting(group)}'


def collect(documents: list[dict], known: Sequence[Row] = ROWS) -> Report:
    """Merge files of records; where two hold the same measurement, the newer counts.

    Args:
        documents: What :func:`~mmfasternet.benchmark.records.records.read_records` gave, one for each file.
        known: Rows that are shown even without records. Defaults to all of the comparison.

    Returns:
        The report. Texts in it have one line and no characters that can't be printed.

    Example:
        >>> collect([]).rows[3].ap
        Ap(box=39.9, mask=36.9, kind='published', source='FasterNet, CVPR 2023, Table 4')
    """
    documents = [printable(document) for document in documents]
    machines = {document['machine']['id']: document['machine'] for document in documents}
    labels = Counter(machine['label'] for machine in machines.values())
    machines = {
        key: dict(machine, label=f'{machine["label"]} ({key})' if labels[machine['label']] > 1 else machine['label'])
        for key, machine in machines.items()
    }
    records = [
        dict(record, machine=file['machine']['id'])
        for file in documents
        for record in file['records']
        if record['kind'] in ('complexity', 'latency', 'ap')
    ]
    newest = {}
    for record in sorted(records, key=lambda record: record['date']):
        # Removed first, so that it moves to the end.
        newest.pop(measurement(record), None)
        newest[measurement(record)] = record

    fields = ('name', 'label', 'family', 'config', 'schedule', 'published')
    rows = {row.name: ReportRow(**{key: getattr(row, key) for key in fields}) for row in known}
    for record in newest.values():
        family, config = str(record.get('family') or 'other'), record.get('config')
        row = rows.setdefault(record['row'], ReportRow(record['row'], record['label'], family, config))
        if record['kind'] == 'complexity':
            row.complexities.append(record)
        elif record['kind'] == 'ap':
            row.aps.append(record)
        else:
            row.latencies[group_of(record)] = record
    groups = {group for row in rows.values() for group in row.latencies}
    order = list(machines)
    return Report(
        list(rows.values()),
        machines,
        sorted(groups, key=lambda group: (order.index(group.machine), group.setting, group.threads)),
    )


def printable(value: Any) -> Any:
    """The same with texts that any file and font can hold, and None for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    if isinstance(value, str):
        return ' '.join(''.join(letter if letter.isprintable() else ' ' for letter in value).split())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def group_of(record: dict) -> Group:
    others = (str(record.get(key, '?')) for key in ('path', 'precision', 'threads', 'batch'))
    backend = ' '.join(filter(None, [record.get('backend', 'eager'), record.get('provider')]))
    return Group(record['machine'], record['scope'], *others, backend, tuple(record['shape']))


def measurement(record: dict) -> tuple:
    """What two records share if the newer replaces the older."""
    if record['kind'] == 'latency':
        return record['row'], group_of(record)
    details = ('shape',) if record['kind'] == 'complexity' else ('dataset', 'checkpoint')
    return record['row'], record['kind'], record['machine'], *(str(record.get(key)) for key in details)


def pareto_front(points: list[tuple[float, float]]) -> list[int]:
    """The points that no other beats: none is at least as fast and at least as precise, and better in one of the two.

    Points that are equal in both stand on the front together. The spread of a latency is not taken into account.

    Args:
        points: Latency (ms) and AP (percent points) of each.

    Returns:
        Indices of the front, by rising latency.

    Example:
        >>> pareto_front([(10, 40.0), (20, 39.0), (20, 42.0)])
        [0, 2]
    """

    def beaten(latency: float, ap: float) -> bool:
        return any(x <= latency and y >= ap and (x, y) != (latency, ap) for x, y in points)

    return sorted((index for index, point in enumerate(points) if not beaten(*point)), key=lambda index: points[index])


@dataclass(frozen=True)
class Correlation:
    """How far two latencies order the same rows alike: 1 is the same order, -1 the reverse.

    Args:
        spearman: Spearman's ρ.
        kendall: Kendall's τ-b.
        count: Number of rows that have both latencies.
    """

    spearman: float
    kendall: float
    count: int


def rank_correlation(report: Report, group: Group) -> Correlation | None:
    """How far the measured latencies of a group order the rows as the published ones do.

    Args:
        report: From :func:`collect`.
        group: One of its groups.

    Returns:
        The correlation, or None with less than three common rows or where all latencies are equal.

    Example:
        >>> rank_correlation(report, report.groups[0])  # doctest: +SKIP
        Correlation(spearman=0.97, kendall=0.91, count=12)
    """
    pairs = [
        (row.published.latency_ms, row.latencies[group]['median_ms'])
        for row in report.rows
        if row.published and row.published.latency_ms and group in row.latencies
    ]
    if len(pairs) < 3 or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    published, measured = zip(*pairs, strict=True)
    return Correlation(
        float(spearmanr(published, measured).statistic), float(kendalltau(published, measured).statistic), len(pairs)
    )


def csv_table(report: Report) -> str:
    """The report as CSV: a line per row, full precision, empty where nothing is known.

    Args:
        report: From :func:`collect`.

    Returns:
        The text. Counts are plain numbers, FLOPs are multiply-adds, and the unit of any other figure ends its name.

    Example:
        >>> csv_table(collect([])).splitlines()[1].startswith('fasternet_t0,FasterNet-T0,')
        True
    """
    published = list(Published.__dataclass_fields__)
    counted = ['params', 'trainable', 'flops_full', 'flops_paper']
    measured = [
        'source',
        'dataset',
        'checkpoint',
        *(f'{kind}_ap{iou}' for kind in ('box', 'mask') for iou in ('', 50, 75)),
    ]
    lines = []
    for row in report.rows:
        line = dict(name=row.name, label=row.label, family=row.family, config=row.config, schedule=row.schedule)
        line |= dict.fromkeys(['box_ap', 'mask_ap', 'ap_kind', 'ap_source'])
        if row.ap:
            line |= dict(box_ap=row.ap.box, mask_ap=row.ap.mask, ap_kind=row.ap.kind, ap_source=row.ap.source)
        line |= {f'published_{key}': getattr(row.published, key, None) for key in published}
        line |= {key: (row.complexity or {}).get(key) for key in counted}
        line |= {f'measured_{key}': (row.measured or {}).get(key) for key in measured}
        for group in report.groups:
            latency, title = row.latencies.get(group, {}), report.title(group)
            line[f'{title}: median_ms'] = latency.get('median_ms')
            line[f'{title}: quartile1_ms'], line[f'{title}: quartile3_ms'] = latency.get('quartiles_ms', (None, None))
            line[f'{title}: flags'] = '; '.join(latency.get('flags', []))
        lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def markdown_table(report: Report) -> str:
    """The report as Markdown: a line per row, then footnotes, sources and rank correlations.

    Args:
        report: From :func:`collect`.

    Returns:
        The text.

    Example:
        >>> '| FasterNet-S | 39.9 *published* |' in markdown_table(collect([]))
        True
    """
    notes: list[str] = []

    def note(text: str) -> str:
        if text not in notes:
            notes.append(text)
        return f'[^{notes.index(text) + 1}]'

    def ap(row: ReportRow, value: float) -> str:
        return f'{value:.1f} *{row.ap.kind}*{note(row.ap.source) if row.ap.kind == "measured" else ""}'

    def latency(record: dict | None) -> str:
        if record is None:
            return ''
        median, low, high = map(milliseconds, (record['median_ms'], *record['quartiles_ms']))
        return f'{median} ({low} – {high})' + ''.join(map(note, record['flags']))

    columns = ['Backbone', 'box AP', 'mask AP', 'Parameters (M), published', 'Parameters (M), counted']
    columns += ['FLOPs (G), published', "FLOPs (G), counted as the paper's", 'FLOPs (G), all counted']
    columns += ['Latency (ms), published']
    columns += [f'Latency (ms): {report.title(group)}' for group in report.groups]
    table = [[markdown_escape(column) for column in columns]]
    for row in report.rows:
        figures, counts = row.published, row.complexity or {}
        table.append(
            [
                markdown_escape(row.label),
                *([ap(row, row.ap.box), ap(row, row.ap.mask)] if row.ap else ['', '']),
                scaled(figures and figures.params_m, 1, 1),
                scaled(counts.get('trainable'), 1e6, 1),
                scaled(figures and figures.flops_g, 1, 0),
                scaled(counts.get('flops_paper'), 1e9, 0),
                scaled(counts.get('flops_full'), 1e9, 0),
                scaled(figures and figures.latency_ms, 1, 1),
                *(latency(row.latencies.get(group)) for group in report.groups),
            ]
        )
    lines = [f'| {" | ".join(cells)} |' for cells in table]
    lines.insert(1, '|---|' + '---:|' * (len(columns) - 1))
    return '\n'.join(
        [
            *lines,
            '',
            'Published AP is that of Mask R-CNN on COCO val2017; a footnote says what a measured one is of. Parameters '
            'are those that training changes, FLOPs are multiply-adds of one picture, and measured latencies are '
            'medians with their quartiles: compare them within a column only.',
            '',
            *(f'[^{number}]: {markdown_escape(text)}' for number, text in enumerate(notes, 1)),
            *([''] if notes else []),
            *sources(report),
            *correlations(report),
        ]
    )


def sources(report: Report) -> list[str]:
    lines = ['Published figures:', '']
    printed = {}
    for row in report.rows:
        if row.published:
            printed.setdefault((row.published.source, row.published.latency_device), []).append(row.label)
    for (source, device), labels in printed.items():
        taken = f'; latency on {device}' if device else ''
        lines.append(f'- {markdown_escape(", ".join(labels))}: {markdown_escape(source + taken)}')
    return [*lines, '']


def correlations(report: Report) -> list[str]:
    if not report.groups:
        return []
    lines = ['Whether the measured latencies order the backbones as the published ones do (1: the same order):', '']
    lines += ['| Latency | backbones | Spearman ρ | Kendall τ |', '|---|---:|---:|---:|']
    for group in report.groups:
        found = rank_correlation(report, group)
        cells = (
            f'{found.count} | {found.spearman:.2f} | {found.kendall:.2f}' if found else '| fewer than three in common |'
        )
        lines.append(f'| {markdown_escape(report.title(group))} | {cells} |')
    return [*lines, '']


def markdown_escape(text: str) -> str:
    return re.sub(r'([\\`*_|~$\[\]#])', r'\\\1', html.escape(text, quote=False))


def scaled(value: Any, unit: float, digits: int) -> str:
    return f'{value / unit:.{digits}f}' if is_number(value) else ''
