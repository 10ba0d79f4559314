"""Trainings that are stopped or killed, and resumed: nothing is lost, and they end as if they had never stopped."""

import errno
import itertools
import multiprocessing
import pickle
import shutil
import signal
import sys
from inspect import signature
from pathlib import Path

import pytest
import torch
from helpers.kills import losses, same_end
from helpers.project import ROOT, run_tool
from helpers.small import write_small_config
from mmdet.datasets.samplers import MultiSourceSampler
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, RUNNERS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from mmfasternet.engine.config import load_config
from mmfasternet.engine.draws import NumberedBatches, seed_draws
from mmfasternet.engine.finite import FiniteLossHook
from mmfasternet.engine.stop import StopRequest
from mmfasternet.engine.training import train
from mmfasternet.engine.validations import read_validations
from mmfasternet.errors import UserError
from mmfasternet.locks import exclusive
from mmfasternet.weights.reader import CheckpointError, read_checkpoint

BY_ITERATION = """
train_dataloader = dict(sampler=dict(type='InfiniteSampler', shuffle=True))
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=9, val_interval=4)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=9)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=3))
log_processor = dict(by_epoch=False)
"""
FREE = {'randomness.seed': None}
_NUMBERS = itertools.count()
ACCUMULATED = {'optim_wrapper.accumulative_counts': 3}
KILLING = 'custom_imports = dict(imports=["mmfasternet", "helpers.kill_hook"])\n'


@pytest.fixture(scope='module')
def small(tmp_path_factory, shapes_root) -> Path:
    return write_small_config(tmp_path_factory.mktemp('config') / 'small.py', shapes_root)


def inherit(config: Path, path: Path, text: str) -> Path:
    path.write_text(f'_base_ = {str(config)!r}\n{text}')
    return path


@pytest.fixture(scope='module')
def with_workers(small) -> Path:
    text = 'train_dataloader = dict(num_workers=1, persistent_workers=True)\n'
    return inherit(small, small.with_name('with_workers.py'), text)


def run(config: Path, work_dir: Path, *hooks: dict, resume: str | None = None, **settings: object) -> int:
    """Train in this process; gives the exit status."""
    cfg = load_config(config, work_dir=str(work_dir))
    # mmengine keeps one log and one file of scalars for each name.
    cfg.experiment_name = cfg.visualizer.name = f'resume_{next(_NUMBERS)}'
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
    cfg.merge_from_dict(settings)
    try:
        train(cfg, resume=resume)
    except SystemExit as stop:
        return stop.code
    return 0


def kill_hook(**options: object) -> dict:
    import helpers.kill_hook  # noqa: F401, registers it

    return dict(type='KillHook', **options)


def checkpoints(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob('*.pth'))


def log_of(work_dir: Path) -> str:
    return '\n'.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


# Stopped by a signal, and resumed.


@pytest.mark.slow
@pytest.mark.parametrize(
    'loop, last, moments',
    [
        ('', 'epoch_3.pth', [dict(at_iter=2), dict(at_iter=3, name='SIGUSR1'), dict(at_val=2), dict(at_iter=9)]),
        (BY_ITERATION, 'iter_9.pth', [dict(at_iter=5), dict(at_val=0, name='SIGUSR1')]),
    ],
    ids=['epochs', 'iterations'],
)
def test_a_stopped_training_ends_as_if_it_had_never_stopped(small, tmp_path, loop, last, moments):
    config = inherit(small, tmp_path / 'loop.py', loop)
    assert run(config, tmp_path / 'unbroken') == 0
    expected, validated = losses(tmp_path / 'unbroken'), read_validations(tmp_path / 'unbroken')
    assert len(expected) == 9 and len(validated) == 3
    for number, moment in enumerate(moments):
        work_dir = tmp_path / f'stopped_{number}'
        status = run(config, work_dir, kill_hook(**{'name': 'SIGTERM', **moment}))
        assert status == (138 if moment.get('name') == 'SIGUSR1' else 143)
        assert last not in checkpoints(work_dir)
        assert run(config, work_dir, resume='auto') == 0
        assert losses(work_dir) == expected and read_validations(work_dir) == validated
        assert same_end(tmp_path / 'unbroken' / last, work_dir / last)
        assert checkpoints(work_dir) == [last]


