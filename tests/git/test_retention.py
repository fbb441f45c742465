"""What was kept of work that did not land is removed when it is old and provably ours, and never before."""

import os
from pathlib import Path

import pytest

from actors.git.flows import Archived, Expired, SetAside, archive, expire, kept, vacate
from tests.git.driver import drive
from tests.git.project import SESSION, WHEN, Project, write
from tests.repositories import git

LATER = WHEN + 1000
FAR = 4_000_000_000.0


def _archived(project: Project, attempt: str) -> Archived:
    write(project.slot(attempt=attempt).path, "work.txt", f"{attempt}\n")
    os.utime(f"{project.repo.cache}/milestone-001-slot-0.record", (WHEN, WHEN))
    done = drive(archive(project.repo, 0))
    assert isinstance(done, Archived)
    return done


def _set_aside(project: Project, age: float = WHEN) -> Path:
    ready = project.slot()
    git(Path(ready.path), "init", "--quiet", "inner")
    aside = drive(vacate(project.repo, 0))
    assert isinstance(aside, SetAside)
    _age(Path(aside.path), age)
    return Path(aside.path)


def _age(folder: Path, age: float) -> None:
    for path in (*folder.rglob("*"), folder, Path(f"{folder}.txt")):
        os.utime(path, (age, age), follow_symlinks=False)


def _refs(project: Project) -> list[str]:
    return git(project.folder, "for-each-ref", "--format=%(refname)", "refs/milestone-archive").splitlines()


def test_archives_of_milestones_that_are_over_go_when_they_are_old(project: Project) -> None:
    first, second = _archived(project, "a.1"), _archived(project, "b.1")
    git(project.folder, "update-ref", "refs/milestone-archive/other/c.1", first.sha)
    asked: list[str] = []

    def is_over(session: str) -> bool:
        asked.append(session)
        return session == SESSION

    assert drive(expire(project.repo, WHEN, is_over)) == Expired()
    assert asked == []
    assert drive(expire(project.repo, LATER, lambda _: False)) == Expired()
    removed = drive(expire(project.repo, LATER, is_over))
    assert removed == Expired(((first.ref, first.sha), (second.ref, second.sha)))
    assert _refs(project) == ["refs/milestone-archive/other/c.1"]


def test_packed_archives_go_as_well_and_come_back_by_their_names(project: Project) -> None:
    kept_work = _archived(project, "a.1")
    git(project.folder, "pack-refs", "--all")
    assert drive(expire(project.repo, LATER, lambda _: True)).archives == ((kept_work.ref, kept_work.sha),)
    assert _refs(project) == []
    git(project.folder, "update-ref", kept_work.ref, kept_work.sha)
    assert git(project.folder, "show", f"{kept_work.ref}:work.txt") == "a.1"


def test_what_was_set_aside_goes_with_its_note_when_nothing_in_it_is_newer(project: Project) -> None:
    old, young, touched = _set_aside(project), _set_aside(project, LATER + 1), _set_aside(project)
    write(touched, "inner/by hand.txt", "x\n")
    for path in (touched, touched / "inner"):
        os.utime(path, (WHEN, WHEN))
    (old / "inner").chmod(0o500)
    os.utime(old, (WHEN, WHEN))
    assert drive(expire(project.repo, LATER, lambda _: False)) == Expired((), (str(old),))
    assert not Path(f"{old}.txt").exists()
    assert kept(project.repo) == (str(young), str(touched))
    assert Path(f"{touched}.txt").exists()


@pytest.mark.parametrize("how", ["no note", "another note", "another name", "a link", "not our directory"])
def test_what_is_not_provably_ours_stays(project: Project, tmp_path: Path, how: str) -> None:
    folder = _set_aside(project)
    note = Path(f"{folder}.txt")
    if how == "no note":
        note.unlink()
    elif how == "another note":
        note.write_text("mine\n")
        os.utime(note, (WHEN, WHEN))
    elif how == "another name":
        folder = folder.rename(folder.with_name("milestone-001-kept-mine"))
        note.rename(f"{folder}.txt")
    elif how == "a link":
        real = folder.rename(tmp_path / "real")
        folder.symlink_to(real)
    else:
        Path(project.repo.cache, "owner").write_text("somebody else's\n")
    assert drive(expire(project.repo, FAR, lambda _: True)).folders == ()
    assert folder.exists()
