"""An encoder folder gives back the encoder, to the bit, to every verb; anything amiss in it is an error."""

import json
from pathlib import Path

import pytest
import small_runs
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import save_hubert

from multimodal_ser import config as experiments
from multimodal_ser.analysis.encoders import fingerprint, load_encoder, randomised
from multimodal_ser.description import describe
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.manifests import read
from multimodal_ser.models import encoder_folder
from multimodal_ser.models.audio_branch import AudioConfig, build_audio, load_audio_encoder
from multimodal_ser.models.bands import BandsConfig, BandsEncoder
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.mockingjay import MockingjayConfig, MockingjayEncoder
from multimodal_ser.models.npc import NpcConfig, NpcEncoder
from multimodal_ser.models.ser import SerModel

KINDS = ("hubert", "mel", "mockingjay", "npc")  # that have weights


def made(kind: str, folder: Path) -> AudioEncoder:
    torch.manual_seed(1)
    if kind == "hubert":
        return HubertEncoder.from_pretrained(str(save_hubert(folder / "checkpoint"))).eval()
    encoder = {
        "mel": lambda: MelEncoder(MelConfig(bands=12, width=16, blocks=2, heads=2, feedforward=16)),
        "bands": lambda: BandsEncoder(BandsConfig(bands=12, changes=(1, 3), stride=2)),
        "mockingjay": lambda: MockingjayEncoder(
            MockingjayConfig(bands=12, stack=2, width=16, blocks=2, heads=2, feedforward=16)
        ),
        "npc": lambda: NpcEncoder(NpcConfig(bands=12, width=16, blocks=2, kernel=11)),
    }[kind]()
    return encoder.eval()


@pytest.fixture(params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[AudioEncoder, Path]:
    encoder = made(request.param, tmp_path)
    encoder_folder.save_encoder(encoder, tmp_path / "encoder")
    return encoder, tmp_path / "encoder"


def encoded(encoder: AudioEncoder) -> tuple[torch.Tensor, ...]:
    waves = torch.randn(2, 9_000, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        return encoder.eval()(waves, torch.tensor([9_000, 9_000])).layers


def test_what_is_read_back_says_the_same_to_the_bit(saved: tuple[AudioEncoder, Path]) -> None:
    encoder, folder = saved
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    for loaded in (encoder_folder.load_encoder(folder), load_encoder(folder), load_audio_encoder(folder)):
        assert fingerprint(loaded) == fingerprint(encoder)
        for one, other in zip(encoded(loaded), encoded(encoder), strict=True):
            assert torch.equal(one, other)
    assert fingerprint(randomised(encoder, seed=5)) != fingerprint(encoder)


def test_a_weight_that_is_missing_or_left_over_is_an_error(saved: tuple[AudioEncoder, Path]) -> None:
    _, folder = saved
    weights = load_file(folder / "model.safetensors")
    first, *others = weights
    save_file({name: weights[name] for name in others}, folder / "model.safetensors")
    with pytest.raises(InputError, match=f"1 missing: {first}"):
        encoder_folder.load_encoder(folder)
    save_file({**weights, "more": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(InputError, match="1 unexpected: more"):
        encoder_folder.load_encoder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "multimodal_ser.model"}, "format 'multimodal_ser.model'.*reads 'multimodal_ser.encoder'"),
        ({"schema_version": 2}, "schema_version 2"),
        ({"kind": "mell"}, "unknown audio encoder 'mell'.*did you mean 'mel'"),
        ({"more": 1}, "unknown key 'more'"),
        ({"config": {"band": 3}}, "unknown setting 'band'"),
    ],
)
def test_settings_that_this_version_does_not_know_are_errors(
    tmp_path: Path, change: dict, message: str
) -> None:
    encoder_folder.save_encoder(made("mel", tmp_path), tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, **change}))
    with pytest.raises(InputError, match=message):
        encoder_folder.load_encoder(tmp_path)


