"""Checkpoint files made by hand, opcode by opcode, and what is read compared to what was saved."""

import pickle
import struct
import zipfile

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

#: What a checkpoint holds beside tensors and containers of them.
RECORDS = (None, True, 2**80, -1.5, 'text', b'bytes', (1,), {1, 2}, slice(1, 2), torch.float32, torch.Size([2]))


class Touch:
    """An object whose unpickling makes a file, by whatever function it is told to call."""

    def __init__(self, function, *arguments) -> None:
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def write_raw(path, opcodes: bytes, legacy: bool = False) -> None:
    """A checkpoint file with a pickle made by hand."""
    if legacy:
        header = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {})
        path.write_bytes(b''.join(pickle.dumps(part, 2) for part in header) + opcodes + pickle.dumps([], 2))
        return
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', opcodes)
        archive.writestr('archive/version', b'3\n')
        archive.writestr('archive/byteorder', b'little')


ORDERED = b'ccollections\nOrderedDict\n)R'


def push(text: str) -> bytes:
    return b'X' + struct.pack('<I', len(text.encode())) + text.encode()


def name(module: str, rest: str) -> bytes:
    return f'c{module}\n{rest}\n'.encode()


def call(called: bytes, *arguments: bytes) -> bytes:
    return called + b'(' + b''.join(arguments) + b'tR'


def state(**entries: bytes) -> bytes:
    return b'}' + b''.join(push(key) + value + b's' for key, value in entries.items())


def array(shape: tuple[int, ...], code: str, content: bytes, times: int = 1) -> bytes:
    """An array that is given its state several times."""
    sizes = b'(' + b''.join(b'J' + struct.pack('<i', size) for size in shape) + b't'
    dtype = call(name('numpy', 'dtype'), push(code), b'\x89\x88')
    raw = b'B' + struct.pack('<I', len(content)) + content
    made = call(name('numpy.core.multiarray', '_reconstruct'), name('numpy', 'ndarray'), b'(K\0t', b'C\1b')
    return made + (b'(K\1' + sizes + dtype + b'\x89' + raw + b'tb') * times


def storage(elements: int, kind: str = 'FloatStorage', key: str = '0', view: bytes = b'') -> bytes:
    size = b'J' + struct.pack('<i', elements)
    return b'(' + push('storage') + name('torch', kind) + push(key) + push('cpu') + size + view + b'tQ'


def tensor(stored: bytes, size: bytes, stride: bytes, offset: bytes = b'K\0', hooks: bytes = b'N') -> bytes:
    rebuild = name('torch._utils', '_rebuild_tensor_v2')
    return call(rebuild, stored, offset, b'(' + size + b't', b'(' + stride + b't', b'\x89', hooks)


def assert_same(found, expected) -> None:
    """Equal in type and value, down to the last element."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(map(repr, found)) == list(map(repr, expected))
        for one, other in zip(found.values(), expected.values(), strict=True):
            assert_same(one, other)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype and found.shape == expected.shape and found.stride() == expected.stride()
        assert found.requires_grad == expected.requires_grad
        # By bytes, so that NaN equals NaN.
        assert bytes_of(found) == bytes_of(expected)
    elif isinstance(expected, HistoryBuffer):
        assert_same(found.data, expected.data)
    else:
        # The second, since NaN is unlike itself.
        assert found == expected or repr(found) == repr(expected)


def bytes_of(tensor: torch.Tensor) -> bytes:
    """The elements of a tensor in order, as bytes."""
    # A tensor of one element keeps odd strides.
    fresh = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().reshape(-1))
    return fresh.view(torch.uint8).numpy().tobytes()
