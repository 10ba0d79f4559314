"""The reader withstands files that are damaged or made up at random; helpers/fuzz_reader.py says what it must not do.

``FUZZ_SECONDS`` says how long the slow test runs.
"""

import os
import re
import sys
import time

import pytest
from helpers.project import ROOT, run_tool

SCRIPT = ROOT / 'tests/helpers/fuzz_reader.py'


def fuzz(folder, *options: str) -> int:
    """Run the helper, and return the number of inputs that it tried."""
    arguments = (sys.executable, SCRIPT, '--keep', folder, *options)
    result = run_tool(*map(str, arguments), cwd=ROOT)
    # A negative status is a crash, whose input is current.pth.
    assert result.returncode == 0, f'status {result.returncode}\n{result.stdout}\n{result.stderr[-3000:]}'
    inputs, read, compared = (
        int(re.search(rf'(\d+) {kind}', result.stdout)[1]) for kind in ('inputs', 'read', 'compared')
    )
    assert inputs > read > compared > 0
    print(result.stdout)
    return inputs


def test_a_thousand_inputs(tmp_path):
    assert fuzz(tmp_path, '--inputs', '1000', '--seed', '0') == 1000


@pytest.mark.slow
def test_inputs_for_a_minute(tmp_path):
    seconds = os.environ.get('FUZZ_SECONDS', '60')
    fuzz(tmp_path, '--seconds', seconds, '--seed', str(int(time.time())))
