"""The line that a person would point at, in the output of tools that fail."""

import pytest

from actors.headlines import headline
from actors.outputs import telling_lines
from actors.veil import Veil

PYTEST = """\
============================= test session starts ==============================
platform linux -- Python 3.11.2, pytest-8.3.3, pluggy-1.5.0
rootdir: /work
collected 3 items

tests/test_sum.py ..F                                                    [100%]

=================================== FAILURES ===================================
_________________________________ test_carries _________________________________

    def test_carries():
>       assert add(9, 1) == 11
E       assert 10 == 11
E        +  where 10 = add(9, 1)

tests/test_sum.py:12: AssertionError
=========================== short test summary info ============================
FAILED tests/test_sum.py::test_carries - assert 10 == 11
========================= 1 failed, 2 passed in 0.05s ==========================
make: *** [Makefile:4: check] Error 1
"""

PYTEST_WITHOUT_SUMMARY = """\
E       ModuleNotFoundError: No module named 'yaml'
tests/test_a.py:3: ModuleNotFoundError
!!!!!!!!!!!!!!!!!!!! Interrupted: 1 error during collection !!!!!!!!!!!!!!!!!!!!
=============================== 1 error in 0.12s ===============================
"""

TRACEBACK = """\
Traceback (most recent call last):
  File "/home/ann/build.py", line 9, in <module>
    main()
  File "/home/ann/build.py", line 5, in main
    return int(value)
           ^^^^^^^^^^
ValueError: invalid literal for int() with base 10: 'error'
make: *** [Makefile:2: all] Error 1
"""

CHAINED = """\
Traceback (most recent call last):
  File "/home/ann/a.py", line 2, in read
    open(path)
FileNotFoundError: [Errno 2] No such file or directory: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/home/ann/a.py", line 9, in <module>
    read()
Oops: the settings are missing
"""

GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/home/ann/g.py", line 7, in <module>
  |     asyncio.run(main())
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/home/ann/g.py", line 3, in fetch
    |     raise TimeoutError("no answer in 5 s")
    | TimeoutError: no answer in 5 s
    +------------------------------------
"""

GCC = """\
gcc -c main.c
main.c: In function 'main':
main.c:3:5: error: 'total' undeclared (first use in this function)
    3 |     total = 1;
      |     ^~~~~
main.c:3:5: note: each undeclared identifier is reported only once for each function it appears in
main.c:9:1: error: expected declaration or statement at end of input
make: *** [Makefile:2: main.o] Error 1
make: Target 'all' not remade because of errors.
"""

LINKER = """\
/usr/bin/ld: /tmp/ccA1.o: in function `main':
main.c:(.text+0x9): undefined reference to `total'
collect2: error: ld returned 1 exit status
make: *** [Makefile:2: main] Error 1
"""

CARGO_BUILD = """\
   Compiling demo v0.1.0 (/home/ann/demo)
error[E0308]: mismatched types
 --> src/main.rs:2:18
  |
2 |     let x: u32 = "a";
  |            ---   ^^^ expected `u32`, found `&str`
  |            |
  |            expected due to this

For more information about this error, try `rustc --explain E0308`.
error: could not compile `demo` (bin "demo") due to 1 previous error
"""

CARGO_TEST = """\
running 1 test
test tests::adds ... FAILED

failures:

---- tests::adds stdout ----
thread 'tests::adds' panicked at src/lib.rs:10:9:
assertion `left == right` failed
  left: 3
 right: 4
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `--lib`
"""

GO_BUILD = """\
# example.com/demo
./main.go:5:2: undefined: total
./main.go:9:7: declared and not used: x
"""

GO_TEST = """\
--- FAIL: TestAdd (0.00s)
    add_test.go:8: got 3, want 4
FAIL
exit status 1
FAIL\texample.com/demo\t0.002s
FAIL
"""

GO_PANIC = """\
panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.main()
\t/home/ann/main.go:6 +0x1d
exit status 2
"""

TSC = """\

> demo@1.0.0 build
> tsc

src/a.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.
src/b.ts(1,1): error TS2304: Cannot find name 'foo'.
npm error Lifecycle script `build` failed with error:
npm error code 2
npm error path /work
npm error command failed
npm error command sh -c tsc
"""

NPM_MISSING = """\
npm error Missing script: "biuld"
npm error
npm error To see a list of scripts, run:
npm error   npm run
npm error A complete log of this run can be found in: /home/ann/.npm/_logs/2026-01-01T00_00_00_000Z-debug-0.log
"""

NPM_OLD = """\
npm ERR! code E404
npm ERR! 404 Not Found - GET https://registry.npmjs.org/nosuchthing - Not found
npm ERR! 404
npm ERR! 404  'nosuchthing@*' is not in this registry.
npm ERR! A complete log of this run can be found in:
npm ERR!     /home/ann/.npm/_logs/2026-debug-0.log
"""

NODE = """\
/home/ann/index.js:3
  throw new Error("boom");
  ^

Error: boom
    at Object.<anonymous> (/home/ann/index.js:3:9)
    at Module._compile (node:internal/modules/cjs/loader:1358:14)

Node.js v20.15.0
"""

JEST = """\
 FAIL  src/add.test.js
  ● add \u203a carries

    expect(received).toBe(expected) // Object.is equality

      at Object.<anonymous> (src/add.test.js:4:21)

