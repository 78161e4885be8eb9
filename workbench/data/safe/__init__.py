"""Files of others, opened so that nothing in them is executed and no size is believed."""

from .arrays import read_npy, read_npz
from .files import MAX_FILE_BYTES, file_size, read_bytes, read_json, read_text
from .matlab import read_variables
from .pickles import safe_unpickle

__all__ = [
    "MAX_FILE_BYTES",
    "file_size",
    "read_bytes",
    "read_json",
    "read_npy",
    "read_npz",
    "read_text",
    "read_variables",
    "safe_unpickle",
]
