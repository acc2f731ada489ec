"""The command line: spelling of flags, exit codes, and help that needs nothing heavy."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from multimodal_ser import cli
from multimodal_ser.errors import InputError, SomeFailed

HEAVY = ("torch", "transformers", "pandas", "matplotlib", "sklearn", "whisper", "av")


def fake_verb(monkeypatch: pytest.MonkeyPatch, run) -> None:
    module = SimpleNamespace(add_arguments=lambda parser: parser.add_argument("--output-dir"), run=run)
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: module)


@pytest.mark.parametrize("flag", ["--output-dir=x_y", "--output_dir=x_y"])
def test_dashes_and_underscores_spell_the_same_flag_and_values_stay(monkeypatch, flag):
    seen = []
    fake_verb(monkeypatch, lambda arguments: seen.append(arguments.output_dir))
    assert cli.main(["doctor", flag]) == 0
    assert seen == ["x_y"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("no such file: x"), 2, "error: no such file: x"),
        (SomeFailed("2 of 3; see errors.csv"), 3, "some items failed: 2 of 3; see errors.csv"),
        (KeyboardInterrupt("saved at step 3"), 130, "interrupted"),
        (RuntimeError("boom"), 1, "this is a bug"),
    ],
    ids=["wrong input", "some failed", "interrupted", "bug"],
)
def test_each_kind_of_failure_has_its_exit_code_and_words(monkeypatch, capsys, error, code, said):
    def fail(arguments):
        raise error

    fake_verb(monkeypatch, fail)
    assert cli.main(["doctor"]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_an_unknown_verb_is_wrong_input(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["trian"])
    assert "invalid choice: 'trian'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_of_a_verb_imports_nothing_heavy(verb):
    program = (
        "import sys\n"
        "from multimodal_ser.cli import main\n"
        f"try: main([{verb!r}, '--help'])\n"
        "except SystemExit as error: assert not error.code, error.code\n"
        f"heavy = sorted(set(sys.modules) & set({HEAVY!r}))\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
