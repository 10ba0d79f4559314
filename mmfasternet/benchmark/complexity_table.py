"""Records of complexity as a table of configs."""

from pathlib import PurePosixPath

__all__ = ['complexity_table']


def complexity_table(documents: list[dict]) -> str:
    """Parameters and multiply-adds of every config that was counted, as Markdown.

    Args:
        documents: What :func:`~mmfasternet.benchmark.records.read_records` gave, one for each file.

    Returns:
        The table: a line per record of kind 'complexity', in their order.

    Example:
        >>> print(complexity_table([]))
        | config | parameters (M) | FLOPs (G) | of these, the backbone | picture |
        |---|---:|---:|---:|---:|
    """
    lines = ['| config | parameters (M) | FLOPs (G) | of these, the backbone | picture |', '|---|---:|---:|---:|---:|']
    for record in (record for document in documents for record in document['records']):
        if record['kind'] == 'complexity':
            height, width = record['shape']
            cells = (
                PurePosixPath(record['config']).stem,
                f'{record["trainable"] / 1e6:.1f}',
                f'{record["flops_full"] / 1e9:.0f}',
                f'{record["parts"]["backbone"]["flops_full"] / 1e9:.0f}',
                f'{height} × {width}',
            )
            lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)
