"""Every command and every Python block of the documents is run, on miniatures of what it is about.

Paths, names of encoders and sizes are replaced; nothing else is. What cannot be run here stands in `NOT_RUN`,
each with its reason. A page is run from its top to its end in a folder of its own, as a reader would.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from document_world import World, add_models, make_world, podcast
from documents import PAGES, PROGRAM, ROOT, named, shown

LICENSED = "its corpus is licensed or large and is not here; test_recipes.py runs such scripts on miniatures"
LONG = "measures for minutes or hours; its own test runs its parts"
INSTALLS = "installs; .ci/run does it in a fresh environment"
TINY = "true sizes of licensed corpora; test_pretraining_recipes.py runs it, tiny"
HEARS = "needs Whisper's weights, which must hear the words; test_asr.py has an engine that says them"
# What a command begins with: why it is not run.
NOT_RUN = {
    "multimodal-ser doctor": "ten seconds; .ci/run runs it, and test_doctor.py its parts",
    "multimodal-ser layers --self-test": "a minute; test_self_test.py runs it",
    "multimodal-ser bench MODEL --compare": "test_bench.py runs it",
    "multimodal-ser demo": "minutes; test_demo.py runs it small",
    "python -m pip install": INSTALLS,
    "python -m pytest": "this is it",
    "git clone": INSTALLS,
    "make ": INSTALLS,
    ".ci/run": INSTALLS,
    "recipes/synthetic/run.sh": "half an hour; test_recipes.py trains its experiments for two steps",
    "recipes/msp_podcast/run.sh --corpus": LICENSED,
    "ASR=base recipes/msp_podcast/run.sh": LICENSED,
    "recipes/align_frames/run.sh": LICENSED,
    "recipes/crema_d/run.sh": LICENSED,
    "recipes/distill/run.sh": "an hour; test_pretraining_recipes.py trains its experiments for two steps",
    "recipes/emobank/run.sh": LICENSED,
    "recipes/emodb/run.sh": LICENSED,
    "PREPARE_OPTIONS=--four-class recipes/iemocap/run.sh": LICENSED,
    "recipes/meld/run.sh": LICENSED,
    "recipes/ravdess/run.sh": LICENSED,
    "recipes/layer_relevance/run.sh": LICENSED,
    "TRUNCATE=": LICENSED,
    "READER=": "test_recipes.py runs this script on the synthetic corpus",
    "TEACHER=FOLDER recipes/pretrain_vesper/run.sh": LICENSED,
    "recipes/pretrain_": LICENSED,
    "recipes/starter/run.sh": LICENSED,
    "multimodal-ser train recipes/distill/distilhubert.yaml": TINY,
    "multimodal-ser train recipes/pretrain_vesper/vesper4.yaml": TINY,
    "multimodal-ser train recipes/pretrain_mockingjay/paper.yaml": TINY,
    "multimodal-ser train recipes/pretrain_npc/paper.yaml": TINY,
    "multimodal-ser train recipes/distill/finetune.yaml": "needs the encoder of the line before",
    "multimodal-ser layers MANIFEST --encoder encoder": "needs the encoder of two lines before",
    "multimodal-ser prepare emodb": LICENSED,
    "multimodal-ser prepare meld": LICENSED,
    "multimodal-ser prepare folder recordings": "test_folder.py runs it",
    "multimodal-ser prepare iemocap": LICENSED,
    "multimodal-ser score episodes/ --model runs/first -o scored --asr whisper --align": HEARS,
    "multimodal-ser score episodes/ --model runs/first -o scored --engine ray": "a cluster; test_cluster.py",
    "RAY_ADDRESS=": "a cluster; test_cluster.py",
    "multimodal-ser --offline score --feed": "test_feeds.py runs it",
    "multimodal-ser export": "a minute; test_export.py and test_backends.py run it",
    "multimodal-ser bench MODEL --gate": "needs the export before it; test_backends.py runs it",
    "multimodal-ser bench runs/audio_text/seed0 --gate": "needs the export, too; test_backends.py",
    "multimodal-ser --offline train": "needs what fetch brings; test_offline.py shows what --offline refuses",
    "multimodal-ser --offline score episodes/ -o scored --asr": HEARS,
    "multimodal-ser fetch": "the hub; test_fetching.py has one on this machine",
    "torchrun": "several GPUs; test_training.py trains with two processes on the CPU",
    "python recipes/benchmarks/training.py": "a GPU",
    "python recipes/benchmarks/gpu.py": "a GPU",
    "python recipes/layer_relevance/random_encoders.py": LONG,
    "python recipes/layer_relevance/known_places.py": LONG,
    "multimodal-ser layers WORK/manifest.jsonl": "needs what the line before makes in half an hour",
    "python recipes/pretraining_study/": "hours; test_pretraining_study.py runs its parts",
    "OMP_NUM_THREADS=1 python recipes/benchmarks/msp_podcast.py": LONG,
    "python recipes/emobank/lexicon.py": "needs VADER's lexicon, which is not here",
    "multimodal-ser train recipes/emobank/text_lexicon.yaml": "needs the line before; test_recipes.py has it",
    "multimodal-ser train recipes/emobank/text_taught.yaml": "needs the line before; test_recipes.py has it",
    "multimodal-ser train recipes/starter/reader.yaml": "needs the texts of a run of that recipe",
    "multimodal-ser train recipes/starter/joined.yaml": "needs the reader of the line before",
    "multimodal-ser evaluate JOINED": "needs the model of the line before",
    "python recipes/emobank/pearson.py": "needs trained runs; test_emobank_recipe.py runs it",
}
# The commands of other programs than ours that are run.
ALSO_RUN = ("python recipes/benchmarks/cost.py", "recipes/msp_podcast/run.sh --help", "ffmpeg ", "sbatch ")
# Verbs that are whole commands without arguments; others in running text are only mentioned.
ALONE = ("demo", "doctor", "licences")
MAKES_ITS_MODELS = ("README.md", "recipes/training.md")


def is_command(text: str) -> bool:
    words = text.split()
    return len(words) > 2 or words[0] != PROGRAM or words[-1] in ALONE


# Page: what it shows; what needs no file stands with the first page that shows it.
COMMANDS = {
    page: [
        one for one in shown(page) if one.kind == "python" or (one.kind == "shell" and is_command(one.text))
    ]
    for page in PAGES
}
for page, found in COMMANDS.items():
    earlier = [text for other in PAGES[: PAGES.index(page)] for _, text in COMMANDS[other]]
    COMMANDS[page] = [one for one in found if one.text.split()[-1] not in ALONE or one.text not in earlier]


def reason(text: str) -> str | None:
    """Why a command is not run here, or None."""
    found = [why for beginning, why in NOT_RUN.items() if text.startswith(beginning)]
    return found[0] if found else None


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "world"
    folder.mkdir()
    make_world(folder)
    return folder


@pytest.fixture
def world(miniatures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    folder = tmp_path / "world"
    shutil.copytree(miniatures, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MULTIMODAL_SER_CACHE", str(miniatures.parent / "cache"))
    with podcast(folder) as address:
        yield World(monkeypatch, address)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(reason(one.text) is None for one in COMMANDS[page])], ids=named
)
def test_what_a_page_shows_runs_from_its_top_to_its_end(page: Path, world: World) -> None:
    if named(page) not in MAKES_ITS_MODELS:
        add_models(Path())
    for kind, text in COMMANDS[page]:
        if kind == "python":
            exec(compile(text, named(page), "exec"), {})
        elif reason(text) is None:
            world.shell(text)


def test_what_is_not_run_stands_in_a_document() -> None:
    texts = [text for found in COMMANDS.values() for kind, text in found if kind == "shell"]
    for beginning, why in NOT_RUN.items():
        assert any(text.startswith(beginning) for text in texts), f"no document shows '{beginning}'"
        for test in (word.strip(";,") for word in why.split() if word.startswith("test_")):
            assert (ROOT / "tests" / test).is_file(), f"{beginning}: {test} is not there"


def test_a_script_is_run_here_or_listed_with_the_reason() -> None:
    for page, found in COMMANDS.items():
        for kind, text in found:
            known = reason(text) or text.startswith((PROGRAM, *ALSO_RUN))
            assert kind != "shell" or known, f"{named(page)} shows `{text}`: add it to NOT_RUN or ALSO_RUN"


def test_every_line_of_a_block_without_a_language_is_a_command() -> None:
    begins = (PROGRAM, "python ", "recipes/", "make ", ".ci/run", "git ", "sbatch ", "ffmpeg ", "torchrun ")
    for page in PAGES:
        for kind, text in shown(page):
            is_set = kind == "shell" and "=" in text.split()[0]
            assert kind != "shell" or text.startswith(begins) or is_set, f"{named(page)}: {text}"
