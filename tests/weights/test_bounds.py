"""What a file costs to read is bounded by its own size, and nothing in it reaches outside of it."""

import os
import pickle
import resource
import struct
import tarfile
import zipfile

import pytest
import torch
from helpers.checkpoints import ORDERED, array, call, name, push, storage, tensor, write_raw

from mmfasternet.weights.reader import CheckpointError, read_checkpoint, read_metadata

DAMAGED = 'cannot be read as a checkpoint .*'


def write(path, opcodes: bytes, legacy: bool = False) -> None:
    write_raw(path, b'\x80\x03' + opcodes + b'.', legacy)


def put(index: int) -> bytes:
    return b'r' + struct.pack('<I', index)


def get(index: int) -> bytes:
    return b'j' + struct.pack('<I', index)


def nested_references() -> bytes:
    """Nine levels of lists, ten references in each: a thousand million entries."""
    levels = [b'](' + b'N' * 10 + b'e' + put(0)]
    levels += [b'](' + get(level - 1) * 10 + b'e' + put(level) for level in range(1, 9)]
    return b'(' + b''.join(levels) + b't'


BOMBS = {
    'size from bytes': call(name('torch', 'Size'), call(name('builtins', 'bytes'), b'J\xff\xff\xff\x7f')),
    'set from bytes': call(name('builtins', 'set'), call(name('builtins', 'bytes'), b'J\xff\xff\xff\x7f')),
    'references': nested_references(),
    'copies of a list': b'](' + b'N' * 20_000 + b'e' + put(0) + call(name('builtins', 'set'), get(0)) * 200,
    'arrays over one text': b'(' + push('a' * 4000) + put(0)
    + call(name('_codecs', 'encode'), get(0), push('latin1')) * 100 + b't',
    'expanded tensor': tensor(storage(1), b'J\xff\xff\xff\x7f', b'K\0'),
    'nesting': b']' * 200 + b'a' * 199,
    'itself': b'}' + put(0) + push('state_dict') + get(0) + b's',
    'itself, deeper': b']' + put(0) + b'(' + get(0) + b'ta',
    'itself as metadata': ORDERED + put(0) + b'}' + push('_metadata') + get(0) + b'sb',
    'repeated reference to a large state dict': ORDERED + b'(' + b''.join(
        push(f'k{number}') + b'N' for number in range(20_000)
    ) + b'u' + put(0) + b'](' + get(0) * 50_000 + b'e\x86',
    'name that is a bomb': call(
        name('builtins', 'getattr'), name('mmengine.logging.history_buffer', 'HistoryBuffer'), nested_references()
    ),
    'dtype that is a bomb': call(name('numpy', 'dtype'), nested_references()),
    'text longer than the file': b'X\xff\xff\xff\x7f',
    'bytes longer than the file': b'\x8e' + struct.pack('<Q', 2**62),
    'array of another size': array((2**31 - 1,), 'u1', b'1234'),
    'array of negative sizes': array((-1, -8), 'u1', b'12345678'),
    'text of no size': array((2**31 - 1,), 'S0', b''),
}  # fmt: skip


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('bomb', BOMBS)
def test_bombs(bomb, legacy, tmp_path):
    write(tmp_path / 'file.pth', BOMBS[bomb], legacy)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_checkpoint, read_metadata):
        with pytest.raises(CheckpointError):
            read(tmp_path / 'file.pth')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def zip_of(path, opcodes: bytes, *records: bytes, **options) -> None:
    with zipfile.ZipFile(path, 'w', **options) as archive:
        archive.writestr('archive/data.pkl', b'\x80\x03' + opcodes + b'.')
        for index, record in enumerate(records):
            archive.writestr(f'archive/data/{index}', record)


