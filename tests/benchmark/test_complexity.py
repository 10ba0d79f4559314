"""Complexities equal the paper's Table 4, and mmengine's own counts."""

import csv
from pathlib import Path

import pytest
import torch
from helpers.project import ROOT, succeed
from mmengine.analysis import FlopAnalyzer

from mmfasternet.benchmark.measure import complexity
from mmfasternet.benchmark.measure.complexity import count_classifier, count_complexity, count_forward
from mmfasternet.benchmark.published.rows import ROWS, find_row
from mmfasternet.benchmark.records import Records, describe_machine
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

DETECTION = ROOT / 'configs/detection'
with (ROOT / 'mmfasternet/benchmark/published/table4_coco.csv').open() as file:
    TABLE4 = {row['backbone']: row for row in csv.DictReader(file)}
# 1000 keys at every stage of an 800 × 1280 image, two products.
ATTENTION_G = {'pvt_small': 59.4, 'pvt_medium': 90.1, 'pvt_large': 129.5}


@pytest.mark.parametrize('row', [row for row in ROWS if row.label in TABLE4], ids=lambda row: row.name)
def test_table_4(row):
    printed = TABLE4[row.label]
    counted = count_complexity(row.config_path)
    assert counted['trainable'] / 1e6 == pytest.approx(float(printed['params_m']), abs=0.1)
    assert counted['flops_paper'] / 1e9 == pytest.approx(float(printed['flops_g']), rel=0.005)
    # The mask predictor: 2 × 2 deconvolution 256 → 256 to 28 × 28 and 1 × 1 convolution to 80 classes, of 100 RoIs.
    predictor = 100 * 28 * 28 * 256 * (256 + 80)
    attention = counted['flops_full'] - counted['flops_paper'] - predictor
    assert attention / 1e9 == pytest.approx(ATTENTION_G.get(row.name, 0), abs=0.1)


def test_all_rows_of_table_4_are_there():
    assert len(TABLE4) == 12 and {row.label for row in ROWS} >= set(TABLE4)


# M parameters and G multiply-adds of Table 8, and G multiply-adds of Table 3.
CLASSIFIERS = dict(
    t0=('3.9', '0.34', '0.34'),
    t1=('7.6', '0.85', '0.85'),
    t2=('15.0', '1.90', '1.91'),
    s=('31.1', '4.55', '4.56'),
    m=('53.5', '8.72', '8.74'),
    l=('93.4', '15.49', '15.52'),
)


@pytest.mark.parametrize('arch', CLASSIFIERS)
def test_tables_3_and_8(arch):
    counted = count_classifier(ROOT / f'configs/classification/fasternet_{arch}_imagenet.py')
    params, flops, flops_with_norms = CLASSIFIERS[arch]
    assert f'{counted["params_conv_fc"] / 1e6:.1f}' == params
    assert f'{counted["flops_conv_fc"] / 1e9:.2f}' == flops
    assert f'{counted["flops"] / 1e9:.2f}' == flops_with_norms


def test_parts_add_up():
    counted = count_complexity(find_row('fasternet_t0').config_path, 320, 500)
    assert list(counted['parts']) == ['backbone', 'neck', 'rpn', 'box_head', 'mask_head']
    for key in ('params', 'trainable', 'flops_full', 'flops_paper', 'activations'):
        assert counted[key] == sum(part[key] for part in counted['parts'].values())
    # Heads have fixed RoIs; the rest follows the image, 320 × 512 after padding.
    large = count_complexity(find_row('fasternet_t0').config_path, 640, 1024)
    for part in ('backbone', 'neck', 'rpn'):
        assert large['parts'][part]['flops_full'] == pytest.approx(4 * counted['parts'][part]['flops_full'], rel=1e-3)
    assert large['parts']['box_head'] == counted['parts']['box_head']


