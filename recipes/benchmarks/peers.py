"""What others run for the same work, in the same process, in turns: ratios of processor time.

    python recipes/benchmarks/peers.py WORK [--rounds 5] [--seconds 10] [--size hubert-base] [--only NAME ...]

Sizes are true, weights random, everything on one thread. Cases whose package is missing say so.

    audio      DistilHuBERT (or --size): the plain forward of transformers (eager attention, fp32) and ours
               in both precisions, and wav2vec 2.0 large cut to 12 layers in ONNX Runtime, as audEERING
               published it
    batches    clips of 2 to 15 s: one by one as scoring runs them, against padded batches of eight
    decoding   a stereo mp3 at 44.1 kHz to 16 kHz mono: our reader against librosa
    asr        Whisper base, one window, 100 tokens: openai-whisper (fp32) against faster-whisper (int8)

Prints JSON: for every way the median of its processor seconds, and how many times the first way's it takes
(median, least and most over the rounds).
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from multimodal_ser import audio
from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.backends.choice import unavailable
from multimodal_ser.backends.running import BackedModel
from multimodal_ser.bench.parts import TOKENS, noise
from multimodal_ser.bench.sizes import SIZES, random_model, random_whisper
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.models.ser import SerConfig, SerModel

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves the script's own folder out

from padding import plain_network
from turns import Ways, processor_seconds, spread

LENGTHS = (2.0, 3.1, 4.4, 5.0, 6.7, 8.2, 11.0, 15.0)  # seconds of a batch of sentences


LARGE = "wav2vec 2.0 large, 12 layers, ONNX Runtime"
NOT_INSTALLED = "package is not installed"
Found = tuple[Ways, dict[str, str]]  # what can run, and why the rest cannot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", choices=[s for s in SIZES if "hubert" in s], default="distilhubert")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = {}
    for name in options.only:
        ways, missing = CASES[name](options)
        found[name] = {**measured(ways, options.rounds), **missing}
    print(json.dumps({"torch": str(torch.__version__), "seconds": options.seconds, **found}, indent=2))


def measured(ways: Ways, rounds: int) -> dict[str, dict[str, float]]:
    """Processor seconds of each way, and against the first, in the same round."""
    with torch.inference_mode():
        spent = processor_seconds(ways, rounds)
    first = next(iter(spent.values()))
    return {
        name: {
            "cpu_seconds": round(statistics.median(times), 3),
            **spread("times_the_first", (mine / base for mine, base in zip(times, first, strict=True))),
        }
        for name, times in spent.items()
    }


def audio_case(options: argparse.Namespace) -> Found:
    encoder = random_model(options.size).audio
    plain = plain_network(encoder, "eager")
    clip = noise(options.seconds)
    lengths = torch.tensor([clip.shape[1]])
    ways: Ways = {
        "transformers, eager fp32": lambda: plain(clip).last_hidden_state,
        "ours, torch fp32": lambda: encoder(clip, lengths),
    }
    missing = {}
    if reason := unavailable(Path(), "torch-bf16"):
        missing["ours, torch bf16"] = reason
    else:
        model = SerModel(SerConfig(fusion="audio"), encoder).eval()
        backed = BackedModel(model, "torch-bf16")
        ways["ours, torch bf16"] = lambda: backed.encode(clip, lengths, None, None)
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        return ways, missing | {LARGE: NOT_INSTALLED}
    session = _large_session(options.work)
    sound = clip.numpy()
    ways[LARGE] = lambda: session.run(None, {"sound": sound})
    return ways, missing


def _large_session(work: Path):
    """Width 1024, 12 layers, layer norm in the front end, mean over time and three outputs."""
    import onnxruntime
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    class Large(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            settings = Wav2Vec2Config(
                hidden_size=1024,
                num_hidden_layers=12,
                num_attention_heads=16,
                intermediate_size=4096,
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                conv_bias=True,
                attn_implementation="eager",
            )
            self.network, self.head = Wav2Vec2Model(settings), torch.nn.Linear(1024, 3)

        def forward(self, sound: torch.Tensor) -> torch.Tensor:
            return self.head(self.network(sound).last_hidden_state.mean(1))

    path = work / "wav2vec2-large-12.onnx"
    if not path.is_file():
        torch.manual_seed(0)
        torch.onnx.export(
            Large().eval(),
            (torch.zeros(1, 10 * SAMPLE_RATE),),
            path,
            input_names=["sound"],
            dynamic_shapes={"sound": {1: torch.export.Dim("samples", min=SAMPLE_RATE)}},
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def batches_case(options: argparse.Namespace) -> Found:
    encoder = random_model("distilhubert").audio
    plain = plain_network(encoder, "eager")
    sounds = [noise(length) for length in LENGTHS]
    lengths = torch.tensor([sound.shape[1] for sound in sounds])
    padded = torch.zeros(len(sounds), int(lengths.max()))
    for row, sound in enumerate(sounds):
        padded[row, : sound.shape[1]] = sound[0]
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()

    def alone() -> None:
        for sound in sounds:
            encoder(sound, torch.tensor([sound.shape[1]]))

    return {
        "ours, one by one": alone,
        "ours, padded batch": lambda: encoder(padded, lengths),
        "transformers, padded batch, eager fp32": lambda: plain(padded, attention_mask=mask),
    }, {}


def decoding_case(options: argparse.Namespace) -> Found:
    media = options.work / "minutes.mp3"
    if not media.is_file():
        make_episode(media, minutes=3.0, seed=0, transcripts=())
    ways: Ways = {"ours": lambda: audio.load(media)}
    if find_spec("librosa") is None:
        return ways, {"librosa": NOT_INSTALLED}
    import librosa

    ways["librosa"] = lambda: librosa.load(media, sr=SAMPLE_RATE)
    return ways, {}


def asr_case(options: argparse.Namespace) -> Found:
    import whisper

    model = random_whisper("base")
    sound = noise(30.0)[0].numpy()
    mel = whisper.log_mel_spectrogram(sound)
    decoding = whisper.DecodingOptions(language="en", sample_len=TOKENS, fp16=False)
    ways: Ways = {"openai-whisper, fp32": lambda: whisper.decode(model, mel, decoding)}
    if find_spec("faster_whisper") is None:
        return ways, {"faster-whisper, int8": NOT_INSTALLED}
    import ctranslate2

    folder = saved_for_ctranslate2(options.work / "whisper-base-ct2")
    fast = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=1, inter_threads=1)
    features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None].numpy()))
    prompt = [50258, 50259, 50359, 50363]  # start, English, transcribe, no times
    ways["faster-whisper, int8"] = lambda: fast.generate(
        features, [prompt], beam_size=1, max_length=len(prompt) + TOKENS, suppress_tokens=[50257]
    )
    return ways, {}


def saved_for_ctranslate2(folder: Path) -> Path:
    """Whisper base of transformers with random weights, converted."""
    if folder.is_dir():
        return folder
    import ctranslate2
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    sizes = {
        f"{half}_{name}": value
        for half in ("encoder", "decoder")
        for name, value in (("layers", 6), ("attention_heads", 8), ("ffn_dim", 2048))
    }
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as source:
        config = WhisperConfig(vocab_size=51865, d_model=512, **sizes)
        WhisperForConditionalGeneration(config).save_pretrained(source)
        GenerationConfig(alignment_heads=[[0, 0]]).save_pretrained(source)
        _save_tokenizer(Path(source))
        ctranslate2.converters.TransformersConverter(source).convert(str(folder), quantization="int8")
        shutil.copy(Path(source) / "tokenizer.json", folder)
    return folder


def _save_tokenizer(folder: Path) -> None:
    """Names for all tokens; what they mean does not matter here."""
    import tokenizers

    names = {f"t{number}": number for number in range(51865)}
    special = {
        50257: "<|endoftext|>",
        50258: "<|startoftranscript|>",
        50259: "<|en|>",
        50358: "<|translate|>",
    }
    special |= {
        50359: "<|transcribe|>",
        50360: "<|startoflm|>",
        50361: "<|startofprev|>",
        50362: "<|nospeech|>",
        50363: "<|notimestamps|>",
    }
    for number, name in special.items():
        del names[f"t{number}"]
        names[name] = number
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(names, unk_token="<|endoftext|>"))
    made.save(str(folder / "tokenizer.json"))
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))


CASES = {"audio": audio_case, "batches": batches_case, "decoding": decoding_case, "asr": asr_case}

if __name__ == "__main__":
    main()
