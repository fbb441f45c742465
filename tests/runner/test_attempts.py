"""What becomes of attempts that end by themselves, and of those that take too long."""

import os
import shutil
import stat
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptOverLimit,
    AttemptStarted,
    Outcome,
    Settings,
    SlotPrepared,
    Step,
    TaskCompleted,
)
from actors.model import Isolation, Overflow
from supervisor.attempts import Attempts
from supervisor.containment import Trees
from supervisor.linux import forget_bytes
from supervisor.memory_kills import MemoryKills
from supervisor.output_trim import NOTE, trim
from supervisor.steps import Place
from tests.disks import small_disk
from tests.runner.conftest import MakeStage
from tests.runner.harness import Stage, sh
from tests.runner.programs import program
from tests.waiting import wait_until


def test_an_attempt_whose_steps_all_succeed_is_ok(stage: Stage) -> None:
    ended = stage.run(sh("echo made > file"), sh("grep -q made file", label="verify 1"))
    assert (ended.outcome, ended.code, ended.detail, ended.step) == (Outcome.OK, 0, "", "verify 1")
    assert ended.seconds > 0
    assert ended.max_rss > 0
    assert [fact.attempt for fact in stage.facts(AttemptStarted)] == ["t.1"]


def test_what_the_processes_of_an_attempt_used_is_added_up(stage: Stage) -> None:
    spin = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
    ended = stage.run(sh(f"({spin}) & {spin}; wait"), sh(spin, label="verify 1"))
    assert ended.outcome is Outcome.OK
    assert 0.01 < ended.cpu_seconds < 10


def test_a_failing_step_decides_and_the_next_is_not_started(stage: Stage) -> None:
    ended = stage.run(sh("exit 7"), sh("touch never", label="verify 1"))
    assert (ended.outcome, ended.code, ended.detail, ended.step) == (Outcome.FAILED, 7, "", "run")
    assert not (stage.project / "never").exists()


def test_a_failing_verify_fails_the_attempt(stage: Stage) -> None:
    ended = stage.run(sh("true"), sh("exit 3", label="verify 1"), sh("touch never", label="verify 2"))
    assert (ended.outcome, ended.code, ended.step) == (Outcome.FAILED, 3, "verify 1")
    assert not (stage.project / "never").exists()


def test_a_task_that_kills_itself_failed_by_that_signal(stage: Stage) -> None:
    ended = stage.run(sh("kill -SEGV $$"))
    assert (ended.outcome, ended.code, ended.detail) == (Outcome.FAILED, -11, "killed by SIGSEGV")


def test_a_task_that_was_killed_failed_by_that(stage: Stage) -> None:
    ended = stage.run(sh("kill -KILL $$"))
    assert (ended.outcome, ended.code) == (Outcome.FAILED, -9)
    # The kernel counts for the whole machine: another test may have it kill something at this moment.
    assert ended.detail in {"killed by SIGKILL", FOR_MEMORY}


FOR_MEMORY: Final = "killed, while the kernel killed for want of memory"


@pytest.mark.row("F9")
def test_a_task_that_was_killed_while_the_kernel_killed_for_memory_says_so(make_stage: MakeStage) -> None:
    limit = memory_group()
    stage = make_stage()
    stage.start()
    hog = program(
        "import sys; open(sys.argv[1], 'w').write('0'); print(len(bytearray(300_000_000)))",
        str(limit / "tasks"),
    )
    try:
        ended = stage.run(sh(hog))
    finally:
        limit.rmdir()
    assert ended.outcome is Outcome.FAILED
    assert ended.detail == FOR_MEMORY


def memory_group() -> Path:
    """Make a control group (version 1) with 20 MB of memory; skip where that cannot be done."""
    group = Path("/sys/fs/cgroup/memory", f"milestoned-test-{uuid4().hex[:8]}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no writable control group of version 1 for memory here")
    (group / "memory.limit_in_bytes").write_text("20000000", encoding="ascii")
    return group


