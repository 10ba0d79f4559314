"""The files of the clone that are generated from the tables of facts."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.errors import UserError
from mmfasternet.models.variants import VARIANTS, Variant

from .metafiles import metafiles
from .model_zoo import zoo_page

__all__ = ['generated_files']

_START, _END = '<!-- variants: start (generated) -->', '<!-- variants: end -->'
_BACKBONE = """# FasterNet-{label}, with the authors' ImageNet weights, and the channels of its four feature maps.
# Generated from mmfasternet/models/variants.py by tools/benchmark/model_zoo.py; do not edit.
{checkpoint}
backbone = dict(type='FasterNet', arch='{arch}', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
channels = {channels}
"""
# The head of the variants' table in each README.
_READMES = {
    'README.md': '| variant | `in_channels` of the neck | Mask R-CNN 1× config | box AP / mask AP, *published* |',
    'README_zh-CN.md': '| 型号 | neck 的 `in_channels` | Mask R-CNN 1× 配置 | box AP / mask AP，*论文公布* |',
}


def generated_files(root: Path, records: Iterable[str | Path]) -> Iterator[tuple[Path, str]]:
    """Generate the backbones' configs, the metafiles, the READMEs with their variants' table, and the model zoo.

    Args:
        root: The clone.
        records: Files of records for the model zoo.

    Yields:
        Path and content of each file. Nothing is written here, but write each before you ask for the next: the
        metafiles are made from configs that inherit the backbones'.

    Raises:
        UserError: If ``root`` is no clone, a README has lost the markers of its table, or a file of records can't be
            read.

    Example:
        >>> from mmfasternet.engine.config import project_root
        >>> path, content = next(generated_files(project_root(), []))
        >>> path.name, content.splitlines()[-1]
        ('fasternet_t0.py', 'channels = [40, 80, 160, 320]')
    """
    # First of all, so that nothing is written unless this is a clone.
    readmes = {root / name: _with_variants(root / name, head) for name, head in _READMES.items()}
    for arch, variant in VARIANTS.items():
        yield root / f'configs/_base_/backbones/fasternet_{arch}.py', _backbone(arch, variant)
    yield from readmes.items()
    for name, content in metafiles(root).items():
        yield root / name, content
    yield root / 'docs/model_zoo.md', zoo_page(records)


def _backbone(arch: str, variant: Variant) -> str:
    checkpoint = f"checkpoint = '{variant.checkpoint}'"
    if len(checkpoint) > 120:
        checkpoint = f"checkpoint = (\n    '{variant.checkpoint}'\n)"
    return _BACKBONE.format(label=variant.label, arch=arch, checkpoint=checkpoint, channels=list(variant.channels))


def _with_variants(readme: Path, head: str) -> str:
    """A README whose table of variants, between its two markers, is redrawn."""
    if not readme.is_file():
        raise UserError(
            f'there is no {readme}; run this in a clone of mmfasternet, or give RECORDS to draw the model zoo alone'
        )
    before, start, rest = readme.read_text(encoding='utf-8').partition(_START)
    _, end, after = rest.partition(_END)
    if not (start and end):
        raise UserError(f'{readme} needs the lines {_START} and {_END}, in this order; the table goes between them')
    table = [head, '|---|---|---|---|', *(_variant_line(arch, variant) for arch, variant in VARIANTS.items())]
    return '\n'.join([f'{before}{_START}', '', *table, '', f'{_END}{after}'])


def _variant_line(arch: str, variant: Variant) -> str:
    row = find_row(f'fasternet_{arch}')
    ap = f'{row.published.box_ap} / {row.published.mask_ap}' if row.published else ''
    channels = ', '.join(map(str, variant.channels))
    return f'| {variant.label} | {channels} | [{Path(row.config).name}]({row.config}) | {ap} |'
