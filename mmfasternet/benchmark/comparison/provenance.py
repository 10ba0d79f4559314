"""Where the figures of the comparison come from, as Markdown."""

from collections.abc import Iterable, Sequence

from mmfasternet.benchmark.published.provenance import Speed
from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.report.markdown import bullets, escape_markdown, table

__all__ = ['TIMM_SETTING', 'by_setting', 'plotted_settings', 'pretraining_words', 'provenance_sections']

# Of timm's throughputs, the one that most backbones have.
TIMM_SETTING = 'classifier, RTX 4090, PyTorch eager, 224 × 224, batch 1024'

# Rows that a plot of published latencies needs.
_ENOUGH = 5

_ALONE = 'There is no config here: the figures are published ones alone.'

_SECTIONS = """## Provenance

What others have published of each backbone, with links to the sources; a cell is empty where no source that was read
says it. ‡ Pre-trained with a teacher (distilled). The 1x schedule is 12 epochs at 1333 × 800. mIoU is that on ADE20K
at one scale. Images per second are timm's (RTX 4090, AMP, eager, batch 1024, 224 × 224). {date}

{provenance}

{notes}

## Published latencies and throughputs

Each line is one setting of others; compare within a line only.{plot}

{speeds}

## Complete systems

Published figures of complete detectors, for orientation: they differ from the rows above in head, training and images.

{systems}
"""


def provenance_sections(rows: Sequence[Row]) -> str:
    """Provenance of each row, published speeds by setting, and complete systems.

    Args:
        rows: The rows; those of which nothing is known are left out.

    Returns:
        Markdown, or '' if nothing is known of any.

    Example:
        >>> from mmfasternet.benchmark.published.rows import find_row
        >>> provenance_sections([find_row('repvit_m1_1')]).splitlines()[0]
        '## Provenance'
    """
    known = [row for row in rows if row.provenance.read]
    if not known:
        return ''
    read = sorted({row.provenance.read for row in known})
    return _SECTIONS.format(
        date=f'Read in {" and ".join(read)}.',
        provenance=_provenance_table(known),
        notes=bullets(_notes(known)),
        plot='\n\n![Published latency against AP](published.png)' * bool(plotted_settings(known)),
        speeds=_speed_table(known),
        systems=_system_table(),
    )


def pretraining_words(row: Row) -> str:
    """The pre-training of a row.

    Args:
        row: The row.

    Returns:
        Data, epochs and teacher, as far as they are known.

    Example:
        >>> from mmfasternet.benchmark.published.rows import find_row
        >>> pretraining_words(find_row('repvit_m2_3'))
        'ImageNet-1k, 450 epochs, distilled'
    """
    found = row.provenance
    epochs = f'{found.epochs} epochs' if found.epochs else None
    teacher = {True: 'distilled', False: 'not distilled', None: None}[found.distilled]
    return ', '.join(filter(None, [found.pretraining, epochs, teacher]))


def by_setting(rows: Iterable[Row]) -> dict[str, list[tuple[Row, Speed]]]:
    """Sort the published speeds of rows by what was timed where.

    Args:
        rows: The rows.

    Returns:
        Setting and unit → each row with its figure.

    Example:
        >>> from mmfasternet.benchmark.published.rows import find_row
        >>> list(by_setting([find_row('lsnet_b')]))
        ['classifier, RTX 3090, PyTorch, 224 × 224']
    """
    found: dict[str, list[tuple[Row, Speed]]] = {}
    for row in rows:
        for speed in row.speeds:
            found.setdefault(speed.setting, []).append((row, speed))
    return found


def plotted_settings(rows: Iterable[Row]) -> list[str]:
    """Choose the settings whose published latencies are drawn: those of backbones that have enough rows with AP.

    Args:
        rows: The rows.

    Returns:
        The settings.

    Example:
        >>> from mmfasternet.benchmark.published.rows import ROWS
        >>> plotted_settings(ROWS)[0]
        'backbone, iPhone 13, Core ML, 512 × 512, batch 1'
    """
    found = by_setting(row for row in rows if row.published)
    return [setting for setting, pairs in found.items() if len(pairs) >= _ENOUGH and pairs[0][1].scope == 'backbone']


def _notes(rows: Iterable[Row]) -> list[str]:
    """What stands below the table, once for all rows that it is said of."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        for note in filter(None, [_ALONE * (row.config is None), row.provenance.note]):
            notes.setdefault(note, []).append(row.label)
    return [f'{escape_markdown(", ".join(labels))}: {escape_markdown(note)}' for note, labels in notes.items()]


def _provenance_table(rows: Iterable[Row]) -> str:
    head = ['Backbone', 'Pre-training', 'ImageNet top-1', "Detector's schedule", 'Recipe', 'RetinaNet box AP']
    head += ['mIoU', 'Images per second']
    lines = []
    for row in rows:
        found = row.provenance
        timm = next((speed for speed in row.speeds if speed.setting == TIMM_SETTING), None)
        ap = row.published
        lines.append(
            [
                escape_markdown(row.marked_label),
                _linked(pretraining_words(row), found.pretraining_url),
                '' if found.top1 is None else f'{found.top1:.1f}',
                _linked(row.schedule, ap.url) if ap else '',
                found.recipe or '',
                '' if found.retinanet_ap is None else _linked(f'{found.retinanet_ap:.1f}', found.retinanet_url),
                '' if found.miou is None else _linked(f'{found.miou:.1f} ({found.miou_head})', found.miou_url),
                '' if timm is None else _linked(f'{timm.value:,}', timm.url),
            ]
        )
    return table(head, lines)


def _speed_table(rows: Iterable[Row]) -> str:
    lines = []
    for setting, pairs in by_setting(rows).items():
        figures = ', '.join(f'{escape_markdown(row.label)} {speed.value:,}' for row, speed in pairs)
        sources = dict.fromkeys(_linked(escape_markdown(speed.source), speed.url) for _, speed in pairs)
        lines.append([setting, pairs[0][1].unit, figures, '; '.join(sources)])
    return table(['Setting', 'Unit', 'Figures', 'Sources'], lines)


def _system_table() -> str:
    lines = [
        [
            line['system'],
            line['box_ap'],
            line['mask_ap'],
            f'{line["value"]} {line["unit"]}',
            f'{line["device"]}, {line["engine"]}, {line["resolution"]} × {line["resolution"]}, batch {line["batch"]}',
            _linked(line['source'], line['url']),
        ]
        for line in published('systems')
    ]
    return table(['System', 'box AP', 'mask AP', 'Latency', 'Setting', 'Source'], lines)


def _linked(text: str, url: str | None) -> str:
    return f'[{text}]({url})' if text and url else text
