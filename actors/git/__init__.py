"""Git plumbing for one milestone: branch, worktree slots, one commit per task, push, a look at the checkout.

Owns what is done with git, as flows: generators that yield the programs to run and are told how they ended
(:mod:`actors.programs`). Between two programs a flow does nothing that waits: it looks at single files.
Refuses to know journal, roles and time; dates arrive as arguments.

Never touched: the user's checkout, index, stash, hooks, configuration and other branches. Written are
objects, ``refs/heads/milestone/<id>`` with its log, ``refs/milestone-archive/``, the registrations of our
slots below ``worktrees/``, the slots themselves in the cache directory, and at a push git's note of where the
remote's branch is.
"""
