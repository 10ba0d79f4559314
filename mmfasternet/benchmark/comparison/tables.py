"""The comparison with published AP as CSV and as a page in Markdown."""

import csv
import io
from collections.abc import Iterable
from numbers import Number
from typing import Any

from mmfasternet.benchmark.published.provenance import Provenance
from mmfasternet.benchmark.published.rows import Published
from mmfasternet.benchmark.report.markdown import bullets, escape_markdown, milliseconds, table

from .ahead import not_ahead
from .collect import Report, ReportRow
from .provenance import provenance_sections

__all__ = ['comparison_page', 'csv_table']

_PAGE = """# Compare with published AP

Drawn from records by `tools/benchmark/compare.py`; not edited by hand. How the figures are taken is in
[the guide](../../compare.md).

## Where FasterNet is not ahead

{not_ahead}

## All figures

![Latency against box and mask AP, as published and as measured](compare.png)

{figures}

Published AP is that of Mask R-CNN on COCO val2017; a footnote says what a measured AP is of. RetinaNet's is published
too; compare it within its column only. Parameters are those that training changes. FLOPs are multiply-adds of one
image. Measured latencies are medians with their quartiles: compare them within a column only.{marks}

{notes}## Sources of the published figures

{sources}
{correlations}{provenance}"""

_CORRELATIONS = """
## Rank correlation with the published latencies

1 means that the measured latencies order the backbones as the published ones do, −1 the reverse.

{table}
"""

_DISTILLED = ' ‡ Pre-trained with a teacher (distilled).'
_ALONE = ' A backbone without counted figures has no config here: its figures are published ones alone.'


def comparison_page(report: Report) -> str:
    """The comparison as Markdown: where FasterNet is not ahead, a line for each row, notes and sources."""
    notes: dict[str, str] = {}

    def note(text: str) -> str:
        return notes.setdefault(text, f'[^{len(notes) + 1}]')

    def ap(row: ReportRow, value: float) -> str:
        return f'{value:.1f} *{row.ap.kind}*{note(row.ap.source) if row.ap.kind == "measured" else ""}'

    def latency(record: dict | None) -> str:
        if record is None:
            return ''
        median, low, high = map(milliseconds, (record['median_ms'], *record['quartiles_ms']))
        return f'{median} ({low} – {high})' + ''.join(map(note, record['flags']))

    head = ['Backbone', 'box AP', 'mask AP', 'RetinaNet box AP', 'Parameters (M), published', 'Parameters (M), counted']
    head += ['FLOPs (G), published', "FLOPs (G), counted as the paper's", 'FLOPs (G), all counted']
    head += ['Latency (ms), published', *(f'Latency (ms): {escape_markdown(report.title(g))}' for g in report.groups)]
    lines = []
    for row in report.rows:
        figures, counts = row.published, row.complexity or {}
        lines.append(
            [
                escape_markdown(row.marked_label),
                *([ap(row, row.ap.box), ap(row, row.ap.mask)] if row.ap else ['', '']),
                _scaled(row.provenance.retinanet_ap, 1, 1),
                _scaled(figures and figures.params_m, 1, 1),
                _scaled(counts.get('trainable'), 1e6, 1),
                _scaled(figures and figures.flops_g, 1, 0),
                _scaled(counts.get('flops_paper'), 1e9, 0),
                _scaled(counts.get('flops_full'), 1e9, 0),
                _scaled(figures and figures.latency_ms, 1, 1),
                *(latency(row.latencies.get(group)) for group in report.groups),
            ]
        )
    return _PAGE.format(
        not_ahead=not_ahead(report),
        figures=table(head, lines),
        marks=_DISTILLED * any(row.provenance.distilled for row in report.rows)
        + _ALONE * any(row.config is None for row in report.rows),
        notes=''.join(f'{number}: {escape_markdown(text)}\n' for text, number in notes.items()) + '\n' * bool(notes),
        sources=bullets(_sources(report.rows)),
        correlations=_correlations(report),
        provenance=''.join(f'\n{part}' for part in [provenance_sections(report.rows)] if part),
    )


def csv_table(report: Report) -> str:
    """The report as CSV: a line per row, full precision, empty where nothing is known."""
    published, provenance = list(Published.__dataclass_fields__), list(Provenance.__dataclass_fields__)
    counted = ['params', 'trainable', 'flops_full', 'flops_paper']
    measured = ['source', 'dataset', 'checkpoint']
    measured += [f'{kind}_ap{iou}' for kind in ('box', 'mask') for iou in ('', 50, 75)]
    lines = []
    for row in report.rows:
        line = dict(name=row.name, label=row.label, family=row.family, config=row.config, schedule=row.schedule)
        line |= dict.fromkeys(['box_ap', 'mask_ap', 'ap_kind', 'ap_source'])
        if row.ap:
            line |= dict(box_ap=row.ap.box, mask_ap=row.ap.mask, ap_kind=row.ap.kind, ap_source=row.ap.source)
        line |= {f'published_{key}': getattr(row.published, key, None) for key in published}
        line |= {key: getattr(row.provenance, key) for key in provenance}
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
    writer.writerow({key: _cell(key) for key in lines[0]})
    writer.writerows({key: _cell(value) for key, value in line.items()} for line in lines)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """What a spreadsheet shows as it is: a text that begins like a formula would be computed."""
    return f"'{value}" if isinstance(value, str) and value.startswith(('=', '+', '-', '@', '\t', '\r')) else value


def _sources(rows: Iterable[ReportRow]) -> list[str]:
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.published:
            device = row.published.latency_device
            source = escape_markdown(row.published.source + (f'; latency on {device}' if device else ''))
            found.setdefault(f'[{source}]({row.published.url})' if row.published.url else source, []).append(row.label)
        if url := row.provenance.retinanet_url:
            found.setdefault(f'[RetinaNet]({url})', []).append(row.label)
    return [f'{escape_markdown(", ".join(labels))}: {source}' for source, labels in found.items()]


def _correlations(report: Report) -> str:
    if not report.groups:
        return ''
    lines = []
    for group, found in report.correlations.items():
        cells = ['fewer than three in common', '', '']
        if found:
            cells = [str(found.count), f'{found.spearman:.2f}', f'{found.kendall:.2f}']
        lines.append([escape_markdown(report.title(group)), *cells])
    return (
        _CORRELATIONS.format(table=table(['Latency', 'backbones', 'Spearman ρ', 'Kendall τ'], lines)) if lines else ''
    )


def _scaled(value: Any, unit: float, digits: int) -> str:
    return f'{value / unit:.{digits}f}' if isinstance(value, Number) else ''
