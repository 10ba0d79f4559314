"""The ablation: variants keep FLOPs and reach the detector, parts are not made again, the page is arithmetic."""

import re

import pytest
import torch
from helpers.project import ROOT

from mmfasternet import FasterNet
from mmfasternet.benchmark.measure.paths import largest_difference, randomize_norms
from mmfasternet.benchmark.paper.ablation import measure as ablation
from mmfasternet.benchmark.paper.ablation.measure import VARIANTS, Plan, equal_width, flops_of, measure_ablation
from mmfasternet.benchmark.paper.ablation.report import PRINTED, ablation_page, write_ablation
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.records.records import describe_machine, new_document, read_records
from mmfasternet.deploy import optimize_for_inference
from mmfasternet.errors import UserError

BY_NAME = {variant.name: variant for variant in VARIANTS}
TRAINED = [variant for variant in VARIANTS if variant.is_trained]


def test_rows_of_table_5():
    rows = [row['variant'] for row in published('table5_ablation')]
    # Its width is not printed.
    assert set(rows) - set(PRINTED) == {'T0* ReLU (wider)'} and set(PRINTED) <= set(rows)


@pytest.mark.parametrize(('ratio', 'width'), [(1 / 2, 34), (1 / 4, 40), (1 / 8, 42)])
def test_widths_keep_the_flops(ratio, width):
    wanted = flops_of(FasterNet('t0', out_indices=(3,), out_norm=False), 224)

    def gap(channels):
        # 1/8 of 42 channels is 5.25, of which PConv convolves 5.
        whole = round(channels * ratio) / channels
        arch = dict(embed_dims=channels, depths=(1, 2, 8, 2), partial_ratio=whole, act_cfg=dict(type='GELU'))
        with torch.device('meta'):
            return abs(flops_of(FasterNet(arch, out_indices=(3,), out_norm=False), 224) / wanted - 1)

    assert equal_width(ratio) == width
    assert gap(width) < 0.04 and gap(width) < min(gap(width - 2), gap(width + 2))
    assert wanted == 336_336_000


@torch.no_grad()
@pytest.mark.parametrize('variant', VARIANTS, ids=lambda variant: variant.name)
def test_deployed_form_computes_the_same(variant):
    model = variant.build().eval()
    randomize_norms(model)
    image = torch.rand(1, 3, 64, 64)
    assert largest_difference(optimize_for_inference(model)(image), model(image)) < 1e-4
    names = {type(module).__name__ for module in model.modules()}
    assert variant.act in names and ('LayerNorm2d' if variant.norm == 'LN' else 'BatchNorm2d') in names


@pytest.mark.parametrize('variant', TRAINED, ids=lambda variant: variant.name)
def test_variants_reach_the_detector(variant, tmp_path):
    (run,) = Plan((variant,)).runs(tmp_path)
    model = run.config().model
    built = FasterNet(**{key: value for key, value in model.backbone.items() if key != 'type'})
    maps = built.to('meta').eval()(torch.empty(1, 3, 64, 64, device='meta'))
    assert [out.shape[1] for out in maps] == model.neck.in_channels
    ours, theirs = dict(variant.build().named_parameters()), dict(built.named_parameters())
    # The detector's has norms of its outputs besides.
    assert {name: value.shape for name, value in theirs.items() if name in ours} == {
        name: value.shape for name, value in ours.items()
    }
    assert type(built.stages[0].blocks[0].mlp[2]).__name__ == variant.act
    words = run.train_command()
    assert f'model.neck.in_channels={model.neck.in_channels}' in words and 'randomness.seed=0' in words


def test_records_and_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    trained = []

    def carry_out(run, lock):
        trained.append(run.name)
        yield 0.5

    metrics = dict(box_ap=50.0, box_ap_50=80.0, mask_ap=40.0, curves={}, checkpoint='epoch_2.pth', family='FasterNet')
    monkeypatch.setattr(ablation, 'carry_out', carry_out)
    monkeypatch.setattr(ablation, 'record_of', lambda run: metrics)
    monkeypatch.setattr(ablation, 'generate', lambda study: None)
    pair, path = (BY_NAME['t0'], BY_NAME['t0_ln']), tmp_path / 'records.json'
    plan = Plan(pair, pixels=64, threads=1, rounds=1, options={'data_root': 'data/shapes/'})
    document = measure_ablation(plan, path)
    assert document == read_records(path) and trained == ['T0, seed 0']
    parts = [(record['row'], record['settings']['part']) for record in document['records']]
    latencies = [(name, 'latency') for name in ('t0', 't0_ln') for _ in ('eager', 'deployed')]
    assert parts == [('t0', 'cost'), ('t0_ln', 'cost'), *latencies, ('t0', 'ap')]
    assert set(document['records'][-1]['figures']) == set(metrics) - {'family'}

    before = path.read_bytes()
    monkeypatch.setattr(ablation, 'both_forms', None)
    measure_ablation(plan, path)
    assert path.read_bytes() == before and len(trained) == 1
    # A second seed is trained besides, and another budget is for another file.
    measure_ablation(Plan(pair, 64, threads=1, rounds=1, seeds=(0, 1), options=plan.options), path)
    assert trained == ['T0, seed 0', 'T0, seed 1']
    longer = {**plan.options, 'train_cfg.max_epochs': 9}
    with pytest.raises(UserError, match="of another budget .*'epochs': 3.* name another --out-dir"):
        measure_ablation(Plan(pair, 64, threads=1, rounds=1, options=longer), path)


