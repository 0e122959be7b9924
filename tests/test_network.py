"""Nothing leaves the machine: no command opens a socket once its model is here, and nothing reports home."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, python
from tests.tiny_clip import tiny_folder, tiny_spec

OFFLINE = ("SEARCH_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "ORT_DISABLE_TELEMETRY")
"""What tests set elsewhere, and people do not."""
WATCH = """
import os, sys
def hook(event, given):
    if event == "socket.__new__" and given[1] in (2, 10) or event in (
        "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind"
    ):
        with open(os.environ["SOCKETS_MET"], "a") as met:
            met.write(f"{event} {given[1:]} {sys.argv}\\n")
sys.addaudithook(hook)
"""


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The surroundings of a person who set nothing; whatever Python does with sockets is noted."""
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text(WATCH)
    met = tmp_path / "sockets"
    yield {
        **{name: value for name, value in os.environ.items() if name not in OFFLINE},
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "hooks"), str(ROOT)]),
        "SOCKETS_MET": str(met),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "own"),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
    }
    assert not met.exists(), met.read_text()


def run(environment: dict[str, str], *arguments: object, before: tuple[str, ...] = ()) -> str:
    command = [*before, sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_watch_notices_a_socket(alone: dict[str, str], tmp_path: Path) -> None:
    # Addresses for documentation, and one that is not connected: nothing is sent.
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()"
    assert python(code, env=alone).returncode == 0
    met = tmp_path / "sockets"
    assert "socket.__new__" in met.read_text()
    met.unlink()


def commands(photos: Path, catalog: Path, model: str) -> list[list[str]]:
    return [
        ["index", str(photos), "--catalog", str(catalog), "--model", model, "--workers", "1"],
        ["find", "a red wall", "--all", "--paths", "--catalog", str(catalog)],
        ["similar", str(photos / "red.png"), "--paths", "--catalog", str(catalog)],
    ]


def test_with_the_built_in_model_python_opens_no_socket(
    alone: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    catalog = tmp_path / "c"
    for arguments in [
        *commands(photos, catalog, "starter:lite0-fast"),
        ["describe", str(photos / "red.png"), "--catalog", str(catalog)],
        ["ask", "how many pictures are there?", "--catalog", str(catalog)],
    ]:
        run(alone, *arguments)


def test_open_clip_models_that_are_here_are_loaded_without_a_socket(
    alone: dict[str, str], tmp_path: Path
) -> None:
    """Also one that came from a hub, by torch and before it was exported."""
    alone["SEARCH_CACHE"] = str(tmp_path / "cache")
    cached = tmp_path / "hub" / "models--tiny--clip"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    specs = [tiny_spec(tmp_path / "model"), "hf-hub:tiny/clip"]
    tiny_folder(cached / "snapshots" / "abc")
    code = (
        "import sys; from PIL import Image; from retrieval.registry import load_encoder\n"
        "for spec in sys.argv[1:]:\n"
        "    encoder = load_encoder(spec)\n"
        "    print(encoder.encode_images([Image.new('RGB', (9, 9))]).shape, encoder.encode_texts(['a']).shape)"
    )
    result = python(code, *specs, env=alone)
    assert result.stdout.split("\n") == ["(1, 64) (1, 64)"] * 2 + [""], result.stderr


def can(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not can("unshare", "-rn", "true"), reason="no network namespace can be made here")
def test_without_any_network_indexing_and_queries_do_their_work(
    alone: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    found = [
        run(alone, *arguments, before=("unshare", "-rn"))
        for arguments in commands(photos, tmp_path / "c", "starter:lite0-fast")
    ]
    assert str(photos / "red.png") in found[1] + found[2]


@pytest.mark.skipif(not can("strace", "-f", "-o", os.devnull, "true"), reason="strace cannot be used here")
def test_native_code_asks_the_system_for_no_socket_either(
    alone: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    watch = ("strace", "-f", "-qq", "-e", "trace=socket,connect,bind,sendto,sendmsg", "-o", str(calls))
    for arguments in commands(photos, tmp_path / "c", "starter:lite0-fast"):
        run(alone, *arguments, before=watch)
        met = [line for line in calls.read_text().splitlines() if re.search(r"AF_INET|AF_NETLINK", line)]
        assert met == []


def test_packages_that_report_home_are_kept_from_it(alone: dict[str, str]) -> None:
    code = (
        "import sys; import retrieval.encoders.openvino as o; o._import_openvino(); "
        "print('openvino_telemetry' in sys.modules)"
    )
    pytest.importorskip("openvino")
    result = python(code, env=alone)
    assert (result.stdout, result.returncode) == ("False\n", 0), result.stderr


def test_no_code_of_ours_names_an_address_but_the_hub_and_this_machine() -> None:
    allowed = {
        "huggingface.co": "the hub that models are fetched from, where they are asked for",
        "localhost": "this machine",
        "127.0.0.1": "this machine",
        "www.w3.org": "names of XML, never fetched",
        "ns.adobe.com": "names of XML, never fetched",
        "purl.org": "names of XML, never fetched",
        "iptc.org": "names of XML, never fetched",
        "cipa.jp": "names of XML, never fetched",
        "www.sqlite.org": "in a comment",
        "cv.iptc.org": "names of XML, never fetched",
        "HOST": "a placeholder",
        "api.": "a placeholder",
    }
    met: dict[str, Path] = {}
    for folder in ("retrieval", "indexer"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".js", ".html", ".css", ".svg"}:
                for host in re.findall(r"(?:https?|wss?)://([A-Za-z0-9.-]+)", path.read_text("utf-8")):
                    met.setdefault(host, path)
    assert {host: str(path) for host, path in met.items() if host not in allowed} == {}


def test_the_page_loads_nothing_from_elsewhere() -> None:
    static = ROOT / "retrieval" / "server" / "static"
    for path in static.rglob("*"):
        if path.suffix in {".html", ".css", ".js"}:
            text = path.read_text("utf-8")
            assert not re.search(
                r"""(?:src|href|url|import|from)\s*[=(]?\s*["'(]\s*(?:https?:)?//""", text
            ), path
            assert "<script>" not in text, path
            assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text) or path.suffix == ".js", path
