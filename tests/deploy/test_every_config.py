"""Every config of the project: its complete model is a graph; and all of them as files."""

import copy
import re

import pytest
import torch
from helpers.complete_models import build_small
from helpers.project import EXPORTS, ROOT

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import onnxruntime
import skimage
from torch import nn

from mmfasternet.benchmark.measure.openvino_core import openvino_core
from mmfasternet.deploy.export import export_onnx
from mmfasternet.deploy.heads import complete_graph
from mmfasternet.deploy.inputs import padding
from mmfasternet.deploy.parts import scenes
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

#: Name of a config → its file.
CONFIGS = {
    path.stem: path
    for path in sorted((ROOT / 'configs').rglob('*.py'))
    if not any(part.startswith('_') for part in path.relative_to(ROOT / 'configs').parts)
}
# Whose attention needs to know the sizes of feature maps.
FIXED = re.compile('swin|dino')
SHAPE = (96, 160)


@pytest.mark.slow
def test_every_config_has_a_graph(monkeypatch):
    """Whatever its weights are, so that no time is spent on random ones."""
    for layer in (nn.Linear, nn.modules.conv._ConvNd):
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)
    for name, path in CONFIGS.items():
        cfg, model = build_model(path)
        assert complete_graph(model, padding(cfg)).num_classes > 1, name


@pytest.mark.parametrize('language', ['', '.zh'])
def test_the_guide_names_what_is_of_a_fixed_size(language):
    """And nothing else: its table has a row for each such config."""
    page = (ROOT / f'docs/deploy{language}.md').read_text()
    rows = re.findall(r'^\| ((?:`\w+`(?:, |、)?)+) \| [^|]+ \|$', page, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r'`(\w+)`', row)} & set(CONFIGS)
    assert named == {name for name in CONFIGS if FIXED.search(name)}


@pytest.mark.exports
@pytest.mark.parametrize('name', CONFIGS)
@torch.no_grad()
def test_every_config_is_exported(name, tmp_path):
    """Compared by the export, and in two runtimes on another image.

    Of a fixed size, which takes a third of the time. Other tests have files of any size, of every head and every family
    of backbones.
    """
    photo = skimage.transform.resize(skimage.data.chelsea(), SHAPE, preserve_range=True)
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    model, graph = decided(name, image)
    expected = graph.predict(image)
    assert len(expected[0]) > 2 or graph.task == 'classification'
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    if FIXED.search(name):
        with pytest.raises(UserError, match=r'for images of any size .* --shape HEIGHT WIDTH'):
            export_onnx(CONFIGS[name], tmp_path / 'a.onnx')
    file = export_onnx(CONFIGS[name], tmp_path / 'a.onnx', checkpoint=str(tmp_path / 'a.pth'), shape=SHAPE)
    session = onnxruntime.InferenceSession(file.path, providers=['CPUExecutionProvider'])
    graph.check(session.run(None, {'image': image.numpy()}), expected, 'fp32')
    core = openvino_core()
    compiled = core.compile_model(core.read_model(str(file.path)), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    graph.check(list(compiled(image.numpy()).values()), expected, 'fp32')


def decided(name, image):
    """A model and its graph, with weights that find objects of several classes, none of which rounding decides on."""
    cfg = build_model(CONFIGS[name])[0]
    for seed in range(6):
        model = build_small(CONFIGS[name], seed)
        graph = complete_graph(model, padding(cfg))
        exact = copy.deepcopy(graph).double()
        try:
            for pixels in (image, scenes(graph, 1, *SHAPE)):
                graph.check([found.numpy() for found in exact(pixels.double())], graph.predict(pixels), 'fp32')
        except UserError:
            continue
        return model, graph
    raise AssertionError('float64 finds other objects')
