"""What a wheel and a source distribution hold, that the pins, the extras and the version are each said once, and that
the command of an installed wheel works in an empty folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import PurePosixPath

import pytest
from helpers.project import ROOT
from packaging.requirements import Requirement

from mmfasternet.version import __version__

PARTS = [
    *('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'CITATION.cff', 'model-index.yml'),
    *('requirements', 'mmfasternet_cli.py', 'mmfasternet_light.py', 'mmfasternet', 'configs', 'tools', 'tests'),
]
PYTHONS = ['3.10', '3.11', '3.12', '3.13']


def python(*arguments, cwd):
    result = subprocess.run([sys.executable, *arguments], cwd=cwd, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr


def build(kind, tree, target):
    """Calls one of setuptools' own hooks, as pip does with --no-build-isolation."""
    python('-c', f'from setuptools import build_meta; build_meta.{kind}({str(target)!r})', cwd=tree)
    return next(target.iterdir())


def files_in(folder):
    paths = (path.relative_to(folder) for path in folder.rglob('*') if path.is_file())
    return {path.as_posix() for path in paths if not {'__pycache__', 'mmfasternet.egg-info'} & set(path.parts)}


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if '.dist-info/' not in name}


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
        return Parser().parsestr(archive.read(name).decode())


def read_pins(file):
    lines = (ROOT / 'requirements' / file).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A copy of the project as a user's checkout is after a training run."""
    tree = tmp_path_factory.mktemp('packaging') / 'mmfasternet'
    tree.mkdir()
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(source, tree)
    dumped = tree / 'work_dirs' / 'run' / 'mask_rcnn_fasternet_t0.py'
    dumped.parent.mkdir(parents=True)
    dumped.write_text('model = dict()\n')
    return tree


@pytest.fixture(scope='module')
def wheel(tree, tmp_path_factory):
    target = tmp_path_factory.mktemp('wheel')
    before = files_in(tree)
    python('-m', 'pip', 'wheel', '-q', '--no-index', '--no-build-isolation', '--no-deps', '-w', target, '.', cwd=tree)
    assert files_in(tree) == before, 'building a wheel left files in the checkout, where MIM would find them'
    return next(target.iterdir())


def test_wheel_holds_the_package_and_what_mim_looks_up(tree, wheel):
    package = {path for path in files_in(tree) if path.startswith('mmfasternet')}
    looked_up = {
        path for path in files_in(tree) if path.startswith(('configs/', 'tools/')) or path == 'model-index.yml'
    }
    assert {PurePosixPath(path).suffix for path in package} == {'.py', '.html', '.js', '.csv'}
    assert {'configs/mask_rcnn_fasternet_t0.py', 'tools/train.py', 'tools/test.py', 'model-index.yml'} <= looked_up
    assert set(contents(wheel)) == package | {f'mmfasternet/.mim/{path}' for path in looked_up}


def test_source_distribution_builds_the_same_wheel(tree, wheel, tmp_path):
    archive = build('build_sdist', tree, tmp_path)
    shutil.unpack_archive(archive, tmp_path / 'unpacked')
    unpacked = next((tmp_path / 'unpacked').iterdir())
    target = tmp_path / 'wheel'
    target.mkdir()
    assert contents(build('build_wheel', unpacked, target)) == contents(wheel)


def test_editable_build_leaves_the_checkout_clean(tree, tmp_path):
    before = files_in(tree)
    editable = build('build_editable', tree, tmp_path)
    assert files_in(tree) == before
    assert not any('.mim' in name for name in contents(editable))


def test_version_is_said_once(wheel):
    assert metadata(wheel)['Version'] == __version__
    assert __version__ not in (ROOT / 'setup.py').read_text()


def test_extras_are_the_requirement_files(wheel):
    required = [Requirement(line) for line in metadata(wheel).get_all('Requires-Dist')]
    extras = ['compare', 'executorch', 'export', 'ncnn', 'onedl', 'openmmlab', 'tests']
    # setuptools of one set sorts them.
    assert sorted(metadata(wheel).get_all('Provides-Extra')) == extras
    for extra in extras:
        pins = {(r.name, r.specifier) for r in required if r.marker and r.marker.evaluate({'extra': extra})}
        assert pins == {(r.name, r.specifier) for r in read_pins(f'{extra}.txt')}


