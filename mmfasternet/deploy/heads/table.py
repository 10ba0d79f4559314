"""Which complete models can be exported: by the head that decides what comes out."""

__all__ = ['HEADS']

# Package and class of the head → the file here that has its steps, and their class. Exactly this class: a subclass may
# do anything else.
HEADS = {
    'mmdet.StandardRoIHead': ('standard_roi', 'StandardRoIGraph'),
    'mmdet.CascadeRoIHead': ('cascade_roi', 'CascadeRoIGraph'),
    'mmdet.RetinaHead': ('retina', 'RetinaGraph'),
    'mmdet.FCOSHead': ('fcos', 'FCOSGraph'),
    'mmdet.ATSSHead': ('atss', 'ATSSGraph'),
    'mmdet.DINOHead': ('dino', 'DINOGraph'),
    'mmdet.RTMDetHead': ('rtmdet', 'RTMDetGraph'),
    'mmdet.RTMDetSepBNHead': ('rtmdet', 'RTMDetGraph'),
    'mmdet.RTMDetInsHead': ('rtmdet_ins', 'RTMDetInsGraph'),
    'mmdet.RTMDetInsSepBNHead': ('rtmdet_ins', 'RTMDetInsGraph'),
    'mmseg.FPNHead': ('segmentor', 'SegmentorGraph'),
    'mmseg.UPerHead': ('segmentor', 'SegmentorGraph'),
    'mmpretrain.LinearClsHead': ('classifier', 'ClassifierGraph'),
    'mmfasternet.FasterNetClsHead': ('classifier', 'ClassifierGraph'),
}
