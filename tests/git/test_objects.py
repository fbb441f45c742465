"""What is written and read without a program is, byte for byte, what git would write and read."""

import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.git.capture import commit_tree
from actors.git.flows import Identity, Refusal
from actors.git.index import count_entries, trees_of
from actors.git.objects import (
    Change,
    commit_content,
    is_stored,
    loose_object,
    tree_changes,
    write_objects,
)
from tests.git.driver import drive
from tests.git.project import WHEN, Project, write
from tests.repositories import MakeRepository, git

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def _by_git(folder: Path, tree: str, parent: str, message: str, identity: Identity) -> bytes:
    who = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", identity.name), ("EMAIL", identity.email), ("DATE", f"{WHEN} +0000"))
    }
    done = subprocess.run(
        ["git", "commit-tree", "-p", parent, "-F", "-", tree],
        cwd=folder,
        env={**os.environ, **who},
        input=message.encode(),
        capture_output=True,
        check=True,
    )
    return subprocess.run(
        ["git", "cat-file", "commit", done.stdout.decode().strip()], cwd=folder, capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("name", "email", "message"),
    [
        ("Ann", "ann@example.org", "One\n"),
        ("J. R. R. T", "a", "no end of line"),
        ("Zoë Çelik", "zoë@example.org", "Ünï ✓ \U0001f600\n\nbody\n\n\n# not a comment\n"),
        ("x", "y", ""),
        ("o'Neill-2 (x) \x7f", "a b", "\n\n  kept as it is  \n"),
        ("\x80odd", "x@y", "\x85\u2028\x01\n"),
    ],
)
def test_a_commit_is_the_one_that_git_would_make(project: Project, name: str, email: str, message: str) -> None:
    tree = git(project.folder, "rev-parse", "HEAD^{tree}")
    content = commit_content(tree, project.base, message, when=WHEN, name=name, email=email)
    assert content == _by_git(project.folder, tree, project.base, message, Identity(name, email))


@settings(max_examples=25, deadline=None)
@given(name=st.text(min_size=1, max_size=8), message=st.text(max_size=20))
def test_whatever_git_would_alter_is_left_to_git(
    tmp_path_factory: pytest.TempPathFactory, name: str, message: str
) -> None:
    content = commit_content(EMPTY_TREE, EMPTY_TREE, message, when=WHEN, name=name, email="a@b")
    if content is None:
        return
    folder = tmp_path_factory.getbasetemp() / "commits"
    if not folder.exists():
        subprocess.run(["git", "init", "--quiet", "--bare", str(folder)], check=True)
    stored = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--stdin"], cwd=folder, input=b"", capture_output=True, check=True
    )
    assert stored.stdout.decode().strip() == EMPTY_TREE
    first = commit_content(EMPTY_TREE, "0" * 40, "x", when=WHEN, name="x", email="x")
    assert first is not None
    made = subprocess.run(["git", "commit-tree", "-m", "x", EMPTY_TREE], cwd=folder, capture_output=True, check=True)
    parent = made.stdout.decode().strip()
    content = commit_content(EMPTY_TREE, parent, message, when=WHEN, name=name, email="a@b")
    assert content == _by_git(folder, EMPTY_TREE, parent, message, Identity(name, "a@b"))


@pytest.mark.parametrize(
    ("name", "email", "message", "when"),
    [
        (" x", "y", "m", WHEN),
        ("x.", "y", "m", WHEN),
        ("a<b", "y", "m", WHEN),
        ("a\nb", "y", "m", WHEN),
        ("", "y", "m", WHEN),
        ("x", "", "m", WHEN),
        ("x", "y", "nul \0", WHEN),
        ("x", "y", "no character \ufffe", WHEN),
        ("x", "y", "half \udc80", WHEN),
        ("x", "y", "m", 99_999_999),
    ],
)
def test_a_commit_that_git_makes_its_own_way_is_none(name: str, email: str, message: str, when: int) -> None:
    assert commit_content(EMPTY_TREE, EMPTY_TREE, message, when=when, name=name, email=email) is None
    assert commit_content("0" * 64, "0" * 64, "m", when=WHEN, name="x", email="y") is None


def test_a_name_that_git_trims_still_becomes_a_commit(project: Project) -> None:
    tree = git(project.folder, "rev-parse", "HEAD^{tree}")
    made = commit_tree(project.repo, tree, project.base, "m\n", when=WHEN, identity=Identity(" Jr. ", "a@b"))
    sha = drive(made)
    assert not isinstance(sha, Refusal)
    assert git(project.folder, "show", "--no-patch", "--format=%an %at", sha) == f"Jr {WHEN}"


