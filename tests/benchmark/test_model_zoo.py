"""Files that repeat facts are as tools/benchmark/model_zoo.py generates them."""

import re
import shutil
from itertools import islice

import pytest
from helpers.project import ROOT
from mmengine.config import Config

from mmfasternet.benchmark.comparison import metafiles as metafiles_module
from mmfasternet.benchmark.comparison.generated import generated_files
from mmfasternet.benchmark.comparison.metafiles import metafiles
from mmfasternet.benchmark.comparison.model_zoo import zoo_page
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.errors import UserError
from mmfasternet.models.variants import VARIANTS

RESULTS = ROOT / 'docs/results'
RECORDS = [*sorted(RESULTS.glob('*/records.json')), RESULTS / 'demo/classifier.json']


@pytest.fixture(scope='module')
def generated() -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): content for path, content in generated_files(ROOT, RECORDS)}


def test_files_are_up_to_date(generated):
    stale = [name for name, content in generated.items() if (ROOT / name).read_text(encoding='utf-8') != content]
    assert not stale, 'run python tools/benchmark/model_zoo.py'
    backbones = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs/_base_/backbones').iterdir()}
    assert backbones == {name for name in generated if name.startswith('configs/_base_/') and name in backbones}


def test_model_zoo_has_every_config(generated):
    listed = re.findall(r'\(\.\./(configs/.*\.py)\)', generated['docs/model_zoo.md'])
    configs = [path.relative_to(ROOT) for path in (ROOT / 'configs').rglob('*.py')]
    runnable = [path.as_posix() for path in configs if not any(part.startswith('_') for part in path.parts)]
    assert sorted(listed) == sorted(runnable)


def test_readmes_have_channels_and_published_ap(generated):
    for name in ('README.md', 'README_zh-CN.md'):
        lines = dict(re.findall(r'^\| (T0|S) \|(.*)', generated[name], re.MULTILINE))
        assert '40, 80, 160, 320' in lines['T0'] and '39.9' not in lines['T0']
        assert '128, 256, 512, 1024' in lines['S'] and '39.9 / 36.9' in lines['S']


def test_page_of_some_records():
    page = zoo_page([RESULTS / 'detectors/records.json'])
    assert 'retinanet_fasternet_s' in page and 'mask_rcnn_resnet50' not in page


def test_readme_without_markers_is_refused(tmp_path):
    # Before the first file, so that nothing is written into an installed package.
    with pytest.raises(UserError, match='in a clone'):
        next(generated_files(tmp_path, []))
    (tmp_path / 'README.md').write_text('# mmfasternet')
    with pytest.raises(UserError, match='variants: start'):
        list(generated_files(tmp_path, []))


def test_family_without_a_line_is_named(monkeypatch):
    monkeypatch.setattr(metafiles_module, 'BUILT_ROWS', (find_row('trained_mobilenet_v2'),))
    with pytest.raises(UserError, match=r'families\.csv.*MobileNet'):
        metafiles(ROOT)


def test_backbones_are_generated_before_the_configs_that_inherit_them(tmp_path):
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs', ignore=shutil.ignore_patterns('backbones'))
    for name in ('README.md', 'README_zh-CN.md'):
        shutil.copy(ROOT / name, tmp_path)
    for path, content in islice(generated_files(tmp_path, []), len(VARIANTS)):
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert Config.fromfile(tmp_path / 'configs/mask_rcnn_fasternet_t0.py').model.neck.in_channels == [40, 80, 160, 320]
