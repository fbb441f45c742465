"""What both sides know of the machine."""

from actors.surroundings import boot_id


def test_this_boot_has_a_name() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
