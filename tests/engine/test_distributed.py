"""A training on two hosts: its losses are those of one process, and it outlives the loss of a host."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from helpers.project import ROOT, succeed
from helpers.two_hosts import ADDRESSES, TwoHosts

TOOLS = ROOT / 'tools'
EPOCHS, STEPS = 3, 3  # of four images each
TIMEOUT = 20  # seconds for which a process waits for the others


@pytest.fixture(scope='module')
def config(shapes_root, tmp_path_factory) -> Path:
    """A small FCOS whose loss is the same for one batch of four images and for four of one.

    Its head divides by numbers that it takes from all processes. BN is in evaluation mode and GN knows one image alone;
    nothing is drawn at random but the order of the images, by a seed; SGD doesn't magnify rounding errors.
    """
    path = tmp_path_factory.mktemp('config') / 'fcos.py'
    path.write_text(f"""
_base_ = [{str(ROOT / 'configs/_base_/fcos_fpn.py')!r}, {str(ROOT / 'configs/demo/_base_shapes.py')!r}]
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'helpers.loss_hook'])
data_root = {str(shapes_root)!r}
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), dict(type='PackDetInputs')]
model = dict(
    backbone=dict(type='FasterNet', arch=dict(embed_dims=40, depths=(1, 1, 2, 1)), norm_eval=True),
    neck=dict(in_channels=[80, 160, 320], out_channels=32, num_outs=3),
    bbox_head=dict(
        num_classes=6, in_channels=32, feat_channels=32, stacked_convs=1, strides=[8, 16, 32],
        norm_cfg=dict(type='GN', num_groups=8), regress_ranges=((-1, 32), (32, 64), (64, 1e8)),
    ),
)
train_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root, pipeline=load))
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
train_cfg = dict(max_epochs={EPOCHS}, val_interval=99)
optim_wrapper = dict(
    _delete_=True, optimizer=dict(type='SGD', lr=0.005, momentum=0.9), clip_grad=dict(max_norm=10)
)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5)]
env_cfg = dict(dist_cfg=dict(timeout={TIMEOUT}))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=2))
custom_hooks = [dict(type='LossHook', path='losses')]
""")
    return path


def losses_in(path: Path) -> dict[int, float]:
    """Iteration → its loss; of an iteration that was repeated, the last."""
    return {i: loss for i, loss in map(json.loads, path.read_text().splitlines())}


@pytest.fixture(scope='module')
def unbroken(config, tmp_path_factory) -> dict[int, float]:
    """The losses of one process with batches of four."""
    folder = tmp_path_factory.mktemp('one')
    environment = dict(PYTHONPATH=str(ROOT / 'tests'))
    succeed(TOOLS / 'train.py', config, '--work-dir', folder / 'work', cwd=folder, **environment)
    losses = losses_in(folder / 'losses')
    assert sorted(losses) == list(range(EPOCHS * STEPS))
    # The weights change, so that equal losses are no accident.
    assert max(losses.values()) > 1.05 * min(losses.values())
    return losses


class Job:
    """A training of two processes on each of two hosts."""

    def __init__(self, hosts: TwoHosts, config: Path, folder: Path, **environment: str) -> None:
        self.hosts, self.config, self.folder, self.environment = hosts, config, folder, environment
        self.logs = [folder / f'host{i}.log' for i in (0, 1)]
        self.running = [self.start(host) for host in (0, 1)]

    def start(self, host: int):
        return self.hosts.start(
            host,
            *(TOOLS / 'dist_train.sh', self.config, 2, '--resume', '--work-dir', self.folder / 'work'),
            *('--cfg-options', 'train_dataloader.batch_size=1'),
            *('custom_hooks.0.pause=1', f'custom_hooks.0.path={self.folder / "losses"}'),
            log=self.logs[host],
            NNODES='2',
            RDZV=f'{ADDRESSES[0]}:29400',
            # By default the first host is found by its name, which both have from this machine.
            PET_RDZV_CONF=f'is_host={int(host == 0)},join_timeout=180,keep_alive_interval=1,read_timeout=20',
            PET_LOCAL_ADDR=ADDRESSES[host],
            PYTHON=sys.executable,
            PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
            OMP_NUM_THREADS='1',
            **self.environment,
        )

    def start_again(self) -> None:
        """Start it on both hosts, and wait until it is done."""
        self.running = [self.start(host) for host in (0, 1)]
        self.finish()

    def finish(self) -> None:
        """Wait until it is done."""
        assert [process.wait(timeout=300) for process in self.running] == [0, 0], self.story()

    def wait_for_iteration(self, number: int) -> None:
        """Wait until an iteration is done."""
        losses = self.folder / 'losses'
        deadline = time.monotonic() + 240
        while not losses.is_file() or len(losses_in(losses)) <= number:
            assert time.monotonic() < deadline, self.story()
            assert all(process.poll() is None for process in self.running), self.story()
            time.sleep(0.2)

    def story(self) -> str:
        """The ends of both logs, for a test that fails."""
        return '\n'.join(line for log in self.logs for line in [str(log), *log.read_text().splitlines()[-25:]])


@pytest.fixture
def hosts():
    with TwoHosts() as hosts:
        yield hosts


@pytest.mark.slow
def test_two_hosts_outlive_one_and_have_the_losses_of_one_process(hosts, config, unbroken, tmp_path):
    job = Job(hosts, config, tmp_path, MAX_RESTARTS='2')
    job.wait_for_iteration(STEPS + 1)
    before = losses_in(tmp_path / 'losses')
    hosts.kill(1)
    job.running[1].wait(timeout=10)
    job.running[1] = job.start(1)
    job.finish()
    losses = losses_in(tmp_path / 'losses')
    assert losses == pytest.approx(unbroken, rel=1e-4)
    # Before the kill too, whose last iterations were repeated.
    assert before == pytest.approx({i: unbroken[i] for i in before}, rel=1e-4)
    assert 'resumed epoch: 1' in job.logs[0].read_text() and (tmp_path / f'work/epoch_{EPOCHS}.pth').is_file()


@pytest.mark.slow
def test_a_cut_ends_both_hosts_within_the_timeout_and_a_new_start_resumes(hosts, config, unbroken, tmp_path):
    job = Job(hosts, config, tmp_path)
    job.wait_for_iteration(STEPS)
    hosts.cut()
    # Stopping the processes and leaving the rendezvous take some seconds more.
    statuses = [process.wait(timeout=TIMEOUT + 60) for process in job.running]
    assert all(statuses), job.story()
    hosts.mend()
    (tmp_path / 'losses').unlink()
    job.start_again()
    assert losses_in(tmp_path / 'losses') == pytest.approx(
        {i: unbroken[i] for i in range(STEPS, EPOCHS * STEPS)}, rel=1e-4
    )


@pytest.mark.slow
def test_a_signal_to_one_host_saves_a_checkpoint_and_ends_both(hosts, config, unbroken, tmp_path):
    """In the middle of the second epoch; a new start goes on with the next iteration."""
    job = Job(hosts, config, tmp_path)
    job.wait_for_iteration(STEPS)
    job.running[1].terminate()
    assert [process.wait(timeout=120) for process in job.running] == [143, 143], job.story()
    done = losses_in(tmp_path / 'losses')
    assert STEPS < len(done) < EPOCHS * STEPS
    (tmp_path / 'losses').unlink()
    job.start_again()
    losses = losses_in(tmp_path / 'losses')
    assert sorted(losses) == list(range(len(done), EPOCHS * STEPS))
    assert {**done, **losses} == pytest.approx(unbroken, rel=1e-4)
