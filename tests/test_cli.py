"""The command `mmfasternet`; tests/test_packaging.py runs it as it is installed."""

import runpy
import sys

import pytest
from helpers.project import ROOT, run_tool

import mmfasternet_cli
from mmfasternet.engine.config import project_root
from mmfasternet.version import __version__

TOOLS = {path.stem: path for path in (ROOT / 'tools').rglob('*.py')}


def said(capsys, monkeypatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, 'argv', ['mmfasternet', *arguments])
    mmfasternet_cli.main()
    return capsys.readouterr().out


def test_every_tool_is_a_command():
    assert mmfasternet_cli.find_tools() == TOOLS
    assert TOOLS['train'] == project_root() / 'tools/train.py'


@pytest.mark.parametrize('arguments', [(), ('-h',), ('--help',)])
def test_help_has_a_line_for_each_command(capsys, monkeypatch, arguments):
    printed = said(capsys, monkeypatch, *arguments)
    commands = dict(line.split(maxsplit=1) for line in printed.splitlines() if line.startswith('  '))
    assert commands.keys() == TOOLS.keys()
    assert commands['train'] == 'Train a detector, segmentor or classifier'
    assert commands['compare'] == 'Compare latency against published AP'
    # For a terminal of the usual width; the last line is a path.
    assert max(map(len, printed.splitlines()[:-1])) < 80
    order = [printed.index(word) for word in ('  train ', '\nbenchmark:', '  compare ', '\ndata:', '  make_shapes ')]
    assert order == sorted(order)
    assert printed.splitlines()[-1] == f'configs: {ROOT / "configs"}'


def test_version(capsys, monkeypatch):
    assert said(capsys, monkeypatch, '--version') == f'mmfasternet {__version__}\n'


@pytest.mark.parametrize(
    ('name', 'hint'), [('trian', 'did you mean train'), ('image-demo', 'did you mean image_demo'), ('--x', "'--x'; mm")]
)
def test_an_unknown_command_is_one_message(monkeypatch, name, hint):
    monkeypatch.setattr(sys, 'argv', ['mmfasternet', name])
    with pytest.raises(SystemExit, match=f"error: there is no command '{name}'.*mmfasternet --help") as stopped:
        mmfasternet_cli.main()
    assert hint in str(stopped.value)


def test_help_loads_neither_torch_nor_the_package():
    code = (
        'import sys, mmfasternet_cli\nfor word in ("--help", "--version"):\n    sys.argv[1:] = [word]\n'
        '    mmfasternet_cli.main()\nprint(*sys.modules)'
    )
    loaded = {name.partition('.')[0] for name in run_tool(sys.executable, '-c', code).stdout.split('\n')[-2].split()}
    assert 'mmfasternet_cli' in loaded and not loaded & {'torch', 'mmengine', 'numpy', 'mmfasternet'}


def test_a_tool_runs_as_a_script(tmp_path, monkeypatch, capsys):
    """What a script sees of itself; argparse takes its name from the first word of sys.argv."""
    tool = tmp_path / 'show.py'
    tool.write_text('import sys\nprint(__name__, __file__, *sys.argv, sys.modules["__main__"].__file__)\n')
    monkeypatch.setattr(mmfasternet_cli, 'find_tools', lambda: dict(show=tool))
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    assert said(capsys, monkeypatch, 'show', 'a', '--b').split() == [
        *('__main__', str(tool), 'mmfasternet', 'show', 'a', '--b', str(tool))
    ]


def test_the_package_is_the_command_too(monkeypatch, capsys):
    """`python -m mmfasternet`; the tool's own parser answers, by the name of the command."""
    monkeypatch.setattr(sys, 'argv', ['mmfasternet/__main__.py', 'make_crops'])
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_module('mmfasternet', run_name='__main__')
    said = capsys.readouterr().err
    assert said.startswith('usage: mmfasternet make_crops ')
    assert 'mmfasternet make_crops: error: the following arguments are required: source, root' in said
