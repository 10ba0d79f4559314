"""How tests run side by side, what is shown of one that fails, and the examples in docstrings."""

import gc
import importlib.util
import logging
import os
from collections.abc import Generator
from pathlib import Path

# The processes of `pytest -n` share the cores: more threads than cores slow each other down. torch reads it once.
if processes := os.environ.get('PYTEST_XDIST_WORKER_COUNT'):
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // int(processes))))

import pytest
import rich
import torch
from mmengine.registry import DefaultScope

from mmfasternet.engine.ops import provide_ops

ROOT = Path(__file__).resolve().parent
# Examples that the openmmlab set skips: torch before 2.6 can't export for images of any size, nor fake CUDA tensors.
NEEDING_2_6 = ('export_onnx', 'quantize', 'backend_forward', 'block_launches', 'to_fake_cuda')
# torch for CPUs comes without Triton, and that of the openmmlab set is too old.
HAS_TRITON = torch.__version__ >= '2.6' and importlib.util.find_spec('triton')
collect_ignore = [] if HAS_TRITON else ['mmfasternet/benchmark/gpu/triton_block.py']
# An extra that is not among the tested pins.
if not importlib.util.find_spec('executorch'):
    collect_ignore += ['mmfasternet/deploy/to_executorch.py', 'mmfasternet/predictions/executorch_network.py']
# Lines shown of what a failed test printed: mmengine prints a config, the machine and all hooks for every runner.
LAST_LINES = 20


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    """Name a failed test, and the first line of why, as soon as it has failed."""
    if not report.failed or not isinstance(report, pytest.TestReport):
        return None
    category, word = ('failed', 'FAILED') if report.when == 'call' else ('error', 'ERROR')
    crash = getattr(report.longrepr, 'reprcrash', None)
    reason = crash.message.splitlines()[0] if crash and crash.message else ''
    return category, f'\n{word} {report.nodeid}: {reason}\n', word


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last lines of what a failed test printed; `-vv` shows all."""
    report = yield
    if item.config.get_verbosity() < 2:
        report.sections = [(name, last_lines(text)) for name, text in report.sections]
    return report


def last_lines(text: str) -> str:
    lines = text.rstrip().splitlines()
    left_out = [f'… {len(lines) - LAST_LINES} lines before these; -vv shows them'] if len(lines) > LAST_LINES else []
    return '\n'.join([*left_out, *lines[-LAST_LINES:]])


# Tests and examples import mmdet, as the tools do.
provide_ops()


@pytest.fixture(autouse=True)
def no_default_scope() -> None:
    """Forget the scopes of earlier tests' runners: modules are looked for in the last one's package."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module', autouse=True)
def frozen() -> None:
    """Spare the garbage collector what is imported: mmengine calls it for every data set, which takes 0.3 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def unformatted_configs(monkeypatch) -> None:
    """Let mmengine print configs as they are: yapf would take half of the time of a training of seconds."""
    for module in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):  # of newer mmengine, and of older
        monkeypatch.setattr(f'{module}.FormatCode', lambda text, **_: (text, True), raising=False)


@pytest.fixture(autouse=True)
def example(request) -> None:
    """Start each example of a docstring in a folder with ``configs`` and ``tools``, with the same random numbers."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    if request.node.name.rpartition('.')[2] in NEEDING_2_6 and torch.__version__ < '2.6':
        pytest.skip('torch before 2.6 has neither dynamic_shapes nor fake CUDA tensors without a GPU')
    # What it lacks, it prints where it is imported first.
    importlib.import_module('mmdet.datasets')
    folder, monkeypatch = (request.getfixturevalue(name) for name in ('tmp_path', 'monkeypatch'))
    for name in ('configs', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.chdir(folder)
    # A progress bar is not part of what an example prints, nor is a log, which mmengine prints once there was a runner.
    monkeypatch.setattr(rich.get_console(), 'stderr', True)
    monkeypatch.setattr(logging.root.manager, 'disable', logging.INFO)
    torch.set_num_threads(min(2, torch.get_num_threads()))
    torch.manual_seed(0)
