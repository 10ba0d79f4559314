"""A work dir belongs to one training: its config and its data, wherever they lie."""

import json

import pytest
from helpers.project import ROOT

from mmfasternet.datasets import make_shapes
from mmfasternet.engine.budget import claim_work_dir
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError

CONFIG = ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'


def config(data='data/shapes/', **options):
    return load_config(CONFIG, {'data_root': str(data), **options})


def test_the_same_training_is_taken_wherever_its_data_lies(tmp_path):
    data = make_shapes(tmp_path / 'shapes', num_train=2, num_val=1)
    claim_work_dir(tmp_path / 'work', config(data))
    (tmp_path / 'work/epoch_1.pth').touch()
    claim_work_dir(tmp_path / 'work', config(data))
    claim_work_dir(tmp_path / 'work', config(data.rename(tmp_path / 'moved')))
    assert str(tmp_path) not in (tmp_path / 'work/budget.json').read_text()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'optim_wrapper.optimizer.lr': 0.5}, r'config\.optim_wrapper\.optimizer\.lr was .* and is now 0\.5'),
        ({'randomness.seed': 7}, r'config\.randomness\.seed was .* and is now 7'),
        ({'find_unused_parameters': True}, r'config\.find_unused_parameters was None and is now True'),
    ],
)
def test_other_settings_are_named(tmp_path, options, message):
    claim_work_dir(tmp_path, config())
    with pytest.raises(UserError, match=f'{message}.*remove that folder'):
        claim_work_dir(tmp_path, config(**options))


def test_other_data_is_noticed(tmp_path):
    data = make_shapes(tmp_path / 'shapes', num_train=2, num_val=1)
    claim_work_dir(tmp_path / 'work', config(data))
    make_shapes(data, num_train=2, num_val=1, seed=1)
    with pytest.raises(UserError, match=r'data\.annotations/instances_train\.json was .*data\.shapes\.json was'):
        claim_work_dir(tmp_path / 'work', config(data))


def test_a_checkpoint_of_unknown_settings_is_not_taken(tmp_path):
    (tmp_path / 'epoch_1.pth').touch()
    with pytest.raises(UserError, match='epoch_1.pth was trained with unknown settings'):
        claim_work_dir(tmp_path, config())
    assert not (tmp_path / 'budget.json').exists()


@pytest.mark.parametrize('text', ['{', '[' * 100_000, json.dumps([1])])
def test_a_file_that_is_no_budget_is_one_message(tmp_path, text):
    (tmp_path / 'budget.json').write_text(text)
    with pytest.raises(UserError, match='remove'):
        claim_work_dir(tmp_path, config())