# Tensors and storages that do not fit: opcodes and the storage's bytes.
MISFITS = {
    'record that is too small': (tensor(storage(9), b'K\2', b'K\1'), bytes(8)),
    'record that is too large': (tensor(storage(2), b'K\2', b'K\1'), bytes(12)),
    'record that is missing': (tensor(storage(2, key='1'), b'K\2', b'K\1'), bytes(8)),
    'record of another folder': (tensor(storage(2, key='../data/0'), b'K\2', b'K\1'), bytes(8)),
    'tensor beyond': (tensor(storage(2), b'K\3', b'K\1'), bytes(8)),
    'offset beyond': (tensor(storage(2), b'K\2', b'K\1', offset=b'K\1'), bytes(8)),
    'stride beyond': (tensor(storage(2), b'K\2', b'K\2'), bytes(8)),
    'negative offset': (tensor(storage(2), b'K\2', b'K\1', offset=b'J\xff\xff\xff\xff'), bytes(8)),
    'negative stride': (tensor(storage(2), b'K\2', b'J\xff\xff\xff\xff', offset=b'K\1'), bytes(8)),
    'negative size': (tensor(storage(2), b'J\xff\xff\xff\xff', b'K\1'), bytes(8)),
    'size without stride': (tensor(storage(2), b'K\2', b''), bytes(8)),
    'overflowing size': (tensor(storage(2), b'\x8a\x08' + bytes(7) + b'\x40' + b'K\4', b'K\1K\1'), bytes(8)),
    'one storage of two sizes': (
        b'(' + tensor(storage(2), b'K\2', b'K\1') + tensor(storage(8, 'ByteStorage'), b'K\2', b'K\1') + b't',
        bytes(8),
    ),
}


@pytest.mark.parametrize('misfit', MISFITS)
def test_tensors_lie_within_their_storages(misfit, tmp_path):
    opcodes, record = MISFITS[misfit]
    zip_of(tmp_path / 'file.pth', opcodes, record)
    with pytest.raises(CheckpointError, match=DAMAGED):
        read_checkpoint(tmp_path / 'file.pth')


@pytest.mark.parametrize(
    ('opcodes', 'record'),
    [(tensor(storage(2, 'BoolStorage'), b'K\2', b'K\1'), b'\0\2'), (array((2,), 'b1', b'\0\2'), b'')],
)
def test_truth_values_are_0_or_1(opcodes, record, tmp_path):
    zip_of(tmp_path / 'file.pth', opcodes, record)
    with pytest.raises(CheckpointError, match=DAMAGED + 'neither 0 nor 1'):
        read_checkpoint(tmp_path / 'file.pth')
    zip_of(tmp_path / 'file.pth', opcodes.replace(b'\0\2', b'\0\1'), record.replace(b'\2', b'\1'))
    assert read_checkpoint(tmp_path / 'file.pth').tolist() == [False, True]


def test_a_record_of_two_floats_is_read(tmp_path):
    zip_of(tmp_path / 'file.pth', tensor(storage(2), b'K\2', b'K\1'), struct.pack('<2f', 1, 2))
    assert read_checkpoint(tmp_path / 'file.pth').tolist() == [1, 2]


def test_compressed_records_are_refused(tmp_path):
    opcodes = tensor(storage(2**20), b'K\2', b'K\1')
    zip_of(tmp_path / 'file.pth', opcodes, bytes(2**22), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=DAMAGED + 'compressed'):
        read_checkpoint(tmp_path / 'file.pth')


def test_overlapping_records_are_refused(tmp_path):
    zip_of(tmp_path / 'file.pth', b'N', bytes(1000), bytes(1000))
    content = (tmp_path / 'file.pth').read_bytes()
    # In the index, the second record is the first.
    index = content.rindex(b'PK\1\2')
    first = content.index(b'PK\1\2', content.index(b'PK\1\2') + 4)
    start = struct.unpack_from('<I', content, first + 42)[0]
    content = content[: index + 42] + struct.pack('<I', start) + content[index + 46 :]
    (tmp_path / 'file.pth').write_bytes(content.replace(b'archive/data/1', b'archive/data/0'))
    with pytest.raises(CheckpointError, match=DAMAGED):
        read_checkpoint(tmp_path / 'file.pth')


