"""Users' own pose results, read row by row and written back. Nothing in them is executed.

`rows` says what all formats share; each format is a file with one function that walks over parsed
content and yields its rows; `files` tells formats apart; `placing` finds the frames of a video that
results belong to, and whether they are pixels of it; `detections` and `writing` are what others
call. A row also knows how to put a joint back where it came from, so that a file can be written
again with nothing changed but the joints that a method replaced.
"""

from .detections import (
    OnVideo,
    file_in_truth_boxes,
    on_video,
    read_clip_results,
    read_detections,
    read_in_truth_boxes,
    read_results,
    results_beside_videos,
)
from .writing import write_coco_results, write_like, write_table

__all__ = [
    "OnVideo",
    "file_in_truth_boxes",
    "on_video",
    "read_clip_results",
    "read_detections",
    "read_in_truth_boxes",
    "read_results",
    "results_beside_videos",
    "write_coco_results",
    "write_like",
    "write_table",
]
