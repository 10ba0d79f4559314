"""The paper's tables, number by number, as the studies print them beside their own."""

import csv
from pathlib import Path

__all__ = ['published']


def published(table: str) -> list[dict[str, str]]:
    """A table of *Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks* (CVPR 2023).

    Args:
        table: Name of a file in this folder, such as 'table1_operators'.

    Returns:
        Its rows, column → what is printed.

    Example:
        >>> published('table1_operators')[0]['flops_m']
        '2601'
    """
    with open(Path(__file__).with_name(f'{table}.csv'), newline='') as file:
        return list(csv.DictReader(file))