@pytest.mark.parametrize("frozen", ["nothing", "front_end", "all"])
def test_an_experiment_cuts_and_freezes_it_as_it_says(saved: tuple[AudioEncoder, Path], frozen: str) -> None:
    encoder, folder = saved
    cut = build_audio(AudioConfig(str(folder), keep_layers=1, frozen=frozen))
    assert cut.num_layers == 1
    below = -1 if isinstance(encoder, NpcEncoder) else 2  # its layer 1 of 2 is a sum of fewer when cut
    for one, other in zip(encoded(cut)[:below], encoded(encoder), strict=False):
        assert torch.equal(one, other)
    trains = {p.requires_grad for p in cut.parameters() if p.dim() > 1}
    assert trains == {"nothing": {True}, "front_end": {True, False}, "all": {False}}[frozen]
    with pytest.raises(InputError, match="keep_layers=3, but the encoder has 2 blocks"):
        build_audio(AudioConfig(str(folder), keep_layers=3))


def test_an_experiment_trains_on_it_and_the_model_predicts(
    saved: tuple[AudioEncoder, Path], tmp_path: Path
) -> None:
    encoder, folder = saved
    manifest = small_runs.write_corpus(tmp_path / "corpus", 8, 4)
    audio = {"encoder": str(folder), "frozen": "all"}
    config = small_runs.configured(
        manifest, model={"fusion": "audio", "audio": audio}, training={"max_steps": 1}
    )
    assert describe(config).parts
    experiments.run(config, tmp_path / "run")
    model = SerModel.from_pretrained(tmp_path / "run" / "model")
    assert fingerprint(load_encoder(tmp_path / "run")).startswith(fingerprint(model.audio))
    for name, weight in encoder.state_dict().items():
        assert torch.equal(model.audio.state_dict()[name], weight)
    predictor = Predictor.load(tmp_path / "run", "cpu")
    table = predictor.predict(predictor.examples(read(manifest), tmp_path / "cache"))
    assert table["arousal"].notna().all()


def test_an_encoder_without_weights_goes_through_a_folder_and_trains(tmp_path: Path) -> None:
    encoder = made("bands", tmp_path)
    encoder_folder.save_encoder(encoder, tmp_path / "encoder")
    manifest = small_runs.write_corpus(tmp_path / "corpus", 8, 4)
    audio = {"encoder": str(tmp_path / "encoder")}
    config = small_runs.configured(
        manifest, model={"fusion": "audio", "audio": audio}, training={"max_steps": 1}
    )
    experiments.run(config, tmp_path / "run")
    predictor = Predictor.load(tmp_path / "run", "cpu")
    assert predictor.model.audio.config == encoder.config
    table = predictor.predict(predictor.examples(read(manifest), tmp_path / "cache"))
    assert table["arousal"].notna().all()
    with pytest.raises(InputError, match="keep_layers=1, but the encoder has 0 blocks"):
        build_audio(AudioConfig(str(tmp_path / "encoder"), keep_layers=1))


@pytest.mark.slow  # torch takes long to trace even tiny networks
@pytest.mark.parametrize("kind", ["bands", "mockingjay", "npc"])
def test_a_model_on_a_spectral_encoder_exports(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")
    from multimodal_ser.export import export_model

    manifest = small_runs.write_corpus(tmp_path / "corpus", 4, 2)
    encoder_folder.save_encoder(made(kind, tmp_path), tmp_path / "encoder")
    audio = {"encoder": str(tmp_path / "encoder")}
    config = small_runs.configured(manifest, model={"fusion": "audio", "audio": audio})
    experiments.build_model(config.model, read(manifest)).save_pretrained(tmp_path / "model")
    parity = export_model(tmp_path / "model", tmp_path / "graphs", ("fp32",), read(manifest), clips=4)
    assert parity["precisions"]["fp32"]["max"] < 2e-5
