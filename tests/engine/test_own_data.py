"""The guide for people with their own data: its configs and commands, read from the page and run on a few images."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from helpers.golden import golden_state_dict
from helpers.project import ROOT, run_in_process, succeed
from mmengine.registry import MODELS, init_default_scope

from mmfasternet.engine.config import load_config

# In a process of its own: trainings, drawings and exports follow each other in it.
pytestmark = pytest.mark.guide
# What makes it a matter of minutes.
SMALLER = {
    # Six training images contain all classes; one that no image contains would not be one.
    '--num-train 200 --num-val 40': '--num-train 6 --num-val 6 --size 96 128',
    'configs/mask_rcnn_fasternet_s.py': 'configs/mask_rcnn_fasternet_t0.py',
    'image_size = (1333, 800)': 'image_size = (128, 96)',
    'max_epochs = 12': 'max_epochs = 1',
    'epoch_12.pth': 'epoch_1.pth',
    'dist_train.sh my_detector.py 8': 'dist_train.sh my_detector.py 2',
    '--train --budget 20m': '--train',
    'epoch_40.pth': 'epoch_4.pth',
    'train.py data/yolo/config.py': 'train.py data/yolo/config.py --cfg-options train_cfg.max_epochs=1',
}

# RoIAlign takes most of an iteration on a CPU.
FEWER_PROPOSALS = """
fewer = dict(max_per_img=50)
model.update(train_cfg=dict(rpn_proposal=fewer, rcnn=dict(sampler=dict(num=32))), test_cfg=dict(rpn=fewer))
"""


def read_guide() -> tuple[dict[str, str], list[str]]:
    """The configs by file name, and the commands in their order: one command, and then the same by hand."""
    text = '\n'.join((ROOT / f'docs/{page}.md').read_text() for page in ('own_data', 'own_data_by_hand'))
    for words, smaller in SMALLER.items():
        assert words in text
        text = text.replace(words, smaller)
    blocks = re.findall(r'^```(\w+)\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    configs = {re.match(r'# (\S+\.py)\n', code)[1]: code for language, code in blocks if language == 'python'}
    shell = ''.join(code for language, code in blocks if language == 'shell').replace('\\\n', ' ')
    return configs, shell.splitlines()


CONFIGS, COMMANDS = read_guide()


def release(url: str, path: Path, expected: str) -> None:
    """In place of the authors' Mask R-CNN, a T0 of the same form, and in place of their ImageNet file another."""
    if url.endswith('/v1.0/fasternet_s-epoch.299-val_acc1.81.2840.pth'):
        torch.save(golden_state_dict('s', 'classification'), path)
        return
    assert url.endswith('/v1.0/mask_rcnn_fasternet_s_fpn_1x_coco_20221111_063419.pth')
    cfg = load_config(ROOT / 'configs/mask_rcnn_fasternet_t0.py')
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmdet')
    detector = MODELS.build(cfg.model)
    detector.backbone.load_state_dict(golden_state_dict('t0'))
    torch.save(dict(state_dict=detector.state_dict()), path)


