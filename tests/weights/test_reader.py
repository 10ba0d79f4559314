"""Checkpoints are read completely, and no code in them runs."""

import argparse
import copyreg
import functools
import os
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.checkpoints import (
    ORDERED,
    RECORDS,
    Touch,
    array,
    assert_same,
    call,
    name,
    push,
    state,
    storage,
    tensor,
    write_raw,
)
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import MultiStepLR, OptimWrapper
from torch import nn

from mmfasternet.weights.reader import (
    CheckpointError,
    MissingCheckpointError,
    UntrustedCheckpointError,
    read_checkpoint,
    read_metadata,
)

WEIGHTS = dict(bias=torch.ones(2), weight=torch.arange(6.0).reshape(2, 3))


# What must be read.


PLAIN = {
    'weights': WEIGHTS,
    'ordered weights': nn.BatchNorm2d(3).state_dict(),
    'parameter': dict(w=nn.Parameter(torch.ones(2), requires_grad=True)),
    'view': dict(w=torch.arange(12).reshape(3, 4)[1:, ::2]),
    'dtypes': [
        torch.ones(2, dtype=t) for t in (torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.complex64)
    ],
    'records': [*RECORDS, b''],
    'counter': Counter([8, 11]),
    'numpy scalars': [np.float64(0.5), np.float32(2), np.int64(3), np.bool_(True), np.str_('ä')],
    'numpy arrays': [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.eye(3)[:2]),
        np.zeros((0, 4)),
        np.array(['ab', 'c']),
    ],
    'numpy dtypes': [np.dtype('>f4'), np.dtype('<i8'), np.array([b'x'], 'S3'), np.dtype('U2')],
    'shared': [WEIGHTS['bias'], WEIGHTS['bias']],
    'device': torch.device('cpu'),
    'buffers': [HistoryBuffer(), HistoryBuffer([1.0, 2.0], [1, 3]), HistoryBuffer([np.float64(1)], [1], max_length=5)],
}


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('name', PLAIN)
def test_weights_and_records_are_read(name, legacy, tmp_path):
    torch.save(PLAIN[name], tmp_path / 'file.pth', _use_new_zipfile_serialization=not legacy)
    assert_same(read_checkpoint(tmp_path / 'file.pth'), PLAIN[name])
    assert_same(read_checkpoint(tmp_path / 'file.pth', trust=True), PLAIN[name])


def test_metadata_of_a_state_dict_is_read(tmp_path):
    state_dict = nn.Sequential(nn.BatchNorm2d(3)).state_dict()
    torch.save(dict(state_dict=state_dict), tmp_path / 'file.pth')
    assert read_checkpoint(tmp_path / 'file.pth')['state_dict']._metadata == state_dict._metadata


def test_arrays_of_the_other_byte_order_are_read(tmp_path):
    torch.save([np.arange(3, dtype='>f4'), np.array(5, '>i2')[()]], tmp_path / 'file.pth')
    array, scalar = read_checkpoint(tmp_path / 'file.pth')
    assert array.tolist() == [0, 1, 2] and scalar == 5


def test_arrays_of_either_numpy_are_read(tmp_path):
    array = np.arange(3.0)
    written = pickle.dumps(array, 2)
    for old, new in ((b'numpy.core.multiarray', b'numpy._core.multiarray'), (b'numpy._core', b'numpy.core')):
        write_raw(tmp_path / 'file.pth', written.replace(old, new))
        assert_same(read_checkpoint(tmp_path / 'file.pth'), array)


