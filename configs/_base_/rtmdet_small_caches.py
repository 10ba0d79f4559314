# What mmdet's rtmdet/rtmdet_tiny_8xb32-300e_coco.py changes in RTMDet's steps: smaller caches for mosaic and mixup,
# which replace their oldest image.
small_caches = dict(
    CachedMosaic=dict(type='CachedMosaic', img_scale=(640, 640), pad_val=114.0, max_cached_images=20, random_pop=False),
    CachedMixUp=dict(
        type='CachedMixUp',
        img_scale=(640, 640),
        ratio_range=(1.0, 1.0),
        max_cached_images=10,
        random_pop=False,
        pad_val=(114, 114, 114),
        prob=0.5,
    ),
)
