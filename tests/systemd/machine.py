"""A machine with a real systemd, for tests: Debian's own as PID 1 in namespaces, over a throw-away overlay of /.

It boots in about half a second and leaves nothing behind: everything of it lives in one control group, in mounts and in
a PID namespace that end with it. In it stand

    /opt/python       the interpreter that runs the tests
    /opt/milestoned   an environment with milestoned installed in it, as from a wheel, with `bin/milestoned`
    /srv              the directory that the machine shares with the tests: projects
    builder           a user (1500) who owns projects, with a home directory

Needs root, util-linux, a v2 hierarchy of control groups and systemd. :func:`why_not` says what is missing.
"""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from attrs import define, field

from tests.waiting import wait_until

CHECKOUT: Final = Path(__file__).parents[2]
SYSTEMD: Final = Path("/lib/systemd/systemd")
BUILDER: Final = 1500
HOME: Final = "/srv/home"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS: Final = ("unshare", "nsenter", "setpriv", "mount", "pivot_root", "systemctl", "bash")

_BOOT: Final = r"""
set -e
R=$BASE/root
mount -t tmpfs tmpfs "$BASE"
mkdir "$BASE/up" "$BASE/work" "$R"
# What is to be seen inside may stand in a directory that the machine covers.
mkdir "$BASE/python" "$BASE/deps" "$BASE/srv"
mount --bind "$PYTHON" "$BASE/python"; mount --bind "$DEPS" "$BASE/deps"; mount --bind "$SRV" "$BASE/srv"
mount -t overlay overlay -o "lowerdir=/,upperdir=$BASE/up,workdir=$BASE/work" "$R"
mount -t proc proc "$R/proc"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
mount -t tmpfs tmpfs "$R/run"; mount -t tmpfs tmpfs "$R/tmp"; mount -t tmpfs tmpfs "$R/opt"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for d in null zero full random urandom tty; do touch "$R/dev/$d"; mount --bind "/dev/$d" "$R/dev/$d"; done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$R/dev/pts"; ln -s pts/ptmx "$R/dev/ptmx"
mount -t tmpfs tmpfs "$R/dev/shm"
for d in python deps; do mkdir "$R/opt/$d"; mount --move "$BASE/$d" "$R/opt/$d"; done
mkdir -p "$R/srv"; mount --move "$BASE/srv" "$R/srv"
hostname machine
# Nothing of this machine's services: only what the tests put there.
rm -rf "$R"/etc/systemd/system "$R"/etc/systemd/user
mkdir "$R/etc/systemd/system" "$R/etc/systemd/user"
for u in dbus.service dbus.socket; do ln -s /dev/null "$R/etc/systemd/system/$u"; done
for u in systemd-resolved systemd-firstboot systemd-udevd systemd-timesyncd systemd-networkd systemd-sysctl \
    systemd-udev-trigger systemd-machine-id-commit systemd-update-utmp systemd-hwdb-update systemd-sysusers; do
    ln -s /dev/null "$R/etc/systemd/system/$u.service"
done
ln -sf /lib/systemd/system/basic.target "$R/etc/systemd/system/default.target"
echo 5eed5eed5eed5eed5eed5eed5eed5eed >"$R/etc/machine-id"
printf '%s\n' "builder:x:1500:1500::/srv/home:/bin/bash" >>"$R/etc/passwd"
printf '%s\n' "builder:x:1500:" >>"$R/etc/group"
ip link set lo up 2>/dev/null || true
cd "$R"; mkdir -p .old; pivot_root . .old; umount -l .old
exec env -i container=tests PATH="$PATH" /lib/systemd/systemd
"""


class NotBootedError(Exception):
    """This machine lets no systemd boot, although it has all that is needed."""


