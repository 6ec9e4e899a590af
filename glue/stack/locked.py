"""The lines of jars.lock: Maven coordinates with hash and size, by part."""

from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = Path(__file__).with_name("jars.lock")
ARCHIVE = "tar.gz"


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file by its coordinates `group:artifact:version[:classifier:packaging]`."""

    coordinates: str
    sha256: str = ""
    size: int = 0

    @property
    def group(self) -> str:
        """Return the first coordinate."""
        return self._split()[0]

    @property
    def artifact(self) -> str:
        """Return the second coordinate."""
        return self._split()[1]

    @property
    def version(self) -> str:
        """Return the third coordinate."""
        return self._split()[2]

    @property
    def classifier(self) -> str:
        """Return the fourth coordinate, mostly empty."""
        return self._split()[3]

    @property
    def packaging(self) -> str:
        """Return the fifth coordinate, mostly jar."""
        return self._split()[4]

    @property
    def is_archive(self) -> bool:
        """Tell whether the file is kept unpacked, as a folder."""
        return self.packaging == ARCHIVE

    @property
    def path(self) -> Path:
        """Return where the file, or its folder, is in the cache."""
        stem = "-".join(filter(None, (self.artifact, self.version, self.classifier)))
        if self.is_archive:
            return Path("unpacked", f"{stem}-{self.sha256[:16]}")
        folder = Path("maven", *self.group.split("."), self.artifact, self.version)
        return folder / f"{stem}.{self.packaging}"

    def _split(self) -> list[str]:
        fields = self.coordinates.split(":")
        return fields if len(fields) == 5 else [*fields, "", "jar"]


def read_lock(text: str) -> dict[str, list[LockedFile]]:
    """Return the files of each part; `[part]` opens a section, `#` a comment."""
    parts: dict[str, list[LockedFile]] = {}
    for line in text.splitlines():
        content = line.partition("#")[0].strip()
        if content.startswith("["):
            files = parts.setdefault(content.strip("[]"), [])
        elif content:
            coordinates, sha256, size = content.split()
            files.append(LockedFile(coordinates, sha256, int(size)))
    return parts


def write_lock(parts: dict[str, list[LockedFile]], comment: str) -> str:
    """Return the text that `read_lock` reads."""
    lines = [f"# {line}" for line in comment.splitlines()]
    for part, files in parts.items():
        lines += ["", f"[{part}]", *(f"{file.coordinates} {file.sha256} {file.size}" for file in files)]
    return "\n".join(lines) + "\n"
