"""Renew jars.lock: `python -m glue.stack.lock`, after a change of the `files` or `roots` of a part.

Dependencies are resolved here, once; `up` only ever fetches the files that the lock names.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from glue.cli import run
from glue.stack.download import fetch, sha256_of
from glue.stack.locked import LOCK_FILE, LockedFile, write_lock
from glue.stack.stack import PARTS

COMMENT = """\
Files of the embedded parts: Maven coordinates, SHA-256, size in bytes.
Made by `python -m glue.stack.lock` from `files` and `roots` in glue/stack; do not edit."""


def resolve(roots: tuple[str, ...], folder: Path) -> list[str]:
    """Return the coordinates of the roots and all they need at run time."""
    from jgo.maven import MavenContext  # only this command resolves

    if not roots:
        return []
    context = MavenContext(repo_cache=folder)
    dependencies = [context.create_dependency(root) for root in roots]
    for dependency in dependencies:
        dependency.raw = True  # else what one root manages replaces versions that the other one needs
    inputs, others = context.resolver.resolve(dependencies)
    found = {f"{d.groupId}:{d.artifactId}:{d.version}" for d in (*inputs, *others)}
    return sorted(found)


def main(argv: list[str]) -> int:
    """Resolve, download and hash the files of all parts, and write the lock."""
    parser = argparse.ArgumentParser(prog="python -m glue.stack.lock", description=__doc__)
    parser.parse_args(argv)
    parts: dict[str, list[LockedFile]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for part in PARTS:
            parts[part.name] = files = []
            for coordinates in (*part.files, *resolve(part.roots, Path(scratch))):
                path = fetch(coordinates, Path(scratch))
                files.append(LockedFile(coordinates, sha256_of(path), path.stat().st_size))
                sys.stdout.write(f"{part.name}: {coordinates}\n")
    LOCK_FILE.write_text(write_lock(parts, COMMENT))
    return 0


if __name__ == "__main__":
    run(main)
