"""Weights from a file, videos frame by frame, and the libraries that may be missing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bss.data.packed import ModalityMeta
from bss.encoders.encoder import ENCODERS
from tests.helpers.encoders import folder


def of(kind: str, *shape: int, **further: Any) -> ModalityMeta:
    return ModalityMeta(kind=kind, shape=shape, mean=0, std=1, encoder="mlp", **further)


def built(modality: ModalityMeta, **spec: Any) -> Any:
    return ENCODERS.build(spec).build(modality)


def saved(name: str, path: Path) -> Any:
    """A network of torchvision with its classifier, and its state dict in a file."""
    from torchvision import models

    torch.manual_seed(3)
    network = (getattr(models, name, None) or getattr(models.video, name))(num_classes=7).eval()
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return network


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_resnet_takes_the_weights_of_torchvision(tmp_path: Path, suffix: str) -> None:
    whole = saved("resnet18", path := tmp_path / f"weights.{suffix}")
    network = built(of("image", 3, 32, 32), name="resnet18", weights=str(path)).eval()
    pictures = torch.randn(2, 3, 32, 32)
    assert torch.allclose(whole.fc(network(pictures)), whole(pictures), atol=1e-4)
    grey = built(of("audio", 1, 32, 32), name="resnet18", weights=str(path)).eval()
    one = torch.randn(2, 1, 32, 32)
    assert torch.allclose(grey(one), network(one.expand(-1, 3, -1, -1)), atol=1e-4), "one channel stands for three"


def test_a_resnet_averages_the_frames_of_a_video(tmp_path: Path) -> None:
    saved("resnet18", path := tmp_path / "weights.pth")
    still = built(of("image", 3, 16, 16), name="resnet18", weights=str(path)).eval()
    moving = built(of("video", 3, 4, 16, 16), name="resnet18", weights=str(path)).eval()
    videos = torch.randn(2, 3, 4, 16, 16)
    slow = torch.stack(
        [torch.stack([still(video[:, [t]].transpose(0, 1))[0] for t in range(4)]).mean(0) for video in videos]
    )
    assert torch.allclose(moving(videos), slow, atol=1e-4)


@pytest.mark.parametrize("network", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_a_video_network_takes_the_weights_of_torchvision(tmp_path: Path, network: str) -> None:
    whole = saved(network, path := tmp_path / "weights.pth")
    own = built(of("video", 3, 4, 16, 16), name="video3d", network=network, weights=str(path)).eval()
    videos = torch.randn(2, 3, 4, 16, 16)
    assert torch.allclose(whole.fc(own(videos)), whole(videos), atol=1e-4)


def test_s3d_takes_the_weights_of_torchvision(tmp_path: Path) -> None:
    whole = saved("s3d", path := tmp_path / "weights.pth")
    own = built(of("video", 3, 16, 32, 32), name="video3d", network="s3d", weights=str(path)).eval()
    videos = torch.randn(1, 3, 16, 32, 32)
    maps = whole.features(videos)
    assert torch.allclose(own(videos), maps.mean(dim=(2, 3, 4)), atol=1e-4)


def published_i3d(channels: int) -> dict[str, torch.Tensor]:
    """Random weights under the names and in the shapes of the published checkpoint of 400 classes."""
    found: dict[str, torch.Tensor] = {}

    def unit(name: str, inner: int, outer: int, kernel: int) -> None:
        found[f"{name}.conv3d.weight"] = 0.05 * torch.randn(outer, inner, kernel, kernel, kernel)
        for part, value in {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}.items():
            found[f"{name}.bn.{part}"] = torch.full((outer,), value)

    unit("Conv3d_1a_7x7", channels, 64, 7)
    unit("Conv3d_2b_1x1", 64, 64, 1)
    unit("Conv3d_2c_3x3", 64, 192, 3)
    inner = 192
    for block, (one, two_before, two, three_before, three, pooled) in {
        "3b": (64, 96, 128, 16, 32, 32), "3c": (128, 128, 192, 32, 96, 64), "4b": (192, 96, 208, 16, 48, 64),
        "4c": (160, 112, 224, 24, 64, 64), "4d": (128, 128, 256, 24, 64, 64), "4e": (112, 144, 288, 32, 64, 64),
        "4f": (256, 160, 320, 32, 128, 128), "5b": (256, 160, 320, 32, 128, 128), "5c": (384, 192, 384, 48, 128, 128),
    }.items():  # fmt: skip
        unit(f"Mixed_{block}.b0", inner, one, 1)
        unit(f"Mixed_{block}.b1a", inner, two_before, 1)
        unit(f"Mixed_{block}.b1b", two_before, two, 3)
        unit(f"Mixed_{block}.b2a", inner, three_before, 1)
        unit(f"Mixed_{block}.b2b", three_before, three, 3)
        unit(f"Mixed_{block}.b3b", inner, pooled, 1)
        inner = one + two + three + pooled
    found["logits.conv3d.weight"], found["logits.conv3d.bias"] = torch.randn(400, 1024, 1, 1, 1), torch.zeros(400)
    return found


@pytest.mark.parametrize("channels", [3, 2])
def test_i3d_takes_the_published_weights(tmp_path: Path, channels: int) -> None:
    given = published_i3d(channels)
    assert (
        sum(values.numel() for name, values in given.items() if "running" not in name)
        == {
            3: 12_697_264,
            2: 12_675_312,
        }[channels]
    )
    torch.save(given, path := tmp_path / "weights.pt")
    own = built(of("video", channels, 16, 64, 64), name="video3d", network="i3d", weights=str(path)).eval()
    maps = torch.randn(1, channels, 16, 64, 64)
    assert own(maps).shape == (1, 1024)
    state = own.state_dict()
    assert all(torch.equal(state[name], values) for name, values in given.items() if not name.startswith("logits"))
    first = torch.nn.functional.conv3d(
        torch.nn.functional.pad(maps, (2, 3, 2, 3, 2, 3)), given["Conv3d_1a_7x7.conv3d.weight"], stride=2
    )
    assert torch.allclose(own.Conv3d_1a_7x7(maps), (first / (1 + 0.001) ** 0.5).relu(), atol=1e-4)
    assert own.Mixed_4f(own.Mixed_4e(torch.randn(1, 512, 3, 5, 5))).shape == (1, 832, 3, 5, 5)


def test_timm_takes_weights_of_its_own(tmp_path: Path) -> None:
    import timm

    whole = timm.create_model("test_resnet", num_classes=5).eval()
    torch.save(whole.state_dict(), path := tmp_path / "weights.pth")
    given: dict[str, Any] = {"name": "timm", "model": "test_resnet", "pretrained_path": str(path)}
    network = built(of("image", 3, 32, 32), **given).eval()
    pictures = torch.randn(2, 3, 32, 32)
    assert torch.allclose(
        network(pictures), whole.forward_head(whole.forward_features(pictures), pre_logits=True), atol=1e-5
    )
    grey, one = built(of("image", 1, 32, 32), **given).eval(), torch.randn(2, 1, 32, 32)
    assert torch.allclose(grey(one), network(one.expand(-1, 3, -1, -1)), atol=1e-5)
    with pytest.raises(ValueError, match="timm knows no model 'resnet_no'"):
        built(of("image", 3, 32, 32), name="timm", model="resnet_no")


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    image, path = of("image", 3, 32, 32), tmp_path / "weights.pth"
    for content, message in (
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, r"does not fit: it lacks \d+ of \d+ weights"),
        (["list"], "holds no state dict: it is a list"),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            built(image, name="resnet18", weights=str(path))
    path.write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="holds no state dict"):
        built(image, name="resnet18", weights=str(path))
    with pytest.raises(ValueError, match="no weights at .*nowhere"):
        built(image, name="resnet50", weights="nowhere")
    whole = saved("resnet18", path)
    torch.save({**whole.state_dict(), "further": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="1 of its weights have no place, the first is further"):
        built(image, name="resnet18", weights=str(path))
    saved("resnet18", path)
    with pytest.raises(ValueError, match=r"conv1.weight has the shape \(64, 3, 7, 7\), not \(64, 2, 7, 7\)"):
        built(of("flow", 2, 32, 32), name="resnet18", weights=str(path))


WORDS = of("text", 9, tokens=tuple("abcdefgh"), padding=2)


@pytest.mark.parametrize("pool", ["pooled", "mean"])
def test_a_text_model_does_not_see_the_padding(pool: str) -> None:
    network = built(WORDS, name="huggingface", model=folder("words"), pool=pool).eval()
    ids = torch.tensor([[1, 4, 5, 2, 2, 2, 2, 2, 2.0]])
    output = network.model(input_ids=ids[:, :3].long())
    slow = output.pooler_output if pool == "pooled" else output.last_hidden_state.mean(dim=1)
    assert torch.allclose(network(ids), slow, atol=1e-5)
    assert network(torch.full((1, 9), 2.0)).isfinite().all()


def test_a_frozen_model_stays_in_eval_mode_and_an_adapted_one_starts_as_it_was() -> None:
    ids = torch.tensor([[1, 4, 5, 2, 2, 2, 2, 2, 2.0]])
    plain, frozen, adapted = (
        built(WORDS, name="huggingface", model=folder("words"), **further)
        for further in ({}, {"freeze": True}, {"lora_rank": 2})
    )
    expected = plain.eval()(ids)
    assert torch.equal(frozen.train()(ids), expected), "no dropout"
    assert torch.allclose(adapted.eval()(ids), expected, atol=1e-6)
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    with pytest.raises(ValueError, match="leave freeze out"):
        ENCODERS.build({"name": "huggingface", "model": "x", "freeze": True, "lora_rank": 2})


def test_every_adapter_has_a_part_in_the_features(tmp_path: Path) -> None:
    """SigLIP pools by attention of torch, which reads the weights of its linear layer and never calls it."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("peft")
    config = transformers.SiglipVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
    )
    transformers.SiglipVisionModel(config).save_pretrained(tmp_path)
    network = built(of("image", 3, 8, 8), name="huggingface", model=str(tmp_path), lora_rank=2)
    pictures = torch.randn(2, 3, 8, 8)
    before = network.eval()(pictures)
    late = [weight for name, weight in network.named_parameters() if "lora_B" in name]
    assert len(late) > 2
    for weight in late:
        with torch.no_grad():
            weight.copy_(torch.randn(weight.shape))
            assert not torch.allclose(network(pictures), before, atol=1e-6)
            weight.zero_()
    assert torch.allclose(network(pictures), before, atol=1e-5)


