"""int8 within a drop of AP: the order of the layers by value, the search, and a file that finds what it should."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.complete_models import build_small, write_small
from helpers.project import EXPORTS, ROOT

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import onnx
import skimage
from helpers.artifacts import MASKS, write_data
from helpers.onnx_files import write_detector
from onnx import TensorProto, helper, numpy_helper

from mmfasternet.datasets import find_images, read_image
from mmfasternet.deploy import export
from mmfasternet.deploy.accuracy import fewest, file_ap, layer_costs, quantize_within
from mmfasternet.deploy.export import export_onnx
from mmfasternet.deploy.quantize import Quantizer
from mmfasternet.engine.annotated import read_data
from mmfasternet.errors import UserError
from mmfasternet.predictions.onnx_file import OnnxFile
from mmfasternet.predictions.onnx_predictors import onnx_predictor

# Whole numbers from 0 to 255, both of them in each image: 8 bits hold them without an error.
IMAGES = [
    np.random.default_rng(seed).permutation(np.arange(3 * 256, dtype=np.float32) % 256).reshape(1, 3, 16, 16)
    for seed in range(3)
]


def model() -> bytes:
    """Convolutions that change nothing: 'exact' of the image, 'rounded' of its squares, and both by 'shared'."""
    weights = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    nodes = [
        helper.make_node('Conv', ['image', 'exact.weight'], ['a'], 'conv_a'),
        helper.make_node('Mul', ['a', 'a'], ['squares']),
        helper.make_node('Conv', ['squares', 'rounded.weight'], ['b'], 'conv_b'),
        helper.make_node('Relu', ['a'], ['positive']),
        helper.make_node('Relu', ['b'], ['positive_squares']),
        helper.make_node('Conv', ['positive', 'shared.weight'], ['c'], 'conv_c'),
        helper.make_node('Conv', ['positive_squares', 'shared.weight'], ['d'], 'conv_d'),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 'height', 'width'])
        for name in ('image', 'c', 'd')
    ]
    initializers = [numpy_helper.from_array(weights, f'{name}.weight') for name in ('exact', 'rounded', 'shared')]
    graph = helper.make_graph(nodes, 'made_up', values[:1], values[1:], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
    return made.SerializeToString()


@pytest.fixture(scope='module')
def quantizer() -> Quantizer:
    return Quantizer(model(), IMAGES)


def in_int8(content: bytes) -> set[str]:
    """The nodes of the convolutions that are in int8."""
    graph = onnx.load_model_from_string(content).graph
    quantized = {name for node in graph.node if node.op_type == 'DequantizeLinear' for name in node.output}
    # One in float32 may read a feature map that the convolution before it has rounded, but never such weights.
    found = {node.name for node in graph.node if node.op_type == 'Conv' and node.input[1] in quantized}
    assert all(node.input[0] in quantized for node in graph.node if node.name in found)
    return found


def test_layers_are_named_by_their_weights_and_stay_float32_as_asked(quantizer):
    assert quantizer.layers == dict(exact=['conv_a'], rounded=['conv_b'], shared=['conv_c', 'conv_d'])
    assert in_int8(quantizer.quantized()) == {'conv_a', 'conv_b', 'conv_c', 'conv_d'}
    assert in_int8(quantizer.quantized(['shared'])) == {'conv_a', 'conv_b'}
    assert in_int8(quantizer.quantized(['exact', 'rounded', 'shared'])) == set()


def test_the_cost_of_a_layer_is_the_noise_of_its_output(quantizer):
    """Squares are rounded to multiples of 255; the shared layer has those, and the exact ones in its signal."""
    squares = np.square(np.concatenate(IMAGES).astype(float))
    noise = np.square(np.round(squares / 255) * 255 - squares).sum()
    signal = np.square(squares).sum()
    costs = layer_costs(quantizer, IMAGES)
    assert [cost.layer for cost in costs] == ['rounded', 'shared', 'exact']
    assert costs[0].signal_to_noise == pytest.approx(10 * np.log10(signal / noise), abs=0.01)
    assert costs[1].signal_to_noise == pytest.approx(10 * np.log10((signal + squares.sum()) / noise), abs=0.01)
    assert costs[2].signal_to_noise == float('inf')


@pytest.mark.parametrize('most', [1, 2, 7, 60])
def test_the_fewest_that_suffice(most):
    for wanted in range(1, most + 1):
        asked = []
        assert fewest(most, lambda number: asked.append(number) or number >= wanted) == wanted  # noqa: B023
        assert len(asked) == len(set(asked)) <= 2 * np.log2(wanted) + 2 and max(asked) <= most
    asked = []
    assert fewest(most, lambda number: asked.append(number)) is None and max(asked) == most
    assert fewest(0, lambda number: True) is None


def points(box: float, mask: float | None = None) -> dict:
    return dict(box_ap=box, mask_ap=mask)


@pytest.mark.parametrize(
    'max_drop, kept',
    [(10, 0), (9.9, 1), (6, 1), (5.9, 2)],
)
def test_layers_are_put_back_until_the_drop_is_allowed(quantizer, max_drop, kept):
    """Boxes lose nine points, three, none; masks ten, six, four: the larger drop counts."""
    aps = {0: points(41, 40), 1: points(47, 44), 2: points(50, 46)}

    def measure(content: bytes, label: str) -> dict:
        layers = {'conv_a': 'exact', 'conv_b': 'rounded', 'conv_c': 'shared', 'conv_d': 'shared'}
        quantized = {layers[node] for node in in_int8(content)}
        return points(50, 50) if not quantized else aps[3 - len(quantized)]

    content, accuracy = quantize_within(quantizer, IMAGES, measure, max_drop)
    assert accuracy.kept == kept and accuracy.float32 == points(50, 50) and accuracy.written == aps[kept]
    left = [{'conv_a', 'conv_b', 'conv_c', 'conv_d'}, {'conv_a', 'conv_c', 'conv_d'}, {'conv_a'}]
    assert in_int8(content) == left[kept]
    assert accuracy.plain == aps[0] and len(accuracy.costs) == (3 if kept else 0)
    assert accuracy.summary()[-1] == ('layers in float32', f'{kept} of 3' if kept else 'none of the convolutions')


def test_what_no_layer_can_do_is_said(quantizer):
    def measure(content: bytes, label: str) -> dict:
        return points(30 if in_int8(content) else 50)

    with pytest.raises(UserError, match=r'int8 costs 20\.00 points of AP, and more than 1 even with all but one of 3'):
        quantize_within(quantizer, IMAGES, measure, 1)
    with pytest.raises(UserError, match='box AP of 0 on the validation images'):
        quantize_within(quantizer, IMAGES, lambda content, label: points(0), 1)


def test_the_ap_of_a_file(tmp_path):
    content = write_detector(tmp_path / 'a.onnx', MASKS).read_bytes()
    assert file_ap(content, read_data(write_data(tmp_path, images=3)), 'all') == points(100, 100)
    others = read_data(write_data(tmp_path / 'others', images=1, classes=('dog', 'cow')))
    with pytest.raises(UserError, match=r'the file has the classes cat, dog, but .*coco\.json has dog, cow'):
        file_ap(content, others, 'others')


CLASSES = ('a', 'b', 'c', 'd', 'e')
# Of the photographs and the files, whose export takes a third of the time that one for any size takes.
SHAPE = (96, 128)


@pytest.fixture(scope='module')
def labelled(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A detector, and photographs with what it finds in float32 as the truth: config, checkpoint and photographs."""
    folder = tmp_path_factory.mktemp('labelled')
    (folder / 'images').mkdir()
    names = ('astronaut', 'chelsea', 'coffee', 'rocket')
    for name in names:
        pixels = skimage.transform.resize(getattr(skimage.data, name)(), SHAPE)
        skimage.io.imsave(folder / f'images/{name}.png', (255 * pixels).astype(np.uint8))
    images = [dict(id=n, file_name=f'{name}.png', width=128, height=96) for n, name in enumerate(names)]
    categories = [dict(id=n, name=name) for n, name in enumerate(CLASSES)]
    dataset = dict(
        _delete_=True,
        type='CocoDataset',
        data_root=f'{folder}/',
        ann_file='coco.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=CLASSES),
        test_mode=True,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmdet.PackDetInputs')],
    )
    config = write_small('RetinaHead', folder / 'labelled.py')
    with config.open('a') as file:
        file.write(f'val_dataloader = dict(dataset={dataset!r})\ntest_dataloader = val_dataloader\n')
    checkpoint = folder / 'epoch_1.pth'
    torch.save(dict(state_dict=build_small(config).state_dict()), checkpoint)

    def write(annotations: list[dict]) -> None:
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / 'coco.json').write_text(json.dumps(content))

    write([])
    file = export_onnx(config, folder / 'detector.onnx', checkpoint=str(checkpoint), shape=SHAPE).path
    predictor, annotations = onnx_predictor(OnnxFile(file), score_thr=0), []
    for image in images:
        (found,) = predictor.predict([skimage.io.imread(folder / 'images' / image['file_name'])[:, :, ::-1]])
        for label, (x1, y1, x2, y2) in zip(found.labels.tolist(), found.boxes.astype(float).tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = dict(id=len(annotations) + 1, image_id=image['id'], category_id=label, iscrowd=0)
            annotations.append(entry | dict(bbox=box, area=box[2] * box[3]))
    write(annotations)
    return config, checkpoint, folder / 'images'


@pytest.mark.slow
def test_a_detector_within_a_drop(labelled, tmp_path):
    config, checkpoint, images = labelled
    data = read_data(config, split='val')
    pixels = [read_image(path)[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) for path in find_images(images)]
    quantizer = Quantizer((images.parent / 'detector.onnx').read_bytes(), pixels)
    exact, plain = (file_ap(content, data, '')['box_ap'] for content in (quantizer.prepared, quantizer.quantized()))
    assert exact > 99 and exact - plain > 2
    allowed = (exact - plain) / 2
    options = dict(checkpoint=str(checkpoint), shape=SHAPE)
    file = export_onnx(config, tmp_path / 'a.onnx', int8=images, max_drop=allowed, **options)
    accuracy = file.accuracy
    assert (accuracy.float32, accuracy.plain) == (points(exact), points(plain))
    assert {cost.layer for cost in accuracy.costs} == set(quantizer.layers) and 0 < accuracy.kept < len(accuracy.costs)
    # The AP that it says is that of the file, and within the drop.
    content = file.path.read_bytes()
    assert file_ap(content, data, '') == accuracy.written and exact - accuracy.written['box_ap'] <= allowed
    kept = {node for cost in accuracy.costs[: accuracy.kept] for node in quantizer.layers[cost.layer]}
    assert in_int8(content) == {node for nodes in quantizer.layers.values() for node in nodes} - kept


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(max_drop=0.5), '--max-drop says how much AP --int8 may cost'),
        (dict(max_drop=0.5, int8='.', part='neck'), '--max-drop is for complete detectors'),
        (dict(max_drop=-1, int8='.'), 'from 0 to 100 points, but got --max-drop -1'),
        (dict(max_drop=float('nan'), int8='.'), 'got --max-drop nan'),
        (dict(max_drop=0.5, int8='.', config='segmentation/semantic_fpn_fasternet_s.py'), 'names no COCO annotations'),
        (dict(max_drop=0.5, int8='.'), r'val2017\.json'),
    ],
)
def test_a_drop_that_cannot_be_measured_is_one_message(options, message, monkeypatch, tmp_path):
    """Which is said before the export takes its time."""
    monkeypatch.setattr(export, 'to_onnx', None)
    monkeypatch.setenv('MMDET_DATASETS', f'{tmp_path}/nothing/')
    config = options.pop('config', 'mask_rcnn_fasternet_t0.py')
    with pytest.raises(UserError, match=message):
        export_onnx(ROOT / 'configs' / config, tmp_path / 'a.onnx', **options)
    assert not list(tmp_path.iterdir())


def test_an_image_that_cannot_be_read_is_named(labelled, monkeypatch, tmp_path):
    config, checkpoint, images = labelled
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/a.png').write_bytes((images / 'coffee.png').read_bytes())
    (tmp_path / 'images/b.png').write_bytes((images / 'coffee.png').read_bytes()[:500])
    monkeypatch.setattr(export, 'to_onnx', None)
    with pytest.raises(UserError, match=r'images/b\.png'):
        export_onnx(config, tmp_path / 'a.onnx', checkpoint=str(checkpoint), int8=tmp_path / 'images', max_drop=1)
    assert [path.name for path in tmp_path.iterdir()] == ['images']
