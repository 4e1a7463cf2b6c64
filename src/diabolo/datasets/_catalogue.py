"""The catalogue of known data sets: content, licence, origin, and the checksums of their files."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PARTS", "PUBLISHED", "SPRITES", "KnownDataset", "Published", "known_datasets"]

PARTS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class KnownDataset:
    """A known data set: one line of `diabolo datasets`.

    Attributes:
        name: what `open_dataset` takes.
        shape: of one example.
        train, test: how many examples; test is 0 where no test part is published.
        classes: the names of the classes.
        licence, origin: under what terms, and where from.
        download_bytes: the size of the download when it is opened for the first time.

    >>> next(known.shape for known in known_datasets() if known.name == "mnist")
    (28, 28)
    """

    name: str
    shape: tuple[int, ...]
    train: int
    test: int
    classes: tuple[str, ...]
    licence: str
    origin: str
    download_bytes: int = 0


@dataclass(frozen=True)
class Published(KnownDataset):
    """A data set of four gzipped IDX files under the address `base`; `md5` in the order of `PARTS`."""

    base: str = ""
    md5: tuple[str, ...] = field(default=(), repr=False)

    def file(self, part: str) -> str:
        """The published file name of a part."""
        return f"{part}-idx{3 if part.endswith('images') else 1}-ubyte.gz"


_BUILT_IN = KnownDataset(
    name="digits",
    shape=(8, 8),
    train=1797,
    test=0,
    classes=_DIGITS,
    licence="CC BY 4.0",
    origin="UCI optical recognition of handwritten digits, as packaged in scikit-learn",
)

SPRITES = KnownDataset(
    name="shapes",
    shape=(64, 64),
    train=737_280,
    test=0,
    classes=("square", "ellipse", "heart"),
    licence="Apache 2.0",
    origin="made by code, with its factors: shape, scale, angle, x, y; shapes-20000 draws so many of them",
)

PUBLISHED = {
    known.name: known
    for known in (
        Published(
            name="mnist",
            shape=(28, 28),
            train=60_000,
            test=10_000,
            classes=_DIGITS,
            licence="CC BY-SA 3.0",
            origin="Y. LeCun, C. Cortes, C. Burges: http://yann.lecun.com/exdb/mnist/",
            download_bytes=11_594_722,
            base="https://ossci-datasets.s3.amazonaws.com/mnist/",
            md5=(
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
        ),
        Published(
            name="fashion-mnist",
            shape=(28, 28),
            train=60_000,
            test=10_000,
            classes=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            licence="MIT",
            origin="Zalando Research: https://github.com/zalandoresearch/fashion-mnist",
            download_bytes=30_878_645,
            base="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            md5=(
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
        Published(
            name="kmnist",
            shape=(28, 28),
            train=60_000,
            test=10_000,
            classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            licence="CC BY-SA 4.0",
            origin="ROIS-DS Center for Open Data in the Humanities: http://codh.rois.ac.jp/kmnist/",
            download_bytes=21_240_888,
            base="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            md5=(
                "bdb82020997e1d708af4cf47b453dcf7",
                "e144d726b3acfaa3e44228e80efcd344",
                "5c965bf0a639b31b8f53240b1b52f4d7",
                "7320c461ea6c1c855c0b718fb2a4b134",
            ),
        ),
    )
}


def known_datasets() -> list[KnownDataset]:
    """All data sets that `open_dataset` knows by name, those without a download first.

    >>> [known.name for known in known_datasets()]
    ['digits', 'shapes', 'mnist', 'fashion-mnist', 'kmnist']
    """
    return [_BUILT_IN, SPRITES, *PUBLISHED.values()]
