"""Checkpoints are read completely, and no code in them runs."""

import argparse
import copyreg
import functools
import http.server
import io
import os
import pickle
import struct
import threading
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import MultiStepLR, OptimWrapper
from mmengine.runner import CheckpointLoader
from torch import nn

from mmfasternet.weights import unpickler as safe_pickle
from mmfasternet.weights.reader import (
    CheckpointError,
    MissingCheckpointError,
    UntrustedCheckpointError,
    read_checkpoint,
    use_safe_reader,
)

WEIGHTS = dict(bias=torch.ones(2), weight=torch.arange(6.0).reshape(2, 3))


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


# What must be read.


def assert_same(found, expected) -> None:
    """Equal in type and value, down to the last element."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert np.array_equal(found, expected)
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype and torch.equal(found, expected)
        assert found.requires_grad == expected.requires_grad
    elif isinstance(expected, HistoryBuffer):
        assert_same(found.data, expected.data)
    else:
        assert found == expected


PLAIN = {
    'weights': WEIGHTS,
    'ordered weights': nn.BatchNorm2d(3).state_dict(),
    'parameter': dict(w=nn.Parameter(torch.ones(2), requires_grad=True)),
    'view': dict(w=torch.arange(12).reshape(3, 4)[1:, ::2]),
    'dtypes': [
        torch.ones(2, dtype=t) for t in (torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.complex64)
    ],
    'records': [
        None,
        True,
        2**80,
        -1.5,
        'text',
        b'bytes',
        b'',
        (1,),
        {1, 2},
        slice(1, 2),
        torch.float32,
        torch.Size([2]),
    ],
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


def push(text: str) -> bytes:
    return b'V' + text.encode('raw-unicode-escape') + b'\n'


REBUILD = b'ctorch._utils\n_rebuild_tensor\n'
BUFFER = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
# Objects of the allowlist put to other uses: opcodes by what they try.
TRICKS = {
    'attribute of a function': REBUILD + b'(N}' + push('dump_patches') + b'I01\nstb.',
    'dict of a function': REBUILD + b'}' + push('__wrapped__') + b'I01\nsb.',
    'attribute of a class': BUFFER + b'(N}' + push('mean') + b'I01\nstb.',
    'attribute of our own getattr': b'cbuiltins\ngetattr\n(N}' + push('__defaults__') + b'(I1\ntstb.',
    'attribute of a method': b'cbuiltins\ngetattr\n('
    + BUFFER
    + push('mean')
    + b'tR(N}'
    + push('__name__')
    + push('x')
    + b'stb.',
    'other attribute': b'cbuiltins\ngetattr\n(' + BUFFER + push('__init__') + b'tR.',
    'attribute of another class': b'cbuiltins\ngetattr\n(ccollections\nOrderedDict\n' + push('fromkeys') + b'tR.',
    'statistics of its own': BUFFER
    + b')\x81}'
    + push('statistics_methods')
    + b'}'
    + push('mean')
    + b'cbuiltins\nset\nssb.',
    'swapped statistics': BUFFER
    + b')\x81}'
    + push('statistics_methods')
    + b'}'
    + push('mean')
    + b'cbuiltins\ngetattr\n('
    + BUFFER
    + push('max')
    + b'tRssb.',
    'attribute of a buffer': BUFFER + b')\x81}' + push('update') + b'cbuiltins\nset\nsb.',
    'attribute of an OrderedDict': b'ccollections\nOrderedDict\n)R}' + push('__wrapped__') + b'I01\nsb.',
    'dotted name': b'\x80\x04' + b'\x8c\x0ctorch._utils' + b'\x8c\x1dsys.modules.builtins.__import' + b'\x93.',
    'function of an allowed module': b'ctorch._utils\n_import_dotted_name\n.',
    'object of an allowed module': b'cnumpy\nload\n.',
    'array of objects': b'cnumpy\ndtype\n(' + push('O8') + b'I00\nI01\ntR.',
    'array of records': b'cnumpy\ndtype\n(' + push('V8') + b'I00\nI01\ntR.',
    'array with an object in a record': b'cnumpy\ndtype\n(' + push('f8,O') + b'I00\nI01\ntR.',
    'state of a dtype': b'cnumpy\ndtype\n(' + push('f8') + b'I00\nI01\ntR(I3\n' + push('<') + b'NNNI-1\nI-1\nI63\ntb.',
    'other codec': b'c_codecs\nencode\n(' + push('x') + push('zlib') + b'tR.',
    'extension': b'\x82\xf0.',
}


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('trick', TRICKS)
def test_allowed_objects_can_not_be_turned(trick, legacy, tmp_path, monkeypatch):
    monkeypatch.setitem(copyreg._inverted_registry, 0xF0, ('os', 'system'))
    before = {name: getattr(HistoryBuffer, name) for name in ('mean', 'max', 'update', '__init__')}
    path = tmp_path / 'file.pth'
    write_raw(path, TRICKS[trick], legacy)
    with pytest.raises(UntrustedCheckpointError, match='file.pth was refused'):
        read_checkpoint(path)
    assert {name: getattr(HistoryBuffer, name) for name in before} == before
    assert HistoryBuffer([1.0, 3.0], [1, 1]).statistics('mean') == 2
    assert vars(torch._utils._rebuild_tensor) == {}


def test_no_array_over_memory_of_the_files_choosing(tmp_path):
    # Called, numpy.ndarray makes an array of objects out of eight bytes: their address.
    opcodes = b'cnumpy\nndarray\n((I1\ntcnumpy\ndtype\n(' + push('f8') + b'I00\nI01\ntRC\x08AAAAAAAAtR.'
    write_raw(tmp_path / 'file.pth', opcodes)
    with pytest.raises(CheckpointError, match='cannot be read'):
        read_checkpoint(tmp_path / 'file.pth')


def test_legacy_file_can_not_write_a_patch(tmp_path, monkeypatch):
    """torch writes a patch beside a class whose source has changed; name and content would be the file's."""
    monkeypatch.chdir(tmp_path)
    name = str(tmp_path / 'ran')
    attributes = push('__name__') + push(name) + b's' + push('dump_patches') + b'I01\ns'
    opcodes = REBUILD + b'(N}' + attributes + b'tb0(' + push('module') + REBUILD + push('x.py') + push('x') + b'tQ.'
    write_raw(tmp_path / 'file.pth', opcodes, legacy=True)
    with pytest.raises(UntrustedCheckpointError):
        read_checkpoint(tmp_path / 'file.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['file.pth']
    assert torch._utils._rebuild_tensor.__name__ == '_rebuild_tensor'


def test_unpickler_alone():
    assert safe_pickle.load(io.BytesIO(pickle.dumps([1, Counter('a')], 2))) == [1, Counter('a')]
    with pytest.raises(safe_pickle.RefusedGlobal, match=r'^builtins.eval$'):
        safe_pickle.load(io.BytesIO(pickle.dumps(eval, 2)))


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


# URLs.


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder served over http, its URL, and the requests it saw; downloads go to another folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    for variable in ('http_proxy', 'HTTP_PROXY'):
        monkeypatch.delenv(variable, raising=False)
    folder, requests = tmp_path / 'served', []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_):
            requests.append(self.path)

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield folder, f'http://127.0.0.1:{http_server.server_port}', requests
        http_server.shutdown()


