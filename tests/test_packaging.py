"""What a wheel and a source distribution hold, and that the pins, the extras and the version are each said once."""

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
    *('requirements', 'mmfasternet', 'configs', 'tools', 'tests'),
]


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
    package = {path for path in files_in(tree) if path.startswith('mmfasternet/')}
    looked_up = {
        path for path in files_in(tree) if path.startswith(('configs/', 'tools/')) or path == 'model-index.yml'
    }
    assert {PurePosixPath(path).suffix for path in package} == {'.py', '.html', '.csv'}
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
    extras = ['compare', 'export', 'onedl', 'openmmlab', 'tests']
    # setuptools of one set sorts them.
    assert sorted(metadata(wheel).get_all('Provides-Extra')) == extras
    for extra in extras:
        pins = {(r.name, r.specifier) for r in required if r.marker and r.marker.evaluate({'extra': extra})}
        assert pins == {(r.name, r.specifier) for r in read_pins(f'{extra}.txt')}


def test_a_plain_install_forces_neither_set(wheel):
    plain = [r for r in map(Requirement, metadata(wheel).get_all('Requires-Dist')) if not r.marker]
    assert not any(r.specifier or r.name.startswith(('mm', 'onedl', 'openmim')) for r in plain)


@pytest.mark.parametrize('name', ['onedl', 'openmmlab'])
def test_lock_agrees_with_the_pins(wheel, name):
    locked = {r.name.lower().replace('_', '-'): str(r.specifier).lstrip('=') for r in read_pins(f'{name}.lock')}
    plain = [r for r in map(Requirement, metadata(wheel).get_all('Requires-Dist')) if not r.marker]
    files = (f'{name}.txt', 'compare.txt', 'export.txt', 'tests.txt', 'lint.txt', 'docs.txt')
    for pin in [*plain, *(pin for file in files for pin in read_pins(file))]:
        assert pin.specifier.contains(locked[pin.name.lower()]), f'{pin} and {name}.lock disagree'