@pytest.mark.slow
@pytest.mark.parametrize('processes, kills', [(1, 4), (2, 2)])
def test_kills_at_random_moments_lose_nothing(with_workers, tmp_path, processes, kills):
    """By hand, `tests/helpers/kills.py CONFIG FOLDER --kills 100` does it as often as you like."""
    arguments = ['--kills', kills, '--processes', processes]
    command = (ROOT / 'tests/helpers/kills.py', with_workers, tmp_path / 'kills', *arguments)
    done = run_tool(*command, PYTHONPATH=f'{ROOT}/tests')
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'{kills} kills' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'status'), [('SIGTERM', 143), ('SIGUSR1', 138), ('SIGINT', 130)])
def test_a_training_saves_though_its_data_workers_get_the_signal_too(with_workers, tmp_path, name, status):
    """As from a scheduler that signals all processes of a job, or by Ctrl-C in a terminal."""
    stopping = f'custom_hooks = [dict(type="KillHook", at_iter=4, name="{name}", group=True)]\n'
    config = inherit(with_workers, tmp_path / 'stopping.py', KILLING + stopping)
    command = ('setsid', '--wait', sys.executable, ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'work')
    done = run_tool(*command, PYTHONPATH=f'{ROOT}/tests')
    assert done.returncode == status, done.stderr
    assert done.stderr.count(f'{name}: saving after this iteration') == 1
    assert 'Traceback' not in done.stderr
    assert checkpoints(tmp_path / 'work') == ['epoch_1.pth', 'stopped_iter_4.pth']


def test_data_workers_end_with_the_training(with_workers, tmp_path):
    settings = {'val_dataloader.num_workers': 1, 'val_dataloader.persistent_workers': True}
    run(with_workers, tmp_path / 'work', **settings)
    assert multiprocessing.active_children() == []


