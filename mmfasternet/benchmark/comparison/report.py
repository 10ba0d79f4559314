"""The report of the comparison with published AP, from files of records: tables, figures and the HTML page."""

from collections.abc import Sequence
from pathlib import Path

from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError
from mmfasternet.files import write_file

__all__ = ['write_report']


def write_report(files: Sequence[Records], out_dir: str | Path) -> dict[str, Path]:
    """Write the report: nothing if one part can't be made, and each file completely or not at all.

    Args:
        files: Files of records; without any, the report holds the published figures alone.
        out_dir: Folder of the report; it is made if it is missing.

    Returns:
        Name → path of compare.md, compare.csv, compare.png (latency against AP), index.html, and, where their figures
        are known, published.png (latency elsewhere against AP) and flops_latency.png.

    Raises:
        UserError: If a file can't be written, or a package that draws the report is missing.

    Example:
        >>> sorted(write_report([], 'report'))
        ['compare.csv', 'compare.md', 'compare.png', 'index.html', 'published.png']
    """
    try:
        # Imported here, since measuring needs none of what draws.
        from mmfasternet.benchmark.report.style import encode

        from .collect import collect
        from .page import render_page
        from .plots import draw_comparison, draw_flops, draw_published
        from .tables import comparison_page, csv_table

        report = collect(files)
    except ModuleNotFoundError as error:
        raise UserError(
            f'the report needs plotly, jinja2 and scipy ({error}): pip install mmfasternet[compare]'
        ) from error

    contents = {'compare.csv': csv_table(report).encode(), 'compare.md': comparison_page(report).encode()}
    contents['compare.png'] = encode(draw_comparison(report))
    for name, figure in (('published.png', draw_published(report)), ('flops_latency.png', draw_flops(report))):
        if figure:
            contents[name] = encode(figure)
    contents['index.html'] = render_page(report).encode()
    return {name: write_file(Path(out_dir, name), content) for name, content in contents.items()}
