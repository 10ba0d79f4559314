"""English and Chinese: `page.zh.md` is the translation of `page.md`, and a page without one stays English."""

import re

from mkdocs.exceptions import PluginError
from pymdownx.slugs import slugify

FENCE_OR_HEADING = re.compile(r'^(?P<fence>```|~~~)|^(?P<level>#{1,6}) (?P<title>.+)$')
CODE = re.compile(r'(^```.*?^```)', re.MULTILINE | re.DOTALL)
# A line break between two Chinese characters, which a browser would show as a space.
BREAK = re.compile(r'^(?!#)(.*[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])', re.MULTILINE)
# As GitHub's, so that Chinese headings have anchors too.
slug = slugify(case='lower')


def on_config(config):
    config.nav = _labelled(config.nav, config.extra['navigation'])
    config.mdx_configs['toc']['slugify'] = slug
    # It has no URL of its own, and so to no other language.
    config.theme.static_templates.discard('404.html')


def on_files(files, config):
    for file in files.documentation_pages():
        if file.src_uri.endswith('.zh.md'):
            files.remove(file)
            english = files.get_file_from_path(file.src_uri)
            if english is None:
                raise PluginError(f'{file.src_uri} translates no page')
            if config.theme['language'] == 'zh':
                english.original, english.abs_src_path = english.content_string, file.abs_src_path
    return files


def on_page_markdown(markdown, page, **_):
    """Give a translation the anchors of the original, where its headings correspond: links lead to both."""
    markdown = ''.join(part if CODE.match(part) else BREAK.sub(r'\1', part) for part in CODE.split(markdown))
    lines = markdown.splitlines()
    ours, theirs = _headings(markdown), _headings(getattr(page.file, 'original', ''))
    if [level for _, level, _ in ours] == [level for _, level, _ in theirs]:
        for (number, _, title), (_, _, original) in zip(ours, theirs, strict=True):
            if slug(title, '-') != slug(original, '-'):
                lines[number] += f' <a id="{slug(original, "-")}"></a>'
    return '\n'.join(lines)


def on_post_page(output, page, config):
    """Let the menu of languages lead to the same page in the other language."""
    root = '../' * page.url.count('/')
    english, chinese = ('../', '') if config.theme['language'] == 'zh' else ('', 'zh/')
    # Material's script would ask each of these for a sitemap, to find the page that the menu leads to already.
    output = re.sub(r'<link rel="alternate" href="language:.*?>', '', output)
    output = output.replace('language:en', root + english + page.url)
    return output.replace('language:zh', root + chinese + page.url)


def _labelled(nav, labels):
    if isinstance(nav, list):
        return [_labelled(item, labels) for item in nav]
    if isinstance(nav, dict):
        return {labels.get(label, label): _labelled(item, labels) for label, item in nav.items()}
    return nav


def _headings(markdown: str) -> list[tuple[int, str, str]]:
    """Line, level and title of each heading."""
    headings, in_code = [], False
    for number, line in enumerate(markdown.splitlines()):
        found = FENCE_OR_HEADING.match(line)
        if found and found['fence']:
            in_code = not in_code
        elif found and not in_code:
            headings.append((number, found['level'], found['title']))
    return headings
