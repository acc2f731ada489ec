"""Every experiment but plain supervised training goes two steps at tiny size, and leaves what it should."""

from pathlib import Path

import pytest
from tiny_checkpoints import save_hubert

from multimodal_ser import config as experiments
from multimodal_ser import settings
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.manifests import Header, Manifest, read
from multimodal_ser.models.encoder_folder import load_encoder
from multimodal_ser.models.ser import SerModel
from multimodal_ser.models.strength import StrengthConfig, StrengthNet, load_strength, save_strength
from multimodal_ser.pseudo_labels import pseudo_label

RECIPES = Path(__file__).parents[1] / "recipes"
CONFIGS = [
    path
    for path in sorted(RECIPES.glob("*/*.yaml"))
    if experiments.load_config(path).objective != "supervised"
]
# One of each objective and network; the others, which differ from them in values alone, take too long for the
# default tests. Every file is read in them.
QUICK = {
    "align_frames/tapt",
    "distill/mel",
    "distill/small",
    "pretrain_mockingjay/small_strength",
    "pretrain_mockingjay/strength",
    "pretrain_npc/small",
    "pretrain_vesper/small",
}
MEL = {"bands": 8, "width": 8, "heads": 1, "blocks": 1, "feedforward": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a checkpoint and a model, all tiny."""
    folder = tmp_path_factory.mktemp("given")
    options = {"speakers": 7, "utterances": 2, "seed": 0, "workers": 1}
    prepare("synthetic", folder / "corpus", folder / "manifest", options=options)
    save_hubert(folder / "hubert")
    known = read(folder / "manifest" / "manifest.jsonl")
    pseudo_label(known, folder / "hubert", folder / "labels", layer=1, clusters=4)
    given = {"fusion": "audio", "width": 8, "audio": {"encoder": "mel", "mel": MEL}}
    model = settings.parse(experiments.ModelConfig, given)
    experiments.build_model(model, Manifest(Header("none"), [])).save_pretrained(folder / "model")
    given = {"fusion": "text", "width": 8, "text": {"encoder": "small", "width": 8, "blocks": 1}}
    reader = settings.parse(experiments.ModelConfig, given)
    experiments.build_model(reader, known).save_pretrained(folder / "reader")
    return folder


def tiny(wanted: experiments.RunConfig, folder: Path) -> dict:
    """Tiny networks in the place of those that are named."""
    audio = wanted.model.audio
    changes: dict = {}
    if audio.is_untrained:
        size = {name: value for name, value in MEL.items() if hasattr(getattr(audio, audio.encoder), name)}
        size |= {"blocks": 2} if audio.encoder == "npc" else {"blocks": 1}
        changes["model"] = {"audio": {audio.encoder: size}}
    if wanted.objective == "distillation":
        student = {"blocks": min(wanted.distillation.student.blocks, 2)}
        changes["distillation"] = {"teacher": str(folder / "hubert"), "layers": [1, 2], "student": student}
    if wanted.objective == "vesper":
        masks = {"small": 2, "large": 4}
        changes["vesper"] = {"teacher": str(folder / "hubert"), "blocks": 2, "masks": masks}
    if wanted.objective == "strength":
        emotions = {u.emotion for u in read(folder / "manifest" / "manifest.jsonl").split("train").utterances}
        network = {"bands": 8, "channels": [2], "recurrent": 4, "hidden": 4}
        changes["strength"] = {"neutral": min(emotions), "network": network}
    if wanted.reconstruction.strength_model:
        network = StrengthNet(StrengthConfig(bands=8, channels=(2,), recurrent=4, hidden=4, classes=2))
        save_strength(network, folder / "strength")
        changes["reconstruction"] = {"strength_model": str(folder / "strength")}
    if wanted.objective == "frame_alignment":
        changes["model"] = {"audio": {"encoder": str(folder / "hubert")}}
        changes["data"] = {"manifest": str(folder / "labels" / "manifest.jsonl")}
    if wanted.objective == "joining":
        changes["joining"] = {"text_teacher": str(folder / "reader")}
        changes["model"] = {"audio": {"encoder": "mel", "mel": MEL}}
        changes["model"]["text"] = {"encoder": str(folder / "reader")}
    if wanted.objective == "task_distillation":
        changes["task_distillation"] = {"teacher": str(folder / "model")}
    return changes


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize(
    "path",
    [pytest.param(x, id=named(x), marks=[] if named(x) in QUICK else [pytest.mark.slow]) for x in CONFIGS],
)
def test_every_experiment_goes_two_steps(path: Path, folder: Path, tmp_path: Path) -> None:
    wanted = experiments.load_config(path)
    changes = {
        "data": {
            "manifest": str(folder / "manifest" / "manifest.jsonl"),
            "cache": str(folder / "cache"),
        },
        "training": {"max_steps": 2, "batch_seconds": 20, "device": "cpu", "workers": 0},
    }
    values = settings.merged(settings.read(path), changes)
    config = settings.parse(experiments.RunConfig, settings.merged(values, tiny(wanted, folder)))
    assert experiments.run(config, tmp_path).step == 2
    if wanted.objective == "strength":
        assert load_strength(tmp_path / "model").config.bands == 8
    elif wanted.is_pretraining:
        assert load_encoder(tmp_path / "model").num_layers > 0
    else:
        made = SerModel.from_pretrained(tmp_path / "model")
        assert made.config.branches == wanted.model.branches
