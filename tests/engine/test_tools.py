"""The command lines from end to end, on a dozen images."""

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.golden import golden_state_dict
from helpers.project import ROOT, run_tool, succeed
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO

from mmfasternet import FasterNet
from mmfasternet.datasets import find_images
from mmfasternet.errors import UserError
from mmfasternet.predictions import to_coco

TOOLS = ROOT / 'tools'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, shapes_root) -> tuple[Path, Path]:
    """A config and a checkpoint of one epoch on the tiny images."""
    folder = tmp_path_factory.mktemp('trained')
    config = ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'
    options = [f'data_root={shapes_root}', 'train_cfg.max_epochs=1', 'train_dataloader.batch_size=4']
    succeed(TOOLS / 'train.py', config, '--work-dir', folder, '--cfg-options', *options)
    return folder / 'mask_rcnn_fasternet_t0_shapes.py', folder / 'epoch_1.pth'


# Few detections survive one epoch of training, so all are kept.
ALL_DETECTIONS = ('--cfg-options', 'model.test_cfg.rcnn.score_thr=0.0')


def metrics_in(work_dir: Path) -> dict:
    return json.loads(next(work_dir.glob('*/*.json')).read_text())


@pytest.fixture(scope='module')
def tested(trained, tmp_path_factory) -> Path:
    """The work dir of a test in one process, with the predictions."""
    work_dir = tmp_path_factory.mktemp('tested')
    out = ('--out', work_dir / 'predictions.pkl')
    done = succeed(TOOLS / 'test.py', *trained, '--work-dir', work_dir, *out, *ALL_DETECTIONS)
    assert 'coco/bbox_mAP' in done.stdout and 'coco/segm_mAP' in done.stdout
    return work_dir


@pytest.mark.slow
def test_test_reports_ap_and_dumps_predictions(tested):
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= set(metrics_in(tested))
    assert (tested / 'predictions.pkl').stat().st_size > 0


@pytest.mark.slow
def test_a_test_leaves_the_config_of_the_training_alone(trained, tmp_path):
    """In the same work dir, where the training has dumped a config of the same name."""
    dumped, checkpoint = trained
    config = tmp_path / dumped.name
    shutil.copy(dumped, config)
    before = config.read_text()
    option = 'model.test_cfg.rcnn.score_thr=0.9'
    succeed(TOOLS / 'test.py', dumped, checkpoint, '--work-dir', tmp_path, '--cfg-options', option)
    assert config.read_text() == before
    (of_the_test,) = tmp_path.glob(f'*/{config.name}')
    assert Config.fromfile(of_the_test).model.test_cfg.rcnn.score_thr == 0.9


@pytest.mark.slow
def test_two_processes_report_the_ap_of_one(trained, tested, tmp_path):
    succeed(TOOLS / 'dist_test.sh', *trained, 2, '--work-dir', tmp_path, *ALL_DETECTIONS, PORT='29777')
    found = metrics_in(tmp_path)
    for key, value in metrics_in(tested).items():
        if key.startswith('coco/'):
            assert found[key] == pytest.approx(value, abs=1e-6), key


@pytest.mark.slow
def test_flip_tta_and_drawing(trained, mistake_of, tmp_path):
    config, checkpoint = trained
    refused = mistake_of(TOOLS / 'test.py', config, checkpoint, '--work-dir', tmp_path, '--tta')
    assert refused.startswith('error: --tta works for detectors without masks')
    boxes_alone = [
        'model.roi_head.mask_head=None',
        'model.roi_head.mask_roi_extractor=None',
        'test_evaluator.metric=bbox',
    ]
    succeed(
        *(TOOLS / 'test.py', config, checkpoint, '--work-dir', tmp_path, '--tta', '--show-dir', 'drawn'),
        *('--cfg-options', *boxes_alone),
    )
    assert len(list(tmp_path.glob('*/drawn/*.png'))) > 0


