"""The built-in rules: what the output of tried tools looks like when something is in their way.

Owns the table. ``configs/blocker_rules.yaml`` shows the same rules to users, in their own form; a test
compares the two. Order matters: a line is explained by the first rule that matches it, so what is more exact
stands first. Only what no retry can outlive is looked for in running attempts; all else counts once an
attempt has failed, because a test suite may print any of it and pass.
"""

from __future__ import annotations

from typing import Final

from actors.events import Severity
from actors.rules import Rule, Where

BUILTIN_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "disk-full",
        "disk",
        r"no space left on device|\benospc\b|disk full|not enough (?:free )?(?:disk )?space",
        Severity.CRITICAL,
        "resource reallocation: free space on the file system named in the output (build caches, old "
        "images, logs), then run the milestone again",
        Where.ANY,
    ),
    Rule(
        "disk-quota",
        "disk",
        r"disk quota exceeded|\bedquot\b",
        Severity.CRITICAL,
        "resource reallocation: the user's quota is used up; delete files of this user or ask for a larger quota",
        Where.ANY,
    ),
    Rule(
        "out-of-memory",
        "memory",
        r"out of memory|oom-?kill|cannot allocate memory|\benomem\b|std::bad_alloc|"
        r"javascript heap out of memory|java\.lang\.outofmemoryerror|^memoryerror\b",
        Severity.CRITICAL,
        "resource reallocation: run fewer tasks at once (max_parallel), or give the task's tool a smaller memory limit",
        Where.ANY,
    ),
    Rule(
        "read-only-file-system",
        "disk",
        r"read-only file system|\berofs\b",
        Severity.CRITICAL,
        "alternative approach: the task writes where it may not, or the kernel remounted a damaged disk "
        "read-only; look at `dmesg`, or write inside the project",
        Where.ANY,
    ),
    Rule(
        "input-output-error",
        "disk",
        r"input/output error|\beio\b",
        Severity.CRITICAL,
        "team escalation: the disk or network file system failed to read or write; look at `dmesg` before "
        "running again",
        Where.ANY,
    ),
    Rule(
        "too-many-open-files",
        "resource",
        r"too many open files|\bemfile\b|\benfile\b",
        Severity.ERROR,
        "resource reallocation: raise the limit of open files (`ulimit -n`) or lower max_parallel",
    ),
    Rule(
        "too-many-processes",
        "resource",
        r"resource temporarily unavailable|\beagain\b|cannot fork|fork: retry",
        Severity.ERROR,
        "resource reallocation: raise the limit of processes (`ulimit -u`) or lower max_parallel",
    ),
    Rule(
        "merge-conflict",
        "git",
        r"conflict \(\w+\): |automatic merge failed|fix conflicts and|needs merge|^<<<<<<< ",
        Severity.ERROR,
        "alternative approach: give the tasks that change the same paths overlapping `files` or a "
        "`depends_on`, so that they run one after the other",
    ),
    Rule(
        "git-lock",
        "git",
        r"unable to create '.*\.lock': file exists|another git process seems to be running",
        Severity.ERROR,
        "retry: let the other git process end; delete the lock file named in the output only when none is running",
    ),
    Rule(
        "not-a-git-repository",
        "git",
        r"not a git repository",
        Severity.ERROR,
        "alternative approach: the command needs a repository; run the milestone inside one (`git init`)",
    ),
    Rule(
        "authentication",
        "auth",
        r"authentication (?:failed|required)|could not read username|permission denied \(publickey|"
        r"invalid (?:credentials|username or password|api key)|\b401 unauthori[sz]ed|unauthorized: ",
        Severity.ERROR,
        "team escalation: the credentials are missing, wrong or expired; renew them and put them into the "
        "environment of the run (name them under `secrets`)",
    ),
    Rule(
        "forbidden",
        "auth",
        r"\b403 forbidden|access denied|accessdenied|insufficient (?:permissions|scope)|not authorized to",
        Severity.ERROR,
        "team escalation: the credentials are known but not allowed to do this; ask for the permission",
    ),
    Rule(
        "permission-denied",
        "permission",
        r"permission denied|operation not permitted|\beacces\b|\beperm\b",
        Severity.ERROR,
        "alternative approach: mend owner or mode of the file named in the output (`chmod +x` for a "
        "script), or use a path that the task may write",
    ),
    Rule(
        "certificate",
        "network",
        r"certificate verify failed|certificate has expired|self[- ]signed certificate|"
        r"unable to get local issuer",
        Severity.ERROR,
        "alternative approach: install the missing certificate authority, or set the clock right; never "
        "switch verification off",
    ),
    Rule(
        "name-resolution",
        "network",
        r"could not resolve host|temporary failure in name resolution|name or service not known|getaddrinfo|"
        r"\benotfound\b|no such host",
        Severity.ERROR,
        "retry: check the network and the name of the host; set `retries` and `retry_delay` for tasks that need it",
    ),
    Rule(
        "port-in-use",
        "resource",
        r"address already in use|\beaddrinuse\b|port \d+ is already (?:in use|allocated)|bind: address",
        Severity.ERROR,
        "resource reallocation: end the process that holds the port (`ss -ltnp` names it), let the task "
        "choose a free one, or name the port under `shared_resources`",
    ),
    Rule(
        "connection",
        "network",
        r"connection (?:refused|reset|timed out|aborted)|network is unreachable|no route to host|"
        r"\becon(?:nrefused|nreset)\b|\betimedout\b|tls handshake timeout|failed to connect to",
        Severity.ERROR,
        "retry: start the service that the task connects to, or check the network; set `retries` and "
        "`retry_delay` for tasks that need it",
    ),
    Rule(
        "rate-limit",
        "network",
        r"rate limit|too many requests|\b429\b.{0,20}(?:error|http|status)|(?:error|http|"
        r"status).{0,20}\b429\b",
        Severity.ERROR,
        "retry: wait until the limit is lifted; raise `retry_delay` or lower max_parallel",
    ),
    Rule(
        "server-error",
        "network",
        r"\b50[234]\b.{0,20}(?:bad gateway|unavailable|gateway time)|service unavailable|bad gateway",
        Severity.WARNING,
        "retry: the server failed, not the task; set `retries` and `retry_delay`, or use a mirror",
    ),
    Rule(
        "python-module",
        "dependency",
        r"modulenotfounderror|no module named|importerror: cannot import",
        Severity.ERROR,
        "dependency workaround: install the module into the environment that the task runs in, or add a "
        "task for it that this one depends on (in a worktree also `worktree.setup`)",
    ),
    Rule(
        "node-module",
        "dependency",
        r"cannot find module|\berr_module_not_found\b|npm err! missing|eresolve unable to resolve",
        Severity.ERROR,
        "dependency workaround: install the packages (`npm ci`), in a worktree by `worktree.setup`, or "
        "copy node_modules with `worktree.copy`",
    ),
    Rule(
        "package-not-found",
        "dependency",
        r"no matching distribution found|unable to locate package|could not find a version that satisfies|"
        r"\be404\b|unresolved import|cannot find package|could not find `\S+` in",
        Severity.ERROR,
        "dependency workaround: check name and version of the package and which registry is asked",
    ),
    Rule(
        "header-or-library",
        "dependency",
        r"fatal error: \S+: no such file|cannot find -l\w|cannot open shared object file|"
        r"undefined (?:reference|symbol)",
        Severity.ERROR,
        "dependency workaround: install the development package that has this header or library, or mend "
        "the linker's list",
    ),
    Rule(
        "command-not-found",
        "tool",
        r"command not found|: not found$|executable file not found|no such file or directory: '\S+'$"
        r"|^milestoned: [^/\s]+ cannot be started: no such file",
        Severity.ERROR,
        "dependency workaround: install the tool or mend PATH, and name it under `requirements.tools` so "
        "that the next run finds out before it starts",
    ),
    Rule(
        "file-not-found",
        "file",
        r"no such file or directory|filenotfounderror|\benoent\b|cannot stat '",
        Severity.ERROR,
        "alternative approach: the file is made by no task before this one, or ignored by git and so "
        "missing in the worktree; add a `depends_on`, or `worktree.copy`",
    ),
    Rule(
        "version-too-old",
        "tool",
        r"requires python\b|requires (?:node|rustc|go) |unsupported engine|requires a newer version|"
        r"is not supported by this version",
        Severity.ERROR,
        "dependency workaround: use the version of the tool that the output asks for",
    ),
    Rule(
        "crash",
        "crash",
        r"segmentation fault|core dumped|bus error|illegal instruction|\bsig(?:segv|abrt|bus|ill)\b|"
        r"stack overflow",
        Severity.ERROR,
        "team escalation: the tool itself crashed; keep its core dump and command line, try another version",
    ),
    Rule(
        "out-of-date-lockfile",
        "dependency",
        r"lock ?file .{0,40}(?:out of date|not up to date|needs to be updated)|frozen-lockfile|"
        r"npm ci can only install",
        Severity.ERROR,
        "dependency workaround: update the lock file and commit it before running the milestone again",
    ),
    Rule(
        "test-failure",
        "test_failure",
        r"=== .*\b\d+ (?:failed|errors?)\b|^FAILED \S|--- fail: |\btests? failed\b|failures=\d|"
        r"assertionerror|test result: failed|^not ok \d",
        Severity.ERROR,
        "alternative approach: read the failing test named in the output; run the task's `verify` command "
        "by hand in the checkout to see it fail",
    ),
    Rule(
        "syntax-error",
        "source",
        r"syntaxerror|syntax error|indentationerror|unexpected token|parse error",
        Severity.ERROR,
        "alternative approach: a source file does not parse; mend it where the output points",
    ),
    Rule(
        "compile-error",
        "source",
        r": error: |: error TS\d|^error\[E\d|^error: could not compile|"
        r"compilation (?:failed|terminated)|build failed",
        Severity.ERROR,
        "alternative approach: the code does not compile; mend it where the output points",
    ),
    Rule(
        "missing-variable",
        "environment",
        r"unbound variable|parameter not set|environment variable \S+ (?:is )?(?:not set|missing|required)|"
        r"^keyerror: '[A-Z_]+'",
        Severity.ERROR,
        "dependency workaround: set the variable in the task's `env` or in the environment of the run, and "
        "name it under `requirements.environment`",
    ),
    Rule(
        "make-no-rule",
        "tool",
        r"no rule to make target|missing script: |task .{1,60} (?:not found|does not exist)",
        Severity.ERROR,
        "alternative approach: the target or script has another name; see `make help` or `npm run`",
    ),
)
"""All of them."""
