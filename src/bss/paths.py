"""Where each artifact lies, relative to the workspace. dvc.yaml names the same places."""

from pathlib import Path

PACKED = Path("data/packed")
CHECKPOINTS = Path("models/checkpoints")
"""Not of DVC: they go with an interrupted training alone."""
BEST = Path("models/best")
REPORT = Path("reports/report.html")
SUMMARY = Path("reports/summary")
PLOTS = Path("reports/plots")
VALIDATION = Path("reports/validation.json")


def warmup(seed: int) -> Path:
    """Weights and evidence of the warm-up."""
    return Path("models/warmup") / str(seed)


def scores(seed: int) -> Path:
    """Criteria and balance score of every training sample."""
    return Path("data/scores") / f"{seed}.parquet"


def curriculum(scheduler: str, seed: int) -> Path:
    """Order, pacing curve and index sequences."""
    return Path("data/curricula") / f"{scheduler}-{seed}"


def method(name: str) -> Path:
    """The code of training with a method."""
    return Path("data/methods") / f"{name}.json"


def run(method: str, scheduler: str, seed: int) -> Path:
    """Weights, history and draws of one training."""
    return Path("models/runs") / f"{method}-{scheduler}-{seed}"


def seconds(method: str, scheduler: str, seed: int) -> Path:
    """How long one training took. Not of DVC, for it is another number every time."""
    return Path("models/times") / f"{method}-{scheduler}-{seed}.json"


def metrics(method: str, scheduler: str, seed: int) -> Path:
    """Metrics on the test split."""
    return Path("reports/metrics") / f"{method}-{scheduler}-{seed}.json"


def predictions(method: str, scheduler: str, seed: int) -> Path:
    """Predictions and confusion matrices on the test split."""
    return Path("reports/predictions") / f"{method}-{scheduler}-{seed}"
