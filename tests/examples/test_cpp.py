"""The C++ program of docs/examples/cpp, compiled, finds what Python finds with the same file."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.examples import expected_lines, read_lines, share_of_matches
from helpers.project import EXPORTS, ROOT, run_tool, succeed
from PIL import Image

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import onnxruntime
from helpers.onnx_files import BOXES, write_detector, write_probe, write_segmentor

pytestmark = pytest.mark.slow

# Header → the package of Debian that has it.
HEADERS = {
    'onnxruntime_cxx_api.h': 'libonnxruntime-dev',
    'opencv2/imgcodecs.hpp': 'libopencv-imgcodecs-dev',
    'nlohmann/json.hpp': 'nlohmann-json3-dev',
}


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> Path:
    """Compiled with the headers of the system or CMAKE_PREFIX_PATH, and the library that Python's package has."""
    prefixes = ['/usr', '/usr/local', *filter(None, os.environ.get('CMAKE_PREFIX_PATH', '').split(os.pathsep))]
    includes = [path for prefix in prefixes for path in (Path(prefix, 'include'), *Path(prefix, 'include').glob('*/'))]
    missing = [command for command in ('cmake', 'g++') if not shutil.which(command)]
    missing += [name for header, name in HEADERS.items() if not any((path / header).exists() for path in includes)]
    libraries = list(Path(onnxruntime.__file__).parent.glob('capi/libonnxruntime.so.*'))
    if missing or not libraries:
        pytest.skip(f'the C++ example needs {", ".join(missing) or "a Linux library of ONNX Runtime"}')
    build = tmp_path_factory.mktemp('build')
    # The second is the name that the library says it has.
    for name in ('libonnxruntime.so', 'libonnxruntime.so.1'):
        (build / name).symlink_to(libraries[0])
    options = (f'-DONNXRUNTIME_LIBRARY={build}/libonnxruntime.so', '-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror')
    succeed('cmake', '-S', ROOT / 'docs/examples/cpp', '-B', build, '-DCMAKE_BUILD_TYPE=Release', *options)
    succeed('cmake', '--build', build)
    return build / 'detect'


def detect(program: Path, file: Path, image: Path, drawn: Path) -> list:
    *lines, last = succeed(program, file, image, drawn).stdout.splitlines()
    assert last == f'{len(lines)} objects drawn in {drawn}'
    return read_lines(lines)


@pytest.mark.parametrize(
    ('head', 'options'),
    [
        ('Mask R-CNN', {}),
        ('RetinaHead', dict(shape=(160, 256))),
        ('RTMDetSepBNHead', dict(batch='dynamic')),
    ],
)
def test_it_finds_what_python_finds(program, export, photo, head, options, tmp_path):
    file = export(head, **options)
    found = detect(program, file, photo, tmp_path / 'drawn.png')
    expected = expected_lines(file, photo, tmp_path / 'out')
    assert len(expected) > 20 and share_of_matches(expected, found, pixels=0.1) > 0.95
    with Image.open(tmp_path / 'drawn.png') as drawn:
        assert drawn.size == (300, 200)


def test_colours_and_padding(program, tmp_path):
    """What the model sees: red, green and blue at their places, an image in the upper left, and the padding."""
    Image.new('RGB', (96, 64), (204, 153, 102)).save(tmp_path / 'a.png')
    meaning = dict(resize=[dict(type='Fit', width=64, height=64)], pad=[127.5, 178.5, 229.5])
    for (x, y), scores in (((63, 42), [0.8, 0.6, 0.4]), ((63, 43), [0.5, 0.7, 0.9])):
        file = write_probe(tmp_path / 'a.onnx', x, y, (64, 64), input=meaning)
        found = detect(program, file, tmp_path / 'a.png', tmp_path / 'drawn.png')
        assert [(one.name, one.score) for one in found] == list(zip(('dog', 'cat', 'dog'), scores, strict=True))
        # From 64 × 43 pixels back to 96 × 64.
        scaled = BOXES * np.array([96 / 64, 64 / 43] * 2)
        np.testing.assert_allclose([one.box for one in found], scaled, atol=0.051)


def test_objects_of_a_low_score_are_left_out(program, tmp_path):
    Image.new('RGB', (64, 48)).save(tmp_path / 'a.png')
    file = write_detector(tmp_path / 'a.onnx')
    found = detect(program, file, tmp_path / 'a.png', tmp_path / 'drawn.png')
    assert found == [('dog', 0.9, (8, 4, 24, 20)), ('cat', 0.6, (0, 0, 16, 8))]
    drawn = np.asarray(Image.open(tmp_path / 'drawn.png'))
    assert drawn[19, 16].tolist() == [230, 60, 60] and drawn[30, 40].tolist() == [0, 0, 0]


def test_a_mistake_is_one_message(program, tmp_path):
    Image.new('RGB', (64, 48)).save(tmp_path / 'a.png')
    Image.new('RGB', (64, 20)).save(tmp_path / 'low.png')
    (tmp_path / 'b.png').write_text('no image')
    write_detector(tmp_path / 'a.onnx')
    write_segmentor(tmp_path / 'maps.onnx')
    write_detector(tmp_path / 'part.onnx', part='backbone')
    write_detector(tmp_path / 'classes.onnx', classes='[cat')
    write_detector(tmp_path / 'fewer.onnx', classes=['cat'])
    write_detector(tmp_path / 'crop.onnx', input=dict(resize=[dict(type='CenterCrop', crop_size=32)]))
    for file, image, drawn, message in (
        ('a.onnx', 'none.png', 'c.png', r'none.png does not exist or is no file'),
        ('a.onnx', 'b.png', 'c.png', r'b.png is no image that OpenCV can read'),
        ('a.onnx', 'low.png', 'c.png', r'FasterNet takes images of at least 32 × 32 pixels'),
        ('a.onnx', 'a.png', 'c.unknown', r'c.unknown cannot be written: name a JPEG or PNG in a folder that exists'),
        ('none.onnx', 'a.png', 'c.png', r'none.onnx does not exist or is no file'),
        ('a.png', 'a.png', 'c.png', r'a.png cannot be read as an ONNX model: .*'),
        ('maps.onnx', 'a.png', 'c.png', r'maps.onnx holds no detector: export one by .*'),
        ('part.onnx', 'a.png', 'c.png', r'part.onnx holds no detector: export one by .*'),
        ('classes.onnx', 'a.png', 'c.png', r'classes.onnx has metadata that tools/export.py does not write: .*'),
        ('fewer.onnx', 'a.png', 'c.png', r'the file gives a label that its metadata does not name'),
        ('crop.onnx', 'a.png', 'c.png', r'this example cannot resize images as the file asks for: .*CenterCrop.*'),
    ):
        done = run_tool(program, *(tmp_path / name for name in (file, image, drawn)))
        assert done.returncode == 1 and re.fullmatch(f'error: (.*/)?{message}\n', done.stderr), done.stderr
    done = run_tool(program)
    assert done.returncode == 2 and done.stderr == f'usage: {program} DETECTOR.onnx IMAGE DRAWN.png\n'