def test_a_plain_install_forces_neither_set(wheel):
    plain = [r for r in map(Requirement, metadata(wheel).get_all('Requires-Dist')) if not r.marker]
    assert not any(r.specifier or r.name.startswith(('mm', 'onedl', 'openmim')) for r in plain)


@pytest.mark.parametrize('minor', PYTHONS)
def test_classifiers_name_every_python(wheel, minor):
    assert f'Programming Language :: Python :: {minor}' in metadata(wheel).get_all('Classifier')


@pytest.mark.parametrize(
    ('name', 'version'), [*(('onedl', version) for version in PYTHONS), ('openmmlab', '3.10'), ('openmmlab', '3.11')]
)
def test_lock_agrees_with_the_pins(wheel, name, version):
    machine = dict(python_version=version, python_full_version=f'{version}.9', sys_platform='linux')
    locked = {}
    for r in read_pins(f'{name}.lock'):
        if not r.marker or r.marker.evaluate(machine):
            assert r.name not in locked, f'{name}.lock has two versions of {r.name} for Python {version}'
            locked[r.name] = str(r.specifier).removeprefix('==')
    plain = [r for r in map(Requirement, metadata(wheel).get_all('Requires-Dist')) if not r.marker]
    files = (f'{name}.txt', 'compare.txt', 'export.txt', 'tests.txt', 'lint.txt', 'docs.txt')
    for pin in [*plain, *(pin for file in files for pin in read_pins(file))]:
        assert pin.specifier.contains(locked[pin.name.lower()]), f'{pin} and {name}.lock disagree'


# An interpreter that says a version, makes an environment of itself, and writes down what pip is asked.
FAKE_PYTHON = """#!/bin/bash
case "$*" in
*version_info*) echo {version} ;;
'-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
'-m pip '*) echo "$*" >>{calls} ;;
'-m compileall '*) echo "${{@: -1}}" >>{calls}.compiled ;;
'- https://'*) exit {index} ;;
esac
"""


