"""Detections in, `Prediction` out: the one straight line from px to px.

`base` holds what every method shares, `poses` PORT, `sequences` HANet, `estimate` the three that
read pictures, `weights` how they are loaded, `own_video` the way of a user's video through them.
What is asked for here is imported then: who refines poses needs nothing that reads pictures.
"""

from importlib import import_module

HOMES = {
    "base": "Predictor",
    "poses": "PortRefiner RefineRule as_simulated place_missing pose_frame pose_weights "
    "readable refine_people",
    "sequences": "SequenceRefiner SequenceStream refine_tracks stretches weights_joints",
    "estimate": "ClipEstimator Condition Estimated PoseEstimator Propagator between_inputs "
    "estimate_people frame_windows poses_between windows_between",
    "weights": "OF_PICTURES SHIPPED described load named_file weights_path",
    "own_video": "VideoResult load_estimator people_finder recorded refined_people video",
}
_HOME_OF = {name: home for home, names in HOMES.items() for name in names.split()}


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME_OF]
