"""Carries out a Dockerfile's steps without a container engine.

An empty directory stands in for "/": the absolute paths that the Dockerfile names are rewritten to
lie in it, and RUN's commands run with a Python of that directory's own. The stages share it, so
COPY --from is nothing to do. What needs a real root (Debian packages, users) is left out, and
`Image.skipped` says which commands those were.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

PLACES = ("src", "dist", "opt/sdrpn", "cache")
"""The directories under "/" that the Dockerfile uses."""

_NEEDS_ROOT = ("apt-get", "useradd")


@dataclass
class Image:
    """What the steps have made: files below `root`, and how to start what is in there."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    user: str = "root"
    skipped: list[str] = field(default_factory=list)

    def inside(self, text: str) -> str:
        """`text` with the image's paths turned into those below `root`."""
        places = "|".join(PLACES)
        return re.sub(rf"(?<![\w./:-])/({places})(?![\w-])", rf"{self.root}/\1", text)


def build(dockerfile: Path, stages: list[str], root: Path, arguments: dict[str, str]) -> Image:
    """Carries out `stages` of `dockerfile`, in its order, into `root`.

    `arguments` are build arguments. Raises CalledProcessError when a RUN step fails.
    """
    python = root / "usr/local"
    venv.create(python, with_pip=True)
    image = Image(root, {"PATH": f"{python}/bin:{os.environ['PATH']}"})
    stage = ""
    variables: dict[str, str] = {}
    with dockerfile.open("rb") as file:
        steps = DockerfileParser(fileobj=file).structure
    for step in steps:
        kind, value = step["instruction"], step["value"]
        if kind == "FROM":
            stage = value.split()[-1]
        elif kind == "ARG":
            name, _, default = value.partition("=")
            variables[name] = arguments.get(name, default)
        elif stage in stages:
            _carry_out(kind, value, image, variables, dockerfile.parent)
    return image


def _carry_out(
    kind: str, value: str, image: Image, variables: dict[str, str], context: Path
) -> None:
    if kind == "WORKDIR":
        image.working_directory = image.inside(value)
        Path(image.working_directory).mkdir(parents=True, exist_ok=True)
    elif kind == "COPY":
        _copy(value, image, context)
    elif kind == "RUN":
        _run(value, image, variables)
    elif kind == "ENV":
        for assignment in value.split():
            name, _, text = assignment.partition("=")
            image.environment[name] = image.inside(text).replace("$PATH", image.environment["PATH"])
    elif kind == "VOLUME":
        Path(image.inside(value)).mkdir(exist_ok=True)
    elif kind == "USER":
        image.user = value
    elif kind == "ENTRYPOINT":
        image.entrypoint = json.loads(value)
    elif kind == "HEALTHCHECK":
        image.healthcheck = json.loads(value.partition("CMD")[2])


def _copy(value: str, image: Image, context: Path) -> None:
    if value.startswith("--from="):
        _, source, _target = value.split()
        assert Path(image.inside(source)).exists(), f"COPY {value}: no stage has made {source}"
        return
    *sources, target = value.split()
    directory = Path(image.working_directory, target)
    for source in sources:
        path = context / source
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, directory, ignore=ignored, dirs_exist_ok=True)
        else:
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, directory)


def _run(value: str, image: Image, variables: dict[str, str]) -> None:
    command = image.inside(re.sub(r"--mount=\S+", "", value)).strip()
    if command.startswith(_NEEDS_ROOT):
        image.skipped.append(command)
        return
    (image.root / "dist").mkdir(exist_ok=True)
    subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=image.working_directory,
        env={**_host(), **variables, **image.environment},
        check=True,
    )


def _host() -> dict[str, str]:
    """Of this process's environment, how to reach package indexes; nothing of its Python."""
    kept = re.compile(
        r"PIP_|SSL_|REQUESTS_|HOME$|LANG|TMPDIR|(http|https|no)_proxy$", re.IGNORECASE
    )
    return {name: value for name, value in os.environ.items() if kept.match(name)}


def prefill(environment: Path, lock: Path) -> None:
    """Puts the locked packages that this Python has into `environment`, as hard links.

    pip finds them installed in the very version that it was told to install, and need not fetch
    four gigabytes again. They are this environment's own files from then on.
    """
    from importlib import metadata

    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    target = environment / "lib" / version / "site-packages"
    for name in re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE):
        for file in metadata.distribution(name).files or []:
            if file.parts[0] != "..":
                _link(Path(str(file.locate())), target / file)


def _link(source: Path, target: Path) -> None:
    if not source.exists():  # a cached .pyc of an older Python, say
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        pass  # packages that share a file
    except OSError:  # another file system
        shutil.copy2(source, target)