@pytest.mark.slow
def test_image_demo_draws_and_writes_coco(trained, shapes_root, tmp_path):
    config, checkpoint = trained
    out = tmp_path / 'out'
    succeed(TOOLS / 'image_demo.py', shapes_root / 'val', config, checkpoint, '--out-dir', out, '--score-thr', 0)
    assert len(list((out / 'vis').iterdir())) == 6
    coco = COCO(out / 'predictions.json')
    assert [image['file_name'] for image in coco.dataset['images']] == [f'00000{i}.png' for i in range(1, 7)]
    assert {category['name'] for category in coco.dataset['categories']} == set(
        Config.fromfile(config).test_dataloader.dataset.metainfo.classes
    )
    annotation = coco.dataset['annotations'][0]
    assert coco.annToMask(annotation).shape == (96, 128) and 0 <= annotation['score'] <= 1


def test_predictions_become_a_coco_data_set():
    images = {Path('a.png'): (8, 6), Path('b.png'): (4, 4)}
    predictions = [
        dict(labels=[1, 0], scores=[0.9, 0.2], bboxes=[[1, 2, 4, 6], [0, 0, 1, 1]]),
        dict(labels=[], scores=[], bboxes=[]),
    ]
    coco = to_coco(predictions, images, ('cat', 'dog'), score_thr=0.3)
    assert [(image['id'], image['width'], image['height']) for image in coco['images']] == [(1, 8, 6), (2, 4, 4)]
    assert coco['categories'] == [dict(id=1, name='cat'), dict(id=2, name='dog')]
    assert coco['annotations'] == [
        dict(id=1, image_id=1, category_id=2, iscrowd=0, bbox=[1, 2, 3, 4], area=12, score=0.9)
    ]


def test_find_images_names_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match='no image in'):
        find_images(tmp_path)
    (tmp_path / 'broken.png').write_bytes(b'no image')
    with pytest.raises(UserError, match='broken.png cannot be read as an image'):
        find_images(tmp_path / 'broken.png')
    assert find_images(tmp_path) == [tmp_path / 'broken.png']


