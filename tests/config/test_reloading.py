"""What of a changed configuration a live session takes; where a daemon's log goes."""

import gzip
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import yaml

from actors.events import Settings
from actors.log import log
from actors.model import Isolation
from supervisor.config import Config, load_config
from supervisor.log_sinks import Console, LogSettings, open_session_log, open_sinks
from supervisor.reloading import LIVE, change

NAMES = {field.name for field in attrs.fields(Settings)}


def test_what_can_be_taken_is_taken_and_the_rest_is_named_by_its_key() -> None:
    present = Settings()
    wished = attrs.evolve(present, max_parallel=9, progress_interval=1.0, isolation=Isolation.NONE, remote="origin")
    what = change(present, wished)
    assert what.settings == attrs.evolve(present, max_parallel=9, progress_interval=1.0)
    assert what.taken == ("max_parallel", "progress.interval")
    assert what.later == ("isolation", "git.remote")
    assert str(what) == "changed: max_parallel, progress.interval; from its next start: isolation, git.remote"
    assert str(change(present, present)) == "nothing changed"


def test_the_settings_that_are_taken_exist() -> None:
    assert LIVE < NAMES


def test_the_keys_of_the_log_are_read_and_their_defaults_are_those_that_are_documented(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("log: {console: json, file: d.log, json: yes, rotation: 1KB, retention: 2, compress: on}\n")
    expected = LogSettings(Console.JSON, str(tmp_path / "d.log"), json=True, rotation=1000, retention=2, compress=True)
    assert load_config(tmp_path, {}, path).log == expected
    shipped = yaml.safe_load((Path(__file__).parents[2] / "configs" / "milestoned.yaml").read_text())["log"]
    path.write_text(yaml.safe_dump({"log": shipped}))
    assert load_config(tmp_path, {}, path).log == Config().log


@pytest.fixture
def quiet() -> Iterator[None]:
    """Close every sink afterwards."""
    yield
    from loguru import logger  # noqa: PLC0415 - only what is opened here

    logger.remove()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("console", "env", "line"),
    [
        (Console.TEXT, {}, 'INFO over the wall where=here text="two words {0}"'),
        (Console.AUTO, {}, "INFO over the wall"),
        (Console.AUTO, {"JOURNAL_STREAM": "8:1"}, "<6>over the wall where=here"),
        (Console.JOURNAL, {}, "<6>over the wall where=here"),
    ],
)
def test_the_console_has_one_line_for_each_thing(
    capsys: pytest.CaptureFixture[str], console: Console, env: dict[str, str], line: str
) -> None:
    open_sinks(LogSettings(console), "INFO", env)
    log().bind(where="here", text="two words {0}").info("over the wall")
    log().debug("not this")
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


@pytest.mark.usefixtures("quiet")
def test_json_lines_are_json_whatever_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    open_sinks(LogSettings(Console.JSON), "INFO", {})
    log().bind(text='a "quote"\nand {braces} </red>', path=Path("/x")).error("it broke")
    document = json.loads(capsys.readouterr().err)
    assert (document["level"], document["message"], document["path"]) == ("error", "it broke", "/x")
    assert document["text"] == 'a "quote"\nand {braces} </red>'


@pytest.mark.usefixtures("quiet")
def test_the_file_is_private_is_put_aside_when_it_is_long_and_only_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "d.log"
    settings = LogSettings(Console.NONE, str(path), json=True, rotation=300, retention=2, compress=True)
    open_sinks(settings, "INFO", {})
    for number in range(30):
        log().bind(number=number).info("a line of the log that takes its room")
    files = sorted(path.parent.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    packed = [file for file in files if file.suffix == ".gz"]
    assert len(packed) == 2
    assert json.loads(gzip.decompress(packed[-1].read_bytes()).splitlines()[0])["message"].startswith("a line")


@pytest.mark.usefixtures("quiet")
def test_a_file_that_somebody_put_aside_is_made_anew_by_a_reload(tmp_path: Path) -> None:
    """As logrotate does: it renames the file, and has the daemon reload."""
    path = tmp_path / "d.log"
    settings = LogSettings(Console.NONE, str(path), json=True)
    open_sinks(settings, "INFO", {})
    log().info("before")
    path.rename(tmp_path / "d.log.1")
    open_sinks(settings, "INFO", {})
    log().info("after")
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["after"]
    assert [json.loads(line)["message"] for line in (tmp_path / "d.log.1").read_text().splitlines()] == ["before"]


@pytest.mark.usefixtures("quiet")
def test_what_concerns_a_session_or_nobody_in_particular_stands_in_its_log_also_after_a_reload(tmp_path: Path) -> None:
    open_sinks(LogSettings(Console.NONE), "INFO", {})
    close = open_session_log(tmp_path / "supervisor.log", "one", "INFO")
    log().bind(session="one").info("of one")
    log().bind(session="two").info("of two")
    open_sinks(LogSettings(Console.NONE), "INFO", {})
    log().info("of nobody")
    close()
    close()
    log().bind(session="one").info("too late")
    lines = (tmp_path / "supervisor.log").read_text().splitlines()
    assert [json.loads(line)["record"]["message"] for line in lines] == ["of one", "of nobody"]