Test Suites: 1 failed, 1 total
Tests:       1 failed, 1 total
npm ERR! Test failed.  See above for more details.
"""

UNITTEST = """\
.F
======================================================================
FAIL: test_carries (test_sum.Sums.test_carries)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/home/ann/test_sum.py", line 5, in test_carries
    self.assertEqual(10, 11)
AssertionError: 10 != 11

----------------------------------------------------------------------
Ran 2 tests in 0.000s

FAILED (failures=1)
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        pytest.param(PYTEST, "FAILED tests/test_sum.py::test_carries - assert 10 == 11", id="pytest"),
        pytest.param(
            PYTEST_WITHOUT_SUMMARY, f"{'=' * 31} 1 error in 0.12s {'=' * 31}", id="pytest-that-cannot-collect"
        ),
        pytest.param(UNITTEST, "FAIL: test_carries (test_sum.Sums.test_carries)", id="unittest"),
        pytest.param(TRACEBACK, "ValueError: invalid literal for int() with base 10: 'error'", id="traceback"),
        pytest.param(CHAINED, "Oops: the settings are missing", id="chained-traceback"),
        pytest.param(GROUP, "    | TimeoutError: no answer in 5 s", id="exception-group"),
        pytest.param(GCC, "main.c:3:5: error: 'total' undeclared (first use in this function)", id="gcc"),
        pytest.param(LINKER, "main.c:(.text+0x9): undefined reference to `total'", id="ld"),
        pytest.param(CARGO_BUILD, "error[E0308]: mismatched types", id="cargo-build"),
        pytest.param(CARGO_TEST, "test tests::adds ... FAILED", id="cargo-test"),
        pytest.param(GO_BUILD, "./main.go:5:2: undefined: total", id="go-build"),
        pytest.param(GO_TEST, "--- FAIL: TestAdd (0.00s)", id="go-test"),
        pytest.param(GO_PANIC, "panic: runtime error: index out of range [5] with length 3", id="go-panic"),
        pytest.param(
            TSC, "src/a.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.", id="tsc-under-npm"
        ),
        pytest.param(NPM_MISSING, 'npm error Missing script: "biuld"', id="npm"),
        pytest.param(
            NPM_OLD,
            "npm ERR! 404 Not Found - GET https://registry.npmjs.org/nosuchthing - Not found",
            id="npm-of-old",
        ),
        pytest.param(NODE, "Error: boom", id="node"),
        pytest.param(JEST, "  ● add \u203a carries", id="jest-under-npm"),
        pytest.param(
            "make: *** No rule to make target 'al'.  Stop.\n",
            "make: *** No rule to make target 'al'.  Stop.",
            id="make",
        ),
        pytest.param(
            "cc -o x x.c\nmake: cc: No such file or directory\nmake: *** [Makefile:2: x] Error 127\n",
            "make: cc: No such file or directory",
            id="make-without-a-compiler",
        ),
        pytest.param(
            "starting\n./deploy.sh: line 3: kubectl: command not found\nleft the rest\n",
            "./deploy.sh: line 3: kubectl: command not found",
            id="bash",
        ),
        pytest.param("sh: 1: cargo: not found\n", "sh: 1: cargo: not found", id="dash"),
        pytest.param(
            "fatal: not a git repository (or any of the parent directories): .git\nbye\n",
            "fatal: not a git repository (or any of the parent directories): .git",
            id="git",
        ),
        pytest.param(
            "pkg/a.py:3:5: error: Incompatible types in assignment  [assignment]\nFound 1 error in 1 file\n",
            "pkg/a.py:3:5: error: Incompatible types in assignment  [assignment]",
            id="mypy",
        ),
        pytest.param("step 1\nstep 2\n", "step 2", id="nothing-that-speaks"),
        pytest.param("====\n^^^^\n", "^^^^", id="nothing-but-marks"),
    ],
)
def test_the_headline_is_the_line_that_a_person_would_point_at(output: str, line: str) -> None:
    lines = [one for one in output.splitlines() if one.strip()]
    found = headline(lines)
    assert found is not None
    assert lines[found] == line


def test_without_output_there_is_no_headline() -> None:
    assert headline([]) is None
    assert telling_lines(b"", Veil()).headline == ""


def test_the_headline_is_among_the_lines_that_are_shown_however_far_above_the_end_it_stands() -> None:
    output = b"main.c:3:5: error: the cause\n" + b"main.c:9:9: error: a consequence\n" * 40 + b"make: *** [x] Error 1\n"
    tail = telling_lines(output, Veil())
    assert tail.headline == "main.c:3:5: error: the cause"
    assert tail.lines[0] == tail.headline
    assert len(tail.lines) <= 5


def test_only_the_step_that_failed_is_looked_at() -> None:
    output = b"$ run: make\nmain.c:3:5: error: mended by the fallback\n$ verify 1: pytest\nFAILED t.py::test_x - no\n"
    assert telling_lines(output, Veil()).lines == ("FAILED t.py::test_x - no",)
    silent = b"$ run: make\nmain.c:3:5: error: mended by the fallback\n$ verify 1: test -f x\n"
    assert telling_lines(silent, Veil()).lines == ()
