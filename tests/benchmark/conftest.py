"""What spares the tests of pages the drawing of figures that they don't look at."""

import pytest


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Figures are composed, and not drawn: their files are empty."""
    for module in ('report.style', 'comparison.trained_report'):
        monkeypatch.setattr(f'mmfasternet.benchmark.{module}.encode', lambda figure: b'')
