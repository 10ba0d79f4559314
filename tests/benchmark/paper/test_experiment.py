"""What the experiments share: records of one experiment alone, and the tools' refusals."""

import re

import pytest
from helpers.project import ROOT

from mmfasternet.benchmark.paper.experiment import Experiment
from mmfasternet.benchmark.paper.width import width_for
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

NAMES = sorted(path.stem for path in (ROOT / 'tools/paper').glob('*.py'))


@pytest.fixture
def other(tmp_path):
    """A folder with records of an experiment that is none of these."""
    Experiment('other', Records.open(tmp_path / 'records.json')).add('a', 'A', dict(seed=0), dict(value=1))
    return tmp_path


def test_records_are_found_by_their_settings_and_replaced(other):
    experiment = Experiment('other', Records.open(other / 'records.json'))
    assert experiment.find('a', dict(seed=0))['figures'] == dict(value=1)
    assert experiment.find('a', dict(seed=1)) is None and experiment.find('b', dict(seed=0)) is None
    experiment.add('a', 'A', dict(seed=0), dict(value=2))
    experiment.add('a', 'A', dict(seed=1), dict(value=3))
    found = Records.read(other / 'records.json').of_kind('paper', experiment='other')
    assert [record['figures']['value'] for record in found] == [2, 3]


def test_common_settings(other):
    experiment = Experiment('other', Records.open(other / 'records.json'))
    # A record that does not have a setting does not depend on it.
    experiment.require(dict(seed=0, threads=2))
    with pytest.raises(UserError, match='seed 0, but now it is 1.*--out-dir'):
        experiment.require(dict(seed=1))


def test_records_of_another_experiment_are_not_added_to(other):
    before = (other / 'records.json').read_bytes()
    with pytest.raises(UserError, match='does not belong to the experiment operators'):
        Experiment('operators', Records.open(other / 'records.json'))
    assert (other / 'records.json').read_bytes() == before


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(
    ('folder', 'message'), [('', 'does not belong to the experiment {}.*--out-dir'), ('none', 'does not exist')]
)
def test_report_of_another_experiment_or_of_nothing_is_refused(name, folder, message, other, mistake_of):
    found = mistake_of(ROOT / f'tools/paper/{name}.py', '--report-only', '--out-dir', other / folder)
    assert re.search(message.format(name), found)


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        ('operators', ['--networks', 'resnet51'], 'resnet51; choose from .*fasternet_t0'),
        ('operators', ['--batches', '0'], 'at least 1, but got 0'),
        ('operators', ['--device', 'abacus'], "'abacus'"),
        ('operators', ['--threads', '0'], 'threads must be at least 1'),
        ('ablation', ['--seeds', '-1'], '--seeds'),
        ('ablation', ['--config', 'nothing.py'], "'nothing.py'"),
        ('ablation', ['--threads', '0'], 'threads must be at least 1'),
        ('redundancy', ['--checkpoint', 'a.pth'], 'a.pth needs its network.*--config'),
        ('saliency', ['--checkpoint', 'a.pth'], 'a.pth'),
    ],
)
def test_mistakes_end_in_a_message(name, arguments, message, mistake_of, tmp_path):
    found = mistake_of(ROOT / f'tools/paper/{name}.py', '--out-dir', tmp_path, *arguments)
    assert re.search(f'^error: .*{message}', found)


@pytest.mark.parametrize(
    ('wanted', 'step', 'width'), [(99, 1, 10), (91, 1, 10), (90, 1, 9), (1, 4, 4), (70, 4, 8), (0, 1, 1)]
)
def test_nearest_width(wanted, step, width):
    assert width_for(wanted, lambda width: width**2, step) == width
