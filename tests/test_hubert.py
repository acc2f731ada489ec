"""Speech encoders against transformers' own forward on single clips, and against themselves when padded."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from scripts import RECIPES, load_script
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    HubertConfig,
    HubertForCTC,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForPreTraining,
    WavLMConfig,
)

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import mask_from_lengths
from multimodal_ser.models.front_end import group_norm
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder, draw_spans

BENCHMARK = RECIPES / "benchmarks" / "padding.py"
LENGTHS = torch.tensor([5000, 12_000, 0, 7777, 100])
SAMPLES = 15_000
TINY = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
# name: (settings, whether the waveform is normalised)
VARIANTS = {
    "hubert-base": (HubertConfig(**TINY), True),
    "distilhubert": (HubertConfig(**TINY | {"num_hidden_layers": 2, "feat_proj_layer_norm": False}), False),
    "hubert-large": (HubertConfig(**TINY, **LARGE), True),
    "mhubert": (HubertConfig(**TINY, conv_pos_batch_norm=True), True),
    "wav2vec2-base": (Wav2Vec2Config(**TINY), True),
    "wav2vec2-large": (Wav2Vec2Config(**TINY, **LARGE), True),
    "wavlm-base": (WavLMConfig(**TINY), False),
    "wavlm-large": (WavLMConfig(**TINY, **LARGE), True),
}


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    """`network` with every weight and running statistic moved, so that none stands at a neutral value."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    return network


def save(folder: Path, network: torch.nn.Module, normalise: bool = True) -> Path:
    network.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return folder


