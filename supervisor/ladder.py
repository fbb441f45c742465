"""The ladder of containments: delegated control group, PID namespace, sweep; the strongest that the machine gives.

The choice is made when a runner is started, in two places that cannot do without each other: the supervising process
says whether the runner shall have a PID namespace (:func:`namespace_for`), because only the fork server can make one;
the runner then knows what became of that and whether it has a control group, and says what holds (:func:`choose`). A
containment that was asked for by name and cannot be had is refused before anything is journaled (:func:`refusal`).

Owns the order of the rungs and the words for them. Refuses to know how each of them works.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from actors.events import ContainmentChosen
from actors.model import Containment
from supervisor.cgroups import CgroupTrees, delegated_group
from supervisor.containment import Trees
from supervisor.fork_protocol import Namespace
from supervisor.launcher import interpreter
from supervisor.linux import can_administer
from supervisor.namespaces import Born, OuterNumbers

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRY_SECONDS: Final = 30.0

_IN_GROUP: Final = (
    "no process of a task leaves its control group; when all of milestoned is killed at once, systemd empties the"
    " group of a service, and elsewhere the next run ends what is left"
)
_IN_NAMESPACE: Final = (
    "tasks live in a PID namespace that ends with the task runner: when all of milestoned is killed at once, the"
    " kernel kills them in the same moment"
)
_SWEPT: Final = (
    "when all of milestoned is killed at once, tasks go on until the next run ends every process that carries the"
    " session's mark, before it starts anything"
)
_NOT_DELEGATED: Final = "no control group (v2) is delegated to milestoned"
_NO_CAPABILITY: Final = "no PID namespace without the capability CAP_SYS_ADMIN"


class NamespaceTrees(Trees):
    """Process trees in a PID namespace of which this process is the init: they cannot outlive it.

    Args:
        session: Session id.
        proc: Descriptor of the outer /proc; this object owns it.
    """

    name = "pid_namespace"

    def __init__(self, session: str, proc: int) -> None:
        super().__init__(session)
        self._outer = OuterNumbers(proc)

    def shown(self, pid: int) -> int:
        """Return the number that a leader has outside."""
        return self._outer.of(pid)

    def close(self) -> None:
        """Close the descriptors."""
        super().close()
        self._outer.close()


@attrs.frozen
class Chosen:
    """The containment of a runner.

    Attributes:
        trees: The process trees, held by it.
        fact: What is said of it.
    """

    trees: Trees
    fact: ContainmentChosen


def namespace_for(containment: Containment) -> Namespace:
    """Return whether a runner shall be the init of a PID namespace; called by the supervising process."""
    match containment:
        case Containment.PID_NAMESPACE:
            return Namespace.REQUIRED
        case Containment.AUTO if can_administer() and delegated_group() is None:
            return Namespace.WANTED
        case _:
            return Namespace.NONE


def choose(session: str, args: Mapping[str, object]) -> Chosen:
    """Take the strongest containment that there is, or the one that was asked for; called by the runner.

    Args:
        session: Session id.
        args: The runner's: ``containment`` (``auto`` without it), ``namespace`` (by the fork server), and ``cgroup``,
            which may name a delegated group's directory.

    Raises:
        OSError: The control group that was asked for cannot be had.
    """
    wish = Containment(str(args.get("containment", Containment.AUTO.value)))
    born = Born.of(args.get("namespace"))
    if born is not None and not born.refused:
        trees = NamespaceTrees(session, born.outer_proc)
        return Chosen(trees, ContainmentChosen(trees.name, _IN_NAMESPACE))
    if wish is Containment.SWEEP:
        return Chosen(Trees(session), ContainmentChosen(Trees.name, _SWEPT))
    parent = Path(str(args["cgroup"])) if "cgroup" in args else delegated_group()
    reasons = [_NOT_DELEGATED]
    if parent is not None:
        try:
            return Chosen(CgroupTrees(session, parent), ContainmentChosen(CgroupTrees.name, _IN_GROUP))
        except OSError as error:
            reasons = [f"{parent} cannot be used: {error.strerror or error}"]
    if wish is Containment.CGROUP:
        raise OSError(reasons[0])
    reasons.append(_NO_CAPABILITY if born is None else f"no PID namespace ({born.refused})")
    return Chosen(Trees(session), ContainmentChosen(Trees.name, f"{_SWEPT}; {'; '.join(reasons)}"))


def refusal(containment: Containment) -> tuple[str, ...]:
    """Return why a containment that was asked for cannot be had and what to do; empty when it can.

    Starts an interpreter where a PID namespace was asked for: this process may have threads.
    """
    other = "or leave the choice to the machine: containment: auto"
    match containment:
        case Containment.CGROUP if delegated_group() is None:
            return (
                f"containment: cgroup cannot be had: {_NOT_DELEGATED}",
                "run it in one: systemd-run --user --scope -p Delegate=yes milestonectl run ...",
                other,
            )
        case Containment.PID_NAMESPACE if why := _try_namespace():
            return (
                f"containment: pid_namespace cannot be had: {why}",
                "it needs root (the capability CAP_SYS_ADMIN, and no filter that forbids namespaces)",
                other,
            )
        case _:
            return ()


def _try_namespace() -> str:
    try:
        done = subprocess.run(
            interpreter("main()", "supervisor.namespaces"),
            capture_output=True,
            text=True,
            timeout=_TRY_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode == 0:
        return done.stdout.strip()
    said = done.stderr.strip().splitlines() or [f"the trial ended with status {done.returncode}, without a word"]
    return said[-1]
