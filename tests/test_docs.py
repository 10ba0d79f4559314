"""What the documentation site rests on. `make docs` checks the rest: it fails on a broken link or reference."""

import ast

import pytest
import yaml
from helpers.project import ROOT

MODULES = sorted((ROOT / 'mmfasternet').rglob('*.py'))
PAGES = sorted((ROOT / 'docs').rglob('*.md'))


def public_definitions(path):
    """The functions and classes of a module that stand in its `__all__`."""
    statements = ast.parse(path.read_text(encoding='utf-8')).body
    names = []
    for statement in statements:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == '__all__':
            names = ast.literal_eval(statement.value)
    definitions = (ast.FunctionDef, ast.ClassDef)
    return [statement for statement in statements if isinstance(statement, definitions) and statement.name in names]


def paths_of(navigation):
    if isinstance(navigation, str):
        return {navigation}
    entries = navigation.values() if isinstance(navigation, dict) else navigation
    return set().union(*map(paths_of, entries))


def labels_of(navigation):
    if isinstance(navigation, list):
        return set().union(*map(labels_of, navigation))
    if isinstance(navigation, dict):
        return navigation.keys() | set().union(*map(labels_of, navigation.values()))
    return set()


@pytest.fixture(scope='module')
def site():
    return yaml.safe_load((ROOT / 'mkdocs.yml').read_text(encoding='utf-8'))


def test_what_is_public_has_a_docstring():
    silent = [
        f'{path.relative_to(ROOT)}: {definition.name}'
        for path in MODULES
        for definition in public_definitions(path)
        if not ast.get_docstring(definition)
    ]
    assert not silent


def test_navigation_holds_every_page(site):
    paths = paths_of(site['nav'])
    pages = {path.relative_to(ROOT / 'docs').as_posix() for path in PAGES if not path.name.endswith('.zh.md')}
    assert pages == {path for path in paths if not path.startswith(('../', 'api/'))}


def test_navigation_is_translated(site):
    chinese = yaml.safe_load((ROOT / 'mkdocs.zh.yml').read_text(encoding='utf-8'))
    # The names of folders are the same in every language.
    folders = {path.parent.name for path in MODULES}
    assert labels_of(site['nav']) - folders == set(chinese['extra']['navigation'])