@pytest.fixture(scope='module')
def clone(tmp_path_factory) -> Path:
    """A folder as the guide has it, to be in while the commands run."""
    clone = tmp_path_factory.mktemp('own') / 'clone'
    clone.mkdir()
    for name in ('configs', 'tools'):
        (clone / name).symlink_to(ROOT / name)
    for name, code in CONFIGS.items():
        (clone / name).write_text(code)
    (clone / 'my_detector.py').write_text(CONFIGS['my_detector.py'] + FEWER_PROPOSALS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TORCH_HOME', str(clone.with_name('torch')))
        patch.setenv('LOCAL_RANK', '0')  # the tools would set it, and leave it set
        patch.setattr('mmfasternet.weights.download._fetch', release)
        # Four epochs, the fewest.
        patch.setattr('mmfasternet.datasets.recipe._ITERATIONS', dict(scratch=1, released=1))
        patch.chdir(clone)
        yield clone
    shutil.rmtree(clone.parent)  # gigabytes of checkpoints


def write_other_formats(split: str) -> None:
    """The generated boxes as VOC's, YOLO's and LabelMe's own tools write them, each with the images."""
    coco = json.loads(Path(f'data/mine/annotations/instances_{split}.json').read_text())
    classes = [category['name'] for category in coco['categories']]
    exports = Path('exports')
    folders = voc, yolo, labelme = exports / 'voc' / split, exports / 'yolo/labels' / split, exports / 'labelme' / split
    for folder in folders:
        folder.mkdir(parents=True)
    for folder in (voc, exports / 'yolo/images' / split, labelme):
        shutil.copytree(Path('data/mine', split), folder, dirs_exist_ok=True)
    (exports / 'yolo/classes.txt').write_text('\n'.join(classes))
    for image in coco['images']:
        name, width, height = image['file_name'], image['width'], image['height']
        xml = ElementTree.Element('annotation')
        ElementTree.SubElement(xml, 'filename').text = name
        size = ElementTree.SubElement(xml, 'size')
        for key, value in (('width', width), ('height', height), ('depth', 3)):
            ElementTree.SubElement(size, key).text = str(value)
        lines, shapes = [], []
        for annotation in coco['annotations']:
            if annotation['image_id'] != image['id']:
                continue
            x, y, w, h = annotation['bbox']
            label = annotation['category_id'] - coco['categories'][0]['id']
            thing = ElementTree.SubElement(xml, 'object')
            ElementTree.SubElement(thing, 'name').text = classes[label]
            box = ElementTree.SubElement(thing, 'bndbox')
            for key, value in (('xmin', x), ('ymin', y), ('xmax', x + w), ('ymax', y + h)):
                ElementTree.SubElement(box, key).text = str(value)
            lines.append(f'{label} {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}')
            points = [[x, y], [x + w, y + h]]
            shapes.append(dict(label=classes[label], points=points, group_id=None, shape_type='rectangle', flags={}))
        stem = Path(name).stem
        ElementTree.ElementTree(xml).write(voc / f'{stem}.xml')
        (yolo / f'{stem}.txt').write_text('\n'.join(lines))
        content = dict(version='5.5.0', flags={}, shapes=shapes, imagePath=name, imageData=None)
        (labelme / f'{stem}.json').write_text(json.dumps(dict(content, imageHeight=height, imageWidth=width)))


def named_boxes(path: Path) -> list[tuple]:
    """The boxes of a COCO JSON, whatever its ids are."""
    coco = json.loads(path.read_text())
    images = {image['id']: image['file_name'] for image in coco['images']}
    classes = {category['id']: category['name'] for category in coco['categories']}
    return sorted(
        (images[a['image_id']], classes[a['category_id']], *(round(value) for value in a['bbox']))
        for a in coco['annotations']
    )


def convert(words: list[str]) -> None:
    if not Path('exports').exists():
        run_in_process(*shlex.split(next(command for command in COMMANDS if 'make_shapes' in command))[1:])
        for split in ('train', 'val'):
            write_other_formats(split)
    run_in_process(*words)
    for split in ('train', 'val'):
        name = f'annotations/instances_{split}.json'
        written = named_boxes(Path(words[3], name))
        # The generated boxes are of whole pixels; file names are relative to the export.
        assert [(Path(entry[0]).name, *entry[1:]) for entry in written] == named_boxes(Path('data/mine', name))


def predict_the_truth(truth: Path, predictions: Path) -> None:
    """After a few iterations, a detector finds nothing, and there is nothing to explain."""
    keys = ('image_id', 'category_id', 'bbox')
    annotations = json.loads(truth.read_text())['annotations']
    predictions.write_text(json.dumps([dict({key: each[key] for key in keys}, score=0.9) for each in annotations]))


def favour_background(checkpoint: Path) -> None:
    """After two iterations all scores are nearly equal, and rounding decides which boxes a runtime keeps."""
    content = torch.load(checkpoint, map_location='cpu', weights_only=False)
    content['state_dict']['roi_head.bbox_head.fc_cls.bias'][-1] = 10
    torch.save(content, checkpoint)


@pytest.mark.parametrize('command', COMMANDS)
def test_command(clone, command):
    """In the order of the page: each uses what those before it have left."""
    program, *words = shlex.split(command)
    if words[0] == 'tools/own_data.py':
        convert(words)
    elif words[0] == 'tools/explain.py':
        predict_the_truth(Path(words[1]), Path(words[2]))
        run_in_process(*words)
    elif program.endswith('.sh'):
        done = succeed(program, *words, PORT=str(29500 + os.getpid() % 1000))
        assert 'Scaling the original LR by 0.25' in done.stdout
    elif '--amp' in words and not torch.cuda.is_available():
        with pytest.raises(SystemExit, match='--amp needs a GPU'):
            run_in_process(*words)
    elif 'tools/export.py' in words:
        if torch.__version__ < (2, 6):
            pytest.skip('the export is tested with the default package set alone')
        favour_background(Path('work_dirs/my_detector/epoch_1.pth'))
        run_in_process(*words)
    else:
        assert program == 'python'
        run_in_process(*words)


def test_training_started_from_the_released_detector(clone):
    logs = [path.read_text() for path in clone.glob('work_dirs/my_detector/*/*.log')]
    afresh = 'heads for another number of classes, which start afresh: roi_head.bbox_head.fc_cls.weight'
    # On one process, and on two.
    for scaled in ('Scaling the original LR by 0.125', 'Scaling the original LR by 0.25'):
        assert any(afresh in log and scaled in log for log in logs)


def test_retinanet_started_from_imagenet_weights(clone):
    trained = torch.load(clone / 'work_dirs/my_retinanet/epoch_1.pth', map_location='cpu', weights_only=False)
    weights, start = trained['state_dict'], golden_state_dict('s')
    # The first iterations of the warm-up take short steps.
    for key in ('patch_embed.proj.weight', 'stages.6.blocks.1.mlp.3.weight'):
        torch.testing.assert_close(weights[f'backbone.{key}'], start[key], atol=1e-3, rtol=1e-3)
    # Six classes for each of nine anchors.
    assert weights['bbox_head.retina_cls.weight'].shape[0] == 6 * 9


def test_small_batch_leaves_alone_what_it_freezes(clone):
    trained = torch.load(clone / 'work_dirs/my_small_batch/epoch_1.pth', map_location='cpu', weights_only=False)
    start = golden_state_dict('t0')
    same = {key: torch.equal(trained['state_dict'][f'backbone.{key}'], value) for key, value in start.items()}
    frozen = ('patch_embed.', 'stages.0.')
    assert all(same[key] for key in start if key.startswith(frozen) or 'running_' in key)
    assert not all(same[key] for key in start if key.endswith('mlp.0.weight') and not key.startswith(frozen))


def test_what_the_tools_leave(clone):
    assert len(list(clone.glob('work_dirs/my_detector/*/drawn/*.png'))) == 6
    assert len(list((clone / 'outputs/vis').iterdir())) == 6
    found = json.loads((clone / 'outputs/predictions.json').read_text())
    classes = [category['name'] for category in found['categories']]
    assert classes == ['circle', 'triangle', 'square', 'star', 'ring', 'cross']


@pytest.mark.skipif(torch.__version__ < (2, 6), reason='the export is tested with the default package set alone')
def test_exported_files_name_the_classes(clone):
    onnxruntime = pytest.importorskip('onnxruntime')
    for name in ('my_detector.onnx', 'my_detector_int8.onnx'):
        metadata = onnxruntime.InferenceSession(clone / name).get_modelmeta().custom_metadata_map
        assert json.loads(metadata['classes'])[:2] == ['circle', 'triangle']
    assert (clone / 'my_detector_int8.onnx').stat().st_size < (clone / 'my_detector.onnx').stat().st_size
