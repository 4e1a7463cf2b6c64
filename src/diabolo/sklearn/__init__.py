"""scikit-learn estimators: any variant as a transformer, or as a detector of outliers.

    from diabolo.sklearn import AutoencoderTransformer
    features = AutoencoderTransformer(latent_dim=10, model="vae", random_state=0).fit_transform(X)

`import diabolo` does not import this package, since scikit-learn takes a while to load.
"""

from __future__ import annotations

from diabolo.sklearn._detector import AutoencoderOutlierDetector
from diabolo.sklearn._transformer import AutoencoderTransformer

__all__ = ["AutoencoderOutlierDetector", "AutoencoderTransformer"]
