"""The jar cache against a Maven repository of our own on this machine."""

import gc
import hashlib
import io
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from glue.errors import TapelineError
from glue.settings import Settings
from glue.stack import download, jars
from glue.stack.jars import JarCache, cache_dir
from glue.stack.locked import LockedFile, write_lock
from glue.stack.reporter import Reporter

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # jgo leaves refused answers open
JAR = "g.h:a:1", "/g/h/a/1/a-1.jar"
OTHER = "g.h:b:2", "/g/h/b/2/b-2.jar"
ARCHIVE = "g.h:c:3:all:tar.gz", "/g/h/c/3/c-3-all.tar.gz"


def an_archive():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        member = tarfile.TarInfo("lib/inside.txt")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"hi"))
    return content.getvalue()


class Repository:
    """Serves files, counts requests, and can break off in the middle of a file."""

    def __init__(self):
        self.files = {JAR[1]: b"jar " * 50_000, OTHER[1]: b"other", ARCHIVE[1]: an_archive()}
        self.requests = []
        self.broken = 0
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                content = repository.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                repository.requests.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if repository.broken:
                    repository.broken -= 1
                    content = content[: len(content) // 2]
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,)).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def repository(monkeypatch, tmp_path):
    repository = Repository()
    coordinates = dict((path, name) for name, path in (JAR, OTHER, ARCHIVE))
    locked = {
        path: LockedFile(coordinates[path], hashlib.sha256(content).hexdigest(), len(content))
        for path, content in repository.files.items()
    }
    lock = tmp_path / "jars.lock"
    lock.write_text(write_lock({"one": [locked[JAR[1]], locked[ARCHIVE[1]]], "two": [locked[OTHER[1]]]}, ""))
    monkeypatch.setattr(jars, "LOCK_FILE", lock)
    monkeypatch.setattr(download, "RETRY_AFTER_S", 0.0)
    yield repository
    repository.close()
    gc.collect()  # while what jgo left open may be found


@pytest.fixture
def settings(repository, tmp_path):
    return Settings.load(stack_maven_url=repository.url, tapeline_cache_dir=tmp_path / "cache")


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_are_fetched_once_and_then_without_any_connection(repository, settings):
    fetched = JarCache(settings, Reporter()).fetch(["one", "two"])
    repository.close()

    again = JarCache(settings, Reporter()).fetch(["one", "two"])

    assert again == fetched
    jar, archive = fetched["one"]
    assert jar.read_bytes() == repository.files[JAR[1]]
    assert (archive / "lib" / "inside.txt").read_text() == "hi", "an archive is kept unpacked"
    assert sorted(repository.requests) == sorted([JAR[1], OTHER[1], ARCHIVE[1]])


def test_only_the_files_of_the_named_parts_are_fetched(repository, settings):
    JarCache(settings, Reporter()).fetch(["two"])

    assert repository.requests == [OTHER[1]]


def test_a_file_with_another_hash_is_refused_and_not_kept(repository, settings):
    repository.files[OTHER[1]] = b"OTHER"

    with pytest.raises(TapelineError, match=r"g\.h:b:2.*SHA-256"):
        JarCache(settings, Reporter()).fetch(["two"])

    assert files_in(settings.tapeline_cache_dir) == []


def test_a_download_that_breaks_off_is_tried_again(repository, settings):
    repository.broken = 1

    fetched = JarCache(settings, Reporter()).fetch(["two"])

    assert fetched["two"][0].read_bytes() == b"other"
    assert repository.requests == [OTHER[1]] * 2


def test_a_file_that_cannot_be_had_is_named_with_the_ways_out(repository, settings):
    del repository.files[OTHER[1]]

    with pytest.raises(TapelineError, match=r"g\.h:b:2.*STACK_MAVEN_URL.*TAPELINE_CACHE_DIR"):
        JarCache(settings, Reporter()).fetch(["one", "two"])

    left = files_in(settings.tapeline_cache_dir)
    assert not [name for name in left if name.startswith("partial")], "nothing unfinished stays"


def test_what_an_interrupted_download_left_is_cleared_away(repository, settings):
    partial = settings.tapeline_cache_dir / "partial" / "old"
    partial.mkdir(parents=True)
    (partial / "half.jar").write_bytes(b"half")

    JarCache(settings, Reporter()).fetch(["two"])

    assert files_in(settings.tapeline_cache_dir) == ["maven/g/h/b/2/b-2.jar"]


def test_two_stacks_that_start_at_once_download_a_file_once(repository, settings):
    with ThreadPoolExecutor() as pool:
        caches = [JarCache(settings, Reporter()) for _ in range(4)]
        outcomes = list(pool.map(lambda cache: cache.fetch(["one", "two"]), caches))

    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert len(repository.requests) == 3


def test_the_cache_is_where_the_settings_or_the_desktop_say(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))

    assert cache_dir(Settings.load(tapeline_cache_dir=tmp_path)) == tmp_path
    assert (
        cache_dir(Settings.load().model_copy(update={"tapeline_cache_dir": None}))
        == tmp_path / "xdg/tapeline"
    )
