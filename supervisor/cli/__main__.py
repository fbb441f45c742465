"""``python -m supervisor.cli`` is ``milestonectl``."""

from supervisor.cli import main

main()
