import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmfasternet.reports import curves


@pytest.fixture
def panels(tmp_path, monkeypatch):
    """Draws, and gives the panels."""

    def draw(*arguments):
        found = []
        save = Figure.savefig
        monkeypatch.setattr(
            Figure, 'savefig', lambda self, *args, **kwargs: (found.append(self), save(self, *args, **kwargs))
        )
        curves.draw_curves(tmp_path / 'curves.png', *arguments)
        return found[0].axes

    return draw


def test_losses_end_at_the_last_iteration(panels):
    above, below = panels(dict(loss_cls=[3, 2, 1], loss=[6, 5, 4]), {'box AP': [(10, 0.1), (20, 0.4)]}, 20, 10)
    total, part = above.lines
    assert total.get_label() == 'loss' and total.get_linewidth() > part.get_linewidth()
    assert total.get_xdata().tolist() == [1.8, 1.9, 2.0] and total.get_ydata().tolist() == [6, 5, 4]
    assert below.lines[0].get_xdata().tolist() == [1, 2]
    assert [text.get_text() for text in below.texts] == ['0.400']
    assert below.get_xlabel() == 'epoch'


def test_many_iterations_are_means_of_neighbours(panels):
    (above,) = panels(dict(loss=np.arange(4000.0)), {}, 4000)
    assert len(above.lines[0].get_xdata()) == 400
    assert above.lines[0].get_ydata()[:2].tolist() == [4.5, 14.5] and above.lines[0].get_xdata()[0] == 5.5
    assert above.get_xlabel() == 'iteration'


@pytest.mark.parametrize('lowest', [2.9, 0.8, 0.02, 0.002, 1e-6])
def test_labels_of_the_losses_lie_apart(panels, lowest):
    (above,) = panels(dict(loss=np.geomspace(3.1, lowest, 50)), {}, 50)
    shown = [label.get_window_extent() for label in above.yaxis.get_ticklabels(which='both') if label.get_text()]
    low, high = above.get_window_extent().y0, above.get_window_extent().y1
    boxes = sorted((box.y0, box.y1) for box in shown if low <= (box.y0 + box.y1) / 2 <= high)
    assert len(boxes) >= 1 and all(end <= start for (_, end), (start, _) in itertools.pairwise(boxes))


@pytest.mark.parametrize(('highest', 'top'), [(0.9, 1.05), (0.15, 0.195), (0.0, 0.05)])
def test_low_metrics_fill_their_panel(panels, highest, top):
    _, below = panels(dict(loss=[1]), {'box AP': [(1, 0.0), (2, highest)]}, 2)
    assert below.get_ylim() == pytest.approx((0, top))