def test_random_weights_come_from_the_seed_alone() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        network = built(WORDS, name="huggingface", model=folder("words"), random_weights=True)
        return network.model.embeddings.word_embeddings.weight  # type: ignore[no-any-return]

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_what_a_hugging_face_model_cannot_take_is_refused(tmp_path: Path) -> None:
    many = of("text", 9, tokens=tuple(map(str, range(30))))
    with pytest.raises(ValueError, match="takes the 20 tokens of its model, got 30: pack the texts"):
        built(many, name="huggingface", model=folder("words"))
    with pytest.raises(ValueError, match=r"huggingface takes what its model takes, got .* \(17,\)"):
        built(of("text", 17, tokens=tuple("abcd")), name="huggingface", model=folder("words"))
    with pytest.raises(ValueError, match="huggingface finds no model at"):
        built(WORDS, name="huggingface", model=str(tmp_path))


@pytest.mark.parametrize(
    ("library", "spec"),
    [
        ("timm", {"name": "timm"}),
        ("transformers", {"name": "huggingface", "model": "words"}),
        ("peft", {"name": "huggingface", "model": "words", "lora_rank": 2}),
    ],
)
def test_a_missing_library_is_named(library: str, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    given = {**spec, "model": folder("words")} if "model" in spec else spec
    found = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == library:
            raise ImportError(f"No module named '{library}'")
        return found(name, package)

    modality = WORDS if "model" in spec else of("image", 3, 8, 8)
    monkeypatch.setattr("bss.encoders._pretrained.importlib.import_module", without)
    with pytest.raises(ValueError, match=rf"needs {library}: pip install bss\[pretrained\]"):
        built(modality, **given)
