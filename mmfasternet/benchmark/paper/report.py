"""What the reports of the studies share: records of one kind of weights, page and picture as files."""

from pathlib import Path

from matplotlib.figure import Figure

from mmfasternet.benchmark.report.plots import encode
from mmfasternet.files import write_whole

__all__ = ['of_weights', 'write_report']


def of_weights(document: dict, weights: str) -> list[dict]:
    """The records of trained weights, or of the random ones that they are compared with.

    Args:
        document: A study's, whose records have the setting ``weights``.
        weights: 'trained' or 'random'.

    Returns:
        The records in their order.

    Example:
        >>> of_weights(dict(records=[dict(settings=dict(weights='random'))]), 'trained')
        []
    """
    return [record for record in document['records'] if record['settings']['weights'] == weights]


def write_report(study: str, page: str, figure: Figure, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the picture of a study, each file whole.

    Args:
        study: Name of the study, such as 'operators'.
        page: Its page in Markdown.
        figure: Its picture.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of the page, and of the picture as PNG and SVG.

    Raises:
        UserError: If a file can't be written.

    Example:
        >>> list(write_report('example', '# Example', Figure(), 'example_study'))
        ['example.png', 'example.svg', 'example.md']
    """
    files = {f'{study}.{form}': encode(figure, form) for form in ('png', 'svg')} | {f'{study}.md': page.encode()}
    return {name: write_whole(Path(out_dir, name), content) for name, content in files.items()}
