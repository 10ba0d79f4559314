"""The CSV files of this folder."""

import csv
from pathlib import Path

__all__ = ['number', 'published']


def published(table: str) -> list[dict[str, str]]:
    """Read a table of this folder.

    ``table1_…`` to ``table8_…`` are those of *Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks* (CVPR
    2023), figure by figure. FLOPs are multiply-adds.
    ``throughput_gpu_timm`` has images/s of timm's backbones, by their names there, from the files
    ``results/benchmark-infer-amp-nchw-pt291-*.csv`` of https://github.com/huggingface/pytorch-image-models: AMP, batch
    1024, 224 × 224; compiled by ``torch.compile`` where their names end in dynamo.
    ``latencies`` has what others have published of backbones, one figure a line; ``systems`` complete detectors.

    Args:
        table: Name of a file in this folder, such as 'table1_operators'.

    Returns:
        Its lines in order, column → text as printed.

    Example:
        >>> published('table1_operators')[0]['flops_m']
        '2601'
    """
    with Path(__file__).with_name(f'{table}.csv').open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def number(text: str) -> float | None:
    """A cell's number.

    Args:
        text: As printed.

    Returns:
        An int if it is printed as one, else a float. None if the cell is empty.

    Example:
        >>> number('300'), number('71.9'), number('')
        (300, 71.9, None)
    """
    if not text:
        return None
    return float(text) if '.' in text else int(text)
