"""The Git Integration: a branch, a worktree slot for each attempt, a commit for each completed task.

What git is asked is :mod:`actors.git`'s, as flows; this role decides which flow is due. Slots are prepared and
captured side by side, landings go one after the other: that is the merge queue. Nothing is remembered that the
fold and the repository do not hold, so a replacement redoes what was cut off: a landing that had happened is
recognised by its trailers, one that had not gives the same commit again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, TypeVar, assert_never

from actors.events import (
    GitIdle,
    GitNoticed,
    GitReady,
    GitRefused,
    LandConflicted,
    Landed,
    LandFailed,
    Pushed,
    PushRefused,
    SessionPaused,
    SessionStatus,
    SessionUnpaused,
    SlotFailed,
    SlotPrepared,
    UncommittedSeen,
)
from actors.failpoints import at
from actors.git import flows as git
from actors.git.repository import is_there, tip_with
from actors.log import log
from actors.model import Isolation
from actors.past_sessions import PastSessions
from actors.programs import Flow, redone
from actors.role import RoleActor, UnderWay
from actors.standstill import LANDING_HELD, LANDING_WAITS, SLOT_WAITS
from actors.state import Attempt, Phase, Stage
from actors.surroundings import slots_directory

T = TypeVar("T")

MAKING: Final = "making"
"""Key of the one slot that may be under way to be made."""

LANDING: Final = "landing"
"""Key of the one landing that may be under way."""

CLEANING: Final = "clean"
"""Key of the removal of all slots."""

MOST_NAMED: Final = 10
"""So many archives and directories are named when they are removed."""

HELD_SECONDS: Final = 1.0
"""Seconds between two tries while there is a passing obstacle."""


def _said(refusal: git.Refusal) -> str:
    return "; ".join(filter(None, (refusal.reason, refusal.cure)))


def _redone(make: Callable[[], Flow[T]]) -> Flow[T]:
    """Do something with git, and again when somebody killed a git of it: that is nobody's refusal."""
    return redone(make, lambda result: isinstance(result, git.Refusal))


