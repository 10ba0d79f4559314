"""The report of a comparison: tables, pictures and a page, from files of records."""

import contextlib
import os
from pathlib import Path

from ..errors import UserError

__all__ = ['write_report']


def write_report(documents: list[dict], out_dir: str | Path) -> dict[str, Path]:
    """Write all that there is to see of the records: nothing if one part can't be made, and each file whole.

    Args:
        documents: What :func:`~mmfasternet.benchmark.records.read_records` gave, one for each file; without any, the
            report holds the published figures alone.
        out_dir: Folder of the report; it is made if it is missing.

    Returns:
        Name → path of comparison.csv, comparison.md, comparison.png and .svg (latency against AP), index.html, and,
        where FLOPs and latencies are known, flops_latency.png and .svg.

    Raises:
        UserError: If a file can't be written, or a package that draws the report is missing.

    Example:
        >>> sorted(write_report([], 'report'))
        ['comparison.csv', 'comparison.md', 'comparison.png', 'comparison.svg', 'index.html']
    """
    try:
        from . import page, plots, table
    except ModuleNotFoundError as error:
        raise UserError(
            f'the report needs plotly, jinja2 and scipy ({error}): pip install mmfasternet[compare]'
        ) from error

    report = table.collect(documents)
    files = {'comparison.csv': table.csv_table(report).encode(), 'comparison.md': table.markdown_table(report).encode()}
    for name, figure in (('comparison', plots.draw_comparison(report)), ('flops_latency', plots.draw_flops(report))):
        if figure:
            files |= {f'{name}.{form}': plots.encode(figure, form) for form in ('png', 'svg')}
    files['index.html'] = page.render_page(report).encode()
    return {name: write(Path(out_dir, name), content) for name, content in files.items()}


def write(path: Path, content: bytes) -> Path:
    part = path.with_name(f'.{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise UserError(
            f'can not write {path} ({error.strerror or error}); name another folder, or make room'
        ) from error
    return path
