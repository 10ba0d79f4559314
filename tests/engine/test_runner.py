"""Loading, saving, resuming and several processes, on real training runs of a few iterations."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing as mp
from helpers.project import ROOT
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.logging import MessageHub
from torch.nn.parallel import DistributedDataParallel

from mmfasternet import FasterNet
from mmfasternet.engine.checkpoints import SafeCheckpointHook, latest_checkpoint
from mmfasternet.engine.config import load_config
from mmfasternet.engine.training import train
from mmfasternet.errors import UserError
from mmfasternet.weights.reader import CheckpointError, UntrustedCheckpointError, trust_checkpoints

TRAIN = ROOT / 'tools/train.py'


def saved(path: Path, iteration: int, age: int = 0) -> Path:
    torch.save(dict(meta=dict(epoch=1, iter=iteration), state_dict=dict(weight=torch.rand(1000))), path)
    os.utime(path, (age, age))
    return path


def test_latest_checkpoint_is_the_furthest_by_what_the_files_say(tmp_path):
    """Not by their times, which copies and clocks change."""
    assert latest_checkpoint(tmp_path) is None and latest_checkpoint(tmp_path / 'absent') is None
    saved(tmp_path / 'epoch_2.pth', 20, age=1)
    saved(tmp_path / 'epoch_1.pth', 10, age=2)
    saved(tmp_path / 'best_coco_bbox_mAP_epoch_1.pth', 99, age=3)
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')
    stopped = saved(tmp_path / 'stopped_iter_25.pth', 25)
    for pointer in (b'', b'gone/epoch_9.pth', b'\0' * 30, b'/tmp/\xe9poch.pth', b'x' * 5000, bytes(tmp_path)):
        (tmp_path / 'last_checkpoint').write_bytes(pointer)
        assert latest_checkpoint(tmp_path) == str(stopped)
    # A hook with out_dir saves elsewhere; only last_checkpoint knows where.
    elsewhere = saved(tmp_path.parent / 'elsewhere.pth', 30)
    (tmp_path / 'last_checkpoint').write_text(str(elsewhere))
    assert latest_checkpoint(tmp_path) == str(elsewhere)


@pytest.mark.parametrize('damage', ['cut', 'empty', 'hole'])
def test_a_damaged_checkpoint_is_left_out_with_a_message(tmp_path, damage, monkeypatch):
    printed = []
    monkeypatch.setattr('mmfasternet.engine.checkpoints.print_log', lambda text, **_: printed.append(text))
    for number in (1, 2):
        saved(tmp_path / f'epoch_{number}.pth', 10 * number)
    content = (tmp_path / 'epoch_2.pth').read_bytes()
    holed = content[:1500] + bytes(1000) + content[2500:]
    damaged = dict(cut=content[: len(content) // 2], empty=b'', hole=holed)[damage]
    (tmp_path / 'epoch_2.pth').write_bytes(damaged)
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')
    assert len(printed) == 1 and 'epoch_2.pth cannot be read' in printed[0]
    (tmp_path / 'epoch_1.pth').write_bytes(damaged)
    with pytest.raises(UserError, match='no checkpoint in .* can be read; to train from the beginning, remove them'):
        latest_checkpoint(tmp_path)


@pytest.fixture
def complete_file(build_runner, tmp_path) -> Path:
    path = tmp_path / 'complete.pth'
    torch.save(dict(state_dict=build_runner().model.state_dict(), meta={}), path)
    return path


def change(path: Path, edit) -> Path:
    checkpoint = torch.load(path, weights_only=True)
    edit(checkpoint['state_dict'])
    changed = path.with_name('changed.pth')
    torch.save(checkpoint, changed)
    return changed


ENTRY = 'backbone.stages.0.blocks.0.mlp.0.weight'


def test_the_runner_reads_checkpoints_safely_unless_they_are_trusted(build_runner, complete_file, tmp_path):
    """Importing it changes nothing; building it replaces mmengine's reader."""

    class Opened:
        def __reduce__(self):
            return open, (str(tmp_path / 'opened'), 'w')

    content = torch.load(complete_file, weights_only=True)
    torch.save(dict(content, extra=Opened()), complete_file)
    runner = build_runner(load_from=str(complete_file))
    with pytest.raises(UntrustedCheckpointError, match='open'):
        runner.load_or_resume()
    assert not (tmp_path / 'opened').exists()
    trust_checkpoints()
    try:
        runner.load_or_resume()
    finally:
        trust_checkpoints(False)
    assert (tmp_path / 'opened').exists()