@pytest.mark.parametrize("shared", ["umask", "group", "all", "0640", "0600"])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_an_object_has_the_modes_that_git_would_give_it(tmp_path: Path, shared: str, umask: int) -> None:
    folder = tmp_path / "repo"
    old = os.umask(umask)
    try:
        git(tmp_path, "init", "--quiet", "--bare", f"--shared={shared}", str(folder))
        by_git = subprocess.run(
            ["git", "hash-object", "-w", "--stdin"], cwd=folder, input=b"x", capture_output=True, check=True
        )
        name, whole = loose_object("blob", b"another")
        write_objects(str(folder), [(name, whole)])
    finally:
        os.umask(old)
    theirs = by_git.stdout.decode().strip()
    files = [folder / "objects" / one[:2] / one[2:] for one in (theirs, name)]
    assert [file.stat().st_mode for file in files] == [files[0].stat().st_mode] * 2
    assert files[1].parent.stat().st_mode == files[0].parent.stat().st_mode
    assert git(folder, "cat-file", "blob", name) == "another"
    assert not list(files[1].parent.glob("tmp_obj_*"))


@pytest.mark.row("F14")
def test_an_object_that_a_power_cut_emptied_is_mended_by_writing_it_again(git_repo: MakeRepository) -> None:
    folder = git_repo()
    common = f"{folder}/.git"
    name, whole = loose_object("blob", b"content")
    write_objects(common, [(name, whole)])
    file = Path(common, "objects", name[:2], name[2:])
    file.chmod(0o644)
    file.write_bytes(b"")
    assert not is_stored(common, name, whole)
    write_objects(common, [(name, whole)])
    assert is_stored(common, name, whole)
    assert git(folder, "cat-file", "blob", name) == "content"


def test_a_disk_that_does_not_take_an_object_leaves_nothing_behind(git_repo: MakeRepository) -> None:
    folder = git_repo()
    name, whole = loose_object("blob", b"content")
    place = Path(folder, ".git/objects", name[:2], name[2:])
    place.mkdir(parents=True)
    with pytest.raises(OSError, match=name[2:]):
        write_objects(f"{folder}/.git", [(name, whole)])
    assert not list(place.parent.glob("tmp_obj_*"))


_NAMES = ("a", "a-b", "a.b", "a0", "b", "ab", "Z", "with space", "ü", "new\nline")


def _play(folder: Path, random_: random.Random) -> None:
    """Change a few things, folders that become files and files that become folders among them."""
    for _ in range(random_.randrange(1, 6)):
        path = folder.joinpath(*(random_.choice(_NAMES) for _ in range(random_.randrange(1, 4))))
        for above in reversed(path.relative_to(folder).parents):
            if (folder / above).is_symlink() or (folder / above).is_file():
                (folder / above).unlink()
        if path.is_dir() and not path.is_symlink():
            subprocess.run(["rm", "-rf", str(path)], check=True)
            continue
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        match random_.randrange(4):
            case 0:
                path.symlink_to(f"to-{random_.randrange(9)}")
            case 1:
                path.write_text(f"{random_.random()}\n")
                path.chmod(0o755)
            case _:
                path.write_text(f"{random_.randrange(3)}\n")


def _listed(folder: Path, before: str, after: str) -> list[Change]:
    argv = ["git", "diff-tree", "-r", "-t", "-z", "--no-renames", before, after]
    fields = subprocess.run(argv, cwd=folder, capture_output=True, check=True).stdout.split(b"\0")[:-1]
    changes = []
    for entry, path in zip(fields[::2], fields[1::2], strict=True):
        old_mode, new_mode, _, name, _ = entry.removeprefix(b":").split(b" ")
        changes.append(Change(old_mode, new_mode, "" if name == b"0" * 40 else name.decode(), path))
    return changes


@pytest.mark.parametrize("seed", range(4))
def test_trees_and_what_differs_between_them_are_as_git_says(git_repo: MakeRepository, seed: int) -> None:
    random_ = random.Random(seed)
    folder = git_repo()
    trees = [git(folder, "rev-parse", "HEAD^{tree}")]
    for _ in range(8):
        _play(folder, random_)
        git(folder, "add", "--all")
        ours = trees_of(f"{folder}/.git/index")
        assert ours is not None
        assert count_entries(f"{folder}/.git/index") == len(git(folder, "ls-files", "-z").split("\0")) - 1
        if random_.random() < 0.5:
            for name, whole in ours.made:
                write_objects(f"{folder}/.git", [(name, whole)])
        trees.append(git(folder, "write-tree"))
        assert ours.top == trees[-1]
        again = trees_of(f"{folder}/.git/index")
        assert again is not None
        assert (again.top, again.made) == (trees[-1], ())
        for before in trees:
            changes = tree_changes(f"{folder}/.git", before, trees[-1])
            assert changes is not None
            assert list(changes) == _listed(folder, before, trees[-1])
    assert tree_changes(f"{folder}/.git", git(folder, "rev-parse", "HEAD"), trees[0]) == ()
    assert git(folder, "fsck", "--strict", "--no-dangling") == ""