class FakeMachine:
    """A machine with one Python, without any compiler, and where nothing is downloaded."""

    def __init__(self, folder, version='3.12', index_answers=False, gpu=False):
        self.bin, self.venv, self.calls = folder / 'bin', folder / 'venv', folder / 'calls'
        self.bin.mkdir()
        index = 0 if index_answers else 1
        self.add('python3', FAKE_PYTHON.format(version=version, calls=self.calls, index=index))
        self.add('nvidia-smi', f'#!/bin/bash\n{"echo GPU 0: a GPU" if gpu else "exit 9"}\n')
        names = 'bash basename cat cp cut dirname flock grep ls mkdir realpath rm sed sha256sum tee timeout tr'
        for name in names.split():
            (self.bin / name).symlink_to(shutil.which(name))

    def add(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def make_env(self, *arguments, **environment):
        """What it printed, and what pip was asked to install."""
        self.calls.write_text('')
        command = [ROOT / 'requirements/make_env.sh', *(arguments or ['onedl'])]
        command.insert(2, self.venv)
        environment = {'PATH': str(self.bin), 'HOME': str(self.venv.parent), **environment}
        result = subprocess.run(command, env=environment, text=True, capture_output=True)
        asked = [line.split(' --constraint ')[1] for line in self.calls.read_text().splitlines()]
        return result.returncode, result.stdout + result.stderr, asked


def test_an_environment_takes_what_is_asked_for_and_no_more(tmp_path):
    machine = FakeMachine(tmp_path)
    code, printed, asked = machine.make_env('onedl')
    assert code == 0, printed
    assert 'with CUDA (3.3 GB to download' in printed and 'with Python 3.12: ' in printed
    assert any(line.endswith('-e .[onedl]') for line in asked)
    assert not any('.txt' in line for line in asked)
    assert machine.make_env('onedl') == (0, '', [])

    code, printed, asked = machine.make_env('onedl', 'tests', 'lint')
    assert code == 0 and 'needed for: tests lint' in printed
    assert [line.partition(' --no-build-isolation ')[2] for line in asked] == [
        '-r requirements/tests.txt -r requirements/lint.txt'
    ]
    assert machine.make_env('onedl', 'lint') == (0, '', [])
    assert 'venv stands' in (tmp_path / 'venv.log').read_text()


def test_packages_are_compiled_once_where_python_is_told_not_to(tmp_path):
    machine, compiled = FakeMachine(tmp_path), tmp_path / 'calls.compiled'
    assert machine.make_env('onedl')[0] == 0 and not compiled.exists()
    assert machine.make_env('onedl', 'tests', PYTHONDONTWRITEBYTECODE='1')[0] == 0
    assert compiled.read_text() == f'{machine.venv}/lib\n'
    assert machine.make_env('onedl', 'tests', PYTHONDONTWRITEBYTECODE='1') == (0, '', [])
    assert compiled.read_text() == f'{machine.venv}/lib\n'


def test_an_environment_of_another_set_is_made_anew(tmp_path):
    machine = FakeMachine(tmp_path, version='3.11')
    assert machine.make_env('onedl')[0] == 0
    code, printed, asked = machine.make_env('openmmlab')
    assert code == 0 and 'removing the old environment' in printed
    assert any(line.endswith('-e .[openmmlab]') for line in asked)


@pytest.mark.parametrize(('gpu', 'index_answers'), [(False, True), (True, True), (True, False)])
def test_torch_without_cuda_is_for_machines_without_a_gpu(tmp_path, gpu, index_answers):
    code, printed, asked = FakeMachine(tmp_path, gpu=gpu, index_answers=index_answers).make_env('onedl')
    torch_line = next(line for line in asked if line.endswith('-e .[onedl]'))
    assert code == 0, printed
    assert ('there is a GPU' in printed) == ('no nvcc, and none is needed' in printed) == gpu
    assert ('--find-links https://download.pytorch.org/whl/cpu/torch/' in torch_line) == (not gpu)


def test_an_unfit_python_is_refused_by_name(tmp_path):
    machine = FakeMachine(tmp_path, version='3.12')
    code, printed, asked = machine.make_env('openmmlab', PYTHON='python3')
    assert code == 1 and 'PYTHON=python3' in printed and '3.11, 3.10' in printed and not asked
    assert not machine.venv.exists()


def test_files_of_the_users_in_an_environment_are_left_alone(tmp_path):
    machine = FakeMachine(tmp_path, version='3.11')
    assert machine.make_env('onedl')[0] == 0
    (machine.venv / 'thesis.txt').touch()
    (tmp_path / 'venv.old').mkdir()
    (tmp_path / 'venv.old/precious').touch()
    code, printed, asked = machine.make_env('openmmlab')
    assert code == 1 and 'has files of yours (thesis.txt): move them' in printed and not asked
    (machine.venv / 'thesis.txt').unlink()
    assert machine.make_env('openmmlab')[0] == 0 and (tmp_path / 'venv.old/precious').exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    machine = FakeMachine(tmp_path)
    machine.venv.mkdir()
    (machine.venv / 'thesis.txt').touch()
    code, printed, asked = machine.make_env('onedl')
    assert code == 1 and 'was not made by this script' in printed and not asked
    assert (machine.venv / 'thesis.txt').exists()


# The command of the wheel, with the other packages of this environment.

# Not part of a package set: extras of mmfasternet bring them.
EXTRAS = ('onnx', 'onnxruntime', 'onnxscript', 'openvino', 'plotly', 'scipy', 'skimage', 'timm')
EXTRAS += ('executorch', 'ncnn', 'pnnx')

# Types each line into the command, without the packages in its arguments; prints what came of each. All in one process,
# since they share their imports.
DRIVER = """
import contextlib, io, json, sys
from mmfasternet_cli import main

outcomes, own = [], sys.modules['__main__']
sys.modules.update(dict.fromkeys(sys.argv[1:]))
for line in json.load(sys.stdin):
    sys.argv = ['mmfasternet', *line.split()]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
            status = 0
        except SystemExit as stopped:
            status = stopped.code
    outcomes.append((status, said.getvalue()))
    sys.modules['__main__'] = own
print(json.dumps(outcomes))
"""


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory):
    """A folder with the wheel, installed without what it requires."""
    site = tmp_path_factory.mktemp('site')
    python('-m', 'pip', 'install', '-q', '--no-index', '--no-deps', '--no-compile', '-t', site, wheel, cwd=site)
    return site


