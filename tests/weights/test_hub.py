"""Weights by their names on the hub, which a local server plays."""

import argparse
import http.server
import threading
from hashlib import sha256
from pathlib import Path

import pytest
import safetensors.torch
import torch
from mmengine.runner import CheckpointLoader

from mmfasternet.errors import UserError
from mmfasternet.weights.reader import (
    MissingCheckpointError,
    UntrustedCheckpointError,
    read_checkpoint,
    use_safe_reader,
)

hub = pytest.importorskip('huggingface_hub')
COMMIT = 'c0ffee00' * 5
NAME = 'repvit_m1_1.dist_300e_in1k'
WEIGHTS = dict(weight=torch.arange(6.0).reshape(2, 3))


class Server(http.server.BaseHTTPRequestHandler):
    """A hub with the files of one folder: owner/repository/file."""

    folder: Path
    requests: list[str]

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body: bool = True):
        self.requests.append(f'{self.command} {self.path}')
        repository, _, rest = self.path.partition('/resolve/')
        path = self.folder / repository.strip('/') / rest.partition('/')[2].partition('?')[0]
        found = path.is_file()
        content = path.read_bytes() if found else b''
        self.send_response(200 if found else 404)
        self.send_header('X-Repo-Commit', COMMIT)
        self.send_header('ETag', f'"{sha256(content).hexdigest()}"')
        self.send_header('Content-Length', str(len(content)))
        if not found:
            there = (self.folder / repository.strip('/')).is_dir()
            self.send_header('X-Error-Code', 'EntryNotFound' if there else 'RepoNotFound')
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The hub's folder, and the requests that it saw."""
    for variable in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(variable, raising=False)
    handler = type('Handler', (Server,), dict(folder=tmp_path / 'hub', requests=[]))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # HF_ENDPOINT and HF_HUB_CACHE, which the client reads when it is imported.
        point_at(f'http://127.0.0.1:{server.server_port}', tmp_path, monkeypatch)
        yield handler.folder, handler.requests
        server.shutdown()


def point_at(endpoint: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', endpoint)
    template = f'{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    monkeypatch.setattr('huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE', template)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)


def put(folder: Path, file: str, repository: str = f'timm/{NAME}', content: object = None) -> None:
    path = folder / repository / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.safetensors':
        safetensors.torch.save_file(content or WEIGHTS, path)
    else:
        torch.save(content or WEIGHTS, path)


@pytest.mark.parametrize('name', [f'timm://{NAME}', 'timm://repvit_m1_1', f'hf-hub:timm/{NAME}'])
def test_is_read_and_cached(name, served):
    folder, requests = served
    put(folder, 'model.safetensors')
    for _ in range(2):
        assert torch.equal(read_checkpoint(name)['weight'], WEIGHTS['weight'])
    assert sum(request.startswith('GET') and '/resolve/' in request for request in requests) == 1
    assert not any('pytorch_model' in request for request in requests)


def test_revision(served):
    folder, requests = served
    put(folder, 'model.safetensors', 'someone/net')
    read_checkpoint('hf-hub:someone/net@v2')
    assert all('/someone/net/resolve/v2/model.safetensors' in request for request in requests)


def test_pickled_file_is_read_where_there_is_no_other_and_runs_nothing(served):
    folder, _ = served
    put(folder, 'pytorch_model.bin')
    assert torch.equal(read_checkpoint(f'timm://{NAME}')['weight'], WEIGHTS['weight'])
    put(folder, 'pytorch_model.bin', 'evil/net', dict(args=argparse.Namespace(), **WEIGHTS))
    with pytest.raises(UntrustedCheckpointError, match='argparse.Namespace'):
        read_checkpoint('hf-hub:evil/net')


def test_mmengine_reads_names_after_use_safe_reader(served, monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    use_safe_reader()
    put(served[0], 'model.safetensors')
    for name in (f'timm://{NAME}', f'hf-hub:timm/{NAME}'):
        assert torch.equal(CheckpointLoader.load_checkpoint(name)['weight'], WEIGHTS['weight'])


@pytest.mark.parametrize('name', ['hf-hub:no/net', 'hf-hub:not a name', 'hf-hub:'])
def test_missing_repository_is_one_message(name, served):
    with pytest.raises(MissingCheckpointError, match=rf'checkpoint {name} cannot be downloaded \(.+\); download http'):
        read_checkpoint(name)


def test_repository_without_weights(served):
    put(served[0], 'README.md', 'someone/empty')
    with pytest.raises(MissingCheckpointError, match=r'\(it has no model.safetensors and no pytorch_model.bin\)'):
        read_checkpoint('hf-hub:someone/empty')


def test_without_network_the_file_is_named(tmp_path, monkeypatch):
    point_at('http://127.0.0.1:9', tmp_path, monkeypatch)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    file = f'http://127.0.0.1:9/timm/{NAME}/resolve/main/model.safetensors'
    with pytest.raises(MissingCheckpointError, match=rf'download {file} on another machine, and pass its path'):
        read_checkpoint(f'timm://{NAME}')


def test_unknown_weights_of_a_known_network_name_the_known(served):
    with pytest.raises(MissingCheckpointError, match=rf'has no such weights\); it has .*timm://{NAME}'):
        read_checkpoint('timm://repvit_m1_1.of_yesterday')
    with pytest.raises(MissingCheckpointError, match='none of this network'):
        read_checkpoint('timm://no_net')
    assert served[1] == []


def test_missing_package_is_named(monkeypatch):
    for package, name in (('huggingface_hub', 'hf-hub:timm/net'), ('timm', f'timm://{NAME}')):
        with monkeypatch.context() as patch:
            patch.setattr('mmfasternet.weights.hub.find_spec', lambda found, package=package: found != package or None)
            with pytest.raises(UserError, match=r"needs .*timm: pip install 'mmfasternet\[compare\]'"):
                read_checkpoint(name)