def test_modes_of_old_gits_count_as_git_counts_them(git_repo: MakeRepository) -> None:
    folder = git_repo()
    blob = bytes.fromhex(git(folder, "rev-parse", "HEAD:README.md"))
    trees = []
    for mode in (b"100664", b"100644", b"100755"):
        name, whole = loose_object("tree", mode + b" a\0" + blob)
        write_objects(f"{folder}/.git", [(name, whole)])
        trees.append(name)
    for after in trees:
        changes = tree_changes(f"{folder}/.git", trees[0], after)
        assert changes is not None
        assert list(changes) == _listed(folder, trees[0], after)


def test_what_is_packed_or_damaged_is_left_to_git(git_repo: MakeRepository) -> None:
    folder = git_repo()
    write(folder, "a.txt", "a\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "a")
    before, after = (git(folder, "rev-parse", f"{name}^{{tree}}") for name in ("HEAD~", "HEAD"))
    assert tree_changes(f"{folder}/.git", before, after) is not None
    file = Path(folder, ".git/objects", after[:2], after[2:])
    file.chmod(0o644)
    whole = file.read_bytes()
    for damaged in (b"", whole[:-5], b"no deflated bytes"):
        file.write_bytes(damaged)
        assert tree_changes(f"{folder}/.git", before, after) is None
    file.write_bytes(whole)
    git(folder, "gc", "--quiet")
    assert tree_changes(f"{folder}/.git", before, after) is None
    assert tree_changes(f"{folder}/.git", "HEAD", after) is None
    assert tree_changes(f"{folder}/.git", "0" * 64, after) is None


def test_trees_that_take_long_to_read_are_left_to_git(git_repo: MakeRepository) -> None:
    folder = git_repo(files={f"{number}/x.txt": "x\n" for number in range(120)})
    before = git(folder, "rev-parse", "HEAD^{tree}")
    assert tree_changes(f"{folder}/.git", EMPTY_TREE, before) is None
    empty, whole = loose_object("tree", b"")
    write_objects(f"{folder}/.git", [(empty, whole)])
    assert tree_changes(f"{folder}/.git", empty, before) is None
    assert tree_changes(f"{folder}/.git", before, before) == ()


def _version_4(folder: Path) -> None:
    git(folder, "update-index", "--index-version", "4")


def _flagged(folder: Path) -> None:
    write(folder, "later.txt", "x\n")
    git(folder, "add", "--intent-to-add", "later.txt")


def _split(folder: Path) -> None:
    git(folder, "update-index", "--split-index")


def _long_name(folder: Path) -> None:
    blob = git(folder, "rev-parse", "HEAD:README.md")
    path = "/".join(["x" * 200] * 21)
    git(folder, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")


def _many_trees(folder: Path) -> None:
    for number in range(40):
        write(folder, f"{number}/x.txt", "x\n")
    git(folder, "add", "--all")


def _damaged(folder: Path) -> None:
    index = Path(folder, ".git/index")
    raw = bytearray(index.read_bytes())
    raw[40] ^= 1
    index.write_bytes(raw)


def _short(folder: Path) -> None:
    Path(folder, ".git/index").write_bytes(b"DIRC")


def _gone(folder: Path) -> None:
    Path(folder, ".git/index").unlink()


@pytest.mark.parametrize("make", [_version_4, _flagged, _split, _long_name, _many_trees, _damaged, _short, _gone])
def test_an_index_of_another_kind_is_left_to_git(git_repo: MakeRepository, make: object) -> None:
    folder = git_repo()
    git(folder, "read-tree", "HEAD")
    assert trees_of(f"{folder}/.git/index") is not None
    assert callable(make)
    make(folder)
    assert trees_of(f"{folder}/.git/index") is None


def test_an_unmerged_index_is_left_to_git(git_repo: MakeRepository) -> None:
    folder = git_repo()
    blob = git(folder, "rev-parse", "HEAD:README.md")
    subprocess.run(
        ["git", "update-index", "--index-info"],
        cwd=folder,
        input="".join(f"100644 {blob} {stage}\tREADME.md\n" for stage in (1, 2, 3)).encode(),
        check=True,
    )
    assert trees_of(f"{folder}/.git/index") is None
