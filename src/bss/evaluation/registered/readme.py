"""The card of a registered model for people and for model hubs: Markdown below front matter in YAML.

The front matter is that of Hugging Face: https://huggingface.co/docs/hub/model-cards
"""

from typing import TYPE_CHECKING, Any

from bss.data.kinds.kind import KINDS
from bss.evaluation.page.words import listed, percent
from bss.parsing import dumped
from bss.wording import counted

if TYPE_CHECKING:
    from bss.evaluation.registered.card import Best, Figure

TASKS = {
    "image": "image-classification",
    "depth": "image-classification",
    "flow": "image-classification",
    "video": "video-classification",
    "audio": "audio-classification",
    "text": "text-classification",
    "features": "tabular-classification",
}
"""Kind of modality -> the task of the hub for a classifier of it; a kind without one has none."""
METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "auc": "roc_auc"}
"""Ours -> the hub's."""


def readme(best: "Best") -> str:
    """The card of a registered model, as Markdown."""
    return f"---\n{dumped(front_matter(best))}---\n\n{_text(best)}"


def front_matter(best: "Best") -> dict[str, Any]:
    """Licence, tags, library, tasks, and the figures on validation and test, as the hub reads them.

    The licence is `unknown`: who publishes the weights gives them one.
    """
    kinds = [best.meta.modalities[name].kind for name in best.meta.modalities]
    tasks = list(dict.fromkeys(TASKS[kind] for kind in kinds if kind in TASKS))
    return {
        "license": "unknown",
        "library_name": "bss",
        **({"pipeline_tag": tasks[0]} if tasks else {}),
        "tags": ["multimodal", "classification", "bss", *dict.fromkeys(kinds), *tasks[1:]],
        "metrics": list(METRICS.values()),
        "model-index": [{"name": _name(best), "results": _results(best, tasks)}],
    }


def _name(best: "Best") -> str:
    return f"{best.meta.dataset}-{best.method}-{best.scheduler}-{best.seed}"


def _results(best: "Best", tasks: list[str]) -> list[dict[str, Any]]:
    metrics = {
        "validation": [{"type": "accuracy", "value": best.validation_accuracy}],
        "test": [
            {"type": METRICS[name], "value": figure.value}
            for name, figure in _judged(best).items()
            if name in METRICS and figure.value is not None
        ],
    }
    task = {"type": tasks[0] if tasks else "other", "name": "multimodal classification"}
    data = {"name": best.meta.dataset, "type": best.meta.dataset}
    return [
        {"task": {**task}, "dataset": {**data, "split": split}, "metrics": measured}
        for split, measured in metrics.items()
    ]


def _judged(best: "Best") -> "dict[str, Figure]":
    """Metric -> its values of the multimodal prediction that counts."""
    return best.test["fused" if best.rule == "fused" else "judged"]


def _text(best: "Best") -> str:
    chosen = percent(best.validation_accuracy)
    pairs = ", ".join(f"{number:,} {split}" for split, number in best.meta.num_pairs.items())
    inputs = "\n".join(
        f"| `{name}` | {_first_line(KINDS[about.kind])} | {' x '.join(map(str, about.shape))} | "
        f"`{best.encoders[name]['name']}` |"
        for name, about in best.meta.modalities.items()
    )
    figures = "\n".join(
        f"| {output} | {percent(of['accuracy'].value)} | {_interval(of['accuracy'])} |"
        for output, of in best.test.items()
    )
    return f"""# {_name(best)}

A classifier of {listed([f"`{name}`" for name in best.meta.modalities])}: {len(best.meta.classes)} classes
({", ".join(best.meta.classes)}). Trained by the method `{best.method}` with the pairs in the order
`{best.scheduler}`, seed {best.seed}, on the data set `{best.meta.dataset}` ({pairs}).

**How it was chosen.** Of all runs of the grid its fusion is right most often on validation: {chosen} %, at
epoch {best.epoch + 1}. So that figure is optimistic. Nothing was chosen by the test split.

| output, on test | accuracy % of this model | % over {counted(len(best.seeds), "seed")}: mean [interval] |
| --- | --- | --- |
{figures}

## Use

```
bss predict TABLE --model .                    # bss is installed; a row a sample, a column a modality
bss export TABLE --model . --format onnx
```

| input | what it is made of | shape | encoder |
| --- | --- | --- | --- |
{inputs}

`model.json` has every parameter of what is read and of the model; `model.safetensors` the weights.

## Limits

- It knows its {len(best.meta.classes)} classes alone, and gives every input one of them.
- The figures are of data like that of training; how the splits were made stands in the documentation of the data set.
- Licence: none is given here. The data keep the licence of their publishers, and pretrained encoders theirs.
"""


def _first_line(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split()).replace("|", r"\|")


def _interval(figure: "Figure") -> str:
    if figure.mean is None:
        return "-"
    bounds = "" if figure.low is None else f" [{percent(figure.low)}, {percent(figure.high)}]"
    return f"{percent(figure.mean)}{bounds}"
