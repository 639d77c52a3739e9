"""What the encoders know, whatever heads and fusion make of it: logistic regressions on their frozen features."""

import numpy as np

from bss.measure.evidence import Evidence
from bss.types import FUSED

MOST_STEPS = 1000


def linear_probe(train: Evidence, test: Evidence) -> dict[str, float]:
    """The accuracy of linear probes, as BalanceBenchmark looks at what a method has taught each encoder.

    A probe is a multinomial logistic regression with an L2 penalty of scikit-learn's default strength, fitted on the
    features of the training pairs, each in standard deviations from its mean there. BalanceBenchmark fits one on the
    features of all modalities and cuts it into shares; here every modality has a probe of its own.

    Args:
        train: of the pairs that the probes are fitted on, with features.
        test: of the pairs that they are judged on, with features.

    Returns:
        Modality -> share of the pairs that its probe has right, in [0, 1], and `fused`, that of the features of all
        modalities side by side.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted, judged = _features(train), _features(test)
    accuracies = {}
    for name, values in fitted.items():
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_STEPS))
        probe.fit(values, train.labels.numpy(force=True))
        accuracies[name] = float(probe.score(judged[name], test.labels.numpy(force=True)))
    return accuracies


def _features(evidence: Evidence) -> dict[str, np.ndarray]:
    """Modality -> (N, dim), and `fused`, side by side."""
    parts = evidence.needed_features("the linear probe")
    features = {name: parts[name].flatten(1).double().numpy(force=True) for name in evidence.modalities}
    return {**features, FUSED: np.concatenate(list(features.values()), axis=1)}
