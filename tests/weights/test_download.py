"""URLs are downloaded completely and once, and everything that mmengine loads goes through the reader."""

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
