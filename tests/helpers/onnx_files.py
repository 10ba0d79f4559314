"""Small ONNX files in the form of tools/export.py, whose outputs are known without a model."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ['BOXES', 'write_classifier', 'write_detector', 'write_probe', 'write_segmentor']

#: Corners of the objects that a detector finds in any image, in its input.
BOXES = np.array([[8, 4, 24, 20], [0, 0, 16, 8], [30, 10, 40, 30]], np.float32)
SCORES, LABELS = np.array([0.9, 0.6, 0.2], np.float32), np.array([1, 0, 1])
META = dict(part='detector', config='made_up.py', mmfasternet='0', precision='fp32')


def write_detector(path: Path, masks: np.ndarray | None = None, shape: tuple = ('height', 'width'), **texts) -> Path:
    """Finds ``BOXES`` in any image, the last of a low score; and boolean or small ``masks``."""
    outputs = dict(boxes=BOXES, scores=SCORES, labels=LABELS) | (dict(masks=masks) if masks is not None else {})
    nodes = [
        helper.make_node('Constant', [], [name], value=numpy_helper.from_array(array))
        for name, array in outputs.items()
    ]
    sizes = {name: list(array.shape) for name, array in outputs.items()}
    return _write(
        path, nodes, {name: array.dtype for name, array in outputs.items()}, sizes, (1, *shape), 'detection', texts
    )


def write_probe(path: Path, x: int, y: int, shape: tuple = ('height', 'width'), **texts) -> Path:
    """Finds ``BOXES`` in any image; their scores are the red, green and blue of a pixel, as shares of 255."""
    nodes = [
        helper.make_node('Slice', ['image', 'start', 'end', 'sides'], ['pixel']),
        helper.make_node('Squeeze', ['pixel', 'but_channels'], ['values']),
        helper.make_node('Div', ['values', 'most'], ['scores']),
        *(
            helper.make_node('Constant', [], [name], value=numpy_helper.from_array(array))
            for name, array in (('boxes', BOXES), ('labels', LABELS))
        ),
    ]
    kinds = dict(boxes=np.float32, scores=np.float32, labels=np.int64)
    sizes, place = dict(boxes=[3, 4], scores=[3], labels=[3]), dict(start=[y, x], end=[y + 1, x + 1])
    return _write(path, nodes, kinds, sizes, (1, *shape), 'detection', texts, place)


def write_segmentor(path: Path, batch: int | str = 1, shape: tuple = ('height', 'width'), **texts) -> Path:
    """The class of a pixel is its strongest channel: red, green, blue."""
    nodes = [helper.make_node('ArgMax', ['image'], ['classes' if batch != 1 else 'each'], axis=1, keepdims=0)]
    if batch == 1:
        nodes.append(helper.make_node('Squeeze', ['each', 'zero'], ['classes']))
    sizes = dict(classes=[*((batch,) if batch != 1 else ()), *shape])
    return _write(path, nodes, dict(classes=np.int64), sizes, (batch, *shape), 'segmentation', texts)


def write_classifier(path: Path, shape: tuple = ('height', 'width'), **texts) -> Path:
    """The scores of three classes are the mean red, green and blue of an image, from 0 to 255."""
    nodes = [
        helper.make_node('ReduceMean', ['image', 'sides'], ['means'], keepdims=0),
        helper.make_node('TopK', ['means', 'three'], ['all_scores', 'all_labels'], axis=1),
        helper.make_node('Squeeze', ['all_scores', 'zero'], ['scores']),
        helper.make_node('Squeeze', ['all_labels', 'zero'], ['labels']),
    ]
    kinds, sizes = dict(labels=np.int64, scores=np.float32), dict(labels=[3], scores=[3])
    return _write(path, nodes, kinds, sizes, (1, *shape), 'classification', texts)


def _write(
    path: Path, nodes: list, kinds: dict, sizes: dict, image: tuple, task: str, texts: dict, more: dict | None = None
) -> Path:
    batch, *shape = image
    constants = dict(zero=[0], sides=[2, 3], three=[3], but_channels=[0, 2, 3], most=np.float32(255)) | (more or {})
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        'made_up',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [batch, 3, *shape])],
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), sizes[name])
            for name, kind in kinds.items()
        ],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
    classes = dict(detection=['cat', 'dog'])
    texts = dict(
        META,
        task=task,
        classes=json.dumps(classes.get(task, ['red', 'green', 'blue'])),
        input=json.dumps(dict(resize=[])),
    ) | {name: text if isinstance(text, str) else json.dumps(text) for name, text in texts.items()}
    helper.set_model_props(model, texts)
    onnx.save(model, path)
    return path
