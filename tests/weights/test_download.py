"""URLs are downloaded completely and once, and everything that mmengine loads goes through the reader."""

import http.server
import io
import os
import shutil
import threading
from hashlib import sha256

import mmengine.runner.checkpoint
import pytest
import safetensors.torch
import torch
from helpers.checkpoints import Touch, assert_same
from mmengine.config import ConfigDict
from mmengine.infer import BaseInferencer
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmfasternet.errors import UserError
from mmfasternet.weights import download
from mmfasternet.weights.reader import (
    CheckpointError,
    MissingCheckpointError,
    UntrustedCheckpointError,
    read_checkpoint,
    use_safe_reader,
)

WEIGHTS = dict(bias=torch.ones(2), weight=torch.arange(6.0).reshape(2, 3))


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

        def do_GET(self):
            kind, _, rest = self.path[1:].partition('/')
            if kind == 'cut':
                content = (folder / rest).read_bytes()
                self.send_response(200)
                self.send_header('Content-Length', str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
            elif kind == 'garbage':
                self.wfile.write(b'not http at all\r\n\r\n')
            elif kind == 'to':
                self.send_response(302)
                self.send_header('Location', rest)
                self.end_headers()
            elif kind == 'escape':
                self.send_response(404, '\x1b[2K')
                self.end_headers()
            elif kind == 'long':
                self.path = '/file.pth'
                super().do_GET()
            else:
                super().do_GET()

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


def saved(content) -> tuple[bytes, str]:
    """A checkpoint's bytes, and the start of their hash."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue(), sha256(buffer.getvalue()).hexdigest()[:8]


def test_file_that_torch_hub_has_is_not_downloaded(server, tmp_path):
    _, url, requests = server
    content, digest = saved(WEIGHTS)
    hub = tmp_path / 'torch/hub/checkpoints'
    hub.mkdir(parents=True)
    (hub / f'resnet18-{digest}.pth').write_bytes(content)
    assert_same(read_checkpoint(f'{url}/resnet18-{digest}.pth'), WEIGHTS)
    assert requests == []


def test_file_of_another_content_in_torch_hub_is_not_taken(server, tmp_path):
    folder, url, _ = server
    content, digest = saved(WEIGHTS)
    (folder / f'resnet18-{digest}.pth').write_bytes(content)
    hub = tmp_path / 'torch/hub/checkpoints'
    hub.mkdir(parents=True)
    (hub / f'resnet18-{digest}.pth').write_bytes(saved(dict(w=torch.ones(1)))[0])
    assert_same(read_checkpoint(f'{url}/resnet18-{digest}.pth'), WEIGHTS)


def test_hash_in_the_name_is_verified(server, tmp_path):
    folder, url, _ = server
    (folder / 'resnet18-f37072fd.pth').write_bytes(saved(WEIGHTS)[0])
    with pytest.raises(MissingCheckpointError, match='SHA-256 starts with .* and not with f37072fd'):
        read_checkpoint(f'{url}/resnet18-f37072fd.pth')
    assert list((tmp_path / 'torch/hub/checkpoints').iterdir()) == []


def test_date_in_the_name_is_no_hash(server):
    folder, url, _ = server
    (folder / 'resnet18-20230415.pth').write_bytes(saved(WEIGHTS)[0])
    assert_same(read_checkpoint(f'{url}/resnet18-20230415.pth'), WEIGHTS)


def test_one_host_does_not_answer_for_another(server):
    folder, url, _ = server
    name = 'resnet18.pth'
    for value, place in enumerate(('a', 'b')):
        (folder / place).mkdir()
        (folder / place / name).write_bytes(saved(dict(w=torch.tensor(value)))[0])
    assert read_checkpoint(f'{url}/a/{name}')['w'] == 0 and read_checkpoint(f'{url}/b/{name}')['w'] == 1
    shutil.rmtree(folder / 'a')
    assert read_checkpoint(f'{url}/a/{name}')['w'] == 0


def test_cut_download_is_not_kept(server, tmp_path):
    folder, url, _ = server
    (folder / 'file.pth').write_bytes(saved(WEIGHTS)[0])
    with pytest.raises(MissingCheckpointError, match=r'cut after \d+ of [\d,]+ bytes; try again'):
        read_checkpoint(f'{url}/cut/file.pth')
    assert list((tmp_path / 'torch/hub/checkpoints').iterdir()) == []
    assert_same(read_checkpoint(f'{url}/file.pth'), WEIGHTS)


@pytest.mark.parametrize(
    ('path', 'reason'),
    [
        ('/garbage/x.pth', 'the server answers BadStatusLine'),
        ('/to/file:///etc/passwd', 'the server answers 302 .*not allowed'),
        ('/to/ftp://127.0.0.1/x.pth', 'it redirects to ftp://127.0.0.1/x.pth'),
        ('/escape/x.pth', r'the server answers 404 \\x1b\[2K'),
        ('/a b.pth', 'the URL or the answer is not valid'),
    ],
)
def test_odd_answers_are_one_message(server, path, reason):
    with pytest.raises(MissingCheckpointError, match=rf'cannot be downloaded \({reason}'):
        read_checkpoint(server[1] + path)


@pytest.mark.parametrize(
    'url', ['http://127.0.0.1:99999/x.pth', 'http://[::1/x.pth', f'http://{"a" * 70}.com/x.pth', 'http:///x.pth']
)
def test_invalid_urls_are_one_message(server, url):
    with pytest.raises(MissingCheckpointError, match='cannot be downloaded'):
        read_checkpoint(url)


def test_long_names_are_cut(server, tmp_path):
    folder, url, _ = server
    (folder / 'file.pth').write_bytes(saved(WEIGHTS)[0])
    assert_same(read_checkpoint(f'{url}/long/{"n" * 300}.pth'), WEIGHTS)


def test_secrets_of_a_url_are_not_told(server, tmp_path):
    _, url, _ = server
    host = url.partition('://')[2]
    for place in (f'http://user:hush@{host}/absent.pth', f'{url}/absent.pth?signature=hush', f'{url}/absent.pth#hush'):
        with pytest.raises(MissingCheckpointError, match=r'/absent\.pth cannot be downloaded') as error:
            read_checkpoint(place)
        assert 'hush' not in str(error.value)


def test_query_is_not_in_the_name_of_the_file(server, tmp_path):
    folder, url, _ = server
    (folder / 'file.pth').write_bytes(saved(WEIGHTS)[0])
    read_checkpoint(f'{url}/file.pth?signature=hush')
    [kept] = (tmp_path / 'torch/hub/checkpoints').iterdir()
    assert 'hush' not in kept.name and kept.suffix == '.pth'


def test_folder_that_can_not_be_made(server, tmp_path, monkeypatch):
    (tmp_path / 'blocked').write_text('')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'blocked'))
    with pytest.raises(MissingCheckpointError, match='cannot be downloaded .*Not a directory'):
        read_checkpoint(f'{server[1]}/file.pth')


def test_one_process_of_a_higher_rank_downloads(server, monkeypatch):
    folder, url, _ = server
    (folder / 'file.pth').write_bytes(saved(WEIGHTS)[0])
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert_same(read_checkpoint(f'{url}/file.pth'), WEIGHTS)


@pytest.mark.parametrize('name', ['path', 'plain'])
def test_other_processes_of_a_machine_wait_and_find_the_file(server, tmp_path, monkeypatch, name):
    folder, url, requests = server
    content, digest = saved(WEIGHTS)
    waited = []

    def barrier():
        """The first process has the file now, under one name or the other."""
        waited.append(True)
        hub = tmp_path / 'torch/hub/checkpoints'
        hub.mkdir(parents=True)
        file = f'resnet18-{digest}.pth'
        start = sha256(f'{url}/{file}'.encode()).hexdigest()[:16] + '-'
        (hub / (file if name == 'plain' else start + file)).write_bytes(content)

    monkeypatch.setattr(download, 'is_distributed', lambda: True)
    monkeypatch.setattr(download, 'barrier', barrier)
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert_same(read_checkpoint(f'{url}/resnet18-{digest}.pth'), WEIGHTS)
    assert waited == [True] and requests == []


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
    monkeypatch.setattr(BaseInferencer, '_init_model', BaseInferencer._init_model)


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
    'zoo, scheme',
    [('get_torchvision_models', 'torchvision'), ('get_external_models', 'open-mmlab'), ('get_mmcls_models', 'mmcls')],
)
def test_names_of_zoos_are_read_safely(schemes, server, monkeypatch, zoo, scheme):
    folder, url, _ = server
    use_safe_reader()
    torch.save(Touch(eval, '1'), folder / f'{scheme}.pth')
    monkeypatch.setattr(f'mmfasternet.weights.reader.{zoo}', lambda: dict(resnet50=f'{url}/{scheme}.pth'))
    with pytest.raises(UntrustedCheckpointError, match='builtins.eval'):
        CheckpointLoader.load_checkpoint(f'{scheme}://resnet50', map_location='cpu')
    with pytest.raises(MissingCheckpointError, match=f'{scheme}:// has no model resnet51'):
        CheckpointLoader.load_checkpoint(f'{scheme}://resnet51', map_location='cpu')


def test_backbone_of_a_classifier_of_mmcls(schemes, server, monkeypatch):
    folder, url, _ = server
    use_safe_reader()
    torch.save(dict(state_dict={'backbone.w': torch.ones(1), 'head.w': torch.ones(2)}), folder / 'file.pth')
    monkeypatch.setattr('mmfasternet.weights.reader.get_mmcls_models', lambda: dict(vgg=f'{url}/file.pth'))
    assert_same(CheckpointLoader.load_checkpoint('mmcls://vgg'), dict(state_dict=dict(w=torch.ones(1))))


@pytest.mark.parametrize('scheme', ['s3', 'petrel', 'cluster:s3', 'pavi', 'later'])
def test_every_other_scheme_is_refused(schemes, monkeypatch, scheme):
    CheckpointLoader.register_scheme('later://', loader=lambda *_, **__: pytest.fail('another reader was called'))
    use_safe_reader()
    monkeypatch.setattr(
        mmengine.runner.checkpoint, 'get_file_backend', lambda *_, **__: pytest.fail('mmengine reads it')
    )
    with pytest.raises(CheckpointError, match=f'checkpoints of {scheme}:// are not read.*download'):
        CheckpointLoader.load_checkpoint(f'{scheme}://bucket/file.pth', map_location='cpu')


# Inferencers.


@pytest.mark.parametrize('where', ['message_hub', 'meta'])
@pytest.mark.parametrize('package', ['mmdet', 'mmseg'])
def test_inferencer_does_not_run_the_config_of_a_checkpoint(schemes, package, where, tmp_path):
    apis = pytest.importorskip(f'{package}.apis')
    use_safe_reader()
    code = f'open({str(tmp_path / "ran")!r}, "w")\nmodel = dict(type="FasterNet")\n'
    held = dict(message_hub=dict(runtime_info=dict(cfg=code))) if where == 'message_hub' else dict(meta=dict(cfg=code))
    torch.save(dict(state_dict={}, **held), tmp_path / 'file.pth')
    inferencer = dict(mmdet='DetInferencer', mmseg='MMSegInferencer')[package]
    for model in (None, {}, ConfigDict()):
        with pytest.raises(UserError, match='pass the config too, as the argument model'):
            getattr(apis, inferencer)(model=model, weights=str(tmp_path / 'file.pth'), device='cpu')
    assert not (tmp_path / 'ran').exists()
