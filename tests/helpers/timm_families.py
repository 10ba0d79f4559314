"""The families of timm and which of them are backbones, as the tables in docs/timm.md and docs/timm.zh.md.

``PYTHONPATH=.:tests python -m helpers.timm_families`` writes the tables.
"""

import re
from collections import defaultdict
from pathlib import Path

import timm
from timm.models._registry import _model_to_module

from helpers.project import ROOT
from mmfasternet.models.timm_network import build_on_meta, feature_key, plan_features

PAGES = {'en': ROOT / 'docs/timm.md', 'zh': ROOT / 'docs/timm.zh.md'}
HEADS = {
    'en': (
        '| family | network checked | `out_indices` | `out_channels` | images | `with_cp` |',
        '| family | network checked | why not |',
    ),
    'zh': (
        '| 系列 | 检查的网络 | `out_indices` | `out_channels` | 图像 | `with_cp` |',
        '| 系列 | 检查的网络 | 原因 |',
    ),
}
WORDS = {
    'en': dict(any='any size', repeats='multiples of {0} × {1}', fixed='{0} × {1}, or `img_size`'),
    'zh': dict(any='任意尺寸', repeats='{0} × {1} 的倍数', fixed='{0} × {1}，或 `img_size`'),
}
REASONS = {
    'en': dict(
        strides='strides {0}, none of 4, 8, 16, 32',
        shapes='unpadded convolutions: maps are smaller than the image divided by their stride',
        value='what it computes depends on the values of an image',
    ),
    'zh': dict(
        strides='步长为 {0}，不含 4、8、16、32',
        shapes='卷积没有填充：特征图小于图像尺寸除以步长',
        value='计算过程取决于图像的取值',
    ),
}
_SMALL = ('atto', 'femto', 'pico', 'nano', 'test_', 'micro', 'mini', 'xxs', 'xxt', '_xs', 'tiny', '_t0', '_m0', '_s0')
_SMALL += ('_s1', 'small', '_b0', '_050', '18', '_26', '_0', '_t', '_s', 'base')


def families() -> dict[str, str]:
    """Family, by the module of timm that defines it, → a small network of it."""
    found = defaultdict(list)
    for arch in timm.list_models():
        found[_model_to_module[arch]].append(arch)

    def size(arch: str) -> tuple[int, int, str]:
        return next((i for i, part in enumerate(_SMALL) if part in arch), len(_SMALL)), len(arch), arch

    return {family: min(archs, key=size) for family, archs in sorted(found.items())}


def find_out(arch: str) -> tuple[bool, dict[str, str]]:
    """Whether a network is a backbone, and the rest of its row in each language."""
    network = build_on_meta(arch, {})
    strides = sorted({entry['reduction'] for entry in network.feature_info})
    out_indices = tuple(index for index in range(4) if 4 * 2**index in strides)
    if not out_indices:
        return False, {to: text['strides'].format(', '.join(map(str, strides))) for to, text in REASONS.items()}
    try:
        plan = plan_features(arch, out_indices)
    except ValueError as error:
        kind = 'shapes' if 'promise' in str(error) else 'value'
        assert kind == 'shapes' or 'Tensor.item()' in str(error), error
        return False, {to: text[kind] for to, text in REASONS.items()}
    features = build_on_meta(arch, plan.options)
    assert unexplained_entries(network, features, plan.behind) == []
    images = 'any' if plan.size is None else 'repeats' if plan.repeats else 'fixed'
    cells = [', '.join(map(str, numbers)) for numbers in (out_indices, plan.channels)]
    recomputes = '✓' if can_recompute(features) else ''
    return True, {
        to: ' | '.join([*cells, text[images].format(*(plan.size or ())), recomputes]) for to, text in WORDS.items()
    }


def unexplained_entries(network, features, behind: frozenset[str]) -> list[str]:
    """Entries that a map depends on and that are not exactly one entry of the complete network."""
    idle = {name for name, _ in features.named_parameters() if name not in behind}
    named = defaultdict(list)
    for key, value in network.state_dict().items():
        named[feature_key(key, features)].append(value.shape)
    return [k for k, value in features.state_dict().items() if k not in idle and named[k] != [value.shape]]


def can_recompute(features) -> bool:
    try:
        getattr(features, 'model', features).set_grad_checkpointing(True)
    except (AttributeError, AssertionError):
        return False
    return True


def read_tables(page: Path) -> list[dict[str, tuple[str, str]]]:
    """Family → network and the rest of its row, in the table of backbones and in that of the others."""
    text = page.read_text(encoding='utf-8')
    tables = re.findall(r'<!-- table -->\n\n(.*?)\n\n<!-- end -->', text, re.DOTALL)
    rows = [[line.strip('| ').split(' | ', 2) for line in table.splitlines()[2:]] for table in tables]
    return [{family: (arch.strip('`'), rest) for family, arch, rest in table} for table in rows]


def write_tables() -> None:
    rows = {to: ([], []) for to in PAGES}
    for family, arch in families().items():
        fits, rests = find_out(arch)
        for to, rest in rests.items():
            rows[to][not fits].append(f'| {family} | `{arch}` | {rest} |'.replace('  |', ' |'))
    for to, page in PAGES.items():
        tables = iter(
            '\n'.join([head, '|---' * (head.count('|') - 1) + '|', *table])
            for head, table in zip(HEADS[to], rows[to], strict=True)
        )
        text = page.read_text(encoding='utf-8')
        text = re.sub(
            r'<!-- table -->.*?<!-- end -->',
            lambda _, tables=tables: f'<!-- table -->\n\n{next(tables)}\n\n<!-- end -->',
            text,
            flags=re.DOTALL,
        )
        page.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    write_tables()
