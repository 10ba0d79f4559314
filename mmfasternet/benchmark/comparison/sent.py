"""Files of records that others send: what in them can't be true, and what a reader should know."""

import statistics
from collections.abc import Iterator
from pathlib import Path

from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.records.machine import machine_id

__all__ = ['doubts_of', 'faults_of', 'read_sent']

# No CPU core does more float32 multiply-adds: 2 units of 16 lanes at 6 GHz, and Winograd's algorithm on top.
_MOST_GMACS = 2 * 16 * 6 * 2.25
# Times that are kept may differ from all times by this share.
_NEAR = 0.2


def read_sent(path: str | Path) -> tuple[Records, list[str], list[str]]:
    """Read a file of records that somebody sent, and judge it.

    Args:
        path: The file; reading it runs nothing.

    Returns:
        The records, what can't be true, and what a reader should know.

    Raises:
        UserError: If it is no file of records, or a record lacks something.

    Example:
        >>> from mmfasternet.benchmark.records import describe_machine
        >>> Records(describe_machine(), 'sent.json').save()
        >>> read_sent('sent.json')[1:]
        ([], ['it has no latency'])
    """
    records = Records.read(path)
    return records, list(faults_of(records)), list(doubts_of(records))


def faults_of(records: Records) -> Iterator[str]:
    """What can't be true of a file of records.

    Args:
        records: The file.

    Yields:
        Sentences.

    Example:
        >>> list(faults_of(Records(dict(id='ffffffff', label='Some CPU'))))
        ['the id of the machine is ffffffff, but that of its fields is ...']
    """
    machine = records.machine
    if machine['id'] != machine_id(machine):
        yield f'the id of the machine is {machine["id"]}, but that of its fields is {machine_id(machine)}'
    flops = {
        (record['row'], tuple(record['shape'])): record['parts'].get('backbone', {}).get('flops_full', 0)
        for record in records.of_kind('complexity')
        if record.get('parts')
    }
    for record in records.of_kind('latency'):
        name, median = f'{record["label"]}, {record["scope"]}', record['median_ms']
        low, high = record['quartiles_ms']
        if not low <= median <= high or record['p90_ms'] < median:
            yield f'{name}: the median {median} ms is not between the quartiles {low} and {high} ms, or beyond 90 %'
        try:
            times = [value for turn in record['rounds'] for value in turn['times_ms']]
            far = abs(statistics.median(times) - median) > _NEAR * median
        except (KeyError, TypeError, ValueError):
            yield f'{name}: it has no rounds with times'
        else:
            if far:
                yield f'{name}: the median is {median} ms, but that of its times {statistics.median(times):.4g} ms'
        if record['device'] == 'cpu' and record['precision'] == 'fp32':
            work = flops.get((record['row'], tuple(record['shape'])), 0) * record['batch']
            least = work / 1e6 / (_MOST_GMACS * max(1, record['threads']))
            if median < least:
                yield f'{name}: {median} ms is less than the {least:.3g} ms that its FLOPs take on any CPU'


def doubts_of(records: Records) -> Iterator[str]:
    """What a reader of a file of records should know.

    Args:
        records: The file.

    Yields:
        Sentences.

    Example:
        >>> list(doubts_of(Records(dict(id='ffffffff', label='Some CPU'))))
        ['it has no latency']
    """
    found = records.of_kind('latency')
    if not found:
        yield 'it has no latency'
        return
    if flagged := [f'{record["label"]}, {record["scope"]}' for record in found if record['flags']]:
        yield f'{len(flagged)} of {len(found)} latencies are flagged: {"; ".join(flagged)}'
    if changed := sorted({str(record.get('commit')) for record in found if not _is_commit(record.get('commit'))}):
        yield f'the code differed from a commit, or it is not known: {", ".join(changed)}'
    if any(not record.get('interval_ms') for record in found):
        yield 'some latencies have no 95 % interval: they are of an older version'


def _is_commit(commit: str | None) -> bool:
    return bool(commit) and not commit.endswith('+')
