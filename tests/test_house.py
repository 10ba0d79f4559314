"""The house stands as planned: who imports whom, what a folder lends, and that importing a module changes nothing."""

import json
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest
from helpers import house as rules
from helpers.house import House
from helpers.project import ROOT, run_tool, succeed

FOLDERS = ('mmfasternet', 'tools', 'tests')
# A module that needs one of these is passed over where it is not installed.
OPTIONAL = (
    'executorch',
    'mmdet',
    'mmseg',
    'mmpretrain',
    'ncnn',
    'pnnx',
    'timm',
    'plotly',
    'jinja2',
    'scipy',
    'onnx',
    'onnxruntime',
    'openvino',
    'triton',
)

RULES = (
    rules.upward_arrows,
    rules.laboratory_in_product,
    rules.circles,
    rules.border_crossings,
    rules.unknown_names,
    rules.unlisted_names,
)


def read_sources() -> dict[str, str]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py')] + [*ROOT.glob('mmfasternet_*.py')]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding='utf-8') for path in paths}


HOUSE = House(read_sources())


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.__name__)
def test_house_keeps(rule):
    assert_none(rule(HOUSE), rule.__doc__)


@pytest.mark.parametrize('folder', ['configs', 'tools'])
def test_basenames_are_unique(folder):
    paths = [path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob('*') if path.suffix in ('.py', '.sh')]
    assert_none(rules.shared_basenames(paths), rules.shared_basenames.__doc__)


def assert_none(violations: Iterator[str], rule: str) -> None:
    lines = sorted(set(violations))
    if lines:
        pytest.fail('\n'.join([f'{rule} {len(lines)} violations:', *lines]), pytrace=False)


# The rules see what they are to see: made-up houses that break one in a single place.

GROUND = {
    'mmfasternet/__init__.py': '',
    'mmfasternet/errors.py': "__all__ = ['UserError']\nclass UserError(ValueError): ...",
    'mmfasternet/weights/__init__.py': '',
    'mmfasternet/weights/reader.py': """
        from mmfasternet.errors import UserError
        __all__ = ['read']
        def read(): raise UserError
        def _helper(): ...
        """,
    'mmfasternet/models/__init__.py': """
        from .net import Net
        __all__ = ['Net']
        """,
    'mmfasternet/models/net.py': """
        from mmfasternet.weights import reader
        from mmfasternet.weights.reader import read
        __all__ = ['Net']
        class Net:
            file = reader.read()
        """,
    'mmfasternet/engine/run.py': "from mmfasternet.models import Net\n__all__ = ['run']\ndef run(): ...",
    'mmfasternet/benchmark/__init__.py': '',
    'mmfasternet/benchmark/records/file.py': "__all__ = ['FORMAT']\nFORMAT, _VERSION = 'a', 1",
    'mmfasternet/benchmark/report/page.py': '',
    'mmfasternet/benchmark/comparison/ap.py': "__all__ = ['ap']\ndef ap(): ...",
    'mmfasternet/benchmark/engines/measure.py': '',
    'tools/train.py': 'from mmfasternet.engine.run import run\ndef main(): ...',
    'tests/helpers/project.py': 'from mmfasternet.weights.reader import _helper',
}


def violations_of(rule: Callable[[House], Iterator[str]], changed: dict[str, str]) -> list[str]:
    return list(rule(House({path: textwrap.dedent(text) for path, text in {**GROUND, **changed}.items()})))


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.__name__)
def test_a_house_in_order_has_no_violation(rule):
    assert violations_of(rule, {}) == []


BROKEN = {
    rules.upward_arrows: [
        ('mmfasternet/weights/a.py', 'from mmfasternet.models import Net', 1, 'mmfasternet.models'),
        ('mmfasternet/models/a.py', 'import mmfasternet.datasets.shapes', 1, 'mmfasternet.datasets'),
        ('mmfasternet/errors.py', 'def f():\n    from . import files', 2, 'mmfasternet'),
        ('mmfasternet/engine/a.py', 'from mmfasternet.deploy.fold import fold', 1, 'mmfasternet.deploy'),
        ('mmfasternet/engine/a.py', 'import tools.train', 1, 'tools'),
        ('tools/a.py', 'from helpers.project import ROOT', 1, 'helpers'),
        ('mmfasternet/benchmark/records/a.py', 'from ..report import page', 1, 'report.page'),
        ('mmfasternet/benchmark/engines/a.py', 'from ..comparison.ap import ap', 1, 'comparison'),
        ('mmfasternet/utils/a.py', '', 1, 'no room'),
        ('mmfasternet/benchmark/utils.py', '', 1, 'no room'),
    ],
    rules.laboratory_in_product: [
        ('mmfasternet/deploy/a.py', 'if True:\n    from mmfasternet import benchmark', 2, 'benchmark'),
    ],
    rules.circles: [
        ('mmfasternet/engine/run.py', 'def run():\n    from . import run', 2, 'engine.run → mmfasternet.engine.run'),
        ('mmfasternet/errors.py', 'from mmfasternet.models import Net', 1, 'models.net → mmfasternet.weights.reader'),
    ],
    rules.border_crossings: [
        ('tools/a.py', 'from mmfasternet.weights.reader import _helper', 1, '_helper'),
        ('tools/a.py', 'from mmfasternet.weights.reader import UserError', 1, 'UserError'),
        ('tools/a.py', 'from mmfasternet.weights import reader\nreader._helper()', 2, '_helper'),
        ('tools/a.py', 'import mmfasternet.weights.reader\nmmfasternet.weights.reader._helper', 2, '_helper'),
        ('mmfasternet/models/a.py', 'from ..weights.reader import read', 1, 'relative'),
        ('mmfasternet/weights/a.py', 'from mmfasternet.weights.reader import read', 1, 'absolute'),
    ],
    rules.unknown_names: [
        ('tests/a.py', 'from mmfasternet.weights.writer import write', 1, 'mmfasternet.weights.writer'),
        ('tests/a.py', 'from mmfasternet.weights.reader import write', 1, 'write'),
        ('tests/a.py', 'from mmfasternet.weights import reader\nreader.write', 2, 'write'),
    ],
    rules.unlisted_names: [
        ('mmfasternet/engine/a.py', 'def _run(): ...', 1, '__all__'),
        ('mmfasternet/engine/a.py', "__all__ = ['a'] + other", 1, '__all__'),
        ('mmfasternet/engine/a.py', "__all__ = ['gone']", 1, 'gone'),
        ('mmfasternet/engine/a.py', '__all__ = []\ndef run(): ...', 2, 'run'),
        ('mmfasternet/engine/a.py', '__all__ = []\ntry:\n    A, _B = 1, 2\nfinally: ...', 3, 'A'),
        ('mmfasternet/engine/a.py', '__all__ = []\nfor name in []: ...', 2, 'name'),
    ],
}


