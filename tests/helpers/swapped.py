"""The tables in docs/swap_pconv.md and its Chinese twin, from the records: what PConv changes in networks.

PYTHONPATH=.:tests python -m helpers.swapped
"""

import re

from helpers.project import ROOT
from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import latency, table

RECORDS = ROOT / 'docs/results/swap/records.json'
PAGES = {language: ROOT / f'docs/swap_pconv{end}.md' for language, end in (('en', ''), ('zh', '.zh'))}
HEADS = dict(
    en=['network', 'swapped', 'left', 'M parameters', 'G FLOPs', 'ms', 'latency'],
    zh=['网络', '替换', '保留', '参数量（M）', 'FLOPs（G）', '毫秒', '延迟'],
)
TIE = dict(en=' (tie)', zh='（相当）')
NOTHING = dict(en='nothing to swap', zh='无可替换')
NOT_TIMED = dict(en='not measured', zh='未测')


def make_table(records: Records, language: str) -> str:
    return table(HEADS[language], [_row(record, language) for record in records.of_kind('swap')])


def _row(record: dict, language: str) -> list[str]:
    changes = [
        f'{record[f"{key}_before"] / unit:.2f} → {record[f"{key}_after"] / unit:.2f}'
        for key, unit in (('params', 1e6), ('flops', 1e9))
    ]
    cells = [f'`{record["row"]}`', str(record['swapped']), str(sum(record['left'].values())), *changes]
    if not record['swapped']:
        return [*cells, NOTHING[language], '']
    if 'before' not in record:
        return [*cells, NOT_TIMED[language], '']
    before, after = record['before'], record['after']
    ratio = f'{after["median_ms"] / before["median_ms"]:.2f}' + TIE[language] * is_tie(before, after)
    return [*cells, f'{latency(before)} → {latency(after)}', ratio]


def found_table(page: str) -> str:
    (found,) = re.findall(r'<!-- table -->\n\n(.*?)\n\n<!-- end -->', page, re.DOTALL)
    return found


def write_tables() -> None:
    records = Records.read(RECORDS)
    for language, path in PAGES.items():
        block = f'<!-- table -->\n\n{make_table(records, language)}\n\n<!-- end -->'
        page = path.read_text(encoding='utf-8')
        page = re.sub('<!-- table -->.*?<!-- end -->', lambda _, block=block: block, page, flags=re.DOTALL)
        path.write_text(page, encoding='utf-8')


if __name__ == '__main__':
    write_tables()
