"""Starts and stops the answerer, a process that all sides of a group share."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def answerer(*, core: int | None = None, pem: Path | None = None) -> Generator[int]:
    """Run the answerer and yield its port.

    With `core`, both the answerer and this process are pinned to that core.
    """
    before = os.sched_getaffinity(0)
    arguments = [] if core is None else ["--core", str(core)]
    arguments += [] if pem is None else ["--tls", str(pem)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.answerer", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            if core is not None:
                os.sched_setaffinity(0, {core})
            yield int(process.stdout.readline())
        finally:
            os.sched_setaffinity(0, before)
            process.stdin.close()
            process.wait(10.0)


@contextmanager
def with_tls() -> Generator[tuple[Path, ssl.SSLContext]]:
    """Yield a file with a certificate for 127.0.0.1, and a client context that trusts it."""
    import trustme

    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType] - of pyOpenSSL, if that is there
    with TemporaryDirectory() as folder:
        pem = Path(folder) / "server.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
        yield pem, context
