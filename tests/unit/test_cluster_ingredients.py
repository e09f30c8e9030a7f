"""When an image is built again: whenever something that it is made of has changed, and only then."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.ingredients import digest_of

DOCKERFILE = """\
ARG PARENT=team/parent
FROM debian AS made
RUN echo --from=nothing
FROM ${PARENT}
COPY --from=made /etc/hosts /etc/
COPY --from=tools /bin/tool /bin/
COPY --chmod=644 sources/a.txt sources/folder /opt/
ENTRYPOINT ["sleep"]
"""
IDS = {"debian": "1", "tools": "1", "team/parent": "2", "team/other": "3"}


def digest(context: Path, arguments: dict[str, str], ids: dict[str, str]) -> str | None:
    return digest_of(context / "Dockerfile", context, arguments, ids.get, context / "wheels")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in ("sources/folder/deep", "sources/other", "wheels"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("sources/a.txt", "sources/folder/deep/b.txt", "sources/other/c.txt", "wheels/torch-1.whl"):
        (tmp_path / name).write_text(name)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


def write(name: str) -> Callable[[Path], object]:
    return lambda context: (context / name).write_text("changed")


@pytest.mark.parametrize(
    ("change", "arguments", "ids"),
    [
        (lambda context: (context / "Dockerfile").write_text(DOCKERFILE + "USER 1\n"), {}, {}),
        (write("sources/a.txt"), {}, {}),
        (write("sources/folder/deep/b.txt"), {}, {}),
        (write("sources/folder/new.txt"), {}, {}),
        (lambda context: (context / "sources/folder/deep/b.txt").rename(context / "sources/folder/b.txt"), {}, {}),
        (lambda context: (context / "sources/a.txt").chmod(0o700), {}, {}),
        (lambda context: (context / "sources/folder/deep/b.txt").unlink(), {}, {}),
        (write(".dockerignore"), {}, {}),
        (write("wheels/torch-2.whl"), {}, {}),
        (lambda _: None, {"PARENT": "team/other"}, {}),
        (lambda _: None, {}, {"team/parent": "4"}),
        (lambda _: None, {}, {"debian": "4"}),
        (lambda _: None, {}, {"tools": "4"}),
    ],
)
def test_what_it_is_made_of_has_changed(
    context: Path, change: Callable[[Path], object], arguments: dict[str, str], ids: dict[str, str]
) -> None:
    before = digest(context, {}, IDS)
    change(context)
    assert digest(context, arguments, IDS | ids) != before


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("sources/other/c.txt", {}),
        ("sources/folder/__pycache__/x.pyc", {}),
        ("README", {"made": "4", "team/other": "4"}),
    ],
)
def test_it_is_made_of_the_same(context: Path, name: str, ids: dict[str, str]) -> None:
    before = digest(context, {}, IDS)
    (context / name).parent.mkdir(exist_ok=True)
    write(name)(context)
    assert digest(context, {}, IDS | ids) == before


@pytest.mark.parametrize(
    "instruction",
    [
        'COPY ["sources/a.txt", "/opt/"]',
        "COPY ${PLACE} /opt/",
        "COPY . /opt/",
        "COPY ./ /opt/",
        "COPY /sources/a.txt /opt/",
        "COPY sources/absent /opt/",
        "COPY --from=${PLACE} /etc/hosts /opt/",
        "COPY <<END /opt/a.txt",
        "ADD https://example.com/a.txt /opt/",
        "RUN --mount=type=bind,source=sources,target=/sources ls /sources",
    ],
)
def test_what_cannot_be_seen_is_built(context: Path, instruction: str) -> None:
    (context / "Dockerfile").write_text(f"{DOCKERFILE}{instruction}\n")
    assert digest(context, {}, IDS) is None