@pytest.mark.parametrize('legacy', [False, True])
def test_training_checkpoint_of_mmengine_is_read(legacy, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.1))
    scheduler = MultiStepLR(wrapper, milestones=[8, 11], gamma=0.1)
    wrapper.update_params(model(torch.rand(2, 3, 4, 4)).square().mean())
    scheduler.step()
    hub = MessageHub('training checkpoint')
    hub.update_scalar('train/loss', 0.5)
    hub.update_scalars(dict(loss_mask=torch.tensor(0.25), lr=np.float64(0.1)))
    hub.update_info('best_score', np.float32(0.6))
    hub.update_info('epoch', 3)
    checkpoint = dict(
        meta=dict(
            epoch=3, iter=9, cfg="model = dict(type='MaskRCNN')", dataset_meta=dict(CLASSES=('a',), PALETTE=[(1, 2, 3)])
        ),
        state_dict=model.state_dict(),
        optimizer=wrapper.state_dict(),
        param_schedulers=[scheduler.state_dict()],
        message_hub=hub.state_dict(),
    )
    torch.save(checkpoint, tmp_path / 'epoch_3.pth', _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(tmp_path / 'epoch_3.pth')
    assert_same(found, checkpoint)

    hub.load_state_dict(found['message_hub'])
    assert hub.get_scalar('train/loss').statistics('mean') == 0.5
    scheduler.load_state_dict(found['param_schedulers'][0])
    wrapper.load_state_dict(found['optimizer'])
    assert scheduler.milestones == Counter([8, 11])


def test_released_detector_of_mmdet_2_is_read(tmp_path):
    meta = dict(
        CLASSES=('person',), config="model = dict(\n    type='MaskRCNN')", env_info='os: Linux', seed=None, epoch=12
    )
    checkpoint = dict(meta=meta, state_dict=OrderedDict(WEIGHTS), optimizer=dict(state={}, param_groups=[dict(lr=0.1)]))
    torch.save(checkpoint, tmp_path / 'file.pth')
    assert_same(read_checkpoint(tmp_path / 'file.pth'), checkpoint)


@pytest.mark.parametrize('map_location', ['cpu', None, torch.device('cpu'), lambda storage, location: storage])
@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_every_map_location(suffix, map_location, tmp_path):
    path = tmp_path / f'file{suffix}'
    (safetensors.torch.save_file if suffix == '.safetensors' else torch.save)(WEIGHTS, path)
    assert_same(read_checkpoint(str(path), map_location), WEIGHTS)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save(WEIGHTS, tmp_path / 'file.pth')
    assert_same(read_checkpoint('~/file.pth'), WEIGHTS)


# What must be refused.


def touches(target) -> dict:
    """Objects that would make the file ``target`` by themselves, and the global that each asks for."""
    script = f'open({str(target)!r}, "w")'
    return {
        'os.system': (Touch(os.system, f'touch {target}'), f'{os.name}.system'),
        'eval': (Touch(eval, script), 'builtins.eval'),
        'exec': (Touch(exec, script), 'builtins.exec'),
        'open': (Touch(open, str(target), 'w'), r'(_?io|builtins)\.open'),
        'partial': (functools.partial(open, str(target), 'w'), 'functools.partial'),
        'torch.load': (Touch(torch.storage._load_from_bytes, b''), 'torch.storage._load_from_bytes'),
        'getattr of a class': (
            Touch(getattr, HistoryBuffer, '__init__'),
            r"builtins.getattr\(.*HistoryBuffer.*'__init__'",
        ),
        'codec': (Touch(copyreg._reconstructor, Touch, object, None), 'copyreg._reconstructor'),
        'class': (argparse.Namespace(), 'argparse.Namespace'),
    }


@pytest.mark.parametrize('where', ['top', 'meta', 'key', 'state_dict', 'array', 'buffer', 'optimizer'])
@pytest.mark.parametrize(('protocol', 'legacy'), [(2, False), (4, False), (2, True)])
def test_code_is_refused_wherever_it_stands(where, protocol, legacy, tmp_path):
    target = tmp_path / 'ran'
    evil = Touch(os.system, f'touch {target}')
    buffer = HistoryBuffer([1.0], [1])
    buffer.max_length = evil
    content = {
        'top': evil,
        'meta': dict(state_dict=WEIGHTS, meta=dict(hook_msgs=[dict(deep=(evil,))])),
        'key': {evil: 1},
        'state_dict': OrderedDict(WEIGHTS, extra=evil),
        'array': dict(state_dict=WEIGHTS, meta=np.array([evil, 1], dtype=object)),
        'buffer': dict(message_hub=dict(log_scalars=dict(loss=buffer))),
        'optimizer': dict(state_dict=WEIGHTS, optimizer=dict(state={0: evil})),
    }[where]
    path = tmp_path / 'file.pth'
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    # With protocol 4 a pickle of a buffer names its methods another way, which is refused as well.
    expected = 'numpy.dtype' if where == 'array' else r'(posix|nt)\.system|HistoryBuffer\.'
    with pytest.raises(UntrustedCheckpointError, match=f'file.pth was refused: .* asks for .*({expected})') as error:
        read_checkpoint(path)
    assert '--trust-checkpoint' in str(error.value)
    assert not target.exists()


@pytest.mark.parametrize('name', touches(''))
def test_every_global_is_refused_by_name(name, tmp_path):
    target = tmp_path / 'ran'
    evil, asked = touches(target)[name]
    path = tmp_path / 'file.pth'
    torch.save(dict(state_dict=WEIGHTS, meta=evil), path)
    with pytest.raises(UntrustedCheckpointError, match=asked):
        read_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize('legacy', [False, True])
def test_trust_reads_anything(legacy, tmp_path):
    target = tmp_path / 'ran'
    content = dict(state_dict=WEIGHTS, meta=Touch(os.mkdir, str(target)))
    torch.save(content, tmp_path / 'file.pth', _use_new_zipfile_serialization=not legacy)
    assert_same(read_checkpoint(tmp_path / 'file.pth', trust=True)['state_dict'], WEIGHTS)
    assert target.exists()


REBUILD = name('torch._utils', '_rebuild_tensor')
BUFFER = name('mmengine.logging.history_buffer', 'HistoryBuffer')
SET = name('builtins', 'set')
MEAN = call(name('builtins', 'getattr'), BUFFER, push('mean'))
FLOATS = array((1,), 'f8', bytes(8))
HISTORY = dict(max_length=b'K\1', _log_history=FLOATS, _count_history=FLOATS)
# Objects of the allowlist put to other uses: opcodes by what they try.
TRICKS = {
    'attribute of a function': REBUILD + b'N' + state(dump_patches=b'\x88') + b'\x86b',
    'dict of a function': REBUILD + state(__wrapped__=b'\x88') + b'b',
    'attribute of a class': BUFFER + b'N' + state(mean=b'\x88') + b'\x86b',
    'attribute of our own getattr': name('builtins', 'getattr') + b'N' + state(__defaults__=b'K\1\x85') + b'\x86b',
    'attribute of a method': MEAN + b'N' + state(__name__=push('x')) + b'\x86b',
    'other attribute': call(name('builtins', 'getattr'), BUFFER, push('__init__')),
    'attribute of another class': call(
        name('builtins', 'getattr'), name('collections', 'OrderedDict'), push('fromkeys')
    ),
    'call of a statistic': call(MEAN, BUFFER + b')\x81' + state(**HISTORY) + b'b'),
    'statistics of its own': BUFFER + b')\x81' + state(**HISTORY, statistics_methods=state(mean=SET)) + b'b',
    'swapped statistics': BUFFER + b')\x81' + state(**HISTORY, statistics_methods=state(max=MEAN)) + b'b',
    'attribute of a buffer': BUFFER + b')\x81' + state(**HISTORY, update=SET) + b'b',
    'buffer without histories': BUFFER + b')\x81',
    'buffer with a list': BUFFER + b')\x81' + state(max_length=b'K\1', _log_history=b']', _count_history=b']') + b'b',
    'buffer given twice': BUFFER + b')\x81' + (state(**HISTORY) + b'b') * 2,
    'attribute of an OrderedDict': ORDERED + state(__wrapped__=b'\x88') + b'b',
    'metadata given twice': ORDERED + (state(_metadata=b'}') + b'b') * 2,
    'dotted name': b'\x8c\x0ctorch._utils' + b'\x8c\x1dsys.modules.builtins.__import' + b'\x93',
    'function of an allowed module': name('torch._utils', '_import_dotted_name'),
    'object of an allowed module': name('numpy', 'load'),
    'name as a value': SET,
    'statistic as a value': MEAN,
    'array of objects': call(name('numpy', 'dtype'), push('O8'), b'\x89\x88'),
    'array of records': call(name('numpy', 'dtype'), push('V8'), b'\x89\x88'),
    'array with an object in a record': call(name('numpy', 'dtype'), push('f8,O'), b'\x89\x88'),
    'array over an address': call(
        name('numpy', 'ndarray'), b'K\1\x85', call(name('numpy', 'dtype'), push('f8')), b'C\x08AAAAAAAA'
    ),
    'state of a dtype': call(name('numpy', 'dtype'), push('f8')) + b'(K\3' + push('<') + b'N}NK\0K\0K\0tb',
    'array given twice': array((1,), 'f8', bytes(8), times=2),
    'array given none': array((1,), 'f8', bytes(8), times=0),
    'item of an array': array((1,), 'f8', bytes(8)) + b'K\0K\1s',
    'item of a tensor': tensor(storage(2), b'K\2', b'K\1') + b'K\0K\1s',
    'item of a list': b']K\0K\1s',
    'appending to a set': b'\x8fK\1a',
    'appending to an array': array((1,), 'f8', bytes(8)) + b'K\1a',
    'members of a list': b'](K\1\x90',
    'hooks of a tensor': tensor(
        storage(2), b'K\2', b'K\1', hooks=call(name('collections', 'OrderedDict'), b'K\0K\1\x86\x85')
    ),
    'other codec': call(name('_codecs', 'encode'), push('x'), push('zlib')),
    'bytes without a number': call(name('builtins', 'bytes'), b'J\xff\xff\xff\x7f'),
    'too many arguments': call(name('torch', 'Size'), b'K\1\x85', b'K\1\x85'),
    'tuple as a key': b'}K\1\x85K\1s',
    'huge integer in a set': b'\x8f(\x8a\x09' + bytes(8) + b'\1\x90',
    'long key': b'}' + push('k' * 10_001) + b'Ns',
    'extension': b'\x82\xf0',
    'instance': b'(iset\nbuiltins\n',
    'object of a class': b'(' + SET + b'o',
    'keyword arguments': SET + b')}\x92',
    'text opcode': b'I1\n',
    'persistent text': b'P1\n',
    'storage by another name': b'(' + push('module') + SET + push('x.py') + push('x') + push('y') + b'tQ',
}


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('trick', TRICKS)
def test_allowed_objects_can_not_be_turned(trick, legacy, tmp_path, monkeypatch):
    monkeypatch.setitem(copyreg._inverted_registry, 0xF0, ('os', 'system'))
    before = {name: getattr(HistoryBuffer, name) for name in ('mean', 'max', 'update', '__init__')}
    path = tmp_path / 'file.pth'
    write_raw(path, b'\x80\x02' + TRICKS[trick] + b'.', legacy)
    for read in (read_checkpoint, read_metadata):
        with pytest.raises(UntrustedCheckpointError, match='file.pth was refused'):
            read(path)
    assert {name: getattr(HistoryBuffer, name) for name in before} == before
    assert HistoryBuffer([1.0, 3.0], [1, 1]).statistics('mean') == 2
    assert vars(torch._utils._rebuild_tensor) == {}


# What can't be read.


@pytest.fixture(scope='module')
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp('script') / 'script.pth'
    torch.jit.script(nn.Linear(2, 1)).save(str(path))
    return path


def test_torchscript_is_named(script):
    with pytest.raises(CheckpointError, match='script.pth is a TorchScript program'):
        read_checkpoint(script)
    with pytest.raises(CheckpointError, match='is a TorchScript program'):
        read_checkpoint(script, trust=True)


def test_torchscript_is_not_run_where_zip_readers_differ(script, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, 'load', lambda *_, **__: pytest.fail('the program was loaded'))
    content = script.read_bytes()
    # The end of a zip file says how long a comment follows it. Python takes a second end within for the real one.
    end = content.rindex(b'PK\x05\x06')
    comment = b'PK\x05\x06'
    path = tmp_path / 'file.pth'
    path.write_bytes(content[: end + 20] + struct.pack('<H', len(comment)) + comment)
    assert not zipfile.is_zipfile(path)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@pytest.mark.parametrize('source', ['absent.pth', 'folder', '', 'openmmlab://resnet50', 's3://bucket/file.pth'])
def test_missing(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    with pytest.raises(MissingCheckpointError, match=f'checkpoint {source} not found.* path') as error:
        read_checkpoint(source)
    assert isinstance(error.value, FileNotFoundError) and isinstance(error.value, ValueError)


@pytest.mark.parametrize('suffix', ['.pth', '.bin', '.safetensors'])
@pytest.mark.parametrize('part', [0, 1, 0.3, 0.9, -1])
@pytest.mark.parametrize('legacy', [False, True])
def test_truncated(suffix, part, legacy, tmp_path):
    path = tmp_path / f'file{suffix}'
    weights = dict(weight=torch.rand(50, 50))
    if suffix == '.safetensors':
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content)) if 0 < part < 1 else part])
    with pytest.raises(CheckpointError, match=r'cannot be read as a checkpoint .* truncated .*[\d,]+ bytes'):
        read_checkpoint(path)


@pytest.mark.parametrize(
    'content',
    [
        b'version https://git-lfs.github.com/spec/v1\noid sha256:12\n',
        b'<!DOCTYPE html><html></html>',
        b'\x89PNG\r\n\x1a\n',
        bytes(99),
    ],
)
def test_other_kinds_of_files(content, tmp_path):
    path = tmp_path / 'file.pth'
    path.write_bytes(content)
    for trust in (False, True):
        with pytest.raises(CheckpointError, match='cannot be read as a checkpoint .* another kind'):
            read_checkpoint(path, trust=trust)


def test_other_zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / 'file.pth', 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    with pytest.raises(CheckpointError, match='cannot be read as a checkpoint'):
        read_checkpoint(tmp_path / 'file.pth')