@pytest.fixture(params=VARIANTS, scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder as transformers writes it."""
    settings, normalise = VARIANTS[request.param]
    network = randomised(AutoModel.from_config(settings))
    return save(tmp_path_factory.mktemp(request.param), network, normalise)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save(tmp_path / "base", randomised(HubertModel(VARIANTS["hubert-base"][0])))


@pytest.fixture
def waveforms() -> Tensor:
    """Noise with an offset; what stands behind the clips is loud, so that nobody may look at it."""
    return 0.05 + 0.1 * torch.randn(len(LENGTHS), SAMPLES, generator=torch.Generator().manual_seed(1))


def still(folder: Path, copy: Path, **options: object) -> HubertEncoder:
    """The encoder of `folder` with dropout at zero and the chance of dropping a block at one."""
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    settings = json.loads((copy / "config.json").read_text())
    for name in ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout"):
        settings[name] = 0.0
    (copy / "config.json").write_text(json.dumps(settings | {"layerdrop": 1.0}))
    return HubertEncoder.from_pretrained(copy, **options)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@torch.inference_mode()
def test_a_clip_alone_gives_every_layer_that_transformers_gives(folder: Path, waveforms: Tensor) -> None:
    clip = waveforms[0, :5000]
    reference = AutoModel.from_pretrained(folder).eval()
    inputs = Wav2Vec2FeatureExtractor.from_pretrained(folder)(
        clip.numpy(), sampling_rate=16_000, return_tensors="pt"
    )
    expected = reference(inputs.input_values, output_hidden_states=True)
    encoding = HubertEncoder.from_pretrained(folder).eval()(clip[None], LENGTHS[:1])
    assert len(encoding.layers) == reference.config.num_hidden_layers + 1
    for layer, hidden in zip(encoding.layers[:-1], expected.hidden_states[:-1], strict=True):
        assert relative(layer, hidden) < 1e-5
    assert relative(encoding.layers[-1], expected.last_hidden_state) < 1e-5
    assert bool(encoding.mask.all())


@torch.inference_mode()
def test_padding_and_batch_mates_do_not_change_a_clip(folder: Path, waveforms: Tensor) -> None:
    encoder = HubertEncoder.from_pretrained(folder).eval().double()
    waveforms = waveforms.double()
    batch = encoder(waveforms, LENGTHS)
    frames = encoder.frame_lengths(LENGTHS)
    assert batch.mask.equal(mask_from_lengths(frames, batch.mask.shape[1]))
    for row, length in enumerate(LENGTHS):
        alone = encoder(waveforms[row : row + 1, :length], length[None])
        for together, single in zip(batch.layers, alone.layers, strict=True):
            assert torch.isfinite(together[row]).all()
            if length > 0:
                assert relative(together[row, : frames[row]], single[0]) < 1e-12


@torch.inference_mode()
def test_the_plain_forward_of_a_group_norm_model_does_feel_padding(base: Path, waveforms: Tensor) -> None:
    network = AutoModel.from_pretrained(base).eval()
    padded = F.pad(waveforms[:1, :5000], (0, 10_000))
    alone = network(padded[:, :5000], attention_mask=torch.ones(1, 5000)).last_hidden_state
    attended = mask_from_lengths(LENGTHS[:1], 15_000).long()
    changed = network(padded, attention_mask=attended).last_hidden_state
    assert relative(changed[:, : alone.shape[1]], alone) > 0.01


@torch.inference_mode()
def test_group_norm_survives_an_offset_a_thousand_times_the_loudness(base: Path) -> None:
    encoder = HubertEncoder.from_pretrained(base, normalise_input=False)
    layer = encoder.network.feature_extractor.conv_layers[0]
    clip = 1.0 + 1e-3 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(2))
    signal = layer.conv.double()(clip[:, None].double())
    expected = F.group_norm(signal, 8, layer.layer_norm.weight.double(), layer.layer_norm.bias.double())
    padded = torch.cat([signal.float(), torch.full((1, 8, 5000), 7.0)], dim=-1)
    ours = group_norm(layer.layer_norm, padded, torch.tensor([signal.shape[-1]]))
    assert relative(ours[..., : signal.shape[-1]].double(), expected) < 1e-3


def test_gradients_of_a_batch_are_those_of_its_clips(folder: Path, tmp_path: Path, waveforms: Tensor) -> None:
    encoder = still(folder, tmp_path, frozen_front_end=False).double().train()
    waveforms = waveforms.double()

    def gradients(lengths: Tensor, clips: Tensor) -> Tensor:
        encoder.zero_grad()
        encoding = encoder(clips, lengths)
        states = torch.stack(encoding.layers).square().sum((0, 3))
        (states * encoding.mask).sum().backward()
        return torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])

    together = gradients(LENGTHS, waveforms)
    alone = sum(gradients(LENGTHS[[row]], waveforms[[row], : LENGTHS[row]]) for row in (0, 1, 3, 4))
    assert relative(together, alone) < 1e-10


@torch.inference_mode()
def test_last_layer_gives_the_same_layers_and_runs_no_block_more(folder: Path, waveforms: Tensor) -> None:
    encoder = HubertEncoder.from_pretrained(folder).eval()
    runs: list[int] = []
    for index, block in enumerate(encoder.network.encoder.layers):
        block.register_forward_hook(lambda *_, index=index: runs.append(index))
    full = encoder(waveforms, LENGTHS).layers
    assert runs == list(range(encoder.num_layers))
    for last in range(encoder.num_layers):
        runs.clear()
        layers = encoder(waveforms, LENGTHS, last_layer=last).layers
        assert runs == list(range(last))
        assert len(layers) == last + 1
        assert all(one.equal(other) for one, other in zip(layers, full, strict=False))


def test_a_layer_that_does_not_exist_is_refused(base: Path, waveforms: Tensor) -> None:
    encoder = HubertEncoder.from_pretrained(base)
    for wrong in (-1, 4):
        with pytest.raises(InputError, match=f"last_layer={wrong}, but this encoder has layers 0 .* to 3"):
            encoder(waveforms, LENGTHS, last_layer=wrong)


def test_frame_lengths_are_those_of_the_convolutions() -> None:
    encoder = HubertEncoder.from_config(
        replace(PUBLISHED["ntu-spml/distilhubert"], network=hubert_settings())
    )
    # 25 ms see the first frame, each further 20 ms one more; shorter clips are filled up to one frame
    known = {0: 0, 1: 1, 399: 1, 400: 1, 719: 1, 720: 2, 16_000: 49, 48_000: 149, 480_000: 1499}
    assert encoder.frame_lengths(torch.tensor(list(known))).tolist() == list(known.values())
    assert encoder.shortest == 400
    assert encoder.frame_rate == 50.0


def hubert_settings(**changes: object) -> dict:
    return {"model_type": "hubert", **TINY, **changes}


@torch.inference_mode()
def test_a_clip_below_the_receptive_field_counts_as_followed_by_silence(
    base: Path, waveforms: Tensor
) -> None:
    encoder = HubertEncoder.from_pretrained(base, normalise_input=False).eval()
    short = encoder(waveforms[:1, :250], torch.tensor([250]))
    filled = encoder(F.pad(waveforms[:1, :250], (0, 150)), torch.tensor([400]))
    assert short.mask.tolist() == [[True]]
    assert relative(short.layers[-1], filled.layers[-1]) < 1e-6


@torch.inference_mode()
def test_empty_and_silent_clips_have_finite_states(folder: Path) -> None:
    encoder = HubertEncoder.from_pretrained(folder).eval()
    for samples in (0, 1000):
        encoding = encoder(torch.zeros(2, samples), torch.tensor([0, samples]))
        assert all(torch.isfinite(layer).all() for layer in encoding.layers)
        assert encoding.mask[0].sum() == 0


def test_a_frozen_front_end_takes_no_gradient_and_the_rest_does(
    base: Path, tmp_path: Path, waveforms: Tensor
) -> None:
    encoder = still(base, tmp_path)
    encoder(waveforms, LENGTHS).layers[-1].square().sum().backward()
    for name, parameter in encoder.network.named_parameters():
        if name.startswith("feature_extractor."):
            assert parameter.grad is None
            assert not parameter.requires_grad
        elif name != "masked_spec_embed":
            assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("spec_augment", [False, True])
def test_every_trainable_weight_gets_a_gradient_as_several_processes_need(
    folder: Path, waveforms: Tensor, spec_augment: bool
) -> None:
    encoder = HubertEncoder.from_pretrained(str(folder), spec_augment=spec_augment).train()
    assert encoder.network.masked_spec_embed.requires_grad == spec_augment
    torch.manual_seed(0)
    lengths = torch.full((len(waveforms),), waveforms.shape[1])
    encoder(waveforms, lengths).layers[-1].square().sum().backward()
    unused = [n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused


def test_waveforms_can_be_given_a_gradient_through_a_frozen_front_end(
    base: Path, tmp_path: Path, waveforms: Tensor
) -> None:
    encoder = still(base, tmp_path)
    waveforms.requires_grad_()
    encoding = encoder(waveforms, LENGTHS)
    (encoding.layers[-1].square().sum(-1) * encoding.mask).sum().backward()
    heard = mask_from_lengths(LENGTHS, SAMPLES)
    assert float(waveforms.grad[heard].abs().sum()) > 0
    assert float(waveforms.grad[~heard].abs().sum()) == 0


@torch.inference_mode()
def test_the_front_end_can_be_run_once_and_kept_in_half_precision(folder: Path, waveforms: Tensor) -> None:
    encoder = HubertEncoder.from_pretrained(folder).eval()
    features, frames = encoder.encode_front_end(waveforms, LENGTHS)
    direct = encoder(waveforms, LENGTHS)
    resumed = encoder.forward_from_front_end(features, frames)
    assert all(one.equal(other) for one, other in zip(direct.layers, resumed.layers, strict=True))
    assert resumed.mask.equal(direct.mask)
    kept = encoder.forward_from_front_end(features.half(), frames)
    assert relative(kept.layers[-1][kept.mask], direct.layers[-1][direct.mask]) < 0.02


def test_training_runs_every_block_and_leaves_out_spec_augment(
    folder: Path, tmp_path: Path, waveforms: Tensor
) -> None:
    encoder = still(folder, tmp_path)
    assert encoder.network.config.mask_time_prob > 0
    in_training = encoder.train()(waveforms, LENGTHS).layers
    evaluated = encoder.eval()(waveforms, LENGTHS).layers
    assert all(one.equal(other) for one, other in zip(in_training, evaluated, strict=True))


def test_spec_augment_masks_in_training_alone(base: Path, tmp_path: Path, waveforms: Tensor) -> None:
    encoder = still(base, tmp_path, spec_augment=True)
    evaluated = encoder.eval()(waveforms, LENGTHS).layers[0].detach()
    torch.manual_seed(0)
    in_training = encoder.train()(waveforms, LENGTHS).layers[0]
    assert relative(in_training.detach(), evaluated) > 0.01
    encoder.network.masked_spec_embed.grad = None
    in_training.sum().backward()
    assert float(encoder.network.masked_spec_embed.grad.abs().sum()) > 0


def test_spans_stay_within_clips_and_have_the_wanted_share() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([0, 5, 10, 500, 1000])
    masks = torch.stack([draw_spans(lengths, 1200, 0.05, 10) for _ in range(400)])
    assert not masks[..., ~mask_from_lengths(lengths, 1200)].any()
    assert masks[:, :2].sum() == 0  # no room for a span of ten
    # 0.05 * n / 10 spans of ten: about 5 %, less what overlaps (expected share 1 - exp(-0.05) = 4.9 %)
    for row in (3, 4):
        assert masks[:, row, : lengths[row]].float().mean() == pytest.approx(0.049, abs=0.002)
    # from two places on, spans begin at any place with the same chance: so do the masked places in the middle
    middle = masks[:, 4, 100:900].float().mean(0)
    assert middle[:400].mean() == pytest.approx(float(middle[400:].mean()), abs=0.006)


def test_spans_of_a_clip_do_not_depend_on_its_batch_mates() -> None:
    def first_row(mate: int) -> Tensor:
        torch.manual_seed(3)
        return draw_spans(torch.tensor([300, mate]), 400, 0.3, 10)[0]

    assert first_row(400).equal(first_row(12))
    assert first_row(400).any()


def test_at_least_the_wanted_number_of_spans_is_drawn() -> None:
    masks = draw_spans(torch.tensor([200] * 50), 200, 0.0, 1, min_spans=3)
    assert masks.sum(1).tolist() == [3] * 50


def test_bfloat16_autocast_keeps_padding_out(base: Path, waveforms: Tensor) -> None:
    encoder = HubertEncoder.from_pretrained(base).eval()
    with torch.inference_mode():
        precise = encoder(waveforms[:1, :5000], LENGTHS[:1]).layers[-1]
        with torch.autocast("cpu", torch.bfloat16):
            padded = encoder(waveforms, LENGTHS).layers[-1][:1, : precise.shape[1]]
    assert relative(padded.float(), precise) < 0.05


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})


WRONG_WEIGHTS = {
    "1 missing: encoder.layers.1.attention.q_proj.bias": lambda w: {
        k: v for k, v in w.items() if k != "encoder.layers.1.attention.q_proj.bias"
    },
    "1 unexpected: encoder.extra": lambda w: w | {"encoder.extra": torch.zeros(3)},
    r"1 of another shape: encoder.layer_norm.weight \(7,\) instead of \(24,\)": lambda w: (
        w | {"encoder.layer_norm.weight": torch.zeros(7)}
    ),
}


@pytest.mark.parametrize("message", WRONG_WEIGHTS)
def test_weights_that_do_not_fit_are_an_error(base: Path, message: str) -> None:
    rewrite(base, WRONG_WEIGHTS[message])
    with pytest.raises(InputError, match=message):
        HubertEncoder.from_pretrained(base)


def test_the_error_names_twenty_weights_and_counts_the_rest(base: Path) -> None:
    rewrite(base, lambda weights: {f"other.{name}": weight for name, weight in weights.items()})
    with pytest.raises(
        InputError, match=r"missing: .* and \d+ more; \d+ unexpected: .* and \d+ more"
    ) as caught:
        HubertEncoder.from_pretrained(base)
    assert str(caught.value).count("other.") == 20


def test_heads_and_family_prefixes_of_published_checkpoints_are_understood(tmp_path: Path) -> None:
    for model in (
        HubertForCTC(VARIANTS["hubert-base"][0]),
        Wav2Vec2ForPreTraining(Wav2Vec2Config(**TINY, codevector_dim=16, num_codevectors_per_group=8)),
    ):
        folder = save(tmp_path / type(model).__name__, model)
        loaded = HubertEncoder.from_pretrained(folder).network.state_dict()
        expected = model.base_model.state_dict()
        assert loaded.keys() == expected.keys()
        assert all(loaded[name].equal(expected[name]) for name in expected)


def test_old_torch_files_with_the_old_weight_norm_names_load(base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    expected = HubertEncoder.from_pretrained(base).network.state_dict()
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): weight
        for name, weight in weights.items()
    }
    assert any(name.endswith("weight_g") for name in old)
    (base / "model.safetensors").unlink()
    torch.save(old, base / "pytorch_model.bin")
    loaded = HubertEncoder.from_pretrained(base).network.state_dict()
    assert all(loaded[name].equal(expected[name]) for name in expected)


class Harmful:
    def __reduce__(self) -> tuple:
        return (print, ("code from a checkpoint ran",))


def test_a_torch_file_that_holds_code_is_refused_and_not_run(
    base: Path, capsys: pytest.CaptureFixture
) -> None:
    (base / "model.safetensors").unlink()
    for write in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))):
        write({"weight": Harmful()}, base / "pytorch_model.bin")
        with pytest.raises(InputError, match="cannot be read as a file of tensors alone"):
            HubertEncoder.from_pretrained(base)
    assert "ran" not in capsys.readouterr().out


def test_a_broken_checkpoint_folder_is_explained(base: Path) -> None:
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cannot be read as safetensors.*incomplete"):
        HubertEncoder.from_pretrained(base)
    (base / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no weights: none of model\.safetensors"):
        HubertEncoder.from_pretrained(base)
    (base / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../secret.safetensors"}}')
    with pytest.raises(InputError, match="names a file outside its own folder"):
        HubertEncoder.from_pretrained(base)


def test_weights_in_several_files_load(base: Path) -> None:
    expected = HubertEncoder.from_pretrained(base).network.state_dict()
    AutoModel.from_pretrained(base).save_pretrained(base, max_shard_size="20KB")
    (base / "model.safetensors").unlink(missing_ok=True)
    assert len(list(base.glob("model-*.safetensors"))) > 1
    loaded = HubertEncoder.from_pretrained(base).network.state_dict()
    assert all(loaded[name].equal(expected[name]) for name in expected)


def test_settings_that_this_encoder_cannot_read_are_refused(base: Path) -> None:
    settings = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(settings | {"model_type": "bert"}))
    with pytest.raises(InputError, match="model_type is 'bert'; this encoder reads hubert, wav2vec2, wavlm"):
        HubertEncoder.from_pretrained(base)
    (base / "config.json").write_text(json.dumps(settings))
    (base / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with pytest.raises(InputError, match="wants 8000 samples per second; this encoder serves 16000"):
        HubertEncoder.from_pretrained(base)
    (base / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="unknown whether the waveform has to be normalised"):
        HubertEncoder.from_pretrained(base)
    assert HubertEncoder.from_pretrained(base, normalise_input=True).config.normalise_input


def test_a_missing_folder_and_an_unreachable_hub_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"there is no checkpoint folder \./nowhere"):
        HubertEncoder.from_pretrained("./nowhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"multimodal-ser fetch nobody/nothing -o FOLDER"):
        HubertEncoder.from_pretrained("nobody/nothing")


@torch.inference_mode()
def test_kept_layers_are_the_first_of_the_full_model(base: Path, waveforms: Tensor) -> None:
    full = HubertEncoder.from_pretrained(base).eval()(waveforms, LENGTHS).layers
    cut = HubertEncoder.from_pretrained(base, keep_layers=2).eval()
    assert cut.num_layers == len(cut.network.encoder.layers) == cut.config.network["num_hidden_layers"] == 2
    assert all(a.equal(b) for a, b in zip(cut(waveforms, LENGTHS).layers, full[:3], strict=True))
    for wrong in (0, 4):
        with pytest.raises(InputError, match=f"keep_layers={wrong}, but the checkpoint has 3 blocks"):
            HubertEncoder.from_pretrained(base, keep_layers=wrong)


def test_a_checkpoint_without_mask_vector_serves_everything_but_spec_augment(base: Path) -> None:
    rewrite(base, lambda weights: {k: v for k, v in weights.items() if k != "masked_spec_embed"})
    assert not hasattr(HubertEncoder.from_pretrained(base).network, "masked_spec_embed")
    with pytest.raises(InputError, match="1 missing: masked_spec_embed"):
        HubertEncoder.from_pretrained(base, spec_augment=True)


@torch.inference_mode()
def test_a_saved_encoder_is_read_alike_by_us_and_by_transformers(
    folder: Path, tmp_path: Path, waveforms: Tensor
) -> None:
    encoder = HubertEncoder.from_pretrained(folder).eval()
    encoder.save_pretrained(tmp_path)
    again = HubertEncoder.from_pretrained(tmp_path).eval()
    assert again.config == encoder.config
    assert again(waveforms, LENGTHS).layers[-1].equal(encoder(waveforms, LENGTHS).layers[-1])
    reference, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected = encoder.network.state_dict()
    assert all(weight.equal(expected[name]) for name, weight in reference.state_dict().items())
    assert type(reference).__name__ in json.loads((tmp_path / "config.json").read_text())["architectures"]
    extractor = Wav2Vec2FeatureExtractor(
        do_normalize=encoder.config.normalise_input, return_attention_mask=True
    )
    assert AutoFeatureExtractor.from_pretrained(tmp_path).to_dict() == extractor.to_dict()


def test_a_config_survives_json_and_builds_the_same_network(folder: Path) -> None:
    encoder = HubertEncoder.from_pretrained(folder)
    again = HubertEncoder.from_config(json.loads(json.dumps(asdict(encoder.config))))
    shapes = {name: weight.shape for name, weight in encoder.state_dict().items()}
    assert {name: weight.shape for name, weight in again.state_dict().items()} == shapes
    assert again.config == encoder.config


@pytest.mark.parametrize(
    ("name", "total", "without_front_end"),
    # millions, counted from layer shapes by hand in the survey that this package follows
    [
        ("ntu-spml/distilhubert", 23.49, 19.29),
        ("facebook/hubert-base-ls960", 94.37, 90.17),
        ("facebook/hubert-large-ll60k", 315.44, 311.23),
    ],
)
def test_published_sizes_have_the_published_parameter_counts(
    name: str, total: float, without_front_end: float
) -> None:
    with torch.device("meta"):
        encoder = HubertEncoder.from_config(PUBLISHED[name])
    counts = dict.fromkeys((True, False), 0)
    for parameter in encoder.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    assert sum(counts.values()) / 1e6 == pytest.approx(total, abs=0.005)
    assert counts[True] / 1e6 == pytest.approx(without_front_end, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_three_seconds_padded_to_thirty_stay_the_same_at_the_true_size(name: str) -> None:
    benchmark = load_script(BENCHMARK)
    difference = benchmark.measure(PUBLISHED[name], seconds=3.0, padded_seconds=30.0)
    assert difference.ours < 1e-4
    assert difference.to_plain < 1e-4
    if PUBLISHED[name].network.get("feat_extract_norm") != "layer":
        assert difference.plain > 0.1