def test_a_signal_that_arrives_twice_asks_once(monkeypatch):
    """As from torchrun, which hands on what its processes have got from the same terminal or scheduler."""
    now, arrive = [100.0], signal.raise_signal
    monkeypatch.setattr('mmfasternet.engine.stop.time.monotonic', lambda: now[0])
    ended = []
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        with StopRequest() as request:
            for now[0] in (100.0, 101.0):
                arrive(signal.SIGUSR1)
            assert request.agreed() == signal.SIGUSR1
            monkeypatch.setattr('mmfasternet.engine.stop.signal.raise_signal', ended.append)
            now[0] = 110.0
            arrive(signal.SIGUSR1)
            assert ended == [signal.SIGUSR1]
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_is_ignored_stays_so():
    """As in a job that a shell has started in the background: Ctrl-C is for the one in front."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequest() as request:
            signal.raise_signal(signal.SIGINT)
            assert request.agreed() == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_seed_belongs_to_a_draw_however_many_processes_share_them(monkeypatch):
    def drawn(rank: int, processes: int) -> list[tuple[int, int]]:
        monkeypatch.setattr('mmfasternet.engine.draws.get_dist_info', lambda: (rank, processes))
        batches = NumberedBatches(range(8)[rank::processes], batch_size=2, seed=5)
        return [(int(draw), draw.seed) for batch in batches for draw in batch]

    alone = drawn(0, 1)
    assert sorted(drawn(0, 2) + drawn(1, 2)) == sorted(alone)
    assert len({seed for _, seed in alone}) == 8
    (batch,) = NumberedBatches([3], batch_size=1, seed=5)
    (copied,) = pickle.loads(pickle.dumps(batch))
    assert copied == 3 and copied.seed == batch[0].seed


def test_samplers_of_several_data_sets_are_numbered_too():
    """mmdet's, which semi-supervised trainings use, has a method of the name of one of mmengine's sampler."""
    data = ConcatDataset([TensorDataset(torch.arange(size)) for size in (4, 8)])
    batches = NumberedBatches(MultiSourceSampler(data, 2, [1, 1], seed=0), batch_size=2, seed=0)
    labelled, other = next(iter(batches))
    assert labelled < 4 <= other


def test_a_data_set_of_a_training_serves_other_data_loaders_too():
    data = TensorDataset(torch.arange(4))
    seed_draws(DataLoader(data, batch_sampler=NumberedBatches(range(4), batch_size=2, seed=0)))
    assert [batch[0].tolist() for batch in DataLoader(data, batch_size=2)] == [[0, 1], [2, 3]]


def test_a_training_without_a_fixed_seed_resumes_with_its_own(small, tmp_path):
    assert run(small, tmp_path / 'work', kill_hook(at_iter=2, name='SIGTERM'), **FREE) == 143
    meta = read_checkpoint(tmp_path / 'work/stopped_iter_2.pth')['meta']
    order = torch.randperm(12, generator=torch.Generator().manual_seed(meta['seed'])).tolist()
    seen = []

    @HOOKS.register_module(force=True)
    class SeenHook(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            seen.append([int(Path(sample.img_path).stem) - 1 for sample in data_batch['data_samples']])

    one_epoch = {'train_cfg.max_epochs': 1, 'train_cfg.val_begin': 9}
    assert run(small, tmp_path / 'work', dict(type='SeenHook'), resume='auto', **FREE, **one_epoch) == 0
    assert seen == [order[8:]]


def test_a_stop_in_a_validation_loses_no_accumulated_gradients(small, tmp_path):
    config = inherit(small, tmp_path / 'loop.py', BY_ITERATION)
    assert run(config, tmp_path / 'work', kill_hook(at_val=0, name='SIGTERM'), **ACCUMULATED) == 143
    # The validation is due after iteration 4.
    assert checkpoints(tmp_path / 'work') == ['iter_3.pth', 'iter_6.pth']


@pytest.mark.skipif('fast_forward_on_resume' not in signature(IterBasedTrainLoop).parameters, reason='older mmengine')
def test_a_resumed_training_need_not_ask_for_the_batches_behind_it(small, tmp_path):
    config = inherit(small, tmp_path / 'loop.py', BY_ITERATION)
    options = {'train_cfg.val_begin': 99, 'train_cfg.fast_forward_on_resume': True}
    assert run(config, tmp_path / 'work', kill_hook(at_iter=4, name='SIGTERM'), **options) == 143
    assert run(config, tmp_path / 'work', resume='auto', **options) == 0


# What is resumed, and what a checkpoint may do to a resumed training.


@pytest.fixture(scope='module')
def first_epoch(tmp_path_factory, small) -> Path:
    """The work dir of a training of one epoch."""
    work_dir = tmp_path_factory.mktemp('first_epoch')
    assert run(small, work_dir, **{'train_cfg.max_epochs': 1, 'train_cfg.val_begin': 9}) == 0
    return work_dir


# Nothing is trained: what precedes the first iteration is what counts.
NO_EPOCH = {'train_cfg.max_epochs': 1, 'train_cfg.val_begin': 9}


def edited(first_epoch: Path, path: Path, edit) -> Path:
    checkpoint = torch.load(first_epoch / 'epoch_1.pth', weights_only=False)
    edit(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return path


def test_with_nothing_to_resume_load_from_counts(small, first_epoch, tmp_path):
    source = first_epoch / 'epoch_1.pth'
    options = {'load_from': str(source), 'train_cfg.max_epochs': 0, 'param_scheduler': None}
    assert run(small, tmp_path / 'work', resume='auto', **options) == 0
    log = log_of(tmp_path / 'work')
    assert f'Nothing to resume in {tmp_path / "work"}: training starts from {source}' in log
    assert f'Load checkpoint from {source}' in log


def test_a_checkpoint_to_resume_runs_no_config(small, first_epoch, tmp_path):
    ran = tmp_path / 'ran'

    def edit(checkpoint: dict) -> None:
        checkpoint['meta']['config'] = f'open({str(ran)!r}, "w")\n'

    evil = edited(first_epoch, tmp_path / 'work/epoch_1.pth', edit)
    for resume in ('auto', str(evil)):
        assert run(small, tmp_path / 'work', resume=resume, **NO_EPOCH) == 0
        assert f'Load checkpoint from {evil}' in log_of(tmp_path / 'work')
    assert not ran.exists()


def test_a_checkpoint_to_resume_removes_no_file_of_others(small, first_epoch, tmp_path):
    precious = tmp_path / 'precious.txt'
    precious.write_text('')

    def edit(checkpoint: dict) -> None:
        info = checkpoint['message_hub']['runtime_info']
        info.update(best_ckpt=str(precious), best_score=-1.0, keep_ckpt_ids=[2, 3, 9, 1])

    work_dir = tmp_path / 'work'
    evil = edited(first_epoch, tmp_path / 'evil/epoch_1.pth', edit)
    for number in (2, 3):
        shutil.copy(first_epoch / 'epoch_1.pth', edited(first_epoch, work_dir / f'epoch_{number}.pth', lambda _: None))
    best = {'default_hooks.checkpoint.save_best': 'coco/bbox_mAP', 'train_cfg.max_epochs': 2}
    assert run(small, work_dir, resume=str(evil), **best) == 0
    assert precious.exists()
    # Those of the training before lie together, and the new one has its own.
    (former,) = work_dir.glob('before_*')
    assert checkpoints(former) == ['epoch_2.pth', 'epoch_3.pth']
    # The validation of the first epoch, which had none, comes first.
    assert checkpoints(work_dir) == ['best_coco_bbox_mAP_epoch_1.pth', 'epoch_2.pth']
    assert '2 checkpoints of another training lay in' in log_of(work_dir)


def test_a_hook_that_saves_elsewhere_is_resumed_without_the_pointer(small, tmp_path):
    elsewhere = {'default_hooks.checkpoint.out_dir': str(tmp_path / 'elsewhere'), 'train_cfg.val_begin': 9}
    assert run(small, tmp_path / 'work', **elsewhere, **{'train_cfg.max_epochs': 1}) == 0
    (tmp_path / 'work/last_checkpoint').write_text('')  # what a kill may leave
    assert run(small, tmp_path / 'work', resume='auto', **elsewhere, **{'train_cfg.max_epochs': 2}) == 0
    assert sorted(losses(tmp_path / 'work')) == [1, 2, 3, 4, 5, 6]
    assert checkpoints(tmp_path / 'elsewhere/work') == ['epoch_2.pth']
    assert 'resumed epoch: 1' in log_of(tmp_path / 'work')


@pytest.mark.parametrize(
    'edit, reason',
    [
        (lambda checkpoint: [checkpoint.pop(key) for key in ('meta', 'message_hub')], 'holds weights, but not the'),
        (lambda checkpoint: checkpoint['meta'].update(epoch='1'), 'holds weights, but not the state of a training'),
        (lambda checkpoint: checkpoint['optimizer']['param_groups'].pop(), 'with this config .* another optimizer'),
        (lambda checkpoint: checkpoint['meta'].update(progress=dict(batches='x')), 'with this config'),
        (lambda checkpoint: checkpoint['meta']['progress'].update(batches=1.5), 'with this config'),
        (lambda checkpoint: checkpoint['meta']['progress'].update(sampler_seed=2**70), 'with this config'),
        # As the best checkpoints.
        (lambda checkpoint: checkpoint.pop('optimizer'), 'holds weights, but not the state of a training'),
        (lambda checkpoint: checkpoint.pop('param_schedulers'), 'holds weights, but not the state of a training'),
    ],
)
def test_what_cannot_be_resumed_is_one_message(small, first_epoch, tmp_path, edit, reason):
    path = edited(first_epoch, tmp_path / 'other.pth', edit)
    with pytest.raises(CheckpointError, match=f'other.pth cannot be resumed.*{reason}.*load_from='):
        run(small, tmp_path / 'work', resume=str(path), **NO_EPOCH)


def test_a_training_that_starts_afresh_moves_the_checkpoints_of_another(small, first_epoch, tmp_path):
    work_dir = tmp_path / 'work'
    edited(first_epoch, work_dir / 'epoch_7.pth', lambda _: None)
    edited(first_epoch, work_dir / 'best_coco_bbox_mAP_epoch_7.pth', lambda _: None)
    (work_dir / 'mine.pth').write_bytes(b'not of this project')
    assert run(small, work_dir, **NO_EPOCH) == 0
    (former,) = work_dir.glob('before_*')
    assert checkpoints(former) == ['best_coco_bbox_mAP_epoch_7.pth', 'epoch_7.pth']
    assert checkpoints(work_dir) == ['epoch_1.pth', 'mine.pth']


def test_a_checkpoint_that_a_link_leads_to_is_the_work_dirs_own(small, first_epoch, tmp_path):
    work_dir = tmp_path / 'work'
    own = edited(first_epoch, work_dir / 'epoch_1.pth', lambda _: None)
    (tmp_path / 'link').symlink_to(work_dir)
    assert run(small, work_dir, resume=str(tmp_path / 'link/epoch_1.pth'), **NO_EPOCH) == 0
    assert own.exists() and not list(work_dir.glob('before_*'))


def test_a_checkpoint_of_another_name_is_resumed(small, tmp_path):
    named = {'default_hooks.checkpoint.filename_tmpl': 'shapes_{}.pth'}
    assert run(small, tmp_path / 'work', **NO_EPOCH, **named) == 0
    assert run(small, tmp_path / 'work', resume='auto', **NO_EPOCH, **named) == 0
    assert f'Load checkpoint from {tmp_path / "work/shapes_1.pth"}' in log_of(tmp_path / 'work')


def test_the_checkpoint_before_outlives_the_resume_from_the_newest(small, first_epoch, tmp_path):
    def edit(checkpoint: dict) -> None:
        checkpoint['message_hub']['runtime_info'].update(keep_ckpt_ids=[0, 1])

    before = edited(first_epoch, tmp_path / 'work/epoch_0.pth', lambda checkpoint: checkpoint['meta'].update(iter=1))
    edited(first_epoch, tmp_path / 'work/epoch_1.pth', edit)
    there = []

    @HOOKS.register_module(force=True)
    class LookHook(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            there.append(before.exists())

    two_epochs = {'train_cfg.max_epochs': 2, 'train_cfg.val_begin': 9}
    assert run(small, tmp_path / 'work', dict(type='LookHook'), resume='auto', **two_epochs) == 0
    assert there == [True, False, False]


@pytest.mark.parametrize('there', [True, False])
def test_a_process_that_would_start_from_another_file_ends_the_job(small, first_epoch, tmp_path, monkeypatch, there):
    """Seen from the second of two processes, on a machine that has its own work dir, in which nothing was saved."""
    main_file = tmp_path / 'work/epoch_1.pth'
    if there:
        edited(first_epoch, main_file, lambda checkpoint: checkpoint['meta'].update(iter=99))

    def from_main(values: list) -> None:
        values[0] = '0' * 64

    monkeypatch.setattr('mmfasternet.engine.runner.is_main_process', lambda: False)
    monkeypatch.setattr('mmfasternet.engine.runner.broadcast_object_list', from_main)
    monkeypatch.setattr('mmfasternet.engine.runner.all_gather_object', lambda mine: [('host', None), mine])
    runner = RUNNERS.build(load_config(small, work_dir=str(tmp_path / 'own')))
    problem = 'has another file of that name' if there else 'has no such file'
    with pytest.raises(UserError, match=f'main process starts from {main_file}, but process 1 on .* {problem}'):
        runner._check_that_all_read_the_same(str(main_file))


# What ends a training before it is lost.


def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_the_last_good_checkpoint(small, tmp_path):
    @HOOKS.register_module(force=True)
    class DivergeHook(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            if runner.iter == 6:  # behind the save of the second epoch
                next(runner.model.parameters()).data.fill_(float('nan'))

    good = tmp_path / 'work/epoch_2.pth'
    with pytest.raises(UserError, match=rf'the loss is nan in iteration 7: .*optimizer.lr.* checkpoint is {good}'):
        run(small, tmp_path / 'work', dict(type='DivergeHook'), **{'train_cfg.val_begin': 9})
    # The one before is not removed either: this one had yet to show that it is good.
    assert checkpoints(tmp_path / 'work') == ['epoch_1.pth', 'epoch_2.pth']


def test_nothing_is_removed_before_the_loss_has_been_looked_at(small, tmp_path, monkeypatch):
    """On a GPU, several are looked at together."""

    def later(hook: FiniteLossHook, runner: Runner, batch_idx: int, data_batch: object, outputs: dict) -> None:
        hook._losses.append((runner.iter + 1, outputs['loss'].detach() / (runner.iter != 6)))

    monkeypatch.setattr(FiniteLossHook, 'after_train_iter', later)
    with pytest.raises(UserError, match='the loss is (nan|inf) in iteration 7'):
        run(small, tmp_path / 'work', **{'train_cfg.val_begin': 9})
    assert checkpoints(tmp_path / 'work') == ['epoch_1.pth', 'epoch_2.pth']


@pytest.mark.parametrize('loop', ['', BY_ITERATION.replace('InfiniteSampler', 'DefaultSampler')])
def test_fewer_images_than_a_batch_are_one_message(small, tmp_path, loop):
    config = inherit(small, tmp_path / 'loop.py', loop)
    with pytest.raises(UserError, match='has fewer images than a batch'):
        run(config, tmp_path / 'work', **{'train_dataloader.batch_size': 64, 'train_dataloader.drop_last': True})


def test_weights_that_are_not_finite_are_not_saved(small, tmp_path):
    @HOOKS.register_module(force=True)
    class SpoilHook(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter == 5:  # the last of the second epoch
                next(runner.model.parameters()).data.fill_(float('inf'))

    with pytest.raises(
        UserError, match='is not finite after iteration 6, and is not saved: .* checkpoint is .*epoch_1'
    ):
        run(small, tmp_path / 'work', dict(type='SpoilHook'), **{'train_cfg.val_begin': 9})
    assert checkpoints(tmp_path / 'work') == ['epoch_1.pth']


def test_a_killed_data_worker_is_one_message(with_workers, tmp_path):
    @HOOKS.register_module(force=True)
    class KillWorkerHook(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            for worker in multiprocessing.active_children():
                worker.kill()

    with pytest.raises(UserError, match=r'a process that loads data was ended from outside .*num_workers.*--resume'):
        run(with_workers, tmp_path / 'work', dict(type='KillWorkerHook'))


def test_a_full_disk_is_one_message_and_costs_no_checkpoint(small, tmp_path, monkeypatch):
    put = LocalBackend.put

    def fill(backend, content, path) -> None:
        if 'epoch_2' in str(path):
            Path(path).write_bytes(content[:1000])
            raise OSError(errno.ENOSPC, 'No space left on device')
        put(backend, content, path)

    monkeypatch.setattr(LocalBackend, 'put', fill)
    with pytest.raises(UserError, match=r'cannot write .*epoch_2.pth .*the disk is full'):
        run(small, tmp_path / 'work', **{'train_cfg.val_begin': 9})
    assert [path.name for path in (tmp_path / 'work').rglob('*epoch_*')] == ['epoch_1.pth']


def test_one_training_at_a_time_writes_to_a_work_dir(small, tmp_path):
    with exclusive(tmp_path / 'work/.lock', 'trains'), pytest.raises(UserError, match=r'process \d+ of .* trains in'):
        run(small, tmp_path / 'work', **NO_EPOCH)
    assert checkpoints(tmp_path / 'work') == []
    assert run(small, tmp_path / 'work', **NO_EPOCH) == 0
