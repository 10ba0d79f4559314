"""The API: a page for each folder of the package, with every name in the `__all__` of its modules."""

import ast
from importlib.util import resolve_name
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]


def on_config(config):
    config.plugins['mkdocstrings'].config.handlers['python']['paths'] = [str(ROOT)]


def on_files(files, config):
    for folder, modules in _folders().items():
        page = f'api/{folder.removeprefix("mmfasternet.").replace(".", "/")}.md'
        files.append(File.generated(config, page, content=_content(folder, modules)))
    return files


def public_names(path: Path) -> list[str]:
    """The `__all__` of a module, read without importing it."""
    for statement in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == ['__all__']:
            return ast.literal_eval(statement.value)
    return []


def _folders() -> dict[str, list[str]]:
    """The folders that have a page, with the modules on it; all by their dotted names.

    They are those at the top of the package and of the laboratory, `benchmark`.
    """
    folders = {}
    for path in sorted(ROOT.glob('mmfasternet/**/*.py')):
        if public_names(path):
            parts = path.relative_to(ROOT).with_suffix('').parts
            *parents, _ = parts
            folder = '.'.join(parents[: 3 if 'benchmark' in parents else 2])
            folders.setdefault(folder, []).append('.'.join(parts).removesuffix('.__init__'))
    return folders


def _content(folder: str, modules: list[str]) -> str:
    parts = [f'::: {folder}\n    options: {{heading_level: 1, members: false}}\n']
    for module in modules:
        if module != folder:
            parts.append(f'::: {module}\n    options: {{toc_label: {module.removeprefix(folder + ".")}}}\n')
        if imported := _imported(module):
            parts.append(f'`{module}` exports {", ".join(imported)}.\n')
    return '\n'.join(parts)


def _imported(module: str) -> list[str]:
    """The public names that a module takes from others, each with a link to where it is described."""
    links = []
    for name in public_names(_path(module)):
        source = _source(module, name)
        if source != module:
            described = name in public_names(_path(source))
            links.append(f'[`{name}`][{source}.{name}]' if described else f'`{name}`')
    return links


def _source(module: str, name: str) -> str:
    """The module that defines what another one defines or imports."""
    for statement in ast.parse(_path(module).read_text(encoding='utf-8')).body:
        if isinstance(statement, ast.ImportFrom) and name in [alias.name for alias in statement.names]:
            package = module if _path(module).name == '__init__.py' else module.rpartition('.')[0]
            return _source(resolve_name('.' * statement.level + statement.module, package), name)
    return module


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split('.'))
    return path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
