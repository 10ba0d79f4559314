"""Classifiers of mmpretrain: the most likely classes of an image."""

from collections.abc import Iterator, Sequence

import numpy as np
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from torch import Tensor, nn

from mmfasternet.deploy.verify import check_ranking, predict_ranking

from .graph import Graph

__all__ = ['ClassifierGraph']

# So many classes come out, or all, where there are fewer.
_MOST = 5


class ClassifierGraph(Graph):
    """The graph of a classifier's head; the arguments are those of :class:`Graph`."""

    task = 'classification'
    outputs = ('labels', 'scores')
    models = (ImageClassifier,)
    kinds = {'data_preprocessor': (ClsDataPreprocessor,)}

    @property
    def heads(self) -> list[nn.Module]:
        """The only head."""
        return [self.model.head]

    @property
    def num_classes(self) -> int:
        """Number of the head's classes."""
        return self.model.head.num_classes

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Find the most likely classes of an image.

        Args:
            image: Red, green and blue from 0 to 255, float32 of shape (N, 3, H, W), H and W at least 32 pixels; N is 1
                unless the graph is batched.

        Returns:
            Labels (k,) and scores (k,), highest first; if batched, (N, k).
        """
        scores = self.model.head(self.features(image)).softmax(dim=1)
        scores, labels = scores.topk(min(_MOST, scores.shape[1]))
        return (labels, scores) if self.batched else (labels[0], scores[0])

    def predict(self, image: Tensor) -> list[np.ndarray]:
        """The scores of all classes (classes,)."""
        return [predict_ranking(self.model, image)]

    def check(self, found: Sequence[np.ndarray], expected: Sequence[np.ndarray], precision: str) -> str:
        """See :func:`~mmfasternet.deploy.verify.check_ranking`."""
        return check_ranking(found, expected[0], precision)

    def obstacles(self, model: nn.Module) -> Iterator[str]:
        """Nothing: these steps support all settings of the heads."""
        yield from ()
