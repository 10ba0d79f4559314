"""The model zoo: a page with parameters and FLOPs of every config, from records."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from mmfasternet.benchmark.records.records import Records
from mmfasternet.benchmark.report.markdown import escape_records, table

__all__ = ['zoo_page']

# Title of a section → prefix of its configs' paths; a config belongs to the first that fits.
_SECTIONS = {
    'FasterNet with Mask R-CNN on COCO': 'configs/mask_rcnn_',
    'Other detectors on COCO': 'configs/detection/',
    'Other backbones with Mask R-CNN on COCO': 'configs/baselines/',
    'Semantic segmentation': 'configs/segmentation/',
    'Classifiers on ImageNet': 'configs/classification/',
    'On generated images and small data': 'configs/demo/',
}

_PAGE = """# Model zoo

Generated from records by `tools/benchmark/model_zoo.py`; do not edit.

Parameters and FLOPs of every config. Parameters are the trainable ones. FLOPs are multiply-adds for one image of the
given size: every convolution, matrix product and norm, with 1000 proposals for the box head and 100 RoIs for the mask
head (in a cascade, at each of its three stages) or 100 objects for the masks of RTMDet-Ins, without the interpolation
in RoIAlign and deformable attention.
[How complexity is counted](compare.md#how-complexity-is-counted) has the details, and how the FasterNet paper counts.
An auxiliary head runs in training only, so it adds parameters and no FLOPs.

Published AP and checkpoints are in [the README](../README.md) and in
[configs/metafile.yml](../configs/metafile.yml); the recipes are in the guides to [detectors](detectors.md),
[segmentation](segmentation.md) and [ImageNet](imagenet.md).

{sections}
"""


def zoo_page(files: Iterable[str | Path]) -> str:
    """Draw the page.

    Args:
        files: Files of records. The first record of kind 'complexity' or 'classifier' of a config makes its line.

    Returns:
        Markdown, with a table for each section that has a line.

    Raises:
        UserError: If a file can't be read as records.

    Example:
        >>> zoo_page([]).splitlines()[0]
        '# Model zoo'
    """
    records: dict[str, dict] = {}
    for file in map(escape_records, map(Records.read, files)):
        for record in (*file.of_kind('complexity'), *file.of_kind('classifier')):
            records.setdefault(record.get('config') or '', record)
    head = ['config', 'M parameters', 'GFLOPs', 'backbone GFLOPs', 'image']
    sections = []
    for title, prefix in _SECTIONS.items():
        lines = [_line(record) for config, record in records.items() if config.startswith(prefix)]
        if lines:
            sections.append(f'## {title}\n\n{table(head, lines)}')
    return _PAGE.format(sections='\n\n'.join(sections))


def _line(record: dict) -> list[str]:
    height, width = record['shape']
    if record['kind'] == 'complexity':
        params, flops = record['trainable'], record['flops_full']
        backbone = _giga(record['parts']['backbone']['flops_full'])
    else:
        # A classifier is counted as one part.
        params, flops, backbone = record['params'], record['flops'], ''
    config = f'[{PurePosixPath(record["config"]).stem}](../{record["config"]})'
    return [config, f'{params / 1e6:.1f}', _giga(flops), backbone, f'{height} × {width}']


def _giga(value: float) -> str:
    return f'{value / 1e9:.{2 if value < 10e9 else 1 if value < 100e9 else 0}f}'
