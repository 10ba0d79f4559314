"""Links that leave docs/: written for the repository, where GitHub follows them, and followed on the site too.

The project's own pages are pages of the site. A source file or folder that a page links to, such as `../configs/x.py`,
becomes the page `source/configs/x.py`. Any other target is missing, and `mkdocs build --strict` fails.
"""

import posixpath
import re
import subprocess
from pathlib import Path

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[2]
OWN_PAGES = {
    'README.md': '../README.md',
    'README_zh-CN.md': '../README.zh.md',
    'CHANGELOG.md': '../CHANGELOG.md',
    'CONTRIBUTING.md': '../CONTRIBUTING.md',
}
# What is shown as a page, and how it is coloured. The rest is data, or a page already.
LEXERS = {
    '.py': 'python',
    '.cpp': 'cpp',
    '.js': 'javascript',
    '.sh': 'bash',
    '.yml': 'yaml',
    '.cff': 'yaml',
    '.toml': 'toml',
    '.html': 'html',
    '.csv': 'text',
    '.txt': 'text',
    '.lock': 'text',
    '': 'text',
}
LINK = re.compile(r'\]\(([^)#\s]+)')
LANGUAGES_LINE = re.compile(r'^\[English\]\(\S+\) \| \[简体中文\]\(\S+\)\n', re.MULTILINE)


class SiteFiles(Files):
    """Finds the files of the site by their paths in the repository, relative to docs/.

    A link to a page leads to it in the language of the site, whichever it names.
    """

    def get_file_from_path(self, path: str) -> File | None:
        path = posixpath.normpath(path).removeprefix('../docs/')
        path = path.replace('README_zh-CN.md', 'README.md').replace('.zh.md', '.md')
        return self.src_uris.get(_source_page(path)) or self.src_uris.get(path)


def on_files(files, config):
    files = SiteFiles(files)
    for name, uri in OWN_PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / name), inclusion=InclusionLevel.INCLUDED))
        files.src_uris[uri].dest_uri = uri.removeprefix('../').lower().replace('.md', '.html')
    repository = _repository()
    waiting = [target for page in files.documentation_pages() for target in _targets(page)]
    while waiting:
        path = waiting.pop()
        inside = posixpath.normpath(posixpath.join('docs', path))
        if not _is_shown(inside, repository) or _source_page(path) in files.src_uris:
            continue
        page = File.generated(
            config, _source_page(path), content=_content(inside, repository), inclusion=InclusionLevel.NOT_IN_NAV
        )
        files.append(page)
        waiting += _targets(page)
    return files


def on_page_markdown(markdown, **_):
    """Leave out the line that leads to the other language: every page of the site has a menu for it."""
    return LANGUAGES_LINE.sub('', markdown)


def _repository() -> dict[str, set[str]]:
    """The paths of all files and folders of the clone, with what each folder holds."""
    command = ['git', 'ls-files', '--cached', '--others', '--exclude-standard']
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = {}
    for path in listing.splitlines():
        # One that was removed and not yet committed is still listed.
        if not (ROOT / path).exists():
            continue
        paths[path] = set()
        while path:
            path, name = posixpath.split(path)
            paths.setdefault(path, set()).add(name)
    return paths


def _targets(page: File) -> set[str]:
    folder = posixpath.dirname(page.src_uri)
    return {posixpath.normpath(posixpath.join(folder, link)) for link in LINK.findall(page.content_string)}


def _source_page(path: str) -> str:
    """The page of a source file or folder; the path is relative to docs/."""
    return f'source/{posixpath.normpath(posixpath.join("docs", path))}.md'


def _is_shown(path: str, repository: dict[str, set[str]]) -> bool:
    return path in repository and (bool(repository[path]) or _suffix(path) in LEXERS)


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1]


def _content(path: str, repository: dict[str, set[str]]) -> str:
    head = f'---\nsearch: {{exclude: true}}\n---\n# {path}\n\n'
    if not repository[path]:
        return f'{head}``````{LEXERS[_suffix(path)]}\n{(ROOT / path).read_text(encoding="utf-8")}\n``````\n'
    root = posixpath.relpath('.', posixpath.dirname(_source_page(f'../{path}')))
    lines = []
    for name in sorted(repository[path]):
        inside = f'{path}/{name}'
        lines.append(f'- [{name}]({root}/../{inside})' if _is_shown(inside, repository) else f'- {name}')
    return head + '\n'.join(lines)
