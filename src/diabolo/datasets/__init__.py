"""Any source of examples -> one `Dataset`.

    open_dataset("digits")                    a named set: digits, mnist, fashion-mnist, kmnist
    open_dataset("faces/", size=64)           a folder of images; its class folders become labels
    open_dataset("table.csv", labels="kind")  .csv, .tsv, .parquet, .npy, .npz, a folder of IDX files
    open_dataset(array, labels=y)             a NumPy array, lists, a torch tensor, a DataFrame, a scikit-learn Bunch

Nothing here is loaded by pickle, and importing this package loads neither torch nor scikit-learn nor Pillow.
"""

from diabolo.datasets._catalogue import KnownDataset, known_datasets
from diabolo.datasets._dataset import BINARIZED, Dataset, Split, check_trainable
from diabolo.datasets._open import open_dataset

__all__ = ["BINARIZED", "Dataset", "KnownDataset", "Split", "check_trainable", "known_datasets", "open_dataset"]