@define
class Machine:
    """A booted machine; to be closed.

    Attributes:
        srv: The shared directory as the tests see it; ``/srv`` inside.
        group: Its control group.
        base: Its mount point.
    """

    srv: Path
    group: Path
    base: Path
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @classmethod
    def boot(cls, folder: Path) -> Self:
        """Boot one.

        Args:
            folder: Empty directory for its files.

        Raises:
            NotBootedError: It did not come up; with what it said.
        """
        for name in ("base", "srv", "srv/home"):
            (folder / name).mkdir(mode=0o755)
        (folder / "srv").chmod(0o755)
        os.chown(folder / "srv/home", BUILDER, BUILDER)
        hierarchy = _hierarchy()
        assert hierarchy is not None
        machine = cls(folder / "srv", hierarchy / f"milestoned-tests-{os.getpid()}", folder / "base")
        machine.group.mkdir(exist_ok=True)
        try:
            machine._start(folder / "console")
            try:
                wait_until(machine._is_up, 60.0, "systemd is up")
            except AssertionError as error:
                said = (folder / "console").read_text(errors="replace").strip()[-500:]
                raise NotBootedError(f"{error}: {said}") from error
            machine._install()
        except BaseException:
            machine.close()
            raise
        return machine

    def _start(self, console: Path) -> None:
        flags = [
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--cgroup",
            "--net",
            "--fork",
            "--kill-child=KILL",
            "--propagation=private",
        ]
        enter = f'echo $$ >"{self.group}/cgroup.procs"; exec setpriv --pdeathsig KILL unshare "$@" bash -c "$0"'
        environment = {
            "PATH": PATH,
            "BASE": str(self.base),
            "SRV": str(self.srv),
            "PYTHON": sys.base_prefix,
            "DEPS": sysconfig.get_path("purelib"),
        }
        with console.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", enter, _BOOT, *flags],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "systemd ended"
        init = self.group / "init.scope" / "cgroup.procs"
        if not (init.exists() and init.read_text()):
            return False
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in {"running", "degraded"}

    def _install(self) -> None:
        """Install milestoned as a wheel would be, in an environment of its own that any user may use."""
        staged = self.srv / ".staged"
        install_tree(staged, f"{sys.version_info.major}.{sys.version_info.minor}")
        self.run("sh", "-c", "mv /srv/.staged /opt/milestoned && chmod -R a+rX /opt/milestoned")

    @property
    def init(self) -> int:
        """Process id of its systemd, as the tests see it."""
        return int((self.group / "init.scope" / "cgroup.procs").read_text().split()[0])

    def run(
        self,
        *command: str,
        check: bool = True,
        user: str = "",
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, in /.

        Args:
            command: Program and arguments.
            check: Whether to fail when the command does.
            user: Who runs it; root without one.
            env: More variables.
            timeout: Seconds.
        """
        variables = {"PATH": f"/opt/milestoned/bin:{PATH}", "HOME": HOME if user else "/root", "LC_ALL": "C.UTF-8"}
        variables |= {"TERM": "dumb", **(env or {})}
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        done = subprocess.run(
            ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-p", "-n", "-C", "-r", "-w", *as_user, "env", "-i"]
            + [f"{name}={value}" for name, value in variables.items()]
            + list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd="/",
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).stdout.rstrip("\n")

    def log(self, unit: str) -> str:
        """Return what a unit has logged, and systemd about it."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, check=False).stdout

    def members(self, unit: str) -> list[str]:
        """Name the processes of a unit, by their command lines."""
        place = self.property(unit, "ControlGroup")
        found = []
        for file in (self.group / place.lstrip("/")).rglob("cgroup.procs") if place else ():
            commands = (Path("/proc", pid, "cmdline").read_bytes() for pid in file.read_text().split())
            found += [command.replace(b"\0", b" ").decode(errors="replace") for command in commands]
        return found

    def close(self) -> None:
        """End it and everything in it."""
        (self.group / "cgroup.kill").write_text("1")
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)
        wait_until(lambda: "populated 0" in (self.group / "cgroup.events").read_text(), 60.0, "the machine has ended")
        for folder in sorted((path for path in self.group.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        self.group.rmdir()


def install_tree(target: Path, version: str) -> None:
    """Make an environment with milestoned in it, as installing the wheel would, that works as /opt/milestoned.

    Args:
        target: The directory that becomes /opt/milestoned.
        version: Of Python, such as 3.11.
    """
    packages = target / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True)
    (target / "bin").mkdir()
    (target / "bin" / "python").symlink_to(f"/opt/python/bin/python{version}")
    (target / "pyvenv.cfg").write_text("home = /opt/python/bin\ninclude-system-site-packages = false\n")
    # With what is compiled: a user who may not write here would compile everything at each start.
    for package, folder in (("actors", "actors"), ("supervisor", "supervisor"), ("supervisor/configs", "configs")):
        shutil.copytree(CHECKOUT / folder, packages / package, dirs_exist_ok=True)
    (packages / "dependencies.pth").write_text("/opt/deps\n")
    for name, module in (("milestoned", "supervisor.daemon"), ("milestonectl", "supervisor.cli")):
        script = target / "bin" / name
        script.write_text(f"#!/opt/milestoned/bin/python\nfrom {module} import main\n\nmain()\n")
        script.chmod(0o755)


def why_not() -> str:
    """Return why no machine can be booted here, ``""`` if one can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        return "needs root"
    if missing or not SYSTEMD.exists():
        return f"needs systemd and util-linux ({', '.join(missing) or SYSTEMD} is missing)"
    hierarchy = _hierarchy()
    if hierarchy is None or not os.access(hierarchy, os.W_OK):
        return "needs a v2 hierarchy of control groups that can be written"
    probe = ["unshare", "--mount", "--pid", "--cgroup", "--net", "--fork", "sh", "-c"]
    layers = "lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w"
    mounts = f"mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/r && mount -t overlay o -o {layers} /mnt/r"
    tried = subprocess.run([*probe, mounts], capture_output=True, text=True, check=False, timeout=100)
    if tried.returncode:
        return f"needs namespaces and an overlay of / ({tried.stderr.strip()})"
    trial = hierarchy / f"milestoned-trial-{os.getpid()}"
    try:
        trial.mkdir()
        can_kill = (trial / "cgroup.kill").exists()
        trial.rmdir()
    except OSError as error:
        return f"needs control groups that can be made ({error.strerror})"
    return "" if can_kill else "needs cgroup.kill (Linux 5.14)"


def _hierarchy() -> Path | None:
    """Return where the v2 hierarchy is mounted."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None