def run_here(tool: Path, *arguments: object) -> None:
    """Run a tool in this process, which saves the time of its imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [str(tool), *map(str, arguments)])
        runpy.run_path(str(tool), run_name='__main__')


@pytest.mark.parametrize('run, suffix', [(succeed, '.pth'), (run_here, '.safetensors')])
def test_convert_checkpoint_keeps_the_weights_alone(tmp_path, run, suffix):
    weights = golden_state_dict('t0', 'classification')
    source, target = tmp_path / 'trained.pth', tmp_path / f'small{suffix}'
    optimizer = dict(state={0: dict(exp_avg=torch.rand(1000, 1000))})
    torch.save(dict(model={f'module.{key}': value for key, value in weights.items()}, optimizer=optimizer), source)
    run(TOOLS / 'convert_checkpoint.py', source, target)
    assert target.stat().st_size < source.stat().st_size - 4_000_000
    model = FasterNet('t0', init_cfg=dict(type='Pretrained', checkpoint=str(target)))
    model.init_weights()
    loaded = model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items() if key in loaded)
    assert not list(tmp_path.glob('*.part'))


def test_convert_checkpoint_to_timm_says_how_timm_loads_it(tmp_path, capsys):
    torch.save(golden_state_dict('t0'), tmp_path / 'trained.pth')
    target = tmp_path / 'for_timm.safetensors'
    run_here(TOOLS / 'convert_checkpoint.py', tmp_path / 'trained.pth', target, '--to', 'timm')
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(f'{target}: 128 entries, ')
    assert others[0].startswith('left out: norm0, norm2, norm4, norm6')
    assert others[1].startswith("feature maps: timm.create_model('fasternet_t0', features_only=True")


@pytest.mark.parametrize(
    'tool, args, message',
    [
        ('train.py', ['absent.py'], 'error: config absent.py does not exist'),
        ('test.py', ['absent.py', 'x.pth'], 'error: config absent.py does not exist'),
        ('convert_checkpoint.py', ['absent.pth', 'x.pth'], 'error: checkpoint absent.pth'),
        ('convert_checkpoint.py', ['{golden}', 'x.txt'], 'error: x.txt must end in .pth or .safetensors'),
        ('convert_checkpoint.py', ['{golden}', '/dev/null/x.pth'], 'error: cannot write /dev/null/x.pth'),
        ('image_demo.py', ['absent.png', '{config}', 'x.pth'], 'error: absent.png cannot be read as an image'),
        (
            'image_demo.py',
            [ROOT / 'docs/demo_sheet.png', '{config}', 'x.pth', '--device', 'abacus'],
            "error: device 'abacus' cannot be used here",
        ),
        ('test.py', ['{config}', 'x.pth'], 'error: no data at'),
        ('test.py', ['{config}', 'x.pth', '--cfg-options', 'test_cfg=None'], 'error: the config has no test_cfg, so'),
        ('train.py', ['{golden}'], 'error: {golden} is not a config: it must be a .py'),
        ('train.py', ['{config}', '--cfg-options', 'load_form=x'], 'error: --cfg-options load_form: the config has no'),
        ('train.py', ['{config}', '--cfg-options', 'resume=x.pth'], "error: resume must be true, false or 'auto'"),
        ('test.py', ['{config}', 'x.pth', '--cfg-options', 'model=x'], "error: model must be a dict, but got 'x'"),
        ('image_demo.py', ['a.png', '{config}', 'x.pth', '--cfg-options', 'model.tst_cfg=1'], 'error: --cfg-options'),
    ],
)
def test_mistakes_end_in_one_message(tool, args, message, mistake_of, tmp_path, monkeypatch):
    torch.save(golden_state_dict('t0'), tmp_path / 'golden.pth')
    names = dict(golden=tmp_path / 'golden.pth', config=ROOT / 'configs/mask_rcnn_fasternet_t0.py')
    monkeypatch.chdir(tmp_path)
    found = mistake_of(TOOLS / tool, *(str(arg).format(**names) for arg in args))
    assert found.startswith(message.format(**names))


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'image_demo.py'])
def test_an_option_without_a_value_is_a_message_of_argparse(tool, mistake_of, capsys):
    files = {'train.py': [], 'test.py': ['x.pth'], 'image_demo.py': ['x.py', 'x.pth']}[tool]
    assert mistake_of(TOOLS / tool, 'x.py', *files, '--cfg-options', 'data_root') == '2'
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{tool}: error: argument --cfg-options: 'data_root' is not KEY=VALUE")


def test_a_mistake_is_all_that_a_command_prints_of_it():
    done = run_tool(TOOLS / 'train.py', 'absent.py')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert done.stderr.splitlines()[-1].startswith('error: config absent.py does not exist')


def test_absent_coco_is_one_message(mistake_of, tmp_path, monkeypatch):
    monkeypatch.setenv('MMDET_DATASETS', str(tmp_path / 'coco'))
    message = mistake_of(
        TOOLS / 'train.py',
        ROOT / 'configs/mask_rcnn_fasternet_t0.py',
        *('--work-dir', tmp_path / 'work', '--cfg-options', 'model.backbone.init_cfg=None'),
    )
    assert message.startswith(f'error: no data at {tmp_path / "coco"}: it must hold annotations/instances_train2017')
    for word in ('train2017/', 'MMDET_DATASETS', '--cfg-options data_root', 'make demo'):
        assert word in message


@pytest.mark.slow
def test_without_mmcvs_ops_and_torchvision_the_backbone_works_and_tools_name_the_fix(tmp_path):
    """mmcv-lite is mmcv without its module of compiled operators."""
    (tmp_path / 'sitecustomize.py').write_text(
        "import sys\nsys.modules['mmcv._ext'] = sys.modules['torchvision'] = None\n"
    )
    environment = dict(PYTHONPATH=str(tmp_path))
    backbone = tmp_path / 'backbone.py'
    backbone.write_text(
        'import torch\nfrom mmfasternet import FasterNet\n'
        "print(len(FasterNet('t0').eval()(torch.rand(1, 3, 64, 64))))\n"
    )
    assert run_tool(backbone, **environment).stdout.strip() == '4'
    for tool, args in (('train.py', ['x.py']), ('test.py', ['x.py', 'x.pth']), ('image_demo.py', ['a', 'b', 'c'])):
        done = run_tool(TOOLS / tool, *args, **environment)
        assert done.returncode == 1 and 'Traceback' not in done.stderr
        assert 'error: mmcv has no compiled operators' in done.stderr and 'torchvision that fits torch' in done.stderr


@pytest.mark.parametrize('script', sorted(TOOLS.glob('*.sh')), ids=lambda path: path.name)
def test_shell_scripts_say_how_they_are_used(script):
    done = subprocess.run([script], capture_output=True, text=True)
    assert done.returncode != 0 and f'usage: {script.name}' in done.stderr


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Callable[..., tuple[int, list[list[str]]]]:
    """Run a script with an srun that ends with the given statuses, one after the other; and what it was called with."""
    (tmp_path / 'bin').mkdir()
    for name in ('srun', 'scontrol'):
        fake = tmp_path / 'bin' / name
        fake.write_text(
            '#!/bin/bash\n'
            f'printf "%s\\0" {name} "$@" >> {tmp_path}/calls; printf "\\n" >> {tmp_path}/calls\n'
            f'[ {name} = scontrol ] || exit "$(sed -n "$(wc -l < {tmp_path}/calls)p" {tmp_path}/statuses)"\n'
        )
        fake.chmod(0o755)
    monkeypatch.delenv('SLURM_JOB_ID', raising=False)

    def run(script: str, *arguments: str, statuses: tuple[int, ...] = (0,), **environment: str):
        (tmp_path / 'calls').unlink(missing_ok=True)
        (tmp_path / 'statuses').write_text('\n'.join(map(str, statuses)) + '\n')
        environment |= dict(PATH=f'{tmp_path}/bin:/usr/bin:/bin', GPUS='16', PYTHON='python3')
        done = run_tool(TOOLS / script, *arguments, cwd=tmp_path, **environment)
        calls = (tmp_path / 'calls').read_text().splitlines()
        return done.returncode, [call.rstrip('\0').split('\0') for call in calls]

    return run


TRAIN = ('slurm_train.sh', 'gpu', 'job', 'my config.py', 'work')


def test_slurm_scripts_hand_on_their_arguments(slurm):
    status, [words] = slurm(*TRAIN, '--resume', SRUN_ARGS='--qos normal')
    assert status == 0 and words[0] == 'srun' and '--ntasks=16' in words
    assert words[words.index('--qos') + 1] == 'normal'
    assert words[-6:] == ['my config.py', '--work-dir', 'work', '--launcher', 'slurm', '--resume']
    assert not [word for word in words if word.startswith('--signal')]
    _, [words] = slurm('slurm_test.sh', 'gpu', 'job', 'c.py', 'w.pth', '--tta')
    assert words[-5:] == ['c.py', 'w.pth', '--launcher', 'slurm', '--tta']


@pytest.mark.parametrize('arguments', [TRAIN, ('slurm_test.sh', 'gpu', 'job', 'c.py', 'w.pth')], ids=lambda a: a[0])
def test_a_list_of_nodes_is_no_pattern_for_files(slurm, tmp_path, arguments):
    (tmp_path / '--exclude=node1').touch()
    _, [words] = slurm(*arguments, SRUN_ARGS='--exclude=node[1-3]')
    assert '--exclude=node[1-3]' in words


def test_requeue_resumes_what_was_told_to_stop(slurm):
    script, *arguments = TRAIN
    status, calls = slurm(script, '--requeue', *arguments, '--amp', statuses=(138, 143, 0), SIGNAL_S='300')
    assert status == 0 and len(calls) == 3
    for words in calls:
        assert '--signal=USR1@300' in words and words[-2:] == ['--amp', '--resume']
    status, [words] = slurm(script, '--requeue', *arguments, statuses=(1,))
    assert status == 1 and '--signal=USR1@120' in words
    status, calls = slurm(*TRAIN, statuses=(138,))
    assert status == 138 and len(calls) == 1


@pytest.mark.parametrize('arguments', [['--resume', 'epoch_1.pth'], ['--resume=epoch_1.pth', '--amp']])
def test_requeue_refuses_to_resume_the_same_file_each_time(arguments):
    done = run_tool(TOOLS / 'slurm_train.sh', '--requeue', *TRAIN[1:], *arguments)
    assert done.returncode == 1 and done.stderr.startswith('error: --requeue resumes from the newest checkpoint')


def test_requeue_in_a_batch_job_requeues_the_job(slurm):
    script, *arguments = TRAIN
    status, calls = slurm(script, '--requeue', *arguments, statuses=(138,), SLURM_JOB_ID='42')
    assert status == 0 and calls[1:] == [['scontrol', 'requeue', '42']]
    status, calls = slurm(script, '--requeue', *arguments, statuses=(0,), SLURM_JOB_ID='42')
    assert status == 0 and len(calls) == 1


@pytest.fixture
def torchrun(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Run tools/dist_train.sh with a Python that prints its arguments."""
    fake = tmp_path / 'python'
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "PET_MAX_RESTARTS=$PET_MAX_RESTARTS" "$@"\n')
    fake.chmod(0o755)
    return lambda *arguments, **environment: run_tool(TOOLS / 'dist_train.sh', *arguments, PYTHON=fake, **environment)


