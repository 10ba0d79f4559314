# Mask R-CNN with a CPUBone, so that it is measured under the same head as the others. What its authors published is the
# AP of RetinaNet (github.com/altair199797/CPUBone), and no config: this is RepViT's 1x recipe.
_base_ = './mask_rcnn_repvit.py'
