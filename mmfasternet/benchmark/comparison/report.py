"""The report of a comparison: tables, pictures and a page, from files of records."""

from pathlib import Path

from mmfasternet.errors import UserError
from mmfasternet.files import write_whole

__all__ = ['write_report']


def write_report(documents: list[dict], out_dir: str | Path) -> dict[str, Path]:
    """Write all that there is to see of the records: nothing if one part can't be made, and each file whole.

    Args:
        documents: What :func:`~mmfasternet.benchmark.records.records.read_records` gave, one for each file; without any, the
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
        from mmfasternet.benchmark.report import page, plots, table
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
    return {name: write_whole(Path(out_dir, name), content) for name, content in files.items()}
