"""What each file of the project imports and defines, and the rules that a house of them keeps.

Every rule is a function of a :class:`House` that gives a line for each violation: file, line, and what is wrong there.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

PACKAGE = 'mmfasternet'
# From the roof to the ground: a room imports from the floors below its own, and from no other room on it.
FLOORS = (
    ('tests', 'helpers'),
    ('mmfasternet.__main__',),
    ('mmfasternet_cli',),
    ('tools',),
    ('mmfasternet.benchmark.gpu',),
    ('mmfasternet.benchmark.paper',),
    ('mmfasternet.benchmark.comparison', 'mmfasternet.benchmark.engines', 'mmfasternet.benchmark.artifacts'),
    ('mmfasternet.benchmark.report',),
    ('mmfasternet.benchmark.measure',),
    ('mmfasternet.benchmark.published', 'mmfasternet.benchmark.records'),
    ('mmfasternet.benchmark',),
    ('mmfasternet.deploy',),
    ('mmfasternet.engine',),
    ('mmfasternet.predictions', 'mmfasternet.reports'),
    ('mmfasternet',),
    ('mmfasternet.datasets', 'mmfasternet.models'),
    ('mmfasternet.weights',),
    ('mmfasternet.cores', 'mmfasternet.files', 'mmfasternet.locks'),
    ('mmfasternet.errors', 'mmfasternet.version'),
    ('mmfasternet_light',),
)
# These hold rooms: they are one themselves as far as their __init__ goes.
HALLS = ('mmfasternet', 'mmfasternet.benchmark')
LABORATORY = 'mmfasternet.benchmark'

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Import(NamedTuple):
    """One imported name: ``from target import name as local``, or ``import target`` where ``name`` is None."""

    line: int
    target: str
    name: str | None
    local: str
    relative: bool


@dataclass
class Module:
    """A file."""

    path: str
    name: str
    tree: ast.Module

    @property
    def is_test(self) -> bool:
        return within(self.name, 'tests')

    @property
    def is_init(self) -> bool:
        return self.path.endswith('__init__.py')

    @property
    def folder(self) -> str:
        return self.name if self.is_init else self.name.rpartition('.')[0]

    @property
    def defined(self) -> dict[str, int]:
        """Name bound at the top level by anything but an import → line."""
        return dict(bound_names(self.tree))

    @property
    def exported(self) -> list[str] | None:
        """``__all__``, or None if it is missing or computed."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ['__all__']:
                try:
                    return list(ast.literal_eval(node.value))
                except ValueError:
                    return None
        return None


class House:
    """The project's files by the names that Python imports them under.

    Args:
        sources: Path, relative to the project's root, → text.
    """

    def __init__(self, sources: dict[str, str]) -> None:
        self.modules: dict[str, Module] = {}
        for path, text in sorted(sources.items()):
            name = path.removesuffix('.py').replace('/', '.').removesuffix('.__init__')
            self.modules[name] = Module(path, name, ast.parse(text, path))
        self._imports = {name: list(self._find_imports(module)) for name, module in self.modules.items()}

    def package(self) -> list[Module]:
        return [module for module in self.modules.values() if within(module.name, PACKAGE)]

    def imports(self, module: Module) -> list[Import]:
        """Every import of a file, inside functions as well."""
        return self._imports[module.name]

    def imports_of_package(self, module: Module) -> list[Import]:
        return [found for found in self.imports(module) if within(found.target, PACKAGE)]

    def has(self, target: str, name: str) -> bool:
        """Whether a module of the package has such a name: its own, imported, or a module in its folder."""
        module = self.modules[target]
        imported = {found.local for found in self.imports(module)}
        return name in module.defined or name in imported or f'{target}.{name}' in self.modules

    def uses(self, module: Module) -> Iterator[tuple[int, str, str]]:
        """Line, module and name of everything that a file takes from modules of the package."""
        whole = {}
        for found in self.imports_of_package(module):
            if found.name is not None:
                yield found.line, found.target, found.name
            else:
                whole[found.local] = found.target
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and (target := whole.get(ast.unparse(node.value))):
                yield node.lineno, target, node.attr

    def _find_imports(self, module: Module) -> Iterator[Import]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name, None, alias.asname or alias.name, False)
            elif isinstance(node, ast.ImportFrom):
                target = node.module or ''
                if node.level:
                    parts = module.folder.split('.')
                    above = parts[: len(parts) - node.level + 1]
                    target = '.'.join([*above, target] if target else above)
                for alias in node.names:
                    local, whole = alias.asname or alias.name, f'{target}.{alias.name}'
                    if whole in self.modules:
                        yield Import(node.lineno, whole, None, local, node.level > 0)
                    else:
                        yield Import(node.lineno, target, alias.name, local, node.level > 0)


def within(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f'{folder}.')


