"""Annotations in and out: COCO, YOLO, Pascal VOC, Cityscapes, and what is taken out of them before release."""
