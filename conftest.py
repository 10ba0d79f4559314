"""The examples in docstrings (`pytest --doctest-modules mmfasternet`), as a user would type them in a clone."""

from pathlib import Path

import pytest
import rich
import torch

from mmfasternet.engine.ops import provide_ops

ROOT = Path(__file__).resolve().parent
# Examples that export, which torch before 2.6 can't do for images of any size: the openmmlab set skips them.
EXPORTING = ('export_onnx', 'quantize', 'backend_forward')

# Tests and examples import mmdet, as the tools do.
provide_ops()


@pytest.fixture(autouse=True)
def example(request) -> None:
    """Start each example in a folder of its own that has ``configs`` and ``tools``, with the same random numbers."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    if request.node.name.rpartition('.')[2] in EXPORTING and torch.__version__ < '2.6':
        pytest.skip('torch before 2.6 exports without dynamic_shapes')
    folder, monkeypatch = (request.getfixturevalue(name) for name in ('tmp_path', 'monkeypatch'))
    for name in ('configs', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.chdir(folder)
    # A progress bar is not part of what an example prints.
    monkeypatch.setattr(rich.get_console(), 'stderr', True)
    torch.set_num_threads(min(2, torch.get_num_threads()))
    torch.manual_seed(0)
