"""The servers' settings in docs/deploy.md are of what an exported file takes and gives."""

import json
import re

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from helpers.project import EXPORTS, ROOT

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import onnx

from mmfasternet.benchmark.measure.openvino_core import openvino_core

pytestmark = pytest.mark.slow

# Types of Triton's model_config.proto.
TYPES = {'TYPE_FP32': np.float32, 'TYPE_INT64': np.int64, 'TYPE_BOOL': np.bool_}
PAGES = ('docs/deploy.md', 'docs/deploy.zh.md')


@pytest.fixture(scope='module')
def file(export):
    return export('Mask R-CNN', masks='small')


def block(page: str, language: str, word: str) -> str:
    """The text of a page's block of code that has a word in it."""
    blocks = re.findall(rf'```{language}\n(.*?)```', (ROOT / page).read_text(encoding='utf-8'), re.DOTALL)
    (found,) = (text for text in blocks if word in text)
    return found


def model_config(text: str):
    """A message of the part of Triton's ModelConfig that the page uses."""
    kinds = descriptor_pb2.FieldDescriptorProto
    description = descriptor_pb2.FileDescriptorProto(name='model_config.proto', package='inference', syntax='proto3')
    types = description.enum_type.add(name='DataType')
    for number, name in enumerate(['TYPE_INVALID', *TYPES]):
        types.value.add(name=name, number=number)
    tensor = description.message_type.add(name='Tensor')
    tensor.field.add(name='name', number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    tensor.field.add(
        name='data_type', number=2, type=kinds.TYPE_ENUM, type_name='.inference.DataType', label=kinds.LABEL_OPTIONAL
    )
    tensor.field.add(name='dims', number=3, type=kinds.TYPE_INT64, label=kinds.LABEL_REPEATED)
    config = description.message_type.add(name='ModelConfig')
    for number, (name, kind) in enumerate(
        [('name', kinds.TYPE_STRING), ('backend', kinds.TYPE_STRING), ('max_batch_size', kinds.TYPE_INT32)], 1
    ):
        config.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    for number, name in enumerate(('input', 'output'), 4):
        config.field.add(
            name=name, number=number, type=kinds.TYPE_MESSAGE, type_name='.inference.Tensor', label=kinds.LABEL_REPEATED
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(description)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName('inference.ModelConfig'))
    return text_format.Parse(text, message()), list(TYPES)


def signature(values) -> list[tuple]:
    """Name, type and shape of a graph's inputs or outputs; -1 stands for any size."""
    return [
        (
            value.name,
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).type,
            [side.dim_value or -1 for side in value.type.tensor_type.shape.dim],
        )
        for value in values
    ]


@pytest.mark.parametrize('page', PAGES)
def test_triton(file, page):
    config, names = model_config(block(page, 'protobuf', 'max_batch_size'))
    graph = onnx.load(file).graph
    for tensors, values in ((config.input, graph.input), (config.output, graph.output)):
        found = [(tensor.name, TYPES[names[tensor.data_type - 1]], list(tensor.dims)) for tensor in tensors]
        assert found == signature(values)
    assert (config.name, config.backend, config.max_batch_size) == ('detector', 'onnxruntime', 0)


@pytest.mark.parametrize('page', PAGES)
def test_openvino_model_server(file, page):
    """It takes names, types and shapes from the file, and hands ``plugin_config`` to OpenVINO."""
    (model,) = json.loads(block(page, 'json', 'model_config_list'))['model_config_list']
    assert model['config'].keys() == {'name', 'base_path', 'target_device', 'plugin_config'}
    config = model['config']
    compiled = openvino_core().compile_model(str(file), config['target_device'], config['plugin_config'])
    assert compiled.get_property('INFERENCE_PRECISION_HINT').to_string() == 'f32'
    graph = onnx.load(file).graph
    for ports, values in ((compiled.inputs, graph.input), (compiled.outputs, graph.output)):
        found = [
            (
                port.any_name,
                port.element_type.to_dtype().type,
                [side.get_length() if side.is_static else -1 for side in port.partial_shape],
            )
            for port in ports
        ]
        assert found == signature(values)