@pytest.mark.parametrize(
    'edit, complaint',
    [
        (lambda entries: entries.pop(ENTRY), f'1 missing: {ENTRY}'),
        (lambda entries: entries.update({ENTRY: torch.ones(3)}), f'1 of another shape: {ENTRY} (3,) instead of'),
        (lambda entries: entries.pop('neck.fpn_convs.0.conv.bias', entries.popitem()), 'missing: '),
    ],
)
def test_load_from_and_tests_fail_on_what_does_not_fit(build_runner, complete_file, edit, complaint):
    changed = change(complete_file, edit)
    runner = build_runner(load_from=str(changed))
    for start in (runner.test, runner.train):
        with pytest.raises(CheckpointError) as error:
            start()
        assert complaint in str(error.value) and str(changed) in str(error.value)


def test_a_backbone_is_no_detector(build_runner, tmp_path):
    torch.save(FasterNet('t0').state_dict(), tmp_path / 'backbone.pth')
    runner = build_runner(load_from=str(tmp_path / 'backbone.pth'))
    with pytest.raises(CheckpointError, match='backbone.init_cfg'):
        runner.load_or_resume()


def test_heads_for_other_classes_start_afresh_in_training_alone(build_runner, complete_file):
    def more_classes(entries):
        for part, rows in dict(fc_cls=10, fc_reg=40).items():
            for kind in ('weight', 'bias'):
                key = f'roi_head.bbox_head.{part}.{kind}'
                entries[key] = entries[key].new_ones(rows, *entries[key].shape[1:])
        key = 'roi_head.mask_head.conv_logits.weight'
        entries[key] = entries[key].new_ones(9, *entries[key].shape[1:])

    changed = str(change(complete_file, more_classes))
    with pytest.raises(CheckpointError, match='5 of another shape'):
        build_runner(load_from=changed).test()
    # Zero epochs: only what precedes the first iteration runs.
    runner = build_runner(load_from=changed, param_scheduler=None, **{'train_cfg.max_epochs': 0})
    runner.train()
    log = (Path(runner.log_dir) / f'{runner.timestamp}.log').read_text()
    assert '5 entries are of heads for another number of classes' in log
    assert 'roi_head.bbox_head.fc_cls.weight' in log and 'roi_head.mask_head.conv_logits.weight' in log


def test_an_rpn_of_other_anchors_is_no_other_class_count(build_runner, complete_file):
    def more_anchors(entries):
        entries['rpn_head.rpn_cls.weight'] = entries['rpn_head.rpn_cls.weight'].repeat(2, 1, 1, 1)

    with pytest.raises(CheckpointError, match='rpn_head.rpn_cls.weight'):
        build_runner(load_from=str(change(complete_file, more_anchors))).train()


