"""The doctor: a fit machine, a machine with a broken torchaudio, and the parts that look."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from multimodal_ser import doctor
from multimodal_ser.doctor import machine, screen
from multimodal_ser.doctor.clips import CLIP_SECONDS, CLIPS, TONE_AMPLITUDE, TONE_HERTZ, check_tone, clip_path
from multimodal_ser.doctor.probes import run_probes
from multimodal_ser.installation import requirements, torchaudio_command

LIBC10 = "libc10_cuda.so: cannot open shared object file"


def run_doctor(
    tmp_path: Path, *options: str, first_on_path: Path | None = None
) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MULTIMODAL_SER_CACHE": str(tmp_path / "cache")}
    if first_on_path:
        environment["PYTHONPATH"] = os.pathsep.join([str(first_on_path), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "multimodal_ser", "doctor", "--offline", *options],
        capture_output=True,
        text=True,
        env=environment,
        timeout=200,
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose torchaudio fails as it does beside a torch without CUDA."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "torchaudio").mkdir()
    (folder / "torchaudio" / "__init__.py").write_text(f"raise OSError({LIBC10!r})", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def broken_findings(broken: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    ended = run_doctor(tmp_path_factory.mktemp("json"), "--json", first_on_path=broken)
    assert ended.returncode == 2, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.slow  # a process that imports every library
def test_a_fit_machine_exits_with_0_and_decodes_every_kind(tmp_path: Path) -> None:
    ended = run_doctor(tmp_path, "--json")
    findings = json.loads(ended.stdout)
    assert findings["jobs"] == {job: {"fit": True, "blockers": []} for job in ("train", "score", "layers")}
    assert ended.returncode == 0
    assert findings["decoders"] == dict.fromkeys(CLIPS, "")
    assert findings["libraries"]["torchaudio"]["loads"]
    assert screen.mending_commands(findings) == []
    assert str(tmp_path / "cache") == findings["folders"]["multimodal_ser cache"]["path"]


def test_a_broken_torchaudio_leaves_the_package_importable(broken: Path) -> None:
    code = "import multimodal_ser, multimodal_ser.cli, multimodal_ser.doctor, multimodal_ser.audio"
    environment = {**os.environ, "PYTHONPATH": str(broken)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)


@pytest.mark.slow  # a process that imports every library
def test_a_broken_torchaudio_stops_the_jobs_through_transformers(broken_findings: dict) -> None:
    libraries = broken_findings["libraries"]
    assert libraries["torchaudio"]["error"] == f"OSError: {LIBC10}"
    assert libraries["transformers"]["broken_by"] == "torchaudio"
    assert libraries["torch"]["loads"]
    for job in ("train", "score", "layers"):
        assert broken_findings["jobs"][job]["blockers"] == [
            "transformers: imports torchaudio, which is broken"
        ]
    assert set(broken_findings["decoders"].values()) == {""}, "decoding needs no torch"


@pytest.mark.slow  # a process that imports every library
def test_a_broken_torchaudio_is_mended_by_one_command_on_a_line_of_its_own(broken_findings: dict) -> None:
    lines = screen.draw(broken_findings).splitlines()
    assert f"  {torchaudio_command()}" in lines
    assert len(screen.mending_commands(broken_findings)) == 1
    assert any("BROKEN BY torchaudio: transformers" in line for line in lines)
    assert lines[-1] == "NOT FIT: train, score, layers cannot run here."


@pytest.mark.slow  # a process that imports every library
def test_the_screen_is_one_screen(broken_findings: dict) -> None:
    lines = screen.draw(broken_findings).splitlines()
    assert len(lines) <= 50
    commands = screen.mending_commands(broken_findings)
    assert [line for line in lines if len(line) > 110 and line.strip() not in commands] == []


def test_a_library_that_kills_python_is_a_finding_and_the_rest_is_still_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text("import os; os.abort()", encoding="utf-8")
    (tmp_path / "harmless.py").write_text("__version__ = '1.2'; print('noise')", encoding="utf-8")
    (tmp_path / "quitter.py").write_text("import os; os._exit(7)", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    findings = run_probes(["library:deadly", "library:harmless", "library:quitter", "library:absent-one"])
    assert findings["library:deadly"]["error"].startswith("Python crashed (SIGABRT)")
    assert findings["library:harmless"] == {"ok": True, "loaded_version": "1.2"}
    assert findings["library:quitter"]["error"] == "Python ended (exit code 7)"
    assert findings["library:absent-one"]["culprit"] == "absent_one"


def test_a_library_that_hangs_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeper.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("multimodal_ser.doctor.probes.LAST_TIMEOUT", 1.0)
    assert run_probes(["library:sleeper"], timeout=1.0)["library:sleeper"]["error"] == "no answer within 1 s"


@pytest.mark.parametrize("kind", CLIPS)
def test_each_built_in_clip_holds_the_tone_by_an_independent_decoder(kind: str) -> None:
    rate = 16_000
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    with av.open(str(clip_path(kind))) as container:
        blocks = [
            block for frame in [*container.decode(audio=0), None] for block in resampler.resample(frame)
        ]
    check_tone(np.concatenate([block.to_ndarray()[0] for block in blocks]), rate)
    assert clip_path(kind).stat().st_size < 20_000


@pytest.mark.parametrize(
    ("seconds", "hertz", "amplitude", "message"),
    [
        (0.4, TONE_HERTZ, TONE_AMPLITUDE, "0.400 s instead of 0.5"),
        (CLIP_SECONDS, TONE_HERTZ, 0.0, "level 0.00"),
        (CLIP_SECONDS, 2 * TONE_HERTZ, TONE_AMPLITUDE, "level 0.00 with 0.35 of other sound"),
        (CLIP_SECONDS, TONE_HERTZ, 1.0, "level 1.00"),
    ],
)
def test_a_decoder_that_returns_the_wrong_sound_does_not_pass(
    seconds: float, hertz: float, amplitude: float, message: str
) -> None:
    times = np.arange(int(seconds * 16_000)) / 16_000
    with pytest.raises(ValueError, match=message):
        check_tone(amplitude * np.sin(2 * np.pi * hertz * times), 16_000)


def test_every_extra_and_every_library_of_a_job_is_one_of_the_package() -> None:
    wanted = requirements()
    assert set(doctor.EXTRAS) == set(wanted) - {"", "test"}
    hard = {requirement.name for requirement in wanted[""]}
    assert {name for libraries, _ in doctor.JOBS.values() for name in libraries} <= hard


def test_a_version_outside_its_range_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {requirement.name: requirement for requirement in requirements()[""]}
    monkeypatch.setattr(doctor, "installed_version", {"pandas": "1.5.3"}.get)
    entry = doctor._library(wanted["pandas"], {"ok": True})
    assert entry["reason"] == "version 1.5.3, but pandas>=2.2 is needed"
    assert entry["mend"].endswith("-m pip install 'pandas>=2.2'")


@pytest.mark.parametrize(
    ("cpuinfo", "architecture", "expected"),
    [
        ("flags\t: fpu avx512_bf16 avx512_vnni", "x86_64", {"AVX512-BF16": True, "AMX": False, "VNNI": True}),
        (
            "flags\t: fpu amx_tile amx_bf16 avx_vnni",
            "x86_64",
            {"AVX512-BF16": False, "AMX": True, "VNNI": True},
        ),
        ("Features\t: fp asimd bf16 i8mm", "aarch64", {"ARM BF16": True, "ARM I8MM": True}),
        ("", "x86_64", {"AVX512-BF16": None, "AMX": None, "VNNI": None}),
    ],
)
def test_cpu_features_are_read_from_what_linux_writes(
    cpuinfo: str, architecture: str, expected: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine.platform, "machine", lambda: architecture)
    monkeypatch.setattr(machine, "_read", lambda path: cpuinfo)
    assert machine.cpu_findings([])["features"] == expected


def test_cpu_features_are_read_from_what_macos_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = {"hw.optional.arm": "hw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_I8MM: 0\n"}
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(machine, "_sysctl", lambda *arguments: printed.get(arguments[0], ""))
    monkeypatch.setattr(machine, "_read", lambda path: "")
    assert machine.cpu_findings([])["features"] == {"ARM BF16": True, "ARM I8MM": False}


def test_torch_names_the_cpu_features_where_the_system_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: "Windows")
    monkeypatch.setattr(machine.platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(machine, "_read", lambda path: "")
    features = machine.cpu_findings(["avx512_bf16"])["features"]
    assert features == {"AVX512-BF16": True, "AMX": False, "VNNI": False}


@pytest.fixture
def teapot() -> Iterator[str]:
    """A local server that answers, if only with an error."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(418)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_hub_that_answers_is_reachable_and_one_that_does_not_is_told_why(
    teapot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    answers = machine.HubCheck({"up": teapot, "down": "http://127.0.0.1:1", "no": "nonsense"}).results()
    assert answers["up"] == "reachable"
    assert "refused" in answers["down"]
    assert "unknown url type" in answers["no"]


@pytest.mark.parametrize(
    ("flag", "variables", "reason"),
    [
        (True, {}, "--offline"),
        (False, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE=1"),
        (False, {"TRANSFORMERS_OFFLINE": "True"}, "TRANSFORMERS_OFFLINE=True"),
        (False, {"HF_HUB_OFFLINE": "0"}, ""),
    ],
)
def test_offline_says_who_asked_for_it(
    flag: bool, variables: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert machine.offline_reason(flag) == reason


def test_cache_folders_follow_the_variables_that_move_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    folders = machine.cache_folders()
    assert folders["Hugging Face"] == tmp_path / "hf" / "hub"
    assert folders["Whisper"] == tmp_path / "xdg" / "whisper"


def test_a_folder_that_is_not_made_yet_reports_the_disk_it_would_be_on(tmp_path: Path) -> None:
    finding = machine.folder_findings(tmp_path / "not" / "yet")
    assert not finding["exists"]
    assert finding["writable"]
    assert finding["free_gib"] == machine.folder_findings(tmp_path)["free_gib"]