def test_url_is_downloaded_once(server, tmp_path):
    folder, url, requests = server
    torch.save(WEIGHTS, folder / 'fasternet_t0-epoch=281.pth')
    for _ in range(2):
        assert_same(read_checkpoint(f'{url}/fasternet_t0-epoch=281.pth'), WEIGHTS)
    assert len(requests) == 1
    (downloaded,) = (tmp_path / 'torch/hub/checkpoints').iterdir()
    assert downloaded.name.endswith('-fasternet_t0-epoch=281.pth')


def test_like_named_files_of_two_urls_are_two(server):
    folder, url, _ = server
    for value, name in enumerate(('t0', 's')):
        (folder / name).mkdir()
        safetensors.torch.save_file(dict(w=torch.tensor(value)), folder / name / 'model.safetensors')
    found = [read_checkpoint(f'{url}/{name}/model.safetensors')['w'].item() for name in ('t0', 's')]
    assert found == [0, 1]


def test_file_that_torch_hub_has_is_not_downloaded(server, tmp_path):
    _, url, requests = server
    (tmp_path / 'torch/hub/checkpoints').mkdir(parents=True)
    torch.save(WEIGHTS, tmp_path / 'torch/hub/checkpoints/resnet18-f37072fd.pth')
    assert_same(read_checkpoint(f'{url}/resnet18-f37072fd.pth'), WEIGHTS)
    assert requests == []


def test_code_from_a_url_is_refused(server, tmp_path):
    folder, url, _ = server
    torch.save(Touch(os.mkdir, str(tmp_path / 'ran')), folder / 'file.pth')
    with pytest.raises(UntrustedCheckpointError, match='mkdir'):
        read_checkpoint(f'{url}/file.pth')
    assert not (tmp_path / 'ran').exists()


def test_missing_url(server, tmp_path):
    _, url, _ = server
    with pytest.raises(MissingCheckpointError, match=r'127.0.0.1:\d+/absent.pth cannot be downloaded \(.*404'):
        read_checkpoint(f'{url}/absent.pth')
    assert list((tmp_path / 'torch/hub/checkpoints').iterdir()) == []


# The one reader of everything that mmengine loads.


@pytest.fixture
def schemes(monkeypatch):
    """mmengine's loaders are put back after the test."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))


def test_mmengine_reads_safely(schemes, server, tmp_path):
    folder, url, _ = server
    use_safe_reader()
    torch.save(dict(state_dict=WEIGHTS, meta=HistoryBuffer([1.0], [1])), folder / 'good.pth')
    torch.save(dict(state_dict=WEIGHTS, meta=Touch(os.mkdir, str(tmp_path / 'ran'))), folder / 'bad.pth')
    for place in (str(folder), url):
        loaded = CheckpointLoader.load_checkpoint(f'{place}/good.pth', map_location='cpu')
        assert_same(loaded['state_dict'], WEIGHTS)
        with pytest.raises(UntrustedCheckpointError, match='mkdir'):
            CheckpointLoader.load_checkpoint(f'{place}/bad.pth', map_location='cpu')
        with pytest.raises(MissingCheckpointError):
            CheckpointLoader.load_checkpoint(f'{place}/absent.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'zoo, scheme', [('get_torchvision_models', 'torchvision'), ('get_external_models', 'open-mmlab')]
)
def test_names_of_zoos_are_read_safely(schemes, server, monkeypatch, zoo, scheme):
    folder, url, _ = server
    use_safe_reader()
    torch.save(Touch(eval, '1'), folder / f'{scheme}.pth')
    monkeypatch.setattr(f'mmfasternet.weights.reader.{zoo}', lambda: dict(resnet50=f'{url}/{scheme}.pth'))
    with pytest.raises(UntrustedCheckpointError, match='builtins.eval'):
        CheckpointLoader.load_checkpoint(f'{scheme}://resnet50', map_location='cpu')
