"""The grid's runs and metrics -> the model that is best on validation, ready for new data."""

import tasks
from bss.paths import HERE


def register() -> None:
    """Register the best model of the grid of params.yaml."""
    params = tasks.params()

    from bss.evaluation.registered.card import register as write_best

    best = write_best(params, HERE)
    print(f"best on validation: {best.method} {best.scheduler} {best.seed}, {100 * best.validation_accuracy:.1f} %")


if __name__ == "__main__":
    tasks.run(register)