def test_unwritable_work_dir_is_one_message(build_runner, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write to work_dir .*--work-dir'):
        build_runner(work_dir=str(tmp_path / 'file' / 'work'))


@pytest.mark.parametrize(
    'part, wrong, message',
    [
        (
            'model.backbone',
            dict(frozen_stage=1),
            "the model of the config cannot be built: .*'frozen_stage'",
        ),
        (
            'train_dataloader.dataset',
            dict(filter_config={}),
            'data loader of the config cannot be built: .*filter_config',
        ),
        (
            'optim_wrapper.optimizer',
            dict(lr=-1),
            'the optim_wrapper of the config cannot be built: .*Invalid learning',
        ),
        (
            'train_cfg',
            dict(max_epochs=0),
            'the param_scheduler of the config cannot be built for 0 epochs of 3 iterations: end should be larger',
        ),
        ('train_cfg', None, 'has no train_cfg, so there is nothing to train'),
        ('default_hooks.checkpoint', dict(max_keep_ckpt=1), 'has no max_keep_ckpt; nearest: max_keep_ckpts'),
    ],
)
def test_a_wrong_argument_in_a_config_is_one_message_before_training(tiny_config, part, wrong, message):
    cfg = load_config(tiny_config)
    cfg.experiment_name = f'wrong_{part}'
    *outer, last = part.split('.')
    place = cfg
    for name in outer:
        place = place[name]
    place[last] = wrong and {**place[last], **wrong}
    with pytest.raises(UserError, match=message):
        train(cfg)


@pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')
def test_the_runner_asks_for_channels_last(build_runner):
    plain, asked = (build_runner(channels_last=value).model for value in (False, True))
    weights = [model.backbone.stages[0].blocks[0].spatial_mixing.partial_conv3.weight for model in (plain, asked)]
    assert [weight.is_contiguous(memory_format=torch.channels_last) for weight in weights] == [False, True]


def test_the_runner_widens_the_rois_of_every_head(build_runner):
    head = build_runner().model.roi_head
    for extractor in (head.bbox_roi_extractor, head.mask_roi_extractor):
        maps = [torch.rand(1, extractor.out_channels, size, size).bfloat16() for size in (16, 8, 4, 2)]
        assert extractor(maps, torch.tensor([[0.0, 1, 1, 40, 50]])).dtype == torch.float32


def test_sync_bn_on_cpus_is_one_message(tiny_config, mistake_of, monkeypatch):
    """In a process as the launcher starts it; port 0 is a free one."""
    of_the_launcher = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
    # mmengine sets these where they are not set.
    of_the_launcher |= dict(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    for name, value in of_the_launcher.items():
        monkeypatch.setenv(name, value)
    options = ['--cfg-options', 'model.backbone.norm_cfg.type=SyncBN']
    try:
        message = mistake_of(TRAIN, tiny_config, '--launcher', 'pytorch', *options)
    finally:
        torch.distributed.destroy_process_group()
    assert message.startswith('error: SyncBN works on GPUs only') and "norm_cfg=dict(type='BN')" in message


def step_of_one_process(rank: int, world_size: int, rendezvous: str, folder: str) -> None:
    """A training step of the backbone on this process's share of four images."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=rendezvous, rank=rank, world_size=world_size)
    torch.manual_seed(0)
    model = FasterNet('t0', out_norm=False, norm_eval=True)
    model.init_weights()
    images = torch.rand(4, 3, 64, 64).chunk(world_size)[rank]
    wrapped = DistributedDataParallel(model).train()
    torch.stack([out.square().mean() for out in wrapped(images)]).sum().backward()
    if rank == 0:
        torch.save({name: p.grad for name, p in model.named_parameters()}, f'{folder}/grads_{world_size}.pth')
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_twice_the_batch(tmp_path):
    for world_size in (1, 2):
        rendezvous = f'file://{tmp_path}/rendezvous_{world_size}'
        mp.spawn(step_of_one_process, (world_size, rendezvous, str(tmp_path)), nprocs=world_size)
    one, two = (torch.load(tmp_path / f'grads_{n}.pth', weights_only=True) for n in (1, 2))
    for name, gradient in one.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(two[name], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('save_best', ['box AP', ['box AP', 'mask AP']])
def test_a_former_best_checkpoint_outlives_the_save_of_the_next(tmp_path, save_best):
    hook = SafeCheckpointHook(interval=1, save_best=save_best, rule='greater')
    beside = []  # what lay there in the moment of each save

    def save(out_dir, filename, **kwargs):
        beside.append({path.name for path in tmp_path.iterdir()})
        (Path(out_dir) / filename).write_text('')

    logger = SimpleNamespace(info=print)
    runner = SimpleNamespace(
        work_dir=str(tmp_path), message_hub=MessageHub(str(tmp_path)), logger=logger, save_checkpoint=save, iter=0
    )
    runner.resumed_from = None
    hook.before_train(runner)
    for runner.epoch, ap in enumerate([0.1, 0.3, 0.2, 0.4], start=1):
        hook._save_best_checkpoint(runner, {'box AP': ap, 'mask AP': ap})
    best = {f'best_{kind} AP_epoch_4.pth' for kind in (['box'] if isinstance(save_best, str) else ['box', 'mask'])}
    assert {path.name for path in tmp_path.iterdir()} == best
    assert 'best_box AP_epoch_3.pth' not in set().union(*beside)
    assert 'best_box AP_epoch_2.pth' in beside[-1]


def test_checkpoint_hooks_are_safe_wherever_a_config_has_them(build_runner):
    runner = build_runner(custom_hooks=[dict(type='CheckpointHook', interval=5)])
    runner.register_hook(dict(type=CheckpointHook))  # as a config in mmengine's new style names it
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    assert [type(hook) for hook in hooks] == 3 * [SafeCheckpointHook]


@pytest.mark.parametrize('rank, files', [(0, 1), (1, 0)])
def test_one_process_alone_writes_the_metrics_of_a_test(build_runner, complete_file, monkeypatch, rank, files):
    """Two that write the same file at once may leave it unreadable."""
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: rank)
    runner = build_runner(load_from=str(complete_file))
    (logger,) = (hook for hook in runner.hooks if isinstance(hook, LoggerHook))
    Path(runner.log_dir).mkdir(parents=True, exist_ok=True)
    logger.before_run(runner)
    logger.after_test_epoch(runner, {'coco/bbox_mAP': 0.5})
    assert len(list(Path(runner.log_dir).glob('*.json'))) == files