def bound_names(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that a tree binds in its own scope, and their lines; imports aside."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS):
            yield child.name, child.lineno
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id, child.lineno
        elif not isinstance(child, SCOPES):
            yield from bound_names(child)


def room_of(name: str) -> tuple[int, str] | None:
    """Floor, counted from the roof, and room of a module; None if the plan has no room for it."""
    rooms = [(len(room), floor, room) for floor, rooms in enumerate(FLOORS) for room in rooms if within(name, room)]
    if not rooms:
        return None
    _, floor, room = max(rooms)
    return None if room in HALLS and name != room else (floor, room)


def upward_arrows(house: House) -> Iterator[str]:
    """Each file has a room, and imports only from its own and from the floors below; tests import anything."""
    for module in house.modules.values():
        if module.is_test:
            continue
        room = room_of(module.name)
        if room is None:
            yield f'{module.path}:1: has no room in the plan: name its folder in FLOORS'
            continue
        for found in house.imports(module):
            other = room_of(found.target)
            if other is None or other[1] == room[1] or other[0] > room[0]:
                continue
            relation = 'beside' if other[0] == room[0] else 'above'
            yield f'{module.path}:{found.line}: imports {found.target}, and {other[1]} is {relation} {room[1]}'


def laboratory_in_product(house: House) -> Iterator[str]:
    """Whoever trains or deploys a model never loads the benchmark."""
    for module in house.package():
        for found in house.imports(module):
            if within(found.target, LABORATORY) and not within(module.name, LABORATORY):
                yield f'{module.path}:{found.line}: the product imports {found.target}'


def circles(house: House) -> Iterator[str]:
    """No module imports another that imports it, on whatever way, inside functions as well."""
    graph: dict[str, dict[str, int]] = defaultdict(dict)
    for module in house.package():
        for found in house.imports_of_package(module):
            graph[module.name].setdefault(found.target, found.line)
    while True:
        try:
            TopologicalSorter(graph).prepare()
            return
        except CycleError as error:
            # Each stands before one that imports it, and the first once more at the end.
            way = error.args[1][:0:-1]
        start = way.index(min(way))
        way = [*way[start:], *way[: start + 1]]
        steps = [f'{house.modules[a].path}:{graph[a][b]}' for a, b in pairwise(way)]
        yield f'{steps[0]}: a circle of imports: {" → ".join(way)} ({", ".join(steps[1:])})'
        del graph[way[0]][way[1]]


def border_crossings(house: House) -> Iterator[str]:
    """Only names of an ``__all__`` leave a folder, by absolute imports; within a folder imports are relative."""
    for module in house.modules.values():
        if module.is_test:
            continue
        for found in house.imports_of_package(module):
            if found.target not in house.modules:
                continue
            inside = house.modules[found.target].folder == module.folder
            if found.relative and not inside:
                yield f'{module.path}:{found.line}: imports {found.target} of another folder by a relative import'
            if inside and not found.relative:
                yield f'{module.path}:{found.line}: imports {found.target} of its own folder by an absolute import'
        for line, target, name in house.uses(module):
            other = house.modules.get(target)
            if other and other.folder != module.folder and name not in (other.exported or ()) and not is_dunder(name):
                yield f'{module.path}:{line}: takes {name} from {target}, whose __all__ lacks it'


def unknown_names(house: House) -> Iterator[str]:
    """Whatever is imported from the package exists, inside functions and tests as well."""
    for module in house.modules.values():
        for found in house.imports_of_package(module):
            if found.target not in house.modules:
                yield f'{module.path}:{found.line}: imports {found.target}, which is no module'
        for line, target, name in house.uses(module):
            if target in house.modules and not house.has(target, name) and not is_dunder(name):
                yield f'{module.path}:{line}: takes {name} from {target}, which has no such name'


def unlisted_names(house: House) -> Iterator[str]:
    """A public module says in ``__all__`` what others may use; everything else in it has a leading underscore."""
    for module in house.package():
        if any(part.startswith('_') for part in module.name.split('.')):
            continue
        names = {found.local for found in house.imports(module)} | set(module.defined)
        if module.exported is None:
            if names:
                yield f'{module.path}:1: has no __all__, or one that is computed'
            continue
        for name in module.exported:
            if name not in names:
                yield f'{module.path}:1: __all__ has {name}, which the module lacks'
        for name, line in module.defined.items():
            if not name.startswith('_') and name not in module.exported:
                yield f'{module.path}:{line}: {name} is neither in __all__ nor has it a leading underscore'


def shared_basenames(paths: Iterable[str]) -> Iterator[str]:
    """MIM looks files up by their basename."""
    found = defaultdict(list)
    for path in sorted(paths):
        found[PurePosixPath(path).name].append(path)
    for others in found.values():
        if len(others) > 1:
            yield f'{others[0]}:1: has the basename of {", ".join(others[1:])}'


def is_dunder(name: str) -> bool:
    return name.startswith('__') and name.endswith('__')
