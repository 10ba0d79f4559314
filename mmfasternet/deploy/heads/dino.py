"""DINO: queries that look at places of all levels, and no NMS."""

import copy
from collections.abc import Iterator, Sequence

import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention, multi_scale_deformable_attn_pytorch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads import DINOHead
from mmdet.models.detectors import DINO
from torch import Tensor, nn

from .detector import OneHeadGraph

__all__ = ['DINOGraph']


class DINOGraph(OneHeadGraph):
    """DINOHead's graph; the arguments are those of :class:`Graph`.

    Its deformable attention becomes ONNX's GridSample, once for each level and layer. Where an image was padded to a
    fixed size, mmdet would mask the padding, and the graph does not.
    """

    models = (DINO,)
    kinds = {'data_preprocessor': (DetDataPreprocessor,), 'bbox_head': (DINOHead,)}

    def __init__(self, model: nn.Module, pad: dict | None = None, batched: bool = False) -> None:
        super().__init__(model, pad, batched)
        self.encoder, self.decoder = _with_integers(model.encoder), _with_integers(model.decoder)

    @property
    def heads(self) -> list[nn.Module]:
        """None: the transformer asks the head in between, and all of both stays float32 in a file of half precision."""
        return []

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Detect objects in an image.

        Args:
            image: Red, green and blue from 0 to 255, float32 of shape (N, 3, H, W); N is 1 unless the graph is batched.

        Returns:
            Boxes x1, y1, x2, y2 in pixels (n, 4), scores (n,), highest first, labels (n,); if batched, images (n,), in
            whose order the others are.
        """
        logits, boxes = (layers[-1] for layers in self.model.bbox_head(**self._decoded(self.features(image))))
        most = self.limits.get('max_per_img', logits.shape[1])
        scores, places = logits.sigmoid().flatten(1).topk(most)
        boxes = boxes.gather(1, (places // self.num_classes)[..., None].expand(-1, -1, 4))
        height, width = image.shape[2:]
        centres, halves = boxes[..., :2], boxes[..., 2:] / 2
        sides = image.new_tensor([width, height, width, height])
        boxes = torch.cat((centres - halves, centres + halves), -1).clamp(0, 1) * sides
        found = boxes.flatten(0, 1), scores.flatten(), (places % self.num_classes).flatten()
        images = torch.arange(len(image))[:, None].expand(-1, most).flatten()
        return (*found, images) if self.batched else found

    def obstacles(self, model: nn.Module) -> Iterator[str]:
        """Settings of the head that these steps do not support."""
        if not model.bbox_head.loss_cls.use_sigmoid:
            yield 'scores that are not sigmoids'

    def _decoded(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """What the transformer gives its head, as mmdet's ``forward_transformer`` does for an image without padding."""
        model = self.model
        ratios = maps[0].new_ones(len(maps[0]), len(maps), 2)
        # As integers, and not as mmdet's tensors, whose values a graph would not know.
        sides = [tuple(level.shape[2:]) for level in maps]
        places = dict(spatial_shapes=sides, level_start_index=None, valid_ratios=ratios)
        positions = [
            model.positional_encoding(None, input=level) + embedding[:, None, None]
            for level, embedding in zip(maps, model.level_embed, strict=True)
        ]
        memory = self.encoder(query=_in_a_row(maps), query_pos=_in_a_row(positions), key_padding_mask=None, **places)
        queries, _ = model.pre_decoder(memory, None, sides)
        states, references = self.decoder(
            query=queries['query'],
            value=memory,
            key_padding_mask=None,
            self_attn_mask=None,
            reference_points=queries['reference_points'],
            reg_branches=model.bbox_head.reg_branches,
            **places,
        )
        return dict(hidden_states=states, references=list(references))


class _Attention(nn.Module):
    """mmcv's attention, told the sides of each level as integers."""

    def __init__(self, attention: MultiScaleDeformableAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        reference_points: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        query_pos: Tensor | None = None,
        **others: object,
    ) -> Tensor:
        attention = self.attention
        asked = query if query_pos is None else query + query_pos
        number, queries, _ = asked.shape
        heads = attention.num_heads
        around = number, queries, heads, attention.num_levels, attention.num_points
        offsets = attention.sampling_offsets(asked).view(*around, 2)
        weights = attention.attention_weights(asked).view(number, queries, heads, -1).softmax(-1).view(around)
        points = reference_points[:, :, None, :, None]
        if points.shape[-1] == 2:
            sides = query.new_tensor([[width, height] for height, width in spatial_shapes])
            places = points + offsets / sides[:, None]
        else:
            places = points[..., :2] + offsets / attention.num_points * points[..., 2:] * 0.5
        values = attention.value_proj(value).view(number, -1, heads, attention.value_proj.out_features // heads)
        found = multi_scale_deformable_attn_pytorch(values, spatial_shapes, places, weights)
        return attention.output_proj(found) + query


def _with_integers(transformer: nn.Module) -> nn.Module:
    """A copy whose attention is told the sides of each level as integers."""
    transformer = copy.deepcopy(transformer)
    for module in list(transformer.modules()):
        for name, child in module.named_children():
            if type(child) is MultiScaleDeformableAttention:
                setattr(module, name, _Attention(child))
    return transformer


def _in_a_row(maps: Sequence[Tensor]) -> Tensor:
    """The places of all levels, (N, places, channels)."""
    return torch.cat([level.flatten(2) for level in maps], 2).transpose(1, 2)