def test_the_count_of_kills_for_memory_is_read_from_among_the_others(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 5\nnot_oom_kill 9\noom_kill 3\n", encoding="ascii")
    kills = MemoryKills(counters)
    assert not kills.happened()
    counters.write_text("nr_free_pages 6\nnot_oom_kill 10\noom_kill 4\n", encoding="ascii")
    assert kills.happened()
    assert not kills.happened()


def test_an_argument_list_runs_without_a_shell(stage: Stage) -> None:
    ended = stage.run(Step("run", ("printf", "%s|", "$HOME", "a b", "*")))
    assert ended.outcome is Outcome.OK
    assert stage.log() == b"$ run: printf '%s|' '$HOME' 'a b' '*'\n$HOME|a b|*|"


def test_a_program_that_does_not_exist_fails_with_the_reason(stage: Stage) -> None:
    ended = stage.run(Step("run", ("no-such-program", "x")))
    assert (ended.outcome, ended.code) == (Outcome.FAILED, 127)
    assert ended.detail == "no-such-program cannot be started: No such file or directory"
    assert b"milestoned: no-such-program cannot be started" in stage.log()


def test_a_shell_line_whose_command_does_not_exist_fails_as_the_shell_says(stage: Stage) -> None:
    ended = stage.run(sh("no-such-program"))
    assert (ended.outcome, ended.code) == (Outcome.FAILED, 127)


def test_a_file_that_is_no_program_fails_with_the_reason(stage: Stage) -> None:
    (stage.project / "data").write_text("", encoding="ascii")
    ended = stage.run(Step("run", ("./data",)))
    assert (ended.outcome, ended.code) == (Outcome.FAILED, 126)
    assert ended.detail == "./data cannot be started: Permission denied"


def test_an_argument_that_no_program_can_get_fails_with_the_reason(stage: Stage) -> None:
    ended = stage.run(Step("run", ("echo", "a\0b")))
    assert (ended.outcome, ended.code) == (Outcome.FAILED, 126)
    assert "null byte" in ended.detail


def test_a_directory_that_is_gone_is_named(make_stage: MakeStage) -> None:
    stage = make_stage(settings=Settings())
    stage.start()
    attempt = stage.grant("t", sh("true"))
    gone = str(stage.project / "gone")
    stage.journal(SlotPrepared(attempt, gone, "0" * 40))
    ended = stage.ended(attempt)
    assert (ended.outcome, ended.lost) == (Outcome.INTERRUPTED, True)
    assert ended.detail == f"{gone} was gone when run failed"


@pytest.mark.parametrize(("line", "lost"), [('rm -r "$PWD"; exit 2', True), ("exit 2", False)])
def test_a_task_that_fails_because_its_directory_was_taken_away_has_lost_it(
    make_stage: MakeStage, line: str, lost: bool
) -> None:
    stage = make_stage(settings=Settings())
    stage.start()
    attempt = stage.grant("t", sh(line))
    slot = stage.project / "slot"
    slot.mkdir()
    stage.journal(SlotPrepared(attempt, str(slot), "0" * 40))
    ended = stage.ended(attempt)
    assert (ended.outcome, ended.lost) == (Outcome.INTERRUPTED if lost else Outcome.FAILED, lost)


def test_a_prompt_finds_the_end_of_input_at_once(stage: Stage) -> None:
    ended = stage.run(sh('read answer; echo "got:$answer:$?"; test ! -t 0; (: < /dev/tty) 2> /dev/null || echo alone'))
    assert ended.outcome is Outcome.OK
    assert stage.log().endswith(b"got::1\nalone\n")


def test_a_step_gets_its_text_on_standard_input(stage: Stage) -> None:
    text = "a prompt with ü and\nlines\n" * 10_000
    ended = stage.run(sh("cat > got", stdin=text))
    assert ended.outcome is Outcome.OK
    assert (stage.project / "got").read_text(encoding="utf-8") == text


def test_output_of_both_streams_and_all_steps_is_in_one_private_file(stage: Stage) -> None:
    stage.run(sh("echo out; echo err >&2; printf end"), sh("echo checked", label="verify 1"))
    first = b"$ run: echo out; echo err >&2; printf end\nout\nerr\nend\n"
    assert stage.log() == first + b"$ verify 1: echo checked\nchecked\n"
    log = stage.logs / "tasks" / "t.1.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


@pytest.mark.row("F22")
def test_output_that_is_no_text_is_kept_byte_for_byte(stage: Stage) -> None:
    ended = stage.run(sh(r"printf '\377\000\200\r\033[1m'"))
    assert ended.outcome is Outcome.OK
    assert stage.log().partition(b"\n")[2] == b"\xff\x00\x80\r\x1b[1m"


@pytest.mark.row("P11", "F20")
def test_ten_megabytes_of_output_block_nobody(stage: Stage) -> None:
    ended = stage.run(sh("head -c 10000000 /dev/zero"))
    assert ended.outcome is Outcome.OK
    assert len(stage.log().partition(b"\n")[2]) == 10_000_000


def test_values_of_secrets_do_not_stand_in_what_the_runner_writes(make_stage: MakeStage) -> None:
    stage = make_stage(settings=Settings(isolation=Isolation.NONE, secrets=("TOKEN", "UNSET")))
    stage.start(env={"TOKEN": "s3cr3t"})
    ended = stage.run(Step("run", ("no-such-s3cr3t",)))
    assert ended.detail == "no-such-*** cannot be started: No such file or directory"
    assert b"s3cr3t" not in stage.log()
    assert b"***" in stage.log()


def test_an_attempt_that_takes_too_long_is_ended(stage: Stage) -> None:
    ended = stage.run(sh("sleep 60"), timeout=0.2)
    assert (ended.outcome, ended.step, ended.code) == (Outcome.TIMEOUT, "run", -15)
    assert ended.detail == "not done after 0.2 s"
    assert 0.2 <= ended.seconds < 30.0
    assert stage.standing_here() == []


def test_the_timeout_counts_all_steps_together(stage: Stage) -> None:
    ended = stage.run(sh("sleep 0.3"), sh("sleep 60", label="verify 1"), timeout=1.5)
    assert (ended.outcome, ended.step) == (Outcome.TIMEOUT, "verify 1")
    assert ended.detail == "not done after 1.5 s"


def test_an_isolated_attempt_waits_for_its_slot_and_runs_there(make_stage: MakeStage) -> None:
    stage = make_stage(tasks=("a", "b"), settings=Settings())
    stage.start()
    slot = stage.project / "slot"
    slot.mkdir()
    stage.grant("a", sh("pwd > where"), slot=0)
    stage.grant("b", sh("pwd > where"), slot=1)
    stage.journal(SlotPrepared("b.1", str(slot), "0" * 40))
    assert stage.ended("b.1").outcome is Outcome.OK
    assert (slot / "where").read_text(encoding="utf-8").strip() == str(slot)
    assert "a.1" not in {fact.attempt for fact in stage.facts(AttemptStarted)}


def test_attempts_that_do_nothing_cost_no_descriptor(make_stage: MakeStage) -> None:
    stage = make_stage(tasks=tuple(f"t{number}" for number in range(200)))
    pid = stage.start()
    descriptors = Path("/proc", str(pid), "fd")
    before = len(list(descriptors.iterdir()))
    for number in range(200):
        if number >= 8:
            stage.ended(f"t{number - 8}.1")
            # What was completed gives its slot back.
            stage.journal(TaskCompleted(f"t{number - 8}", f"t{number - 8}.1"))
        stage.grant(f"t{number}", sh("true"), slot=number % 8)
    for number in range(192, 200):
        assert stage.ended(f"t{number}.1").outcome is Outcome.OK
    assert len(list(descriptors.iterdir())) == before
    assert stage.refusals == []


@pytest.mark.row("F10")
def test_a_program_that_is_busy_is_tried_again(stage: Stage) -> None:
    busy = stage.project / "busy"
    shutil.copy("/bin/true", busy)
    with busy.open("r+b"):  # "text file busy" for as long as somebody may write to it
        attempt = stage.grant("t", Step("run", ("./busy",)))
        stage.until((stage.logs / "tasks" / "t.1.log").exists)
        assert stage.facts(AttemptEnded) == []
    assert stage.ended(attempt).outcome is Outcome.OK


def test_what_cannot_be_started_for_long_fails_with_the_reason(tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    shutil.copy("/bin/true", busy)
    trees = Trees("s")
    attempts = Attempts(trees, grace=1.0)
    place = Place(str(tmp_path), {}, str(tmp_path / "log"))
    now = 100.0
    with busy.open("r+b"):
        attempts.begin(AttemptGranted("t.1", "t", 1, 0, (Step("run", ("./busy",)),)), place, now)
        while len(attempts):
            now = attempts.next_moment()
            attempts.tick(now)
    trees.close()
    (ended,) = attempts.take_facts()
    assert isinstance(ended, AttemptEnded)
    assert (ended.outcome, ended.code) == (Outcome.FAILED, 126)
    assert ended.detail == "./busy cannot be started: Text file busy (tried 12 times)"
    assert 5.0 < now - 100.0 < 10.0


def test_a_task_waits_for_room_for_its_log_and_the_time_is_not_its_own(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "nr_inodes=2") as disk:
        (disk / "ballast").touch()
        trees = Trees("s")
        attempts = Attempts(trees, grace=1.0)
        granted = AttemptGranted("t.1", "t", 1, 0, (Step("run", ("true",)),), timeout=3.0)
        now = 100.0
        attempts.begin(granted, Place(str(tmp_path), {}, str(disk / "log")), now)
        while now < 300.0:
            now = attempts.next_moment()
            attempts.tick(now)
        assert "log cannot be opened: No space left on device" in attempts.shortage
        (disk / "ballast").unlink()
        now = attempts.next_moment()
        attempts.tick(now)
        assert attempts.shortage == ""

        def over() -> bool:
            attempts.children_ended(now)
            return not len(attempts)

        wait_until(over, 60.0, "the task has ended")
        trees.close()
    started, ended = attempts.take_facts()
    assert isinstance(started, AttemptStarted)
    assert isinstance(ended, AttemptEnded)
    assert (ended.outcome, ended.seconds < 3.0) == (Outcome.OK, True)


def test_an_attempt_without_steps_is_ok(stage: Stage) -> None:
    assert stage.run().outcome is Outcome.OK


def bounded(make_stage: MakeStage, limit: int, overflow: Overflow = Overflow.END) -> Stage:
    """Return a session of tasks a and t whose logs may have so many bytes; its runner is ready."""
    settings = Settings(isolation=Isolation.NONE, stop_grace=30.0, output_limit=limit, output_overflow=overflow)
    stage = make_stage(tasks=("t", "a"), settings=settings)
    stage.start()
    return stage


def test_an_attempt_that_prints_without_end_is_ended_and_the_reason_names_limit_and_file(
    make_stage: MakeStage,
) -> None:
    stage = bounded(make_stage, 100_000)
    quiet = stage.grant("a", sh("until test -e go; do sleep 0.02; done; echo done"), slot=1)
    ended = stage.ended(stage.grant("t", sh("trap '' TERM; head -c 200000 /dev/zero; sleep 60")))
    assert ended.outcome is Outcome.FAILED
    log = stage.logs / "tasks" / "t.1.log"
    assert ended.detail == f"its output is larger than output_limit (100,000 bytes): {log}"
    assert ended.explanation == ended.detail
    assert 200_000 < log.stat().st_size < 201_000
    (stage.project / "go").touch()
    assert stage.ended(quiet).outcome is Outcome.OK
    assert stage.standing_here() == []


@pytest.mark.row("F20")
@pytest.mark.parametrize("line", ["x" * 70, ""], ids=["lines", "one endless line"])
def test_a_flood_of_output_keeps_beginning_and_end_and_neither_ends_nor_blocks_the_task(
    make_stage: MakeStage, line: str
) -> None:
    limit = 1 << 20
    stage = bounded(make_stage, limit, Overflow.TRIM)
    flood = f"yes {line}" if line else "cat /dev/zero | tr '\\0' x"
    prints = f"echo the beginning; {flood} | head -c {32 * limit}; touch printed"
    attempt = stage.grant("t", sh(f"{prints}; until test -e go; do sleep 0.02; done; echo; echo the end"))
    stage.until((stage.project / "printed").exists, 60.0)
    (over,) = stage.until(lambda: stage.facts(AttemptOverLimit), 60.0)
    log = stage.logs / "tasks" / "t.1.log"
    stage.until(lambda: log.stat().st_blocks * 512 <= limit, 60.0)
    (stage.project / "go").touch()

    assert stage.ended(attempt).outcome is Outcome.OK

    assert over.what == f"its output is larger than output_limit ({limit:,} bytes): {log}; its middle is left out"
    assert log.stat().st_size > 32 * limit
    content = log.read_bytes()
    head, _, rest = content.partition(b"\0")
    assert head.splitlines()[1] == b"the beginning"
    assert head.endswith(NOTE)
    assert limit // 8 < len(head) <= limit // 4
    tail = rest.lstrip(b"\0")
    assert tail.endswith(b"\nthe end\n")
    assert limit // 4 < len(tail) <= limit
    assert len(stage.facts(AttemptOverLimit)) == 1


def test_where_the_file_system_forgets_nothing_an_attempt_that_prints_too_much_is_ended(tmp_path: Path) -> None:
    """As /dev/full refuses to forget, a log on such a file system would."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="fallocate"):
            forget_bytes(descriptor, 0, 4096)
    finally:
        os.close(descriptor)
    assert not trim(str(tmp_path / "none"), 1)
    assert not trim("/dev/full", 1)


def test_what_stays_within_the_limit_and_what_has_none_is_left_alone(make_stage: MakeStage) -> None:
    stage = bounded(make_stage, 0)
    attempt = stage.grant("t", sh("head -c 200000 /dev/zero; until test -e go; do sleep 0.02; done"))
    stage.started(attempt)
    beats = stage.beats()
    stage.until(lambda: stage.beats() > beats + 1)
    (stage.project / "go").touch()
    assert stage.ended(attempt).outcome is Outcome.OK


def test_an_attempt_that_removes_its_log_is_not_mistaken(make_stage: MakeStage) -> None:
    stage = bounded(make_stage, 10_000)
    log = stage.logs / "tasks" / "t.1.log"
    attempt = stage.grant("t", sh(f"rm {log}; touch gone; until test -e go; do sleep 0.02; done"))
    stage.until((stage.project / "gone").exists)
    beats = stage.beats()
    stage.until(lambda: stage.beats() > beats)
    (stage.project / "go").touch()
    assert stage.ended(attempt).outcome is Outcome.OK


@pytest.mark.parametrize("left", ["nothing", "the directory of the session"])
def test_the_directories_of_logs_that_somebody_removes_are_made_again(stage: Stage, left: str) -> None:
    assert stage.ended(stage.grant("t", sh("echo one; exit 1"))).outcome is Outcome.FAILED
    shutil.rmtree(stage.logs)
    if left != "nothing":
        stage.logs.mkdir()

    second = stage.grant("t", sh("echo two"), number=2)

    assert stage.ended(second).outcome is Outcome.OK
    assert b"two" in stage.log(second)
    assert stat.S_IMODE((stage.logs / "tasks").stat().st_mode) == 0o700
