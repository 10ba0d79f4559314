"""How griffe, which mkdocstrings reads the sources with, is to read ours."""

import re

from griffe import Docstring, Extension

ROLE = re.compile(r':\w+:`~?([\w.]*?)(\w+)`')


class HouseStyle(Extension):
    """Turns docstrings into the Markdown that griffe expects, and shows constants, which have none."""

    def on_instance(self, *, obj, **_):
        if obj.docstring:
            # A literal block is indented code in Markdown, without the mark before it.
            text = re.sub(r'^ *::\n', '', obj.docstring.value, flags=re.MULTILINE)
            text = ROLE.sub(lambda role: f'[`{role[2]}`][{role[1]}{role[2]}]' if role[1] else f'`{role[2]}`', text)
            obj.docstring.value = re.sub(r'^Example:$', 'Examples:', text, flags=re.MULTILINE)
        elif obj.is_attribute and obj.parent.is_module:
            obj.docstring = Docstring('', parent=obj)
