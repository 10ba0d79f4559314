"""Artifacts as a page and a plot, from their records."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.labels import Point, cut, place_labels
from mmfasternet.benchmark.report.markdown import (
    bullets,
    escape_records,
    flagged,
    latency,
    milliseconds,
    origin,
    table,
)
from mmfasternet.benchmark.report.style import COLOURS, MARKERS, STYLE, encode
from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .runtimes import RUNTIMES

__all__ = ['artifacts_page', 'draw_artifacts', 'latest_run', 'write_artifacts']

_REFERENCE = RUNTIMES['pytorch'].label
# AP of which a drop shows in the table's digits, in points.
_SHOWN = 0.05
_NONE = '–'

_PAGE = """# Artifacts: one file, one row

Drawn from `records.json` by `tools/benchmark/artifact.py`; not edited by hand.

{verdict}

{origin}, with {versions}, {threads} threads. AP on {data_images} images of `{dataset}`; Δ: points of AP more or less
than the reference, {reference}. Latency on {images} distinct images.

![Latency against AP](artifacts.png)

{rows}

{flagged}

- **latency**: of one image after the other, from decoded pixels in memory, through resizing and the model, to boxes
  and masks in the image's own pixels; the median, its 95 % interval by a bootstrap over the images, and the 95th
  percentile. All artifacts were in memory and took turns.
- **images/s**: with {threads} images at once.
- **start**: in a process of its own, from loading the runtime to the objects in the first image, with the file in the
  system's cache.
- **memory**: the most that this process held, Python and all packages included.

{flags}
{others}"""

_OTHER = """
## {machine}

{verdict}

{origin}, with {versions}, {threads} threads. AP on {data_images} images of `{dataset}`; Δ: against {reference}. Latency
on {images} distinct images.

{rows}

{flagged}

{flags}
"""


def latest_run(records: Records) -> list[dict]:
    """The complete records of the artifacts that took turns last.

    Args:
        records: The file.

    Returns:
        The records in their order, the reference first.

    Example:
        >>> latest_run(Records(dict(label='Some CPU')))
        []
    """
    complete = [
        record
        for record in records.of_kind('artifact')
        if all(record.get(key) is not None for key in ('run', 'box_ap', 'start_s', 'median_ms'))
    ]
    if not complete:
        return []
    run = max(complete, key=lambda record: record['date'])['run']
    return sorted(
        (record for record in complete if record['run'] == run), key=lambda record: record['runtime'] != _REFERENCE
    )


def artifacts_page(records: Records, others: Sequence[Records] = ()) -> str:
    """The page of the artifacts.

    Args:
        records: With a complete run, see :func:`latest_run`.
        others: Of other machines, each with a complete run; latencies of several machines are not compared. Defaults to
            none.

    Returns:
        The page in Markdown.
    """
    sections = [_OTHER.format(**_facts(escape_records(other))) for other in others]
    return _PAGE.format(**_facts(escape_records(records)), others=''.join(sections))


def _facts(records: Records) -> dict[str, str | int]:
    """What the page says of a machine's latest run."""
    run = latest_run(records)
    first = run[0]
    reasons = [f'\\* {record["label"]}: {"; ".join(record["flags"])}' for record in run if record['flags']]
    left_out = [
        f'{record["label"]} is left out on this machine: {record["reason"]}.' for record in records.of_kind('lacking')
    ]
    return dict(
        machine=records.machine['label'],
        verdict=bullets(_verdict(run)),
        origin=origin(Records(records.machine, records=run)),
        versions=', '.join(dict.fromkeys(record['version'] for record in run)),
        threads=first['threads'],
        data_images=first['data_images'],
        dataset=first['dataset'],
        reference=first['label'],
        images=min(record['images'] for record in run),
        rows=_rows(run),
        flagged=flagged(run),
        flags=bullets([*reasons, *left_out]),
    )


