"""The command `mmfasternet`: each of the project's tools by its name, `mmfasternet train CONFIG`.

It lies beside the package and not in it: what is in a package imports the package, with torch, which takes seconds, and
`mmfasternet --help` shall not.
"""

import ast
import difflib
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

__all__ = ['find_tools', 'main']

_HERE = Path(__file__).resolve().parent
_MIM = _HERE / 'mmfasternet/.mim'
# An installed package carries configs and tools in its .mim; those of a clone are beside it.
_ROOT = _MIM if _MIM.is_dir() else _HERE

_USAGE = """usage: mmfasternet COMMAND [arguments]

`mmfasternet COMMAND --help` explains a command; `mmfasternet --version` prints
the version. A config is given by its path or, if it is one of the project's,
by its name: mmfasternet train mask_rcnn_fasternet_s
"""


def find_tools() -> dict[str, Path]:
    """The project's tools.

    Returns:
        Name → file. Those directly in ``tools/`` come first, then those of each of its folders.

    Example:
        >>> find_tools()['make_shapes'].name
        'make_shapes.py'
    """
    paths = (_ROOT / 'tools').rglob('*.py')
    return {path.stem: path for path in sorted(paths, key=lambda path: (len(path.parts), path))}


def main() -> None:
    """Run the tool that the first argument names; list all of them if it is ``--help``, or if there is none."""
    name, *arguments = sys.argv[1:] or ['--help']
    tools = find_tools()
    if name in ('-h', '--help'):
        print(_overview(tools))
    elif name == '--version':
        print('mmfasternet', runpy.run_path(str(_HERE / 'mmfasternet/version.py'))['__version__'])
    elif name in tools:
        _run(tools[name], arguments)
    else:
        near = difflib.get_close_matches(name, tools, n=3)
        hint = f'did you mean {" or ".join(near)}? ' if near else ''
        sys.exit(f'error: there is no command {name!r}; {hint}mmfasternet --help lists all commands')


def _overview(tools: dict[str, Path]) -> str:
    """The commands by folder, each with the first clause of its docstring."""
    lines, width = [_USAGE], max(map(len, tools))
    folder = _ROOT / 'tools'
    for name, path in tools.items():
        if path.parent != folder:
            folder = path.parent
            lines.append(f'\n{folder.name}:')
        docstring = ast.get_docstring(ast.parse(path.read_bytes()))
        clause = re.split('[:;]', docstring.splitlines()[0])[0]
        lines.append(f'  {name:{width}}  {clause.rstrip(".")}')
    return '\n'.join([*lines, f'\nconfigs: {_ROOT / "configs"}'])


def _run(tool: Path, arguments: list[str]) -> None:
    """Run a tool as Python runs a script; its usage and messages name it as it was called here."""
    sys.argv = [f'mmfasternet {tool.stem}', *arguments]
    # runpy would put the path of the file in sys.argv[0], which argparse reads.
    module = sys.modules['__main__'] = ModuleType('__main__')
    module.__file__ = str(tool)
    exec(compile(tool.read_bytes(), tool, 'exec'), vars(module))


if __name__ == '__main__':
    main()