def test_dist_train_describes_the_machines_to_torchrun(torchrun):
    words = torchrun('c.py', '2', '--amp').stdout.splitlines()
    assert words[:3] == ['PET_MAX_RESTARTS=0', '-m', 'mmfasternet.engine.elastic'] and words[-4:] == [
        'c.py',
        '--launcher',
        'pytorch',
        '--amp',
    ]
    assert {'--nnodes=1', '--node_rank=0', '--master_addr=127.0.0.1', '--master_port=29500'} < set(words)
    machines = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='host', PORT='1234')
    words = torchrun('c.py', '8', **machines).stdout.splitlines()
    assert {'--nnodes=2', '--node_rank=1', '--master_addr=host', '--master_port=1234'} < set(words)
    restarts = ('--resume', '--amp')
    words = torchrun('c.py', '8', *restarts, NNODES='1:4', RDZV='host:29400', MAX_RESTARTS='3').stdout.splitlines()
    assert {'--nnodes=1:4', '--rdzv_backend=c10d', '--rdzv_endpoint=host:29400', 'PET_MAX_RESTARTS=3'} < set(words)
    assert '--node_rank=0' not in words


@pytest.mark.parametrize(
    ('arguments', 'environment', 'message'),
    [
        ('', dict(MAX_RESTARTS='3'), 'error: MAX_RESTARTS=3 needs --resume, without a file'),
        ('--resume epoch_1.pth', dict(MAX_RESTARTS='3'), 'error: MAX_RESTARTS=3 needs --resume, without a file'),
        ('--resume=epoch_1.pth', dict(MAX_RESTARTS='3'), 'error: MAX_RESTARTS=3 needs --resume, without a file'),
        ('', dict(NNODES='1:2'), 'error: NNODES=1:2 needs RDZV=HOST:PORT'),
    ],
)
def test_dist_train_refuses_what_would_lose_work_or_find_nobody(torchrun, arguments, environment, message):
    done = torchrun('c.py', '2', *arguments.split(), **environment)
    assert done.returncode == 1 and done.stderr.startswith(message) and not done.stdout


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh'])
def test_slurm_arguments_are_no_patterns_of_files(tmp_path, monkeypatch, script):
    fake = tmp_path / 'srun'
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    (tmp_path / '--exclude=node1').touch()
    environment = dict(PATH=f'{tmp_path}:/usr/bin:/bin', PYTHON='python3', SRUN_ARGS='--exclude=node[1-3]  --qos=a')
    monkeypatch.chdir(tmp_path)
    done = run_tool(TOOLS / script, 'gpu', 'job', 'c.py', 'work', **environment)
    assert {'--exclude=node[1-3]', '--qos=a'} <= set(done.stdout.split())


