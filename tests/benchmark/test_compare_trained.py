"""Backbones trained here: their configs share one budget, an interrupted run resumes, and the report is arithmetic."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import made_up
from helpers.markdown import tables
from helpers.project import ROOT, run_tool, succeed
from mmengine.config import Config

from mmfasternet.benchmark.comparison.runs import TrainingPlan, learning_curves, training_lock
from mmfasternet.benchmark.comparison.seeds import spread, verdict
from mmfasternet.benchmark.comparison.trained import is_recorded, measure_trained
from mmfasternet.benchmark.comparison.trained_report import merge_seeds, trained_page, write_trained
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.published.rows import BUILT_ROWS, ROWS, TRAINED_ROWS, find_row
from mmfasternet.benchmark.records import SCOPES, Records
from mmfasternet.datasets import make_shapes
from mmfasternet.engine.build import build_model
from mmfasternet.engine.launch import Launcher
from mmfasternet.errors import UserError

TOOL = ROOT / 'tools/benchmark/compare_trained.py'
FIRST = TRAINED_ROWS[0]


@pytest.mark.parametrize('row', TRAINED_ROWS, ids=lambda row: row.name)
def test_configs_differ_in_the_backbone_alone(row):
    base = Config.fromfile(ROOT / 'configs/demo/_base_trained.py').to_dict()
    config = Config.fromfile(row.config_path).to_dict()
    backbone, channels = config['model'].pop('backbone'), config['model']['neck'].pop('in_channels')
    # The facts of a variant, which its config inherits and uses.
    for name in ('backbone', 'channels', 'checkpoint'):
        config.pop(name, None)
    assert set(config.pop('custom_imports')['imports']) >= set(base.pop('custom_imports')['imports'])
    assert config == base
    # From random weights, all of them trained, with no path dropped.
    assert backbone.get('init_cfg', {}).get('type') != 'Pretrained'
    model = build_model(row.config_path)[1].train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.backbone.modules())
    # Each family has a class of its own for dropped paths.
    assert not any(getattr(module, 'drop_prob', 0) for module in model.modules())
    assert len(channels) == 4


def test_rows_are_found_by_name_and_by_config():
    assert find_row('trained_resnet18').label == 'ResNet18'
    assert find_row(str(ROOT / 'configs/demo/trained_resnet18.py')) == find_row('trained_resnet18')
    assert not {row.name for row in TRAINED_ROWS} & {row.name for row in ROWS}


@pytest.mark.parametrize(
    ('launcher', 'train', 'test'),
    [
        (Launcher(), 'tools/train.py c.py --work-dir w --resume -x', 'tools/test.py c.py p.pth --work-dir w -x'),
        (
            Launcher('pytorch', gpus=8),
            'tools/dist_train.sh c.py 8 --work-dir w --resume -x',
            'tools/dist_test.sh c.py p.pth 8 --work-dir w -x',
        ),
        (
            Launcher('slurm', gpus=8, partition='gpu'),
            'tools/slurm_train.sh gpu w c.py w --resume -x',
            'tools/slurm_test.sh gpu w c.py p.pth --work-dir w -x',
        ),
    ],
    ids=lambda value: getattr(value, 'kind', ''),
)
def test_commands_of_a_launcher(launcher, train, test):
    commands = launcher.train('c.py', 'w', ['-x']), launcher.test('c.py', 'p.pth', 'w', ['-x'])
    assert [' '.join(command[1:]).replace(f'{ROOT}/', '') for command in commands] == [train, test]
    assert all((ROOT / command[1]).is_file() for command in commands)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(kind='mpi'), 'launcher must be one of none, pytorch, slurm'),
        (dict(gpus=0), 'at least 1 GPU'),
        (dict(gpus=2), '2 GPUs need --launcher'),
        (dict(kind='slurm'), 'belong together'),
        (dict(partition='gpu'), 'belong together'),
    ],
)
def test_launchers_that_do_not_fit(arguments, message):
    with pytest.raises(UserError, match=message):
        Launcher(**arguments)


def test_curves_of_a_training_that_was_interrupted_and_resumed(tmp_path):
    def log(time, lines, end=''):
        path = tmp_path / time / 'vis_data/scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text(''.join(json.dumps(line) + '\n' for line in lines) + end)

    ap = {'coco/bbox_mAP': 0.25, 'coco/segm_mAP': 0.2, 'step': 1}
    # Killed in iteration 3 while it wrote a line, resumed from the checkpoint of iteration 2.
    log('20260101_000000', [dict(loss=3.0, iter=1), dict(loss=2.0, iter=2), ap, dict(loss=9.0, iter=3)], '{"loss": 8')
    log('20260101_000100', [dict(loss=1.5, iter=3), dict(loss=1.0, iter=4), ap | {'coco/bbox_mAP': 0.5, 'step': 2}])
    assert learning_curves(tmp_path) == dict(
        loss=[[1, 3.0], [2, 2.0], [3, 1.5], [4, 1.0]], box_ap=[[1, 25.0], [2, 50.0]], mask_ap=[[1, 20.0], [2, 20.0]]
    )


def test_spread_across_backbones_and_between_seeds():
    box = spread({'A': [30.0, 31.0], 'B': [40.0, 38.0], 'C': [31.0]})
    assert (box.across, box.seeds, box.ratio) == (8.5, 2.0, 4.25) and box.overlapping == [('A', 'C')]
    assert spread({'A': [1.0, 1.0], 'B': [2.0, 2.0]}).ratio == float('inf')
    # Without two seeds, or two backbones, there is nothing to say.
    assert spread({'A': [30.0], 'B': [40.0]}) is None
    assert spread({'A': [30.0, 31.0]}) is None


def records_of(*aps, **fields):
    """Two backbones with all that the report needs."""
    records = list(aps)
    for name, giga, median in (('net_a', 10, 20.0), ('net_b', 11, 40.0)):
        count = made_up.complexity(name, giga)
        count['parts'] = dict(backbone=dict(params=9_000_000, flops_full=giga * 10**9))
        records.append(count)
        records += [made_up.latency(name, median, scope=scope, **fields) for scope in SCOPES]
    return Records(made_up.CPU, records=records)


def ap(row, box, seed, day=1):
    curves = dict(loss=[[1, 3.0], [2, 100 - box]], box_ap=[[1, 10.0], [2, box]], mask_ap=[[1, 9.0], [2, box - 1]])
    return made_up.ap(row, box, box - 2, day, seed=seed, epochs=2, curves=curves)


TWO_SEEDS = [ap('net_a', 50.0, 0), ap('net_b', 60.0, 0), ap('net_a', 52.0, 1), ap('net_b', 61.0, 1)]


def test_report_of_two_seeds(tmp_path):
    written = write_trained(records_of(*TWO_SEEDS), [], tmp_path)
    assert set(written) == {
        'compare_trained.md',
        'index.html',
        *(f'{name}.png' for name in ('compare_trained', 'curves', 'flops_latency')),
    }
    page = written['compare_trained.md'].read_text()
    cells = 'net_a', '51.0 (50.0 – 52.0)', '49.0 (48.0 – 50.0)', '9.0', '50.0', '10.00', '26.00', '20.0', '20.0', '20.0'
    assert tables(page)[0][1] == list(cells)
    assert 'span 9.5 points' in page and 'at most 2.0' in page and 'ratio is 4.8, at least the 3' in page
    assert 'net_a and net_b, with 10.00 and 11.00 G multiply-adds, take 20.0 and 40.0 ms: 2.00 times as long.' in page
    assert 'net_b achieves 275 G multiply-adds per second and net_a 500, 1.8 times as many' in page
    # The page has the means, and nothing that others published.
    html = written['index.html'].read_text()
    assert '"box_range": [50.0, 52.0]' in html and 'mean of the seeds 0, 1' in html
    assert 'RTX 2080 Ti, Table 4' not in html and 'FasterNet-S' not in html


def test_records_of_others_are_drawn_beside(undrawn, tmp_path):
    gpu = Records(made_up.GPU, records=records_of(*TWO_SEEDS, device='cuda:0').records)
    gpu.records += [made_up.latency('net_c', 5.0, device='cuda:0'), ap('net_a', 99.0, 0, day=9)]
    html = write_trained(records_of(*TWO_SEEDS), [gpu], tmp_path)['index.html'].read_text()
    # Their latencies of the same backbones, but neither their AP nor other backbones.
    assert 'NVIDIA Some GPU: backbone' in html and '"box_ap": 99.0' not in html
    assert 'net_c' not in html
    alone, beside = (trained_page(records_of(*TWO_SEEDS), others) for others in ([], [gpu]))
    assert tables(alone) == tables(beside)


def test_the_newest_latencies_stand_in_the_table():
    records = records_of(*TWO_SEEDS)
    records.records += [made_up.latency('net_a', 7.0, day=2, threads=1, scope=scope) for scope in SCOPES]
    page = trained_page(records)
    assert [line[-3:] for line in tables(page)[0][1:]] == [['7.00'] * 3, [''] * 3]
    assert 'Some CPU, 1 thread, ' in page


def test_a_tie_of_latencies_is_said():
    text = trained_page(records_of(*TWO_SEEDS))
    assert 'a tie' not in text
    records = records_of(*TWO_SEEDS)
    for record in records.of_kind('latency', row='net_b'):
        record.update(median_ms=20.9, quartiles_ms=[20.8, 21.0])
    assert 'take 20.0 and 20.9 ms: 1.04 times as long, a tie' in trained_page(records)


def test_report_of_one_seed_says_what_it_lacks():
    page = trained_page(records_of(*TWO_SEEDS[:2]))
    assert page.count('one seed alone says nothing') == 2
    assert tables(page)[0][2][:2] == ['net_b', '60.0']


def test_one_backbone_that_fails_does_not_tell_the_others_apart():
    text = verdict({'A': [50.0, 51.0], 'B': [52.0, 53.0], 'C': [10.0, 10.0]}, 'box')
    assert 'The ratio is 42.5, at least the 3' in text
    assert 'due to C alone: without it the ratio is 2.0, **less than 3**' in text
    # Twice as far apart as the ratio asks for.
    text = verdict({name: [base, base + 1.0] for name, base in dict(A=50, B=56, C=10).items()}, 'box')
    assert 'Without C, the lowest, it is 6.0.' in text


def test_seeds_that_overlap_are_named():
    page = trained_page(
        records_of(ap('net_a', 50.0, 0), ap('net_b', 51.0, 0), ap('net_a', 52.0, 1), ap('net_b', 53.0, 1))
    )
    assert 'The ratio is 0.5, **less than** the 3' in page
    assert 'the order stays open, for net_a and net_b.' in page


def test_seeds_are_merged_into_their_mean():
    merged = merge_seeds(records_of(*TWO_SEEDS)).of_kind('ap')
    assert [(record['box_ap'], record['mask_range']) for record in merged] == [
        (51.0, [48.0, 50.0]),
        (60.5, [58.0, 59.0]),
    ]


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(UserError, match='nothing to draw'):
        write_trained(records_of(), [], tmp_path)


def test_records_of_another_budget_are_refused():
    (run,) = TrainingPlan((FIRST,), seeds=(0,), out_dir='nowhere').runs()
    record = dict(kind='ap', row=FIRST.name, **run.budget())
    assert is_recorded(run, Records({}, records=[record]))
    assert not is_recorded(run, Records({}, records=[dict(record, seed=1)]))
    with pytest.raises(UserError, match="another budget .*'epochs': 1.*--out-dir"):
        is_recorded(run, Records({}, records=[dict(record, epochs=1)]))
    options = {'optim_wrapper.optimizer.lr': 0.1, 'data_root': 'elsewhere/'}
    (faster,) = TrainingPlan((FIRST,), (0,), 'nowhere', options).runs()
    with pytest.raises(UserError, match="another budget .*now it is .*'optim_wrapper.optimizer.lr': 0.1"):
        is_recorded(faster, Records({}, records=[record]))


@pytest.mark.parametrize('trust', [False, True])
def test_trust_reaches_training_and_test(trust):
    (run,) = TrainingPlan((FIRST,), seeds=(0,), out_dir='nowhere', trust_checkpoint=trust).runs()
    for command in (run.train_command(), run.test_command()):
        assert ('--trust-checkpoint' in command) == trust


def test_a_plan_of_nothing_is_refused():
    with pytest.raises(UserError, match='at least one backbone and one seed'):
        TrainingPlan((FIRST,), seeds=(), out_dir='nowhere')


def test_two_backbones_of_one_name_are_refused():
    with pytest.raises(UserError, match='two backbones .*FasterNet-T0'):
        TrainingPlan((FIRST, find_row('fasternet_t0')), seeds=(0,), out_dir='nowhere')


def test_one_at_a_time(tmp_path, capsys):
    """What another process holds, as the training of a killed run does, is waited for."""
    command = ['flock', tmp_path / 'lock', 'sh', '-c', 'echo held; sleep 1; echo over']
    (tmp_path / 'lock').touch()
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b'held\n'
    with training_lock(tmp_path):
        assert holder.stdout.read() == b'over\n'
    assert capsys.readouterr().out == f'waiting for its end: another process trains in {tmp_path}\n'
    holder.wait()


def test_a_folder_that_can_not_be_written_is_one_message():
    with pytest.raises(UserError, match='/dev/null/out'), training_lock('/dev/null/out'):
        pass


def test_a_failing_training_ends_with_its_last_words(tmp_path, monkeypatch):
    words = [sys.executable, '-c', 'print("first"); print("error: the disk is full"); raise SystemExit(3)']
    monkeypatch.setattr(Launcher, 'train', lambda *_: words)
    for name in ('generate_data', 'measure_latencies'):
        monkeypatch.setattr(f'mmfasternet.benchmark.comparison.trained.{name}', lambda *_: None)
    with pytest.raises(UserError, match='FasterNet-T0, seed 0 .* 3: error: the disk is full .*train.log'):
        measure_trained(TrainingPlan((FIRST,), seeds=(0,), out_dir=tmp_path), Protocol(shape=(64, 96)))


def test_a_training_of_other_settings_is_not_taken(tmp_path, monkeypatch):
    """Killed between training and test, and started with other options: nothing is recorded of the former."""
    for name in ('generate_data', 'count_missing', 'measure_latencies'):
        monkeypatch.setattr(f'mmfasternet.benchmark.comparison.trained.{name}', lambda *_: None)
    monkeypatch.setattr(Launcher, 'train', lambda *_: [sys.executable, '-c', 'raise SystemExit(3)'])
    plan = TrainingPlan((FIRST,), (0,), tmp_path, {'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.lr': 0.02})
    (run,) = plan.runs()
    run.claim()
    (run.folder / 'epoch_1.pth').touch()
    changed = replace(plan, options=plan.options | {'optim_wrapper.optimizer.lr': 123.0})
    with pytest.raises(UserError, match=r'optimizer\.lr was 0\.02 and is now 123\.0.*remove that folder'):
        measure_trained(changed, Protocol(shape=(64, 96)))
    assert not Records.read(tmp_path / 'records.json').records
    (run.folder / 'budget.json').unlink()
    with pytest.raises(UserError, match='epoch_1.pth was trained with unknown settings'):
        measure_trained(plan, Protocol(shape=(64, 96)))


@pytest.mark.slow
def test_interrupted_and_killed_it_resumes(tmp_path):
    """Ctrl-C in the training, then SIGKILL of the program alone, then to the end: nothing twice, nothing missing."""
    command = [sys.executable, TOOL, '--quick', '--rows', FIRST.name]
    command += ['--cfg-options', 'train_cfg.max_epochs=6', 'default_hooks.checkpoint.max_keep_ckpts=6']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1'}
    folder = tmp_path / 'work_dirs/compare_trained_quick/seed_0' / FIRST.name

    def start():
        return subprocess.Popen(
            list(map(str, command)),
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell ignores Ctrl-C for what it runs in the background, and a child would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            text=True,
        )

    def start_until(once):
        process = start()
        while not (folder / once).exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        return process

    process = start_until('epoch_1.pth')
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate()[0]
    assert process.returncode == 1 and 'interrupted; the same command resumes' in output
    assert not (folder / 'epoch_6.pth').exists()
    process = start_until('epoch_2.pth')
    # The training halts until the next call waits for it, however slowly that starts.
    (training,) = map(int, Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split())
    os.killpg(training, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    last = start()
    said = next(line for line in last.stdout if 'waiting for' in line or 'error' in line)
    os.killpg(training, signal.SIGCONT)
    output = said + last.communicate()[0]
    assert last.returncode == 0 and 'waiting for' in said, output

    records = Records.read(tmp_path / 'work_dirs/compare_trained_quick/records.json').records
    assert [record['kind'] for record in records] == ['complexity', *['latency'] * 3, 'ap']
    assert [len(record['rounds']) for record in records if record['kind'] == 'latency'] == [1, 1, 1]
    curves = records[-1]['curves']
    assert records[-1]['epochs'] == 6 and [step for step, _ in curves['loss']] == list(range(1, 13))
    # The validation of epoch 1 comes after its checkpoint, and may have been cut off.
    assert [step for step, _ in curves['box_ap']][-5:] == [2, 3, 4, 5, 6]
    # Two trainings: from the beginning, and from the first epoch on.
    assert len(list(folder.glob('2*/vis_data'))) == 2


@pytest.mark.slow
def test_dry_run_resolves_every_step_on_coco(tmp_path):
    """The generated images under COCO's names stand for COCO."""
    root = make_shapes(tmp_path / 'coco', num_train=2, num_val=1)
    for split in ('train', 'val'):
        (root / split).rename(root / f'{split}2017')
        (root / f'annotations/instances_{split}.json').rename(root / f'annotations/instances_{split}2017.json')
    command = [TOOL, '--data', 'coco', '--dry-run', '--data-root', root, '--seeds', 2]
    found = succeed(*command, '--device', 'cpu', '--launcher', 'pytorch', '--gpus', 8)
    lines = found.stdout.splitlines()
    assert lines[-1] == 'nothing is missing'
    commands = [line for line in lines if line.startswith('bash')]
    assert len(commands) == 2 * 2 * len(BUILT_ROWS)
    assert f'tools/dist_train.sh {ROOT}/configs/mask_rcnn_fasternet_s.py 8 --work-dir ' in found.stdout
    assert 'work_dirs/compare_trained_coco/seed_1/fasternet_s/epoch_12.pth 8' in found.stdout
    assert all('--auto-scale-lr' in line for line in commands if 'dist_train.sh' in line)
    assert not (ROOT / 'work_dirs/compare_trained_coco').exists()

    (root / 'annotations/instances_val2017.json').unlink()
    found = run_tool(
        *command, '--rows', 'fasternet_s', '--launcher', 'slurm', '--partition', 'gpu', PATH='/usr/bin:/bin'
    )
    assert found.returncode == 1
    assert 'srun is not on the PATH' in found.stderr
    assert 'FasterNet-S, data for val' in found.stderr and 'instances_val2017.json missing' in found.stderr
    assert ("device 'cuda:0' cannot be used here" in found.stderr) != torch.cuda.is_available()
    assert 'slurm_train.sh gpu fasternet_s' in found.stdout