@pytest.mark.parametrize(
    ('rule', 'path', 'text', 'line', 'named'), [(rule, *case) for rule, cases in BROKEN.items() for case in cases]
)
def test_a_rule_names_file_line_and_fault(rule, path, text, line, named):
    [violation] = violations_of(rule, {path: text})
    assert f'{path}:{line}' in violation and named in violation


def test_a_basename_in_two_folders():
    [violation] = rules.shared_basenames(['tools/train.py', 'tools/data/train.py', 'tools/test.py'])
    assert 'tools/data/train.py' in violation and 'tools/train.py' in violation


# Importing.


MEDDLER = """
import logging, os, random, signal, sys, warnings
import matplotlib, torch
from mmdet.models import MaskRCNN
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader

torch.load = Runner.train = MaskRCNN.loss = lambda *_: None
CheckpointLoader._schemes['new://'] = print
torch.set_num_threads(torch.get_num_threads() + 1)
torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)
torch.backends.cudnn.benchmark = True
random.random()
logging.getLogger('mmengine').setLevel(10)
warnings.simplefilter('ignore')
os.environ['NEW'] = '1'
sys.path.append('new')
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
matplotlib.rcParams['lines.linewidth'] = 9
"""


def names_of_package() -> list[str]:
    return sorted(module.name for module in HOUSE.package())


def watch_imports(modules: list[str], others: list[str], **environment: str) -> dict[str, list[str] | str]:
    result = succeed(ROOT / 'tests/helpers/watch_imports.py', json.dumps(modules), json.dumps(others), **environment)
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def changes() -> dict[str, list[str] | str]:
    """What importing each module changes, as tests/helpers/watch_imports.py tells."""
    others = {found.target for module in HOUSE.package() for found in HOUSE.imports(module)}
    others = sorted(name for name in others if not rules.within(name, rules.PACKAGE))
    # From the ground up, so that a change is laid to the module that makes it and not to the first that imports it.
    ours = sorted(names_of_package(), key=lambda name: rules.room_of(name) or (0, ''), reverse=True)
    return watch_imports(ours, others)


@pytest.mark.parametrize('name', names_of_package())
def test_importing_changes_nothing_global(changes, name):
    if changes[name] in OPTIONAL:
        pytest.skip(f'needs {changes[name]}')
    assert changes[name] == []


def test_importing_replaces_no_function_of_others(changes):
    assert changes[''] == []


@pytest.mark.slow
def test_a_change_is_seen(tmp_path):
    (tmp_path / 'meddler.py').write_text(MEDDLER)
    (tmp_path / 'needy.py').write_text('import nowhere.at_all')
    found = watch_imports(['needy', 'meddler'], ['mmdet.models'], PYTHONPATH=str(tmp_path))
    assert found.pop('needy') == 'nowhere'
    assert {'MaskRCNN.loss', 'Runner.train', 'torch.load'} <= set(found.pop(''))
    assert set(found['meddler']) == {
        *('loaders of checkpoints', 'threads', 'grad mode', 'defaults of tensors', 'random numbers', 'cudnn'),
        *('logging', 'warnings', 'environment', 'path', 'signals', 'matplotlib'),
    }


def test_the_package_needs_torch_mmengine_and_mmcv_alone():
    # mmengine's runner loads onnx of itself where torch is an old one.
    code = 'import sys, mmcv, mmengine.runner; old = {*sys.modules}; import mmfasternet; print(*{*sys.modules} - old)'
    loaded = {name.partition('.')[0] for name in run_tool(sys.executable, '-c', code).stdout.split()}
    # torch loads Triton of itself.
    assert 'mmfasternet' in loaded and not loaded & ({*OPTIONAL, 'matplotlib', 'onnxscript'} - {'triton'})


@pytest.mark.slow
def test_the_backbone_needs_no_more_than_mmcv_lite():
    tests = ('tests/models/test_pconv.py', 'tests/models/test_fasternet.py')
    # Compilers and exporters take most of the time, and nothing of mmcv.
    options = ('-q', '-p', 'helpers.mmcv_lite_only', '-p', 'no:cacheprovider', '-k', 'not (compile or export or onnx)')
    succeed(sys.executable, '-m', 'pytest', *options, *tests, cwd=ROOT, PYTHONPATH=str(ROOT / 'tests'))