class GitIntegration(RoleActor):
    """The third of the five roles."""

    role: ClassVar[str] = "git_integration"

    def rebuilt(self) -> None:
        """Know nothing of the repository yet."""
        self._repo: git.Repository | None = None
        self._identity: git.Identity | None = None
        self._busy: dict[str, UnderWay] = {}
        self._preparing: dict[int, tuple[str, str]] = {}
        self._look_at = 0.0
        self._inspected = False
        self._clean = False
        self._left = ""
        self._land_at = self._prepare_at = 0.0

    def reconcile(self) -> None:
        """Start every flow that is due and not under way."""
        if self.context.role in self.state.finished:
            return
        self._give_up_what_nobody_wants()
        if not self._inspected:
            self._inspected = True
            self._inspect()
        elif self._repo is not None and self._identity is not None and self.state.git.ready is not None:
            if not self.state.paused.startswith(LANDING_HELD):
                self._prepare()
                self._land_next()
            self._push_when_due()
            self._look()
        self._finish_when_done()

    # --- the beginning -------------------------------------------------------------------------------------------

    def _inspect(self) -> None:
        if self.state.settings.isolation is Isolation.NONE:
            if not self.state.git.idle:
                self.propose(GitIdle("isolation is none"))
            return
        cache = slots_directory(self.context.project, self.state.settings.slots_directory)
        project, milestone = self.context.project, self.state.milestone.id
        self._run("inspect", _redone(lambda: git.inspect(project, milestone, cache)), self._inspected_as)

    def _inspected_as(self, found: git.Repository | git.NotARepository | git.Refusal) -> None:
        match found:
            case git.NotARepository(reason=reason) if self.state.git.base or self.state.last_landed:
                # Never in place: what is completed is in the repository that was here.
                self.propose(
                    GitRefused(f"{reason}, and the session has worked in one", "bring it back, or cancel the session")
                )
            case git.NotARepository(reason=reason):
                self.propose(GitIdle(reason))
            case git.Refusal(reason=reason, cure=cure):
                self.propose(GitRefused(reason, cure))
            case git.Repository():
                refusal = git.claim_cache(found)
                if refusal is not None:
                    self.propose(GitRefused(refusal.reason, refusal.cure))
                    return
                self._repo = found
                self._run("start", _redone(lambda: git.start(found, self._needed())), self._started)
            case _:
                assert_never(found)

    def _needed(self) -> str:
        """Return the commit that completed tasks made and later ones build on; ``""`` without one."""
        done = self.state.git.tip or any(task.phase is Phase.COMPLETED for task in self.state.tasks.values())
        return self.state.last_landed if done else ""

    def _started(self, started: git.Started | git.Refusal) -> None:
        if isinstance(started, git.Refusal):
            self.propose(GitRefused(started.reason, started.cure))
            return
        self._identity = started.identity
        if self.state.git.ready is None:
            # A branch that an earlier life of this session made is still this session's.
            self.propose(GitReady(started.branch, started.base_sha, started.created, started.uncommitted))
        self._notice(started.warning)
        self._tidy()

    def _tidy(self) -> None:
        """Remove what was kept for long enough, and say which patterns of ``worktree.copy`` are of no use."""
        if self._repo is None:
            return
        settings = self.state.settings
        before, past = self.wall - settings.keep_for, PastSessions(self.context.project)
        expiry = git.expire(self._repo, before, lambda session: past.completed_before(session, before))
        self._run("expire", expiry, self._expired)
        if settings.worktree_copy:
            self._run("copies", git.unmatched_copies(self._repo, settings.worktree_copy), self._unmatched)

    def _expired(self, expired: git.Expired) -> None:
        for ref, sha in expired.archives:
            log().bind(ref=ref, sha=sha).info("old archive removed")
        for path in expired.folders:
            log().bind(path=path).info("old worktree removed")
        for refusal in expired.refusals:
            log().bind(reason=_said(refusal)).warning("old work not removed")
        removed = (*(f"{ref} ({sha})" for ref, sha in expired.archives), *expired.folders)
        if removed:
            days = f"{self.state.settings.keep_for / 86400.0:g} days"
            named = ", ".join(removed[:MOST_NAMED])
            more = f" and {len(removed) - MOST_NAMED} more, see {self.context.role}.log" * (len(removed) > MOST_NAMED)
            self._notice(f"removed, because it did not land and is older than {days}: {named}{more}")

    def _unmatched(self, patterns: tuple[str, ...]) -> None:
        for pattern in patterns:
            self._notice(
                f"worktree.copy: no ignored file in {self.context.project} matches {pattern!r}; "
                "what is tracked is in every worktree, what is neither is not copied"
            )

    def _notice(self, text: str) -> None:
        if text and text not in self.state.git.noticed:
            self.propose(GitNoticed(text))

    # --- slots ---------------------------------------------------------------------------------------------------

    def _attempts(self, stage: Stage) -> Iterator[tuple[str, Attempt]]:
        for task_id in tuple(self.state.live.values()):
            attempt = self.state.tasks[task_id].attempt
            if attempt is not None and attempt.stage is stage:
                yield task_id, attempt

    def _prepare(self) -> None:
        if self._repo is None or self.state.stop is not None or self.mono < self._prepare_at:
            return
        waiting = [attempt for _, attempt in self._attempts(Stage.GRANTED)]
        if not waiting and self.state.paused.startswith(SLOT_WAITS):
            # What it was for was interrupted meanwhile.
            self.propose(SessionUnpaused(self.state.paused))
        # A slot that is still prepared for an attempt before this one is not touched by two at once.
        due = [attempt for attempt in waiting if attempt.slot not in self._preparing]
        made = git.slots(self._repo) if due else ()
        for attempt in due:
            # git cannot make two worktrees of a repository at once: it reads the one that is half made.
            key = attempt.id if attempt.slot in made else MAKING
            if key not in self._busy:
                self._preparing[attempt.slot] = key, attempt.id
                slot = functools.partial(self._prepared_slot, self._repo, attempt)
                self._run(key, _redone(slot), self._prepared(attempt))

    def _prepared_slot(self, repo: git.Repository, attempt: Attempt) -> Flow[git.SlotReady | git.Refusal]:
        left = yield from git.vacate(repo, attempt.slot)
        if isinstance(left, git.Refusal):
            return left
        if isinstance(left, git.SetAside):
            log().bind(slot=attempt.slot, path=left.path).warning("slot set aside")
        tip = yield from tip_with(repo, self._needed())
        if isinstance(tip, git.Refusal):
            return tip
        settings = self.state.settings
        return (
            yield from git.prepare_slot(
                repo,
                attempt.slot,
                tip.sha,
                owner=f"{self.context.session}/{attempt.id}",
                copy=settings.worktree_copy,
                setup=settings.worktree_setup,
            )
        )

    def _prepared(self, attempt: Attempt) -> Callable[[git.SlotReady | git.Refusal], None]:
        def tell(ready: git.SlotReady | git.Refusal) -> None:
            self._preparing.pop(attempt.slot, None)
            if self._held(SLOT_WAITS, self._obstacle(ready)):
                return
            if self.state.paused.startswith(SLOT_WAITS):
                self.propose(SessionUnpaused(self.state.paused))
            if isinstance(ready, git.Refusal):
                self.propose(SlotFailed(attempt.id, _said(ready)))
            else:
                self.propose(SlotPrepared(attempt.id, ready.path, ready.base))

        return tell

    # --- the merge queue -----------------------------------------------------------------------------------------

    def _land_next(self) -> None:
        if LANDING in self._busy or self._repo is None or self._identity is None or self.mono < self._land_at:
            return
        waiting = sorted(self._attempts(Stage.ENDED), key=lambda item: item[1].ended_wall)
        for task_id, attempt in waiting:
            message = git.commit_message(
                self.state.milestone, self.state.milestone.by_id[task_id], self.context.session
            )
            spec = git.CommitSpec(
                message, int(attempt.ended_wall), self._identity, self._since(attempt), self._needed()
            )
            land = functools.partial(git.capture_and_land, self._repo, attempt.slot, attempt.base, spec)
            self._run(LANDING, _redone(land), self._landed(attempt))
            return

    def _since(self, attempt: Attempt) -> str:
        """Return where the session began, if a commit of the task may be older than the slot; ``""`` if not."""
        found = self.state.git
        is_first = attempt.number == 1 and found.ready is not None and found.ready.base == found.base
        return "" if is_first else found.base

    def _landed(self, attempt: Attempt) -> Callable[[git.LandOutcome], None]:
        def tell(outcome: git.LandOutcome) -> None:
            if self._held(LANDING_WAITS, self._obstacle(outcome)):
                return
            if self.state.paused.startswith(LANDING_WAITS):
                self.propose(SessionUnpaused(self.state.paused))
            match outcome:
                case git.Landed(sha=sha, files=files):
                    self.propose(Landed(attempt.id, sha, files))
                case git.AlreadyLanded(sha=sha, files=files):
                    self.propose(Landed(attempt.id, sha, files))
                case git.NothingToLand():
                    self.propose(Landed(attempt.id, ""))
                case git.Conflict(paths=paths):
                    self.propose(LandConflicted(attempt.id, paths))
                case git.Lost(reason=reason):
                    self.propose(LandFailed(attempt.id, reason, lost=True))
                case git.Refusal():
                    self.propose(LandFailed(attempt.id, _said(outcome)))
                case _:
                    assert_never(outcome)

        return tell

    def _obstacle(self, outcome: object) -> git.Refusal | None:
        """Return what kept a flow from its end: without its repository no flow can be blamed for anything."""
        if not isinstance(outcome, git.Refusal | git.Lost):
            return None
        if self._repo is not None and not is_there(self._repo):
            cure = "bring it back, or cancel the session"
            return git.Refusal(f"the repository {self._repo.common_dir} is gone", cure, passing=True)
        return outcome if isinstance(outcome, git.Refusal) else None

    def _held(self, what: str, obstacle: git.Refusal | None) -> bool:
        """Whether nothing is at fault but the surroundings: then all stays as it is and nothing new is granted.

        What passes is tried again in a moment, a disk that fails when somebody has ended the pause.
        """
        if obstacle is None:
            return False
        if obstacle.is_broken:
            self.propose(SessionPaused(LANDING_HELD + _said(obstacle)))
            return True
        if not obstacle.is_passing:
            return False
        again = self.mono + HELD_SECONDS
        if what == LANDING_WAITS:
            self._land_at = again
        else:
            self._prepare_at = again
        self.host.wake_at(again)
        if not self.state.paused:
            self.propose(SessionPaused(what + _said(obstacle), passing=True))
        return True

    # --- the remote and the checkout -----------------------------------------------------------------------------

    def _push_when_due(self) -> None:
        found, settings = self.state.git, self.state.settings
        unpushed = found.landed - found.pushed
        at_the_end = self.state.settled is not None and unpushed > 0
        due = not self._is_stopped and (unpushed >= settings.push_every or at_the_end)
        if settings.remote and due and "push" not in self._busy and self._repo is not None:
            self._run("push", git.push(self._repo, settings.remote), self._pushed(settings.remote, found.landed))

    def _pushed(self, remote: str, landed: int) -> Callable[[git.Pushed | git.PushRefused | git.UpToDate], None]:
        def tell(outcome: git.Pushed | git.PushRefused | git.UpToDate) -> None:
            at("git.pushed")
            match outcome:
                case git.Pushed(sha=sha) | git.UpToDate(sha=sha):
                    self.propose(Pushed(remote, sha, landed))
                case git.PushRefused(reason=reason):
                    self.propose(PushRefused(remote, reason, landed))
                case _:
                    assert_never(outcome)

        return tell

    def _look(self) -> None:
        if self._repo is None or self.state.settled is not None:
            return
        if self.mono >= self._look_at and "look" not in self._busy:
            self._look_at = self.mono + self.state.settings.uncommitted_interval
            self._run("look", git.uncommitted(self._repo.top, self._repo.inside), self._seen)

    def _seen(self, seen: git.Uncommitted | git.Refusal) -> None:
        if isinstance(seen, git.Uncommitted) and seen.count != self.state.git.uncommitted:
            self.propose(UncommittedSeen(seen.count, seen.paths))

    # --- the end -------------------------------------------------------------------------------------------------

    def _finish_when_done(self) -> None:
        found = self.state.git
        if self.state.settled is None or self._busy:
            return
        if self._repo is None or found.ready is None:
            self.finish(found.idle or (found.refused.reason if found.refused is not None else ""))
        elif (waiting := [task for task, _ in self._attempts(Stage.ENDED)]) and not self._is_cancelled:
            # The session was stopped before they could land: the next life lands them from their slots.
            self.finish(f"waiting to be landed: {', '.join(waiting)}")
        elif not self._clean:
            self._run(CLEANING, git.remove_slots(self._repo), self._cleaned)
        else:
            commits = f"{found.landed} commit{'' if found.landed == 1 else 's'} on {found.ready.branch}"
            unpushed = found.landed - found.pushed if self.state.settings.remote else 0
            self.finish("; ".join(filter(None, (commits, f"not pushed yet: {unpushed}" * bool(unpushed), self._left))))

    @property
    def _is_stopped(self) -> bool:
        """Whether somebody waits for the end of this life: nothing is begun that may take long."""
        return self.state.settled is not None and self.state.stop is not None

    @property
    def _is_cancelled(self) -> bool:
        """Whether no life of the session follows."""
        return self.state.settled is not None and self.state.settled.status is SessionStatus.CANCELLED

    def _cleaned(self, results: tuple[git.Archived | git.SetAside | git.Refusal, ...]) -> None:
        self._clean = True
        said = [item.ref for item in results if isinstance(item, git.Archived)]
        # Those of earlier attempts as well: nobody was told of them yet.
        said += git.kept(self._repo) if self._repo is not None else ()
        said += [item.reason for item in results if isinstance(item, git.Refusal)]
        self._left = "kept: " + ", ".join(said) if said else ""

    def _run(self, key: str, flow: Flow[object], then: Callable[..., None]) -> None:
        def done(result: object) -> None:
            self._busy.pop(key, None)
            then(result)

        under_way = self.run_flow(flow, done)
        if under_way.token:
            self._busy[key] = under_way

    def _give_up_what_nobody_wants(self) -> None:
        """Do not wait for what takes long and is of no use any more, above all set-up commands and a remote."""
        for slot, (key, attempt_id) in tuple(self._preparing.items()):
            found = self.state.attempt(attempt_id)
            if found is None or found[2].stage is not Stage.GRANTED:
                self._give_up(key, functools.partial(self._preparing.pop, slot, None))
        if self._is_stopped:
            for key in self._busy.keys() - {LANDING, CLEANING}:
                self._give_up(key, lambda: None)

    def _give_up(self, key: str, then: Callable[[], object]) -> None:
        def given_up() -> None:
            self._busy.pop(key, None)
            then()

        if key in self._busy:
            self.give_up(self._busy[key], given_up)
