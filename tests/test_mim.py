"""`mim train|test|run mmfasternet …`: which tool and which config MIM picks, for an editable and for a plain install.

onedl-mim finds the tools of an editable install, openmim those of a plain one. In the other form mmdet's own tool takes
the path of our config.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from helpers.project import ROOT

CONFIG = 'mask_rcnn_fasternet_t0.py'
OTHER_CONFIG = 'mask_rcnn_fasternet_t1.py'
TOOLS = sorted(path.relative_to(ROOT / 'tools').as_posix() for path in (ROOT / 'tools').rglob('*.py'))

# Types each line into MIM in its folder; prints whether it succeeded, and what it said.
DRIVER = """
import json, os, sys
from click.testing import CliRunner
from mim.cli import cli

outcomes = []
for folder, line in json.load(sys.stdin):
    os.chdir(folder)
    result = CliRunner().invoke(cli, line.split()[1:])
    outcomes.append((result.exit_code == 0, f'{result.output}{result.exception or ""}'))
print(json.dumps(outcomes))
"""


def has(distribution):
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


with_onedl_mim = pytest.mark.skipif(not has('onedl-mim'), reason="about the onedl set's MIM")
with_openmim = pytest.mark.skipif(not has('openmim'), reason="about the openmmlab set's MIM")


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of the project whose tools do nothing, after a training run and a build that left configs behind."""
    checkout = tmp_path_factory.mktemp('mim') / 'checkout'
    checkout.mkdir()
    for name in (
        'setup.py',
        'pyproject.toml',
        'README.md',
        'model-index.yml',
        'mmfasternet_cli.py',
        'mmfasternet_light.py',
    ):
        shutil.copy(ROOT / name, checkout)
    for name in ('requirements', 'mmfasternet', 'configs'):
        shutil.copytree(ROOT / name, checkout / name)
    for tool in TOOLS:
        for folder in ('tools', 'build/lib/mmfasternet/.mim/tools'):
            (checkout / folder / tool).parent.mkdir(parents=True, exist_ok=True)
            (checkout / folder / tool).touch()
    for folder in ('work_dirs/run', 'build/lib/mmfasternet/.mim/configs'):
        (checkout / folder).mkdir(parents=True)
        (checkout / folder / CONFIG).touch()
    return checkout


def install(checkout, target, *form):
    command = [sys.executable, '-m', 'pip', 'install', '-q', '--no-index', '--no-deps', '--no-build-isolation']
    subprocess.run([*command, '--target', target, *form, '.'], cwd=checkout, check=True)
    return target


@pytest.fixture(scope='module')
def editable(checkout, tmp_path_factory):
    return install(checkout, tmp_path_factory.mktemp('editable'), '-e')


@pytest.fixture(scope='module')
def plain(checkout, tmp_path_factory):
    return install(checkout, tmp_path_factory.mktemp('plain'))


def ask_mim(site, *lines):
    result = subprocess.run(
        [sys.executable, '-c', DRIVER],
        input=json.dumps([(str(folder), line) for folder, line in lines]),
        env=dict(os.environ, PYTHONPATH=str(site)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


def check_commands(site, commands):
    """`commands` gives for each (folder, line) the command that MIM has to run, and to run successfully."""
    for (line, command), (succeeded, said) in zip(commands.items(), ask_mim(site, *commands), strict=True):
        assert f'python {command}' in said.replace(sys.executable, 'python'), line
        assert succeeded, said


def runs_of_all_tools(folder, cwd):
    return {(cwd, f'mim run mmfasternet {Path(tool).stem} word'): f'{folder}/{tool} word' for tool in TOOLS}


def check_test_of_mmdet(site, cwd, name, config):
    """Only which command MIM picks: the config is a real one, but nothing to test stands behind it."""
    [(_, said)] = ask_mim(site, (cwd, f'mim test {name} {config} --checkpoint a.pth'))
    assert f'mmdet/.mim/tools/test.py {config} a.pth --launcher none' in said


@with_onedl_mim
def test_onedl_mim_runs_an_editable_install(editable, checkout, tmp_path):
    tools, path = checkout / 'tools', checkout / 'configs' / CONFIG
    check_commands(
        editable,
        {
            # A path is taken as it is, in the checkout and elsewhere.
            (checkout, f'mim train mmfasternet configs/{CONFIG}'): f'{tools}/train.py configs/{CONFIG} --launcher none',
            (checkout, f'mim test mmfasternet configs/{CONFIG} --checkpoint a.pth'): (
                f'{tools}/test.py configs/{CONFIG} a.pth --launcher none'
            ),
            (tmp_path, f'mim test mmfasternet {path} --checkpoint a.pth'): (
                f'{tools}/test.py {path} a.pth --launcher none'
            ),
            # A name is looked up.
            (tmp_path, f'mim test mmfasternet {OTHER_CONFIG} --checkpoint a.pth'): (
                f'{tools}/test.py {checkout}/configs/{OTHER_CONFIG} a.pth --launcher none'
            ),
        },
    )


@with_onedl_mim
def test_onedl_mim_finds_every_tool_by_its_name(editable, checkout, tmp_path):
    check_commands(editable, runs_of_all_tools(checkout / 'tools', tmp_path))


@with_onedl_mim
@pytest.mark.slow
def test_onedl_mim_tests_a_plain_install_through_mmdet(plain, tmp_path):
    path = f'{plain}/mmfasternet/.mim/configs/{CONFIG}'
    check_test_of_mmdet(plain, tmp_path, 'onedl-mmdetection', path)


@with_openmim
def test_openmim_runs_a_plain_install(plain, tmp_path):
    mim = plain / 'mmfasternet' / '.mim'
    check_commands(
        plain,
        {
            (tmp_path, f'mim train mmfasternet {CONFIG}'): (
                f'{mim}/tools/train.py {mim}/configs/{CONFIG} --launcher none'
            ),
            (tmp_path, f'mim test mmfasternet {CONFIG} --checkpoint a.pth'): (
                f'{mim}/tools/test.py {mim}/configs/{CONFIG} a.pth --launcher none'
            ),
        },
    )


@with_openmim
def test_openmim_finds_every_tool_by_its_name(plain, tmp_path):
    check_commands(plain, runs_of_all_tools(plain / 'mmfasternet/.mim/tools', tmp_path))


@with_openmim
def test_openmim_tests_an_editable_install_through_mmdet(editable, checkout, tmp_path):
    check_test_of_mmdet(editable, tmp_path, 'mmdet', checkout / 'configs' / CONFIG)
