"""What the commands of the studies share: folders, records of another study, and being stopped."""

import re

import pytest
from helpers.project import ROOT

from mmfasternet.benchmark.paper.command import new_parser, run_study
from mmfasternet.benchmark.paper.records import StudyFile, read_study
from mmfasternet.errors import UserError

STUDIES = ('operators', 'redundancy', 'saliency', 'approximation', 'ablation')


@pytest.fixture
def other(tmp_path):
    """A folder with records of a study that is none of these."""
    StudyFile(tmp_path / 'records.json', 'other').add('a', 'A', dict(seed=0), dict(value=1))
    return tmp_path


@pytest.mark.parametrize('study', STUDIES)
@pytest.mark.parametrize(
    ('folder', 'message'),
    [('', 'something else than the study of .* name a folder'), ('none', 'can not read .*records.json')],
)
def test_report_of_another_study_or_of_nothing_is_refused(study, folder, message, other, mistake_of):
    sentence = mistake_of(ROOT / f'tools/paper/{study}.py', '--report-only', '--out-dir', other / folder)
    assert re.match(f'error: .*{message}', sentence)


def test_records_of_another_study_are_not_added_to(other):
    before = (other / 'records.json').read_bytes()
    with pytest.raises(UserError, match='something else than the study of operators'):
        StudyFile(other / 'records.json', 'operators')
    assert (other / 'records.json').read_bytes() == before
    assert read_study(other / 'records.json', 'other')['records'][0]['figures'] == dict(value=1)


def test_stopped_study_says_how_to_go_on(tmp_path):
    def measure(records):
        StudyFile(records, 'other').add('a', 'A', {}, dict(value=1))
        raise KeyboardInterrupt

    args = new_parser('', 'other', '').parse_args(['--out-dir', str(tmp_path)])
    with pytest.raises(SystemExit, match='other: stopped; the same command goes on from here'):
        run_study('other', args, measure, write=None)
    assert read_study(tmp_path / 'records.json', 'other')['records']


@pytest.mark.parametrize(('quick', 'folder'), [([], 'other'), (['--quick'], 'other_quick')])
def test_quick_form_has_a_folder_of_its_own(quick, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    def write(document, out_dir):
        seen.append(out_dir.as_posix())
        return {}

    args = new_parser('', 'other', '').parse_args(quick)
    run_study('other', args, lambda records: StudyFile(records, 'other').document, write)
    assert (tmp_path / 'work_dirs/paper' / folder / 'records.json').is_file()
    assert seen == [f'work_dirs/paper/{folder}']