def test_records_that_claim_to_be_larger_in_the_file_are_refused(tmp_path):
    zip_of(tmp_path / 'file.pth', b'N')
    content = (tmp_path / 'file.pth').read_bytes()
    index = content.index(b'PK\1\2')
    content = content[: index + 20] + struct.pack('<I', 2**31) + content[index + 24 :]
    (tmp_path / 'file.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=DAMAGED + 'compressed'):
        read_checkpoint(tmp_path / 'file.pth')


def test_a_hole_in_a_record_is_noticed(tmp_path):
    torch.save(dict(w=torch.ones(1000)), tmp_path / 'file.pth')
    content = bytearray((tmp_path / 'file.pth').read_bytes())
    start = content.index(struct.pack('<f', 1) * 9)
    content[start : start + 2048] = bytes(2048)
    (tmp_path / 'file.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=DAMAGED + 'CRC'):
        read_checkpoint(tmp_path / 'file.pth')


@pytest.mark.skipif(not hasattr(torch.serialization, 'set_crc32_options'), reason='this torch writes checksums always')
def test_a_file_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(w=torch.arange(1000)), tmp_path / 'file.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / 'file.pth') as archive:
        assert {record.CRC for record in archive.infolist()} == {0}
    assert torch.equal(read_checkpoint(tmp_path / 'file.pth')['w'], torch.arange(1000))


def test_the_other_byte_order_is_told(tmp_path):
    zip_of(tmp_path / 'file.pth', b'N')
    with zipfile.ZipFile(tmp_path / 'file.pth', 'a') as archive:
        archive.writestr('archive/byteorder', b'big')
    with pytest.raises(CheckpointError, match=DAMAGED + 'other byte order'):
        read_checkpoint(tmp_path / 'file.pth')


# The stream of pickles.


def stream_of(path, opcodes: bytes, keys: list, *storages: tuple[int, bytes], system: dict | None = None) -> None:
    header = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, system or {})
    content = b''.join(pickle.dumps(part, 2) for part in header)
    content += b'\x80\x03' + opcodes + b'.' + pickle.dumps(keys, 2)
    path.write_bytes(content + b''.join(struct.pack('<q', size) + raw for size, raw in storages))


TWO = tensor(storage(2, view=b'N'), b'K\2', b'K\1')
TORN = {
    'storage that is never filled': (TWO, [], []),
    'storage of no tensor': (b'N', ['0'], [(2, bytes(8))]),
    'storage that is filled twice': (TWO, ['0', '0'], [(2, bytes(8))] * 2),
    'storage of another size': (TWO, ['0'], [(3, bytes(12))]),
    'storage of negative size': (TWO, ['0'], [(-1, bytes(8))]),
    'storage that is cut': (TWO, ['0'], [(2, bytes(7))]),
    'keys that are no list': (TWO, {'0': 1}, [(2, bytes(8))]),
    'keys that are numbers': (TWO, [0], [(2, bytes(8))]),
    'larger tensor over a view': (
        b'('
        + tensor(storage(2, view=b'(' + push('v') + b'K\0K\2t'), b'K\2', b'K\1')
        + tensor(storage(2, view=b'N'), b'K\x40', b'K\1')
        + b't',
        ['0'],
        [(2, bytes(8))],
    ),
}


@pytest.mark.parametrize('torn', TORN)
def test_every_storage_of_a_stream_is_filled(torn, tmp_path):
    opcodes, keys, storages = TORN[torn]
    stream_of(tmp_path / 'file.pth', opcodes, keys, *storages)
    for read in (read_checkpoint, read_metadata):
        with pytest.raises(CheckpointError):
            read(tmp_path / 'file.pth')


def test_a_stream_of_two_floats_is_read(tmp_path):
    stream_of(tmp_path / 'file.pth', TWO, ['0'], (2, struct.pack('<2f', 1, 2)))
    assert read_checkpoint(tmp_path / 'file.pth').tolist() == [1, 2]


def test_a_stream_that_python_2_wrote_is_read(tmp_path):
    def short(text: str) -> bytes:
        return b'U' + bytes([len(text)]) + text.encode()

    stored = b'(' + short('storage') + name('torch.cuda', 'FloatStorage') + short('7') + short('cuda:0') + b'K\2NtQ'
    made = call(name('torch._utils', '_rebuild_tensor'), stored, b'K\0', b'K\2\x85', b'K\1\x85')
    pairs = b']](' + short('weight') + made + b'ea'
    stream_of(
        tmp_path / 'file.pth', call(name('collections', 'OrderedDict'), pairs), ['7'], (2, struct.pack('<2f', 1, 2))
    )
    found = read_checkpoint(tmp_path / 'file.pth')
    assert type(found).__name__ == 'OrderedDict' and found['weight'].tolist() == [1, 2]


def test_a_stream_of_the_other_byte_order_is_told(tmp_path):
    stream_of(tmp_path / 'file.pth', TWO, ['0'], (2, bytes(8)), system=dict(little_endian=False))
    with pytest.raises(CheckpointError, match=DAMAGED + 'other byte order'):
        read_checkpoint(tmp_path / 'file.pth')


# Tar files, which torch extracts.


@pytest.mark.parametrize('start', ['storages', '\x80\x02storages'])
@pytest.mark.parametrize('trust', [False, True])
def test_tar_files_change_no_other_file(start, trust, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('secret')
    victim.chmod(0o600)
    os.utime(victim, (1e9, 1e9))
    with tarfile.open(tmp_path / 'file.pth', 'w', encoding='latin1') as tar:
        for link in (start, 'storages'):
            member = tarfile.TarInfo(link)
            member.type, member.linkname, member.mode, member.mtime = tarfile.LNKTYPE, str(victim), 0o777, 0
            tar.addfile(member)
    with pytest.raises(CheckpointError, match='file.pth (is a tar file|cannot be read)') as error:
        read_checkpoint(tmp_path / 'file.pth', trust=trust)
    assert not trust or 'is a tar file' in str(error.value)
    assert victim.stat().st_mode & 0o777 == 0o600 and victim.stat().st_mtime == 1e9


# Messages.


def test_escapes_in_names_are_not_obeyed(tmp_path):
    write(tmp_path / 'file.pth', name('os\x1b[2K\x1b[1A', 'system'))
    with pytest.raises(CheckpointError, match=r'asks for os\\x1b\[2K\\x1b\[1A\.system') as error:
        read_checkpoint(tmp_path / 'file.pth')
    assert str(error.value).isascii() and str(error.value).isprintable()


def test_long_names_are_cut(tmp_path):
    write(tmp_path / 'file.pth', b'\x8c\x02os' + push('x' * 10_000) + b'\x93')
    with pytest.raises(CheckpointError, match=r'asks for os\.x{97}\.\.\., which') as error:
        read_checkpoint(tmp_path / 'file.pth')
    assert len(str(error.value)) < 1000


def test_forced_distrust_is_told(tmp_path, monkeypatch):
    torch.save(dict(w=torch.ones(1)), tmp_path / 'file.pth')
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    assert read_checkpoint(tmp_path / 'file.pth')['w'] == 1
    with pytest.raises(CheckpointError, match='TORCH_FORCE_WEIGHTS_ONLY_LOAD forbids .* unset it'):
        read_checkpoint(tmp_path / 'file.pth', trust=True)


@pytest.mark.parametrize('source', ['n' * 300 + '.pth', 'nul\0.pth', '~nobody_at_all/file.pth'])
def test_impossible_names_are_missing(source):
    with pytest.raises(CheckpointError, match='not found'):
        read_checkpoint(source)


def test_too_little_memory_is_told(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory")

    torch.save(dict(w=torch.zeros(9)), tmp_path / 'file.pth')
    monkeypatch.setattr(torch, 'empty', fail)
    with pytest.raises(CheckpointError, match=r'does not fit into memory \(it has [\d,]+ bytes\)'):
        read_checkpoint(tmp_path / 'file.pth')


def test_metadata_is_read_without_the_weights(tmp_path, monkeypatch):
    torch.save(dict(meta=dict(iter=12), state_dict=dict(w=torch.ones(2, 3, dtype=torch.half))), tmp_path / 'file.pth')
    monkeypatch.setattr('mmfasternet.weights.containers._copy', lambda *_: pytest.fail('a storage was read'))
    found = read_metadata(tmp_path / 'file.pth')
    assert found['meta'] == dict(iter=12)
    weight = found['state_dict']['w']
    assert weight.is_meta and weight.shape == (2, 3) and weight.dtype == torch.half


def test_metadata_of_an_object_that_is_no_dict(tmp_path):
    torch.save([1], tmp_path / 'file.pth')
    assert read_metadata(tmp_path / 'file.pth') == {}
