"""Any source of examples -> one `Dataset`.

    open_dataset("digits")                    a named set: digits, shapes, mnist, fashion-mnist, kmnist
    open_dataset("faces/", size=64)           a folder of images; its class folders become labels
    open_dataset("table.csv", labels="kind")  .csv, .tsv, .parquet, .npy, .npz, a folder of IDX files
    open_dataset("parts/*.parquet")           pieces of a large set: .npy, .parquet, WebDataset's .tar
    open_dataset(array, labels=y)             a NumPy array, lists, a torch tensor, a DataFrame, a Bunch, Hugging Face's

A function of your own becomes a reader by `register_reader`; `open_dataset(source, reader=...)` names one. What does
not fit into memory stays on the disk as a `Store`, and `Shuffled` reads it in a new order for every epoch.
Nothing here is loaded by pickle, and importing this package loads neither torch nor scikit-learn nor Pillow.
"""

from diabolo.datasets._catalogue import KnownDataset, known_datasets
from diabolo.datasets._dataset import BINARIZED, Dataset, Split, check_trainable
from diabolo.datasets._open import open_dataset
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._shuffle import Shuffled
from diabolo.datasets._store import Store, as_store

__all__ = [
    "BINARIZED",
    "Dataset",
    "KnownDataset",
    "RawData",
    "ReadOptions",
    "Shuffled",
    "Split",
    "Store",
    "as_store",
    "check_trainable",
    "known_datasets",
    "open_dataset",
    "register_reader",
]
