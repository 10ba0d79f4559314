"""The model zoo: a page with every config, its parameters and its FLOPs, from records."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from mmfasternet.benchmark.records.records import of_kind
from mmfasternet.benchmark.report.markdown import table

__all__ = ['zoo_page']

# Title of a section → how paths of its configs begin; a config belongs to the first that fits.
SECTIONS = {
    'FasterNet with Mask R-CNN on COCO': 'configs/mask_rcnn_',
    'Other detectors on COCO': 'configs/detection/',
    'Other backbones with Mask R-CNN on COCO': 'configs/baselines/',
    'Semantic segmentation': 'configs/segmentation/',
    'Classifiers on ImageNet': 'configs/classification/',
    'On generated pictures': 'configs/demo/',
}

PAGE = """# Model zoo

Drawn from records by `tools/benchmark/model_zoo.py`; not edited by hand.

Every config of this project, with what it costs. Parameters are those that training changes. FLOPs are multiply-adds of
one picture of the given size: every convolution, matrix product and norm, in a detector for 1000 proposals and 100
RoIs, in a cascade at each of its three stages; not the interpolation of RoIAlign and deformable attention.
[Here](compare.md#how-complexity-is-counted) is how they are counted, and how the FasterNet paper counts. An
auxiliary head, which computes in training alone, has parameters and no FLOPs.

Published AP, and files of weights, are in [the README](../README.md#in-your-own-config) and in
[configs/metafile.yml](../configs/metafile.yml); recipes in the guides to [detectors](detectors.md),
[segmentation](segmentation.md) and [ImageNet](imagenet.md).

{sections}
"""


def zoo_page(documents: Iterable[dict]) -> str:
    """The page, in Markdown.

    Args:
        documents: What :func:`~mmfasternet.benchmark.records.records.read_records` gave, one for each file.

    Returns:
        A table for each section, a line per config that has a record of kind 'complexity' or 'classifier': its first.

    Example:
        >>> zoo_page([]).splitlines()[0]
        '# Model zoo'
    """
    records: dict[str, dict] = {}
    for document in documents:
        for record in (*of_kind(document, 'complexity'), *of_kind(document, 'classifier')):
            records.setdefault(record['config'], record)
    sections = []
    for title, prefix in SECTIONS.items():
        found = [line(record) for config, record in records.items() if config.startswith(prefix)]
        if found:
            head = ['config', 'M parameters', 'G FLOPs', 'of these, the backbone', 'picture']
            sections.append(f'## {title}\n\n{table(head, found)}')
    return PAGE.format(sections='\n\n'.join(sections))


def line(record: dict) -> list[str]:
    height, width = record['shape']
    if record['kind'] == 'complexity':
        params, flops = record['trainable'], record['flops_full']
        backbone = giga(record['parts']['backbone']['flops_full'])
    else:
        # Of classifiers the whole network alone is counted.
        params, flops, backbone = record['params'], record['flops'], ''
    config = f'[{PurePosixPath(record["config"]).stem}](../{record["config"]})'
    return [config, f'{params / 1e6:.1f}', giga(flops), backbone, f'{height} × {width}']


def giga(value: float) -> str:
    return f'{value / 1e9:.{2 if value < 10e9 else 1 if value < 100e9 else 0}f}'
