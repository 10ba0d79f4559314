"""The pickles of checkpoints, read into inert data: plain records, and descriptions of tensors and arrays.

Nothing is called and no object but a plain container is made while a pickle is read. What it describes is made
afterwards, by :mod:`~mmfasternet.weights.materialize`, out of checked numbers and bytes.
"""

import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, BinaryIO

from .makers import check_keys, fill, kind_of, make, make_storage, resolve
from .saved import Budget, RefusedObject, SavedStorage, printable

__all__ = ['Unpickler']

_DEEPEST = 100

_OPCODES: dict[int, Callable[['Unpickler'], None]] = {}


def _does(*codes: bytes) -> Callable[[Callable], Callable]:
    """Enter a method as what opcodes do."""

    def enter(method: Callable) -> Callable:
        _OPCODES.update((code[0], method) for code in codes)
        return method

    return enter


def _number(code: bytes, layout: str) -> None:
    """Enter an opcode that pushes a number of a fixed layout."""
    size = struct.calcsize(layout)

    @_does(code)
    def push(reader: 'Unpickler') -> None:
        reader.stack.append(struct.unpack(layout, reader.read(size))[0])


def _constant(code: bytes, make: Callable[[], Any]) -> None:
    """Enter an opcode that pushes a constant or an empty container."""

    @_does(code)
    def push(reader: 'Unpickler') -> None:
        reader.stack.append(make())


def _counted(code: bytes, layout: str, decode: Callable[[bytes], Any]) -> None:
    """Enter an opcode that pushes as many bytes, or what they encode, as a number before them says."""
    size = struct.calcsize(layout)

    @_does(code)
    def push(reader: 'Unpickler') -> None:
        [length] = struct.unpack(layout, reader.read(size))
        reader.stack.append(decode(reader.read(length)))


def _to_text(content: bytes) -> str:
    return content.decode('utf-8', 'surrogatepass')


_number(pickle.BININT, '<i')
_number(pickle.BININT1, '<B')
_number(pickle.BININT2, '<H')
_number(pickle.BINFLOAT, '>d')
_constant(pickle.NONE, lambda: None)
_constant(pickle.NEWTRUE, lambda: True)
_constant(pickle.NEWFALSE, lambda: False)
_constant(pickle.EMPTY_TUPLE, tuple)
_constant(pickle.EMPTY_LIST, list)
_constant(pickle.EMPTY_DICT, dict)
_constant(pickle.EMPTY_SET, set)
_counted(pickle.LONG1, '<B', pickle.decode_long)
_counted(pickle.SHORT_BINUNICODE, '<B', _to_text)
_counted(pickle.BINUNICODE, '<I', _to_text)
_counted(pickle.BINUNICODE8, '<Q', _to_text)
# Text of Python 2.
_counted(pickle.SHORT_BINSTRING, '<B', _to_text)
_counted(pickle.BINSTRING, '<I', _to_text)
_counted(pickle.SHORT_BINBYTES, '<B', bytes)
_counted(pickle.BINBYTES, '<I', bytes)
_counted(pickle.BINBYTES8, '<Q', bytes)
_counted(pickle.BYTEARRAY8, '<Q', bytearray)


