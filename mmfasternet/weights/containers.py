"""The two forms of ``torch.save``'s files: the zip of records, and the stream of pickles of torch before 1.6."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from .saved import SavedStorage, printable
from .unpickler import Unpickler

__all__ = ['Contents', 'TorchScriptError', 'read_contents']

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_LARGEST_HEADER = 1000  # bytes of each of its parts
# A storage is copied in parts, so that reading takes little more memory than the tensors.
_PART = 1 << 20


class TorchScriptError(pickle.UnpicklingError):
    """A file is a program of TorchScript."""


@dataclass(slots=True)
class Contents:
    """What a checkpoint file holds: the tree that its pickle describes, and how to read a storage of it.

    Args:
        tree: Plain records and descriptions of tensors and arrays.
        fill: Fills a writable buffer, of exactly the storage's size, with the storage's bytes.
    """

    tree: Any
    fill: Callable[[SavedStorage, memoryview], None]


def read_contents(file: BinaryIO) -> Contents:
    """Read the records of a file of ``torch.save``, and check that each storage is there in its size.

    Args:
        file: The file, open for reading bytes; it must stay open for ``fill``.

    Returns:
        Its contents.

    Raises:
        RefusedObject: If the file asks for anything but weights and plain records.
        TorchScriptError: If it is a program.
        pickle.UnpicklingError: If it is damaged or another kind of file.

    Example:
        >>> import torch
        >>> torch.save(dict(weight=torch.ones(2), epoch=3), 'example.pth')
        >>> with open('example.pth', 'rb') as file:
        ...     tree = read_contents(file).tree
        >>> tree['epoch'], tree['weight'].size
        (3, (2,))
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start == b'PK\3\4':
        return _read_zip(file, size)
    if start[:1] == pickle.PROTO:
        return _read_stream(file, size)
    raise pickle.UnpicklingError('neither a zip file nor a pickle')


def _read_zip(file: BinaryIO, size: int) -> Contents:
    archive = zipfile.ZipFile(file)
    records = {record.filename: record for record in archive.infolist()}
    folder = next(iter(records), '').partition('/')[0]
    if f'{folder}/constants.pkl' in records:
        raise TorchScriptError
    # A compressed record, or one that overlaps others, would grow when it is read.
    is_plain = all(
        record.compress_type == zipfile.ZIP_STORED
        and record.compress_size == record.file_size
        and not record.flag_bits & 1
        for record in records.values()
    )
    in_all = sum(record.file_size for record in records.values())
    if not is_plain or len(records) < len(archive.infolist()) or in_all > size:
        raise pickle.UnpicklingError('its records are compressed, encrypted, or overlap')
    for record in records.values():
        # torch can be told to write no checksums.
        record.CRC = record.CRC or None

    def read(name: str) -> bytes:
        return archive.read(f'{folder}/{name}')

    if f'{folder}/byteorder' in records and read('byteorder') != b'little':
        raise pickle.UnpicklingError('it was written on a machine of the other byte order')
    content = read('data.pkl')
    if content[:1] != pickle.PROTO:
        raise pickle.UnpicklingError('its records are no pickle of protocol 2 or later')
    unpickler = Unpickler(io.BytesIO(content), len(content))
    tree = unpickler.load()
    for key, storage in unpickler.storages.items():
        record = records.get(f'{folder}/data/{key}')
        if record is None or record.file_size != storage.elements * storage.dtype.itemsize:
            raise pickle.UnpicklingError(f'storage {printable(key)} is missing or of another size')

    def fill(storage: SavedStorage, target: memoryview) -> None:
        with archive.open(f'{folder}/data/{storage.key}') as source:
            _copy(source, target)
            # zipfile compares the checksum when it meets the end.
            source.read(1)

    return Contents(tree, fill)


def _read_stream(file: BinaryIO, size: int) -> Contents:
    def load(most: int = size) -> tuple[Any, dict[str, SavedStorage]]:
        unpickler = Unpickler(file, min(most, size - file.tell()))
        return unpickler.load(), unpickler.storages

    if load(_LARGEST_HEADER)[0] != _MAGIC_NUMBER or load(_LARGEST_HEADER)[0] != _PROTOCOL_VERSION:
        raise pickle.UnpicklingError('it has no magic number of torch')
    system, _ = load(_LARGEST_HEADER)
    if type(system) is not dict or system.get('little_endian', True) is not True:
        raise pickle.UnpicklingError('it was written on a machine of the other byte order')
    tree, storages = load()
    keys, _ = load()
    if type(keys) is not list or not all(type(key) is str for key in keys) or sorted(keys) != sorted(storages):
        raise pickle.UnpicklingError('its storages are not those of its tensors')
    starts = {}
    for key in keys:
        [elements] = struct.unpack('<q', file.read(8))
        starts[key] = file.tell()
        storage = storages[key]
        end = starts[key] + storage.elements * storage.dtype.itemsize
        if elements != storage.elements or end > size:
            raise pickle.UnpicklingError(f'storage {printable(key)} is cut or of another size')
        file.seek(end)

    def fill(storage: SavedStorage, target: memoryview) -> None:
        file.seek(starts[storage.key])
        _copy(file, target)

    return Contents(tree, fill)


def _copy(source: BinaryIO, target: memoryview) -> None:
    """Fill a buffer completely."""
    done = 0
    while done < len(target):
        copied = source.readinto(target[done : done + _PART])
        if not copied:
            raise pickle.UnpicklingError('a storage ends too early')
        done += copied