def in_empty_folder(site, folder, *words, text=None):
    """Runs a command that finds the installed wheel, and not the clone."""
    environment = dict(os.environ, PYTHONPATH=str(site), OMP_NUM_THREADS='1')
    words = [str(word) for word in words]
    return subprocess.run(words, cwd=folder, env=environment, input=text, text=True, capture_output=True)


def command(site, folder, *words):
    done = in_empty_folder(site, folder, site / 'bin/mmfasternet', *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_commands_of_a_wheel(site, tmp_path):
    """Each command explains itself, by its own name and without the extras; a mistake is one message."""
    before = files_in(site)
    helps = [f'{tool} --help' for tool in sorted(path.stem for path in (ROOT / 'tools').rglob('*.py'))]
    mistakes = {
        'model_zoo': f'there is no {site}/mmfasternet/.mim/README.md; run this in a clone of mmfasternet',
        'train mask_rcnn_fastrnet_s': 'config mask_rcnn_fastrnet_s does not exist; .*mask_rcnn_fasternet_s',
        'test configs/mask_rcnn_fasternet_s.py x.pth': 'does not exist; .*names like it: mask_rcnn_fasternet_s,',
        'latency fasternet_x': r"'fasternet_x' is no row \(.*\), and config fasternet_x does not exist",
    }
    lines = json.dumps([*helps, *mistakes])
    done = in_empty_folder(site, tmp_path, sys.executable, '-c', DRIVER, *EXTRAS, text=lines)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout.splitlines()[-1])
    for line, (status, said) in zip(helps, outcomes, strict=False):
        assert status == 0 and said.startswith(f'usage: mmfasternet {line.split()[0]} [-h]'), (line, status, said)
    for (line, message), (status, _) in zip(mistakes.items(), outcomes[len(helps) :], strict=True):
        assert re.match(f'error: .*{message}', str(status)), (line, status)
    assert files_in(site) == before and not any(tmp_path.iterdir()), 'a command wrote where it should not'


def test_the_command_of_a_wheel_is_its_own(site, tmp_path):
    assert command(site, tmp_path, '--version') == f'mmfasternet {__version__}\n'
    assert command(site, tmp_path, '--help').splitlines()[-1] == f'configs: {site}/mmfasternet/.mim/configs'


@pytest.fixture(scope='module')
def with_shapes(site, tmp_path_factory):
    """A folder that was empty, with images that the command has made."""
    folder = tmp_path_factory.mktemp('shapes')
    command(site, folder, 'make_shapes', *['--num-train', '4', '--num-val', '2', '--size', '96', '128'])
    return folder


@pytest.mark.slow
def test_records_of_the_command_of_a_wheel_hold_what_was_typed(site, with_shapes):
    """`.ci/smoke` trains, tests, draws and exports by the command of a wheel."""
    before, name = files_in(site), 'mask_rcnn_fasternet_t0_shapes'
    command(site, with_shapes, 'complexity', 'fasternet_t0', name, '--shape', '64', '96', '--out', 'records.json')
    records = json.loads((with_shapes / 'records.json').read_text())['records']
    typed = f'mmfasternet complexity fasternet_t0 {name} --shape 64 96 --out records.json'
    configs = ['configs/mask_rcnn_fasternet_t0.py', f'configs/demo/{name}.py']
    assert [(record['config'], record['command']) for record in records] == [(config, typed) for config in configs]
    assert files_in(site) == before


@pytest.mark.slow
def test_torchrun_trains_by_the_command_of_a_wheel(site, with_shapes):
    """Two processes on CPUs, as the documentation says."""
    launcher = ['-m', 'torch.distributed.run', '--nproc_per_node', '2', '--master_port', '29778', '-m', 'mmfasternet']
    options = ['train_cfg.max_epochs=1', 'default_hooks.logger.interval=1', 'train_dataloader.batch_size=2']
    arguments = ['train', 'mask_rcnn_fasternet_t0_shapes', '--work-dir', 'two', '--launcher', 'pytorch']
    arguments += ['--cfg-options', *options]
    done = in_empty_folder(site, with_shapes, sys.executable, *launcher, *arguments)
    assert done.returncode == 0, done.stderr
    assert '[1][1/1]' in done.stdout and (with_shapes / 'two/epoch_1.pth').is_file()