@pytest.mark.parametrize('name', ['faster_rcnn_fasternet_s', 'retinanet_fasternet_s', 'rtmdet_fasternet_s'])
def test_parts_of_a_detector_as_mmengine_counts(name):
    """Real numbers through the parts, against shapes through all."""
    model = build_model(DETECTION / f'{name}.py')[1]
    image = torch.rand(1, 3, 64, 96)
    inputs = dict(backbone=image, neck=model.backbone(image))
    pyramid = model.neck(inputs['neck'])
    inputs |= dict(rpn=pyramid, head=pyramid)
    modules = dict(backbone=model.backbone, neck=model.neck)
    modules |= dict(head=model.bbox_head) if hasattr(model, 'bbox_head') else dict(rpn=model.rpn_head)
    parts = count_complexity(DETECTION / f'{name}.py', 64, 96)['parts']
    for part, module in modules.items():
        analyzer = FlopAnalyzer(module, (inputs[part],))
        theirs = analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
        assert parts[part]['flops_full'] == pytest.approx(theirs, rel=1e-3), part


def test_rtmdet_ins_counts_the_masks_of_100_objects(monkeypatch):
    head = count_complexity(DETECTION / 'rtmdet_ins_fasternet_t0.py', 64, 96)['parts']['head']
    monkeypatch.setattr(complexity, 'FIXED_ROIS', 0)
    without = count_complexity(DETECTION / 'rtmdet_ins_fasternet_t0.py', 64, 96)['parts']['head']
    # Three layers at each place of the first map: 8 prototypes and 2 coordinates to 8 channels, to 8, to 1.
    assert head['flops_full'] - without['flops_full'] == 100 * (64 // 8) * (96 // 8) * (10 * 8 + 8 * 8 + 8)
    assert head['params'] == without['params']


def test_a_cascade_counts_every_stage():
    cascade = count_complexity(DETECTION / 'cascade_mask_rcnn_fasternet_m.py', 64, 96)['parts']
    single = count_complexity(find_row('fasternet_m').config_path, 64, 96)['parts']
    assert cascade['rpn'] == single['rpn']
    for key in ('params', 'flops_full', 'flops_paper'):
        assert cascade['mask_head'][key] == 3 * single['mask_head'][key]
    # One box for all classes in place of one for each: (80 - 1) × 4 outputs of 1024 inputs, for 1000 proposals.
    spared = 1000 * 79 * 4 * 1024
    assert cascade['box_head']['flops_full'] == 3 * (single['box_head']['flops_full'] - spared)


def test_a_transformer_is_counted_to_its_end():
    counted = count_complexity(DETECTION / 'dino_fasternet_l.py', 320, 320)
    assert list(counted['parts']) == ['backbone', 'neck', 'transformer']
    places = 40**2 + 20**2 + 10**2 + 5**2
    # Per place: value and output projections, offsets and weights of 8 heads × 4 levels × 4 points, feed-forward.
    encoder = 6 * places * 256 * (2 * 256 + 8 * 4 * 4 * 3 + 2 * 2048)
    # Per query: 4 projections of self-attention and its two products, 2 of cross-attention with offsets and weights,
    # feed-forward, box branch; the values of cross-attention are once per place.
    decoder = 6 * 900 * (256 * (4 * 256 + 2 * 256 + 8 * 4 * 4 * 3 + 2 * 2048) + 2 * 900 * 256)
    decoder += 6 * places * 256 * 256
    attention = counted['flops_full'] - counted['flops_paper']
    assert attention == 6 * 2 * 900 * 900 * 256
    # The rest: position embeddings, heads and norms.
    assert 1 < counted['parts']['transformer']['flops_full'] / (encoder + decoder) < 1.15


def test_parts_of_a_segmentor_as_mmengine_counts():
    config = ROOT / 'configs/segmentation/upernet_fasternet_s.py'
    counted = count_complexity(config, 64, 96)
    assert list(counted['parts']) == ['backbone', 'decode_head', 'auxiliary_head']
    model = build_model(config)[1]
    maps = model.backbone(torch.rand(1, 3, 64, 96))
    analyzer = FlopAnalyzer(model.decode_head, (maps,))
    theirs = analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
    # mmengine counts interpolation and pooling too.
    assert counted['parts']['decode_head']['flops_full'] == pytest.approx(theirs, rel=5e-3)
    # It computes in training alone.
    assert counted['parts']['auxiliary_head']['flops_full'] == 0 < counted['parts']['auxiliary_head']['params']
    assert counted['params'] == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize('name', ['fasternet_t0', 'resnet50', 'pvt_small', 'poolformer_s24', 'swin_tiny'])
def test_backbone_as_mmengine_counts(name):
    backbone = build_model(find_row(name).config_path)[1].backbone
    image = torch.rand(1, 3, 64, 96)
    theirs = FlopAnalyzer(backbone, (image,)).unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
    ours = count_forward(backbone, 64, 96)['flops_full']
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_tool_adds_records(tmp_path):
    out = tmp_path / 'counts.json'
    configs = [
        ROOT / 'configs/mask_rcnn_fasternet_t0.py',
        ROOT / 'configs/classification/fasternet_t2_imagenet.py',
        'resnet50',
    ]
    Records(describe_machine() | dict(id='another', label='Another'), out).save()
    for some in (configs[:1], configs):
        done = succeed(ROOT / 'tools/benchmark/complexity.py', *some, '--out', out)
    written = Records.read(out)
    # Earlier records stay, also those of another machine, on which counts are the same.
    assert written.machine['label'] == 'Another'
    counts = written.records
    names = ['mask_rcnn_fasternet_t0.py', 'fasternet_t2_imagenet.py', 'mask_rcnn_resnet50.py']
    assert [Path(count['config']).name for count in counts] == names
    assert [count['shape'] for count in counts] == [[800, 1280], [224, 224], [800, 1280]]
    assert counts[2]['trainable'] == 44170992 and counts[2]['params'] == 44396336
    assert counts[2]['flops_paper'] == pytest.approx(253.0e9, rel=1e-3) and counts[2]['flops_full'] > 259e9
    assert '44.2' in done.stdout and '253' in done.stdout
    assert '15.0' in done.stdout and '1.90' in done.stdout and '1.91' in done.stdout


@pytest.mark.parametrize(
    'text, message',
    [
        ('train_cfg = dict()', 'no model with a backbone'),
        ("model = dict(backbone=dict(type='NoSuchNet'))", 'NoSuchNet'),
        (
            "_base_ = '{root}/configs/mask_rcnn_fasternet_t0.py'\nmodel = dict(backbone=dict(archh='s'))",
            "cannot be built: .*'archh'",
        ),
        (
            "_base_ = '{root}/configs/detection/retinanet_fasternet_s.py'\n"
            'model = dict(neck=None, bbox_head=dict(in_channels=1024))',
            'has nothing that can be counted: .* but it builds a RetinaNet',
        ),
        ("custom_imports = dict(imports=['no_such_package'])", 'imports failed: .*no_such_package'),
    ],
)
def test_what_can_not_be_counted(tmp_path, text, message):
    config = tmp_path / 'other.py'
    config.write_text(text.replace('{root}', str(ROOT)))
    with pytest.raises(UserError, match=message):
        count_complexity(config)


def test_unknown_row_lists_the_rows():
    with pytest.raises(
        UserError, match=r"'fasternet_x' is no row \(fasternet_t0, .*\), and config fasternet_x does not"
    ):
        find_row('fasternet_x')


def test_a_users_own_config_is_a_row(tiny_config):
    row = find_row(str(tiny_config))
    assert (row.name, row.label, row.published) == ('tiny', 'tiny', None)
    assert find_row(str(ROOT / 'configs/mask_rcnn_fasternet_s.py')) == find_row('fasternet_s')


def test_a_relative_config_is_one_of_the_current_folder(tiny_config, monkeypatch):
    monkeypatch.chdir(tiny_config.parent)
    assert find_row(tiny_config.name) == find_row(str(tiny_config))
    assert find_row(tiny_config.name).config_path == tiny_config


def test_a_config_of_the_project_is_a_row_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert find_row('mask_rcnn_fasternet_s') == find_row('mask_rcnn_fasternet_s.py') == find_row('fasternet_s')
    row = find_row('retinanet_fasternet_s')
    # In records the clone's own path does not show.
    assert row.config == 'configs/detection/retinanet_fasternet_s.py' and row.config_path == ROOT / row.config
