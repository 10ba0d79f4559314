"""Where FasterNet is not ahead, computed from a report: what a page says first."""

from collections.abc import Iterator

from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.report.markdown import bullets, escape_markdown, table

from .collect import Group, Report, ReportRow

__all__ = ['NEAR_AP', 'OURS', 'not_ahead']

OURS = 'FasterNet'
# Percentage points within which two AP count as about the same.
NEAR_AP = 0.5
_FLAG = ' \\*'

_RIVALS = """Backbones with about a FasterNet's AP or more (in box and mask AP, at most {near} points lower, or with
overlapping seeds) at a lower latency. A ratio is their latency over the FasterNet's; *tie*: the medians are within 5 %,
or the intervals overlap.{flags}

{table}"""


def not_ahead(report: Report) -> str:
    """Where another backbone is as good as a FasterNet or better, in latency and AP."""
    lines = [*_highest_ap(report), *(line for group in report.groups for line in _lowest_latency(report, group))]
    found = filter(None, [_rivals(report), bullets(lines)])
    return '\n\n'.join(found) or 'There is no FasterNet here, or nothing to compare it with.'


def _highest_ap(report: Report) -> Iterator[str]:
    rows = [row for row in report.rows if row.ap]
    ours, others = _split(rows)
    if not ours or not others:
        return
    mine, best = (max(side, key=lambda row: row.ap.box) for side in (ours, others))
    if best.ap.box < mine.ap.box and not _overlap(best, mine, 'box'):
        return
    tie = ' The ranges of their seeds overlap: a tie.' if _overlap(best, mine, 'box') else ''
    yield (
        f'The highest box AP of another backbone is {best.ap.box:.1f} ({escape_markdown(best.label)}), that of a '
        f'FasterNet {mine.ap.box:.1f} ({escape_markdown(mine.label)}).{tie}'
    )


def _lowest_latency(report: Report, group: Group) -> Iterator[str]:
    ours, others = _split([row for row in report.rows if group in row.latencies])
    if not ours or not others:
        return
    mine, best = (min(side, key=lambda row: row.latencies[group]['median_ms']) for side in (ours, others))
    one, other = best.latencies[group], mine.latencies[group]
    if one['median_ms'] >= other['median_ms'] and not is_tie(one, other):
        return
    yield (
        f'{escape_markdown(best.label)} has {_ratio(best, mine, group).replace(_FLAG, " (flagged)")} of the latency of '
        f'{escape_markdown(mine.label)}, the fastest FasterNet ({escape_markdown(report.title(group))}).'
    )


def _rivals(report: Report) -> str:
    ours, others = _split([row for row in report.rows if row.ap and row.latencies])
    if not ours or not others:
        return ''
    pairs = [(rival, mine) for mine in ours for rival in others if _beats(rival, mine)]
    if not pairs:
        return 'No other backbone has about the AP of a FasterNet, or more, at a lower latency.'
    groups = [group for group in report.groups if any(group in row.latencies for pair in pairs for row in pair)]
    lines = []
    for rival, mine in pairs:
        both = (f'{escape_markdown(row.marked_label)}, {row.ap.box:.1f} / {row.ap.mask:.1f}' for row in (rival, mine))
        lines.append([*both, *(_ratio(rival, mine, group) for group in groups)])
    head = ['Backbone, box / mask AP', 'FasterNet', *(escape_markdown(report.title(group)) for group in groups)]
    flags = ' ‡ Its pre-training is distilled.' if any('‡' in line[0] for line in lines) else ''
    flags += (
        ' \\* One of the two latencies is flagged.' if any(_FLAG in cell for line in lines for cell in line) else ''
    )
    return _RIVALS.format(near=NEAR_AP, flags=flags, table=table(head, lines))


def _beats(rival: ReportRow, mine: ReportRow) -> bool:
    """Whether a rival has about the AP or more at a lower latency in some group, or clearly more in the same time."""
    if not all(_difference(rival, mine, kind) >= -NEAR_AP or _overlap(rival, mine, kind) for kind in ('box', 'mask')):
        return False
    better = all(
        _difference(rival, mine, kind) > NEAR_AP and not _overlap(rival, mine, kind) for kind in ('box', 'mask')
    )
    for group in rival.latencies.keys() & mine.latencies.keys():
        one, other = rival.latencies[group], mine.latencies[group]
        if better if is_tie(one, other) else one['median_ms'] < other['median_ms']:
            return True
    return False


def _ratio(rival: ReportRow, mine: ReportRow, group: Group) -> str:
    records = rival.latencies.get(group), mine.latencies.get(group)
    if None in records:
        return ''
    ratio = f'{records[0]["median_ms"] / records[1]["median_ms"]:.2f}'
    return ratio + ' (*tie*)' * is_tie(*records) + _FLAG * any(record['flags'] for record in records)


def _difference(rival: ReportRow, mine: ReportRow, kind: str) -> float:
    # Rounded, so that 39.4 is within 0.5 of 39.9.
    return round(getattr(rival.ap, kind) - getattr(mine.ap, kind), 6)


def _overlap(one: ReportRow, other: ReportRow, kind: str) -> bool:
    """Whether the seeds of both, where there are several, overlap."""
    ranges = [(row.measured or {}).get(f'{kind}_range') for row in (one, other)]
    if None in ranges:
        return False
    (low, high), (other_low, other_high) = ranges
    return low <= other_high and other_low <= high


def _split(rows: list[ReportRow]) -> tuple[list[ReportRow], list[ReportRow]]:
    return [row for row in rows if row.family == OURS], [row for row in rows if row.family != OURS]