def test_a_detector_without_a_fasternet_is_refused(tmp_path):
    with pytest.raises(
        UserError, match='trained_resnet18.py has the backbone ResNet, and the ablation changes a Faster'
    ):
        measure_ablation(Plan(config='configs/demo/trained_resnet18.py'), tmp_path / 'records.json')


def made_up(seeds=(0, 1)):
    """Of the base's 10 ms (T2: 40) and 60 AP, each variant takes and reaches what is said here."""
    times = dict(t0_half=(1.1, 1.2), t0_eighth=(0.9, 0.95), t0_ln=(1.3, 1.6), t0_relu=(0.8, 0.98), t2_gelu=(1.2, 1.01))
    gaps = dict(t0_half=(-1.0, -2.0), t0_eighth=(-3.0, -1.0), t0_relu=(0.5, -0.5), t2_gelu=(1.0, 1.0))
    document, origin = new_document(describe_machine('cpu', 2)), dict(date='2026-01-01T00:00:00', commit='0123456789')

    def add(variant, settings, **figures):
        record = dict(kind='study', study='ablation', row=variant.name, label=variant.label)
        document['records'].append({**record, 'settings': settings, 'figures': figures, **origin})

    pixels = dict(height=224, width=224)
    for variant in VARIANTS:
        flops = dict(t0_half=323_626_000, t0_eighth=308_818_000, t0_ln=339_000_000).get(variant.name, 336_336_000)
        add(variant, dict(part='cost', **pixels), params=2_214_900, flops=flops, channels=variant.arch()['embed_dims'])
    for variant in VARIANTS:
        for index, form in enumerate(('eager', 'deployed')):
            ms = (40 if variant.base == 't2' else 10) / (1 + index) * times.get(variant.name, (1, 1))[index]
            add(variant, dict(part='latency', form=form, batch=1, **pixels), median_ms=ms, flags=[], rounds=[])
    for seed in seeds:
        for variant in TRAINED:
            box = 60 + seed + gaps.get(variant.name, (0, 0))[seed]
            settings = dict(part='ap', config='some.py', seed=seed, epochs=2, dataset='val.json')
            add(variant, settings, box_ap=box, mask_ap=box - 5, curves={})
    return document


def test_page_and_picture(tmp_path):
    document = made_up()
    document['records'][len(VARIANTS)]['figures']['flags'] = ['it was busy']
    written = write_ablation(document, tmp_path)
    text = written['ablation.md'].read_text()
    assert text == ablation_page(document)
    lines = text.splitlines()
    assert (
        '| T0\\* r=1/2 (width changed to match FLOPs) | 34 | 2.21 | 0.324 | 11.0 | 6.00 | 59.0 (59.0 – 59.0) | 54.0 '
        '(54.0 – 54.0) | 9.6 | 6626 | 71.7 |'
    ) in lines
    assert any(line.startswith('| T0 BN | 40 | 2.21 | 0.336 | 10.0 \\* | 5.00 |') for line in lines)
    assert '| T0\\* ReLU (wider) |  |  |  |  |  |  |  | 9.3 | 5866 | 71.7 |' in lines
    # The mean of -1 and -2; 9.6 ms over 9.2 ms, and 71.7 less 71.9.
    assert (
        '- T0, ratio 1/2 has 34 channels and -3.8% FLOPs. It takes 1.10 times as long as T0 in eager form and 1.20 '
        'times deployed (the paper, on its CPU: 1.04). Its box AP is -1.5 points from it (the paper, top-1: -0.2).'
    ) in lines
    assert 'Its AP is not measured (the paper, top-1: +0.0).' in text
    assert (
        'It takes 1.20 times as long as T2 in eager form and 1.01 times deployed (the paper, on its CPU: 1.06)' in text
    )
    assert 'mean of the seeds 0, 1, with their range in brackets' in text
    # T0 has 60 and 61, ReLU 60.5 and 60.5: they overlap.
    assert 'for T0 and T0, ReLU.' in text
    svg = written['ablation.svg'].read_text()
    assert 'T0, ratio 1/8, to T0' in svg and 'T2, GELU, to T2' in svg
    assert written['ablation.png'].read_bytes().startswith(b'\x89PNG')


def test_one_seed_and_no_seed_say_what_they_lack(tmp_path):
    text = ablation_page(made_up(seeds=(0,)))
    assert 'It is that of seed 0 alone.' in text and 'with one seed there is no spread to judge by' in text
    text = write_ablation(made_up(seeds=()), tmp_path)['ablation.md'].read_text()
    assert 'No AP is measured yet.' in text and 'spread' not in text


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--seeds', '-1'], '--seeds must be 0'),
        (['--config', 'nothing.py'], "'nothing.py' is neither a config file nor a row"),
        (['--threads', '0'], 'threads must be at least 1, but got 0'),
        (['--report-only'], 'can not read .*records.json'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else '',
)
def test_mistakes_are_one_sentence(arguments, message, mistake_of, tmp_path):
    sentence = mistake_of(ROOT / 'tools/paper/ablation.py', '--out-dir', tmp_path, *arguments)
    assert re.match(f'error: .*{message}', sentence)
