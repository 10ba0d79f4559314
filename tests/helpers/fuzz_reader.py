"""Feed the reader of checkpoints with damaged and made-up files, in a process of its own that may crash.

Run it by hand for longer::

    PYTHONPATH=. python tests/helpers/fuzz_reader.py --seconds 3600 --keep FOLDER

An input fails if the reader crashes, takes more than ten seconds or more memory than three times the file and a fixed
base, raises anything but its own errors, or does anything but read the file. What torch's own restricted reader reads
as well must be the same. Files that fail are kept.
"""

import argparse
import faulthandler
import io
import pickletools
import random
import resource
import signal
import sys
import time
import warnings
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from helpers.checkpoints import ORDERED, RECORDS, array, assert_same, call, name, push, storage, tensor
from mmfasternet.weights.reader import CheckpointError, read_checkpoint, read_metadata

LONGEST = 10  # seconds
# Bytes beside three times the file's: the pools of Python and torch, and the message.
BASE = 64 << 20


def seeds() -> list[Any]:
    """What real files hold, small."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.rand(2, 3, 4, 4)).square().mean().backward()
    optimizer.step()
    shared = torch.arange(12.0).reshape(3, 4)
    logs = dict(loss=HistoryBuffer([0.5, 0.25], [1, 2]), lr=HistoryBuffer(np.float64([0.1]), [1], max_length=5))
    meta = dict(
        epoch=3, iter=9, cfg="model = dict(type='MaskRCNN')", dataset_meta=dict(CLASSES=('a',), PALETTE=[(1, 2)])
    )
    return [
        model.state_dict(),
        dict(meta=meta, state_dict=model.state_dict(), optimizer=optimizer.state_dict()),
        dict(message_hub=dict(log_scalars=OrderedDict(logs), runtime_info=dict(best=np.float32(0.6), epoch=3))),
        dict(w=nn.Parameter(torch.ones(2)), views=[shared[1:, ::2], shared.t()], empty=torch.zeros(0, 3)),
        [torch.ones(2, dtype=dtype) for dtype in (torch.half, torch.bfloat16, torch.int8, torch.bool, torch.complex64)],
        [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.eye(3)[:2]),
            np.array(['ab', 'c']),
            np.int64(3),
            np.bool_(1),
        ],
        [*RECORDS, Counter('a')],
    ]


class File:
    """A checkpoint taken apart: its pickle, and what it takes to put a file around another one."""

    def __init__(self, content: Any, protocol: int, legacy: bool) -> None:
        buffer = io.BytesIO()
        torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
        self.whole, self.legacy = buffer.getvalue(), legacy
        if legacy:
            stream = io.BytesIO(self.whole)
            ends = []
            for _ in range(5):
                for _ in pickletools.genops(stream):
                    pass
                ends.append(stream.tell())
            self.before, self.after = self.whole[: ends[2]], self.whole[ends[3] :]
            self.pickle = self.whole[ends[2] : ends[3]]
        else:
            with zipfile.ZipFile(io.BytesIO(self.whole)) as archive:
                self.records = {record: archive.read(record) for record in archive.namelist()}
            [self.at] = [record for record in self.records if record.endswith('/data.pkl')]
            self.pickle = self.records[self.at]

    def around(self, opcodes: bytes) -> bytes:
        """A file with another pickle."""
        if self.legacy:
            return self.before + opcodes + self.after
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, 'w') as archive:
            for record, content in {**self.records, self.at: opcodes}.items():
                archive.writestr(record, content)
        return buffer.getvalue()


# What inputs are made of.


def mutate(rng: random.Random, content: bytes) -> bytes:
    """A few bytes changed, removed, repeated or inserted."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        start = rng.randrange(len(made) + 1)
        end = min(len(made), start + rng.choice((1, 1, 2, 4, 8, 64)))
        kind = rng.randrange(6)
        if kind == 0:
            made[start:end] = rng.randbytes(end - start)
        elif kind == 1:
            del made[start:end]
        elif kind == 2:
            made[start:start] = made[start:end] * rng.choice((1, 2, 100))
        elif kind == 3:
            made[start:end] = rng.choice((b'\0', b'\xff', b'\x7f')) * (end - start)
        elif kind == 4:
            made[start:start] = rng.choice(b'([])}u.R\x81bs0Q\x85\x86\x87te').to_bytes(1, 'little')
        else:
            del made[rng.choice((start, len(made) // 2)) :]
    return bytes(made)


def shuffle_opcodes(rng: random.Random, content: bytes) -> bytes:
    """Complete opcodes removed, repeated, exchanged, or taken from elsewhere."""
    starts = [position for _, _, position in pickletools.genops(content)]
    opcodes = [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, other = rng.randrange(1, len(opcodes)), rng.randrange(1, len(opcodes))
        kind = rng.randrange(5)
        if kind == 0:
            del opcodes[at]
        elif kind == 1:
            opcodes.insert(at, opcodes[other])
        elif kind == 2:
            opcodes[at], opcodes[other] = opcodes[other], opcodes[at]
        elif kind == 3:
            opcodes[at] = make_value(rng, 2)
        else:
            opcodes.insert(at, make_value(rng, 1))
    return b''.join(opcodes)


def integer(rng: random.Random) -> bytes:
    value = rng.choice((0, 1, 2, 3, 4, 8, 12, 255, -1, 2**31 - 1, 2**62, 2**63, -(2**63)))
    if 0 <= value < 256:
        return b'K' + bytes([value])
    return b'\x8a\x09' + value.to_bytes(9, 'little', signed=True)


def make_value(rng: random.Random, depth: int) -> bytes:
    """Opcodes that push something that a checkpoint may hold, now and then wrongly."""

    def some(most: int = 3) -> bytes:
        return b''.join(make_value(rng, depth - 1) for _ in range(rng.randrange(most + 1)))

    flat = (
        lambda: b'N',
        lambda: b'\x88',
        lambda: integer(rng),
        lambda: push(rng.choice(('', 'weight', 'storage', 'cpu', 'f8', '<', 'mean', '_metadata', '\x1b[2K'))),
        lambda: b'C' + bytes([4]) + rng.randbytes(4),
        lambda: b'G' + rng.randbytes(8),
        lambda: b'h' + bytes([rng.randrange(6)]),
        lambda: b'q' + bytes([rng.randrange(6)]),
        lambda: b'\x94',
    )
    deep = (
        lambda: b'(' + some() + b't',
        lambda: b'](' + some() + b'e',
        lambda: b'}(' + b''.join(push('k' * n) + make_value(rng, depth - 1) for n in range(rng.randrange(3))) + b'u',
        lambda: b'\x8f(' + some() + b'\x90',
        lambda: (
            ORDERED
            + rng.choice((b'', push('a') + make_value(rng, depth - 1) + b's', make_value(rng, depth - 1) + b'b'))
        ),
        lambda: call(name(*rng.choice(NAMES)), some()),
        lambda: name(*rng.choice(NAMES)),
        lambda: array(
            (rng.choice((0, 1, 2, -1)),), rng.choice(('f8', 'i4', 'U2', 'O8')), rng.randbytes(rng.choice((0, 8, 16)))
        ),
        lambda: tensor(
            storage(rng.choice((2, 3, 4, 12)), rng.choice(('FloatStorage', 'LongStorage'))), integer(rng), integer(rng)
        ),
        lambda: (
            make_value(rng, depth - 1)
            + make_value(rng, depth - 1)
            + rng.choice((b'b', b'a', b'R', b'\x81', b'\x93', b'\x86'))
        ),
        lambda: make_value(rng, depth - 1) + rng.choice((b'Q', b'\x85', b'0', b'2', b'e', b't', b'u', b's')),
    )
    return rng.choice(flat if depth < 1 or rng.random() < 0.3 else deep)()


BUFFER = ('mmengine.logging.history_buffer', 'HistoryBuffer')
NAMES = [
    ('collections', 'OrderedDict'),
    ('collections', 'Counter'),
    ('builtins', 'set'),
    ('builtins', 'bytes'),
    ('builtins', 'slice'),
    ('builtins', 'getattr'),
    ('_codecs', 'encode'),
    ('torch', 'Size'),
    ('torch', 'device'),
    ('torch', 'float32'),
    ('torch', 'FloatStorage'),
    ('torch._utils', '_rebuild_tensor'),
    ('torch._utils', '_rebuild_tensor_v2'),
    ('torch._utils', '_rebuild_parameter'),
    ('numpy', 'dtype'),
    ('numpy', 'ndarray'),
    ('numpy.core.multiarray', 'scalar'),
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy._core.numeric', '_frombuffer'),
    BUFFER,
    ('os', 'system'),
    ('builtins', 'eval'),
    (BUFFER[0], 'HistoryBuffer.mean'),
]


def make_input(rng: random.Random, files: list[File]) -> tuple[bytes, bool]:
    """The bytes of a file, and whether torch can be trusted to read it.

    Where the index of an archive is damaged it is not: torch 2.14 returns memory that nobody has written for a record
    that the index calls a folder.
    """
    file = rng.choice(files)
    kind = rng.randrange(5)
    if kind == 0:
        return mutate(rng, file.whole), file.legacy
    if kind == 1:
        return file.around(mutate(rng, file.pickle)), True
    if kind == 2:
        return file.around(shuffle_opcodes(rng, file.pickle)), True
    if kind == 3:
        return file.around(b'\x80\x02' + make_value(rng, 5) + b'.'), True
    if file.legacy:
        return file.before + file.pickle + mutate(rng, file.after), True
    # The records beside the pickle, in an archive that is in order.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for record, content in file.records.items():
            content = content if rng.random() < 0.8 else mutate(rng, content)
            archive.writestr(record if rng.random() < 0.95 else f'{record}0', content)
    return buffer.getvalue(), True


# What is watched.


class Watch:
    """Notes whatever the process does, beside reading one file, while it reads."""

    def __init__(self, path: Path) -> None:
        self.path, self.on, self.seen = str(path), False, []
        sys.addaudithook(self._hook)
        for method in ('min', 'max', 'mean', 'current', 'update', 'statistics'):
            setattr(HistoryBuffer, method, lambda *_, method=method: self.seen.append(f'HistoryBuffer.{method}'))

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        is_reading = event == 'open' and str(arguments[0]) == self.path and arguments[1] in ('r', 'rb')
        if not is_reading and event != 'builtins.id':
            self.seen.append(f'{event} {arguments!r}'[:200])


def hang(*_: Any) -> None:
    faulthandler.dump_traceback()
    raise KeyboardInterrupt('the reader hangs')


def read(path: Path, watch: Watch, reader: Any) -> tuple[Any, str | None]:
    """What a reader returns, None if it refuses, and what it did wrong."""
    size = path.stat().st_size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch.seen.clear()
    found, problem = None, None
    signal.alarm(LONGEST)
    watch.on = True
    try:
        found = reader(path)
    except CheckpointError as error:
        watch.on = False
        if not str(error).isprintable():
            problem = 'the message has control characters'
        if 'does not fit into memory' in str(error):
            problem = 'out of memory'
    except BaseException as error:
        watch.on = False
        problem = f'{type(error).__name__}: {error}'
    finally:
        watch.on = False
        signal.alarm(0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > 3 * size + BASE:
        problem = f'{grown} bytes of memory for a file of {size}'
    if watch.seen:
        problem = f'it did: {watch.seen[:3]}'
    return found, problem


def compare(path: Path, found: Any) -> bool:
    """Whether torch's restricted reader reads the file too; what it reads must be the same."""
    try:
        theirs = torch.load(path, map_location='cpu', weights_only=True)
    except Exception:
        return False
    assert_same(found, theirs)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=float('inf'))
    parser.add_argument('--inputs', type=float, default=float('inf'))
    parser.add_argument('--seed', type=int, default=int(time.time()))
    parser.add_argument('--keep', type=Path, required=True, help='folder of files that fail')
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter('ignore')
    faulthandler.enable()
    torch.set_num_threads(1)
    path = args.keep / 'current.pth'
    files = [File(seed, protocol, legacy) for seed in seeds() for protocol in (2, 3, 4, 5) for legacy in (False, True)]
    watch = Watch(path)
    # Whatever is imported at first use is imported now.
    for file in files:
        for content in (file.whole, file.whole[:-9], file.around(b'\x80\x02.')):
            path.write_bytes(content)
            for reader in (read_checkpoint, read_metadata):
                read(path, watch, reader)
    signal.signal(signal.SIGALRM, hang)
    pages = int(Path('/proc/self/statm').read_text().split()[0]) if sys.platform == 'linux' else 0
    if pages:
        limit = pages * resource.getpagesize() + 4 * BASE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    counts, start = Counter(), time.monotonic()
    while counts['inputs'] < args.inputs and time.monotonic() - start < args.seconds and counts['failures'] < 20:
        rng = random.Random(f'{args.seed} {counts["inputs"]}')
        content, is_comparable = make_input(rng, files)
        path.write_bytes(content)
        counts['inputs'] += 1
        found, problem = read(path, watch, read_checkpoint)
        outlined, second = read(path, watch, read_metadata)
        problem = problem or second
        if found is not None and not problem:
            counts['read'] += 1
            try:
                counts['compared'] += is_comparable and compare(path, found)
                if isinstance(found, dict):
                    assert list(found) == list(outlined), 'the metadata has other keys'
            except AssertionError as error:
                problem = f'another result: {error}'
        if problem:
            counts['failures'] += 1
            kept = args.keep / f'{args.seed}-{counts["inputs"]}.pth'
            kept.write_bytes(path.read_bytes())
            print(f'{kept}: {problem}', flush=True)
    path.unlink()
    print(
        ', '.join(f'{counts[kind]} {kind}' for kind in ('inputs', 'read', 'compared', 'failures')), f'seed {args.seed}'
    )
    return int(counts['failures'] > 0)


if __name__ == '__main__':
    sys.exit(main())