class Unpickler:
    """A reader of one pickle of protocol 2 to 5, whose result is inert and bounded.

    It knows only the opcodes that such pickles of plain data consist of, and only the names that
    :mod:`~mmfasternet.weights.makers` knows. What it returns has no object nested deeper than 100 levels, none that
    holds itself, and no more than a million in all.

    Args:
        file: The pickle, open for reading bytes.
        size: Bytes from the file's position on, which the pickle can't exceed.

    Raises:
        RefusedObject: From ``load()``, if the pickle asks for anything else.
        pickle.UnpicklingError: From ``load()``, if it is damaged.

    Example:
        >>> import io
        >>> content = pickle.dumps([1, b'weights'])
        >>> Unpickler(io.BytesIO(content), len(content)).load()
        [1, b'weights']
        >>> content = pickle.dumps(eval)
        >>> Unpickler(io.BytesIO(content), len(content)).load()
        Traceback (most recent call last):
        mmfasternet.weights.saved.RefusedObject: builtins.eval
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.stack: list[Any] = []
        self.storages: dict[str, SavedStorage] = {}
        self._file = file
        self._left = size
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._budget = Budget(size)

    def load(self) -> Any:
        """Read the pickle up to its end."""
        while (code := self.read(1)) != pickle.STOP:
            self._budget.spend(objects=1)
            if code[0] not in _OPCODES:
                known = pickletools.code2op.get(code.decode('latin1'))
                raise RefusedObject(f'the opcode {known.name}') if known else pickle.UnpicklingError('not a pickle')
            _OPCODES[code[0]](self)
        [tree] = self.stack
        if self._below:
            raise pickle.UnpicklingError('the pickle ends within a container')
        _check_extent(tree, self._budget)
        return tree

    def read(self, size: int) -> bytes:
        """Read that many bytes of the pickle."""
        if size > self._left:
            raise pickle.UnpicklingError('the pickle ends too early')
        self._left -= size
        content = self._file.read(size)
        if len(content) < size:
            raise pickle.UnpicklingError('the pickle ends too early')
        return content

    def _items(self) -> list[Any]:
        """What was pushed since the last mark."""
        items, self.stack = self.stack, self._below.pop()
        return items

    @_does(pickle.PROTO)
    def _proto(self) -> None:
        if not 2 <= self.read(1)[0] <= 5:
            raise pickle.UnpicklingError('not a pickle of protocol 2 to 5')

    @_does(pickle.FRAME)
    def _frame(self) -> None:
        self.read(8)

    @_does(pickle.MARK)
    def _mark(self) -> None:
        self._below.append(self.stack)
        self.stack = []

    @_does(pickle.TUPLE)
    def _tuple(self) -> None:
        items = self._items()
        self.stack.append(tuple(items))

    @_does(pickle.TUPLE1)
    def _tuple_1(self) -> None:
        self._tuple_of(1)

    @_does(pickle.TUPLE2)
    def _tuple_2(self) -> None:
        self._tuple_of(2)

    @_does(pickle.TUPLE3)
    def _tuple_3(self) -> None:
        self._tuple_of(3)

    def _tuple_of(self, length: int) -> None:
        items = [self.stack.pop() for _ in range(length)]
        self.stack.append(tuple(reversed(items)))

    @_does(pickle.APPEND)
    def _append(self) -> None:
        self._extend([self.stack.pop()])

    @_does(pickle.APPENDS)
    def _appends(self) -> None:
        self._extend(self._items())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise RefusedObject(f'appending to {kind_of(self.stack[-1])}')
        self.stack[-1].extend(items)

    @_does(pickle.ADDITEMS)
    def _add_items(self) -> None:
        items = self._items()
        if type(self.stack[-1]) is not set:
            raise RefusedObject(f'adding to {kind_of(self.stack[-1])}')
        check_keys(items)
        self.stack[-1].update(items)

    @_does(pickle.SETITEM)
    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key], [value])

    @_does(pickle.SETITEMS)
    def _set_items(self) -> None:
        items = self._items()
        self._set(items[::2], items[1::2])

    def _set(self, keys: list[Any], values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict):
            raise RefusedObject(f'setting an item of {kind_of(target)}')
        check_keys(keys)
        target.update(zip(keys, values, strict=True))

    @_does(pickle.GLOBAL)
    def _global(self) -> None:
        module, name = (self._line() for _ in range(2))
        self.stack.append(resolve(module, name))

    def _line(self) -> str:
        line = self._file.readline(200)
        self._left -= len(line)
        if not line.endswith(b'\n'):
            raise RefusedObject(f'a very long name: {printable(line)}')
        return _to_text(line[:-1])

    @_does(pickle.STACK_GLOBAL)
    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not type(module) is type(name) is str:
            raise RefusedObject('an unusual name')
        self.stack.append(resolve(module, name))

    @_does(pickle.REDUCE, pickle.NEWOBJ)
    def _make(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self.stack.append(make(called, arguments, self._budget))

    @_does(pickle.BUILD)
    def _build(self) -> None:
        state = self.stack.pop()
        fill(self.stack[-1], state, self._budget)

    @_does(pickle.BINPERSID)
    def _storage(self) -> None:
        made = make_storage(self.stack.pop())
        known = self.storages.setdefault(made.key, made)
        if (known.dtype, known.elements) != (made.dtype, made.elements):
            raise pickle.UnpicklingError('a storage has two sizes')
        self.stack.append(known)

    @_does(pickle.MEMOIZE)
    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    @_does(pickle.BINPUT)
    def _put(self) -> None:
        self._memo[self.read(1)[0]] = self.stack[-1]

    @_does(pickle.LONG_BINPUT)
    def _long_put(self) -> None:
        self._memo[struct.unpack('<I', self.read(4))[0]] = self.stack[-1]

    @_does(pickle.BINGET)
    def _get(self) -> None:
        self.stack.append(self._memo[self.read(1)[0]])

    @_does(pickle.LONG_BINGET)
    def _long_get(self) -> None:
        self.stack.append(self._memo[struct.unpack('<I', self.read(4))[0]])


def _check_extent(tree: Any, budget: Budget) -> None:
    """Refuse what holds itself, is nested too deep, or has too many entries, each counted as often as it is shown."""
    extents: dict[int, tuple[int, int] | None] = {}

    def measure(node: Any, level: int) -> tuple[int, int]:
        """Number of objects, and levels, of a part."""
        if not isinstance(node, (dict, list, tuple)):
            return 1, 0
        if id(node) not in extents:
            if level > _DEEPEST:
                raise pickle.UnpicklingError(f'it is nested deeper than {_DEEPEST} levels')
            extents[id(node)] = None
            count, height = 1, 0
            for part in _parts(node):
                more, below = measure(part, level + 1)
                count, height = count + more, max(height, below)
            budget.check(count)
            extents[id(node)] = count, height + 1
        if (extent := extents[id(node)]) is None:
            raise pickle.UnpicklingError('a container holds itself')
        if level + extent[1] > _DEEPEST:
            raise pickle.UnpicklingError(f'it is nested deeper than {_DEEPEST} levels')
        return extent

    measure(tree, 0)


def _parts(node: dict | list | tuple) -> Iterable[Any]:
    """What a container holds; its keys are flat."""
    if not isinstance(node, dict):
        return node
    return chain(node.values(), vars(node).values()) if type(node) is OrderedDict else node.values()
