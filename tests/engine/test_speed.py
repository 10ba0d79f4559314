"""How many epochs of a training on your own data fit into a budget."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from helpers.project import ROOT, run_tool

from mmfasternet.datasets import make_crops
from mmfasternet.datasets.formats import convert_source
from mmfasternet.engine import own_data, own_labels
from mmfasternet.engine.config import load_config
from mmfasternet.engine.own_data import prepare_config
from mmfasternet.engine.own_labels import prepare_labels
from mmfasternet.engine.speed import Speed
from mmfasternet.errors import UserError

SPEED = Speed(iteration=1, validation=10, start=15, epoch_length=50, max_epochs=40)


def test_a_budget_has_fewer_epochs_or_is_refused():
    assert SPEED.epochs_within(10_000) == 40
    # 85 % of the time, for the start of four steps, nine validations of 10 s, and 50 s for each epoch.
    assert SPEED.epochs_within((60 + 90 + 15 * 50) / 0.85 + 1) == 15
    with pytest.raises(
        UserError, match=r'1.0 s on this machine: 5 min 0 s have time for 105 .* Set --budget 9m'
    ) as refusal:
        SPEED.epochs_within(300)
    minutes = int(re.search(r'--budget (\d+)m', str(refusal.value))[1])
    assert SPEED.epochs_within(60 * minutes) >= 6


def test_a_short_training_that_the_data_asks_for_is_no_reason_to_refuse():
    assert replace(SPEED, max_epochs=2).epochs_within(400) == 2


def test_images_that_take_too_long_become_smaller(shapes_root, tmp_path, monkeypatch):
    """Their time follows from their area, in this machine of the test."""

    def measure(write, out):
        write(tmp_path / 'measured.py')
        side, _ = load_config(tmp_path / 'measured.py').image_size
        return Speed(iteration=(side / 320) ** 2, validation=0, start=0, epoch_length=100, max_epochs=20)

    plan = own_data.plan_training
    monkeypatch.setattr(own_data, 'plan_training', lambda *arguments: plan(*arguments).resized(512))
    monkeypatch.setattr(own_data, 'measure_speed', measure)
    convert_source(shapes_root, tmp_path / 'out')
    # 640 iterations of images of 320 pixels; of 512, they would be 250.
    config, recipe, note = prepare_config(tmp_path / 'out', shapes_root, budget=640 / 0.85)
    assert recipe.image_size == load_config(config).image_size == (320, 240) and recipe.max_epochs == 6
    assert 'images of 512 pixels would take too long' in note


def test_what_measuring_took_is_part_of_the_budget(shapes_root, tmp_path, monkeypatch):
    """Here a hundred seconds, in which two epochs would fit."""
    moments = iter((1000.0, 1100.0))
    monkeypatch.setattr(own_labels, 'time', SimpleNamespace(monotonic=lambda: next(moments)))
    monkeypatch.setattr(own_labels, 'measure_speed', lambda write, out: SPEED)
    budget = (60 + 90 + 15 * 50) / 0.85 + 1
    config, note = prepare_labels('maps', shapes_root, tmp_path / 'out', budget=budget + 100)[1:]
    assert ', 15 epochs; ' in note and '15 epochs' in config.read_text()


@pytest.mark.slow
def test_speed_is_that_of_a_training(shapes_root, tmp_path):
    crops = make_crops(shapes_root, tmp_path / 'crops')
    for format, source in (('maps', shapes_root), ('classes', crops)):
        config, note = prepare_labels(format, source, tmp_path / format, budget=36_000)[1:]
        asked = load_config(config)
        seconds = float(re.search(r'an iteration takes (\S+) s', note)[1])
        assert 0 < seconds < 100
        # Ten hours suffice for all that the data asks for.
        prepare_labels(format, source, tmp_path / f'{format}_2')
        unlimited = load_config(tmp_path / f'{format}_2/config.py')
        assert asked.train_cfg == unlimited.train_cfg and asked.param_scheduler == unlimited.param_scheduler
        assert not list((tmp_path / format).glob('.measure_*'))


@pytest.mark.slow
def test_a_budget_is_measured_before_the_config_is_written(shapes_root, tmp_path):
    command = (ROOT / 'tools/own_data.py', shapes_root, '--out', tmp_path / 'out', '--train', '--budget', '5s')
    done = run_tool(*command)
    assert done.returncode == 1 and re.search('error: an iteration takes .* Set --budget', done.stderr)
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['annotations', 'own_data.log']