@matplotlib.rc_context(STYLE)
def draw_artifacts(records: Records) -> Figure:
    """Latency against box AP: a colour for each file, a marker for each runtime.

    Args:
        records: With a complete run.

    Returns:
        The figure.
    """
    run = latest_run(records)
    files, runtimes = (list(dict.fromkeys(record[key] for record in run)) for key in ('file', 'runtime'))
    colours = {file: COLOURS[place % len(COLOURS)] for place, file in enumerate(files)}
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.add_subplot()
    axes.set_xscale('log')
    points = []
    for record in run:
        points.append(Point(record['runtime'], record['median_ms'], record['box_ap'], bool(record['flags'])))
        colour = colours[record['file']]
        axes.plot(record['interval_ms'], [record['box_ap']] * 2, color=colour, linewidth=1)
        axes.plot(
            record['median_ms'],
            record['box_ap'],
            color=colour,
            marker=MARKERS[runtimes.index(record['runtime'])],
            markerfacecolor='white' if record['flags'] else None,
            markersize=8,
        )
    axes.set_xlabel('latency of an image end to end (ms, log scale), with the 95 % interval of the median')
    axes.set_ylabel('box AP')
    axes.margins(0.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.minorticks_off()
    figure.suptitle(f'Artifacts, measured on {records.machine["label"]}', fontsize=11)
    shown = [
        Line2D([], [], color=colour, marker='o', linestyle='', label=cut(file, 70)) for file, colour in colours.items()
    ]
    if any(point.flagged for point in points):
        shown.append(Line2D([], [], color='none', label='†, hollow: flagged'))
    figure.legend(handles=shown, loc='outside lower center', ncols=2, frameon=False)
    figure.draw_without_rendering()
    place_labels(axes, points)
    return figure


def write_artifacts(records: Records, out_dir: str | Path, others: Sequence[Records] = ()) -> dict[str, Path]:
    """Write the page and the plot; the latter is of the first machine.

    Args:
        records: From :func:`~mmfasternet.benchmark.artifacts.measure.measure_artifacts`.
        out_dir: Folder, made if it is missing.
        others: Records of other machines, which get a section each. Defaults to none.

    Returns:
        Name → path of artifacts.md and artifacts.png.

    Raises:
        UserError: If nothing is complete yet, or a file can't be written.
    """
    if not latest_run(records):
        raise UserError(f'nothing to draw in {out_dir} yet: no artifact is complete; run without --report-only first')
    for other in others:
        if not latest_run(other):
            raise UserError(f'no artifact is complete in {other.path}, so that it has no section; leave it out')
    files = {'artifacts.md': artifacts_page(records, others).encode(), 'artifacts.png': encode(draw_artifacts(records))}
    return {name: write_file(Path(out_dir, name), content) for name, content in files.items()}


def _rows(run: list[dict]) -> str:
    head = ['', 'size (MB)', 'box AP', 'Δ', 'mask AP', 'Δ', 'latency (ms)', '95 % interval', '95th percentile']
    rows = [
        [
            record['label'],
            f'{record["size_bytes"] / 1e6:.1f}',
            *_ap_cells(record, run[0], 'box_ap'),
            *_ap_cells(record, run[0], 'mask_ap'),
            latency(record),
            '–'.join(map(milliseconds, record['interval_ms'])),
            milliseconds(record['p95_ms']),
            f'{record["throughput"]:.1f}',
            f'{record["start_s"]:.2f}',
            _NONE if record['peak_mib'] is None else f'{record["peak_mib"]:.0f}',
        ]
        for record in run
    ]
    return table([*head, 'images/s', 'start (s)', 'memory (MiB)'], rows)


def _ap_cells(record: dict, reference: dict, key: str) -> list[str]:
    """An AP, and its difference from the reference's in points."""
    if record[key] is None:
        return [_NONE, _NONE]
    is_compared = record is not reference and reference[key] is not None
    return [f'{record[key]:.1f}', _points(record[key] - reference[key]) if is_compared else _NONE]


def _points(difference: float) -> str:
    """With its sign, unless it is 0 in these digits."""
    return '0.0' if abs(difference) < _SHOWN else f'{difference:+.1f}'.replace('-', '−')


def _verdict(run: list[dict]) -> Iterator[str]:
    """What AP is lost, the largest drop first; then what is fastest, among those that are not flagged."""
    reference = run[0]
    drops = [
        (record[key] - reference[key], name, record['label'])
        for key, name in (('box_ap', 'box AP'), ('mask_ap', 'mask AP'))
        for record in run
        if record[key] is not None and reference[key] is not None and record[key] - reference[key] <= -_SHOWN
    ]
    for difference, name, label in sorted(drops):
        yield f'**{label}** loses {-difference:.1f} points of {name} against {reference["label"]}.'
    if not drops:
        yield f'No artifact loses AP against the reference, {reference["label"]}.'
    clean = sorted((record for record in run if not record['flags']), key=lambda record: record['median_ms'])
    if not clean:
        yield 'All latencies are flagged, so none is called the shortest.'
        return
    ties = [record['label'] for record in clean[1:] if is_tie(clean[0], record)]
    tied = f', a tie with {"; ".join(ties)}' if ties else ''
    yield f'The shortest latency is {milliseconds(clean[0]["median_ms"])} ms, of **{clean[0]["label"]}**{tied}.'
    if not reference['flags'] and clean[0] is not reference and reference['label'] not in ties:
        ratio = reference['median_ms'] / clean[0]['median_ms']
        yield f'That is {ratio:.2f} times as fast as the reference, {reference["label"]}.'
    yield (
        'A tie is medians within 5 % of each other, or intervals that overlap. Flagged latencies are left out of these '
        'lines.'
    )