class Opened:
    """What only a trusted checkpoint may build."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'image_demo.py', 'export.py'])
def test_every_tool_refuses_a_checkpoint_and_can_trust_it(tool, mistake_of, tmp_path, shapes_root, tiny_config):
    """Trusted, it is read, which then shows that it does not fit."""
    if tool == 'export.py':
        pytest.importorskip('onnxruntime')
        if torch.__version__ < (2, 6):
            pytest.skip('the export is tested with the default package set alone')
    checkpoint, opened = tmp_path / 'pickled.pth', tmp_path / 'opened'
    torch.save(dict(state_dict=dict(weight=torch.ones(1)), extra=Opened(opened)), checkpoint)
    arguments = {
        'train.py': [tiny_config, '--cfg-options', f'load_from={checkpoint}'],
        'test.py': [tiny_config, checkpoint],
        'image_demo.py': [shapes_root / 'val', tiny_config, checkpoint, '--device', 'cpu', '--out-dir', tmp_path],
        'export.py': [tiny_config, '--checkpoint', checkpoint, '--out', tmp_path / 'detector.onnx'],
    }[tool]
    message = mistake_of(TOOLS / tool, *arguments)
    assert '--trust-checkpoint' in message and not opened.exists()
    message = mistake_of(TOOLS / tool, *arguments, '--trust-checkpoint')
    assert 'does not fit' in message and opened.exists()


def test_make_shapes_makes_the_demos_data(monkeypatch, tmp_path):
    """Without arguments, so that it never replaces the data of the demo by other data."""
    made = {}
    monkeypatch.setattr('mmfasternet.datasets.make_shapes', lambda root, *given: made.update(root=root, given=given))
    monkeypatch.setattr('mmfasternet.datasets.statistics_table', lambda root: '')
    monkeypatch.setattr(sys, 'argv', ['make_shapes.py'])
    runpy.run_path(str(TOOLS / 'data/make_shapes.py'), run_name='__main__')
    cfg = Config.fromfile(ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py')
    names = ('num_train', 'num_val', 'size', 'difficulty', 'seed')
    assert Path(made['root']) == Path(cfg.data_root)
    assert dict(zip(names, made['given'], strict=True)) == dict(cfg.shapes, size=tuple(cfg.shapes['size']))


def test_make_shapes_refuses_bad_numbers(mistake_of, tmp_path):
    assert 'num_train must be at least 1' in mistake_of(
        TOOLS / 'data/make_shapes.py', tmp_path / 'shapes', '--num-train', 0
    )


@pytest.mark.slow
def test_released_detector_of_mmdet_2_works_everywhere(trained, shapes_root, tmp_path):
    """A file of the form of the released Mask R-CNNs: upper-case CLASSES and a config string in meta."""
    config, checkpoint = trained
    weights = torch.load(checkpoint, map_location='cpu', weights_only=False)['state_dict']
    released = tmp_path / 'mask_rcnn_fasternet.pth'
    classes = tuple(Config.fromfile(config).test_dataloader.dataset.metainfo.classes)
    meta = dict(env_info='sys.platform: linux', config="model = dict(type='MaskRCNN')", seed=None, epoch=12, iter=87960)
    meta.update(mmdet_version='2.25.0', time='Fri Nov 11 06:34:19 2022', CLASSES=classes, hook_msgs={})
    torch.save(dict(meta=meta, state_dict=weights), released)
    tested = succeed(TOOLS / 'test.py', config, released, '--work-dir', tmp_path / 'test')
    assert 'coco/segm_mAP' in tested.stdout

    from mmdet.apis import DetInferencer, inference_detector, init_detector

    photo = np.asarray(Image.open(shapes_root / 'val/000001.png'))
    detector = init_detector(str(config), str(released), device='cpu')
    assert tuple(detector.dataset_meta['classes']) == classes
    found = inference_detector(detector, photo[..., ::-1].copy()).pred_instances
    result = DetInferencer(str(config), str(released), device='cpu')(photo[..., ::-1].copy())['predictions'][0]
    assert result['scores'] == pytest.approx(found.scores.tolist(), abs=1e-4)
