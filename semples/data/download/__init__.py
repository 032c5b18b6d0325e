"""Download and unpack VOC 2012 and COCO 2014."""
