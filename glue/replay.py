"""HTTP source worker: an NDJSON tick feed to 10 ms bins, watermark records and dead letters."""

import argparse
import random
import time
from pathlib import Path

import structlog

from glue import log as logs
from glue import metrics
from glue.cli import StopSignal, run
from glue.core.introduction import Feed, Introduction
from glue.core.silence import Silence
from glue.deploy.report import Report
from glue.deploy.steps import start_over
from glue.errors import SettingsError, TapelineError, TransientError
from glue.intake import Intake, now_ms
from glue.io.http_feed import Chunk, Connection, Disconnected, LongLine, Opened
from glue.io.kafka import partition_count
from glue.io.state_topic import WORKER, agree
from glue.io.transactions import Fenced
from glue.presence import present
from glue.progress import Progress
from glue.settings import Settings

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.2, 10.0
RETRY_S = 0.5
WORTH_ANOTHER_TRY = {408, 425, 429}  # of the 4xx answers
log = structlog.get_logger()


class Replay:
    """One run: connects, reads, and connects again, until the feed ends or a signal comes."""

    def __init__(self, settings: Settings, stop: StopSignal, bins_path: Path | None, dlt_path: Path) -> None:
        self._settings = settings
        self._stop = stop
        self._paths = (bins_path, dlt_path)
        self._introduction: Introduction
        self._intake: Intake | None = None
        self._away_since: float | None = None
        """Since when a run that had begun is without an intake, by the monotonic clock."""
        self._early: list[LongLine] = []
        """Long lines that came before it was known what the feed is."""
        self._says_hello = False
        self._tries = 0
        self._reached_at = time.monotonic()
        self._silence = Silence(self._reached_at)
        self._progress = Progress("replay", self._fields, ("ticks", "bins"))

    def run(self) -> None:
        """Run to the end.

        Raises:
            TapelineError: the feed refuses, changes or is never reached, or the broker fails for good.
        """
        fenced: Fenced | None = None
        try:
            while True:
                try:
                    if fenced is not None:
                        self._begin_anew(fenced)
                        fenced = None
                    self._run_to_end()
                    break
                except Fenced as error:
                    if fenced is not None or self._intake is None:
                        raise
                    fenced, self._away_since = error, time.monotonic()
                except TransientError as error:
                    if fenced is None and self._intake is not None:
                        raise
                    self._wait_for_broker(error)
        except BaseException:
            if self._intake is not None:
                self._intake.abandon()
            raise
        finally:
            self._progress.close()
        is_ended = self._intake is not None and self._intake.binner.is_ended
        log.info("feed ended" if is_ended else "stopped", **self._fields())

    def _begin_anew(self, fenced: Fenced) -> None:
        """Give up what is in hand, to begin anew from the last transaction, unless another has the feed."""
        assert self._intake is not None  # noqa: S101
        if self._intake.is_superseded():
            raise fenced
        if not self._intake.is_resumable:
            raise TapelineError(
                "the broker gave up a transaction that was open for more than 15 s, and this "
                "feed cannot send its lines again: they are lost. Start the worker again"
            )
        log.warning("the broker gave up a transaction, going on from the last one that it has")
        self._intake.abandon()
        self._intake = None

    def _wait_for_broker(self, error: TransientError) -> None:
        """Wait a moment, where a run that had begun finds no broker to begin anew with."""
        if self._away_since is None:
            raise error
        away_s = time.monotonic() - self._away_since
        if self._stop or away_s * 1000 > self._settings.kafka_give_up_ms:
            raise error
        log.warning("waiting for the broker", reason=str(error), waited_s=round(away_s))
        time.sleep(RETRY_S)

    def _run_to_end(self) -> None:
        self._introduction = Introduction(self._settings.mock_api_url)
        while not self._is_over:
            connection = Connection(self._settings, self._since_ms())
            try:
                lost = self._read(connection)
            finally:
                connection.close()
                metrics.CONNECTED.set(0)
            if lost is not None:
                self._wait_to_reconnect(lost)
        if self._intake is not None:
            self._intake.finish()

    @property
    def _is_over(self) -> bool:
        return bool(self._stop) or (self._intake is not None and self._intake.binner.is_ended)

    def _since_ms(self) -> int | None:
        if self._intake is None or not self._intake.binner.feed.is_numbered:
            return None
        self._intake.binner.expect_resend()
        return self._intake.binner.resume_ms

    def _read(self, connection: Connection) -> Disconnected | None:
        """Read a connection until it is lost (returned), or the run is over (None)."""
        is_open = False
        self._silence.left(time.monotonic())
        while not self._is_over:
            self._silence.back(time.monotonic())
            event = connection.next(self._settings.replay_commit_ms / 1000)
            self._silence.left(time.monotonic())
            if isinstance(event, Disconnected):
                self._take_tail(event)
                return None if self._is_over else event
            if event is not None:
                is_open = True
                self._reached_at = time.monotonic()
            if isinstance(event, Opened):
                if self._open(event):
                    return None
            elif isinstance(event, Chunk):
                if self._take(event.data):
                    return None
            elif isinstance(event, LongLine):
                self._refuse(event)
            if self._intake is not None:
                silent_s = self._silence.lasts(time.monotonic())
                if is_open and silent_s * 1000 > self._settings.replay_idle_close_ms:
                    self._intake.close_idle()
                self._intake.commit_if_due()
            self._progress.tick()
        return None

    def _open(self, event: Opened) -> bool:
        """Get to know the feed; return whether to connect again, from where an earlier run stopped."""
        metrics.CONNECTED.set(1)
        self._silence.heard(time.monotonic())
        self._says_hello = event.hello is not None
        if self._intake is None:
            feed = self._introduction.hear_hello(event.hello)
            return feed is not None and self._begin(feed).is_resumed
        was, now = self._intake.binner.feed.feed_id, self._introduction.feed_id(event.hello)
        if was != now:
            raise TapelineError(
                f"the feed at {self._settings.mock_api_url} was {was} and is now {now}: other data, other "
                "options, or a live feed that was started again (with --rebase-to it keeps its times). Start "
                "the worker with --fresh, or use other topic names"
            )
        return False

    def _begin(self, feed: Feed) -> Intake:
        log.info("feed", feed_id=feed.feed_id, mode=feed.mode, is_numbered=feed.is_numbered)
        self._intake = Intake(self._settings, feed, *self._paths, is_stopping=lambda: bool(self._stop))
        self._away_since = None
        while self._early:
            self._refuse(self._early.pop(0))
        return self._intake

    def _refuse(self, line: LongLine) -> None:
        if self._intake is None:
            self._early.append(line)
        else:
            self._intake.refuse(line.start, line.sha256, line.length)

    def _begin_undecided(self) -> Intake:
        """Begin with a feed of which no line told what it is, and with the lines it has sent."""
        intake = self._begin(self._introduction.decide(is_live=False))
        intake.take(self._introduction.kept)
        return intake

    def _take(self, data: bytes) -> bool:
        """Take whole lines; return whether to connect again, from where an earlier run stopped."""
        if self._intake is None:
            feed = self._introduction.hear_lines(data, now_ms())
            if feed is None:
                return False
            if self._begin(feed).is_resumed:
                return True
            data = self._introduction.kept
        assert self._intake is not None  # noqa: S101
        if self._intake.take(data):  # blank lines only keep a connection open
            self._silence.heard(time.monotonic())
            self._tries = 0
        return False

    def _take_tail(self, lost: Disconnected) -> None:
        """Deal with what a lost connection leaves: half a line, or the end of a feed without hello."""
        is_numbered = self._intake is not None and self._intake.binner.feed.is_numbered
        if lost.tail and not is_numbered:  # a numbered feed sends it again
            self._take(lost.tail + b"\n")
        if lost.is_clean and not self._says_hello:
            intake = self._intake or self._begin_undecided()
            intake.end()

    def _wait_to_reconnect(self, lost: Disconnected) -> None:
        status = lost.status or 0
        is_refused = 400 <= status < 500 and status not in WORTH_ANOTHER_TRY
        if is_refused and (self._intake is None or status == 410):
            hint = "; start again with --fresh" if status == 410 else ""
            raise TapelineError(f"MOCK_API_URL={self._settings.mock_api_url} answers {lost.reason}{hint}")
        silent_s = time.monotonic() - self._reached_at
        if self._settings.replay_give_up_ms and silent_s * 1000 > self._settings.replay_give_up_ms:
            raise TapelineError(
                f"no answer from MOCK_API_URL={self._settings.mock_api_url} for {silent_s:.0f} s "
                f"(REPLAY_GIVE_UP_MS): {lost.reason}"
            )
        delay_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2**self._tries) * random.uniform(0.7, 1.0)  # noqa: S311
        self._tries += 1
        metrics.RECONNECTS.inc()
        log.warning(
            "feed lost", reason=lost.reason, url=self._settings.mock_api_url, again_in_s=round(delay_s, 1)
        )
        until = time.monotonic() + delay_s
        while not self._stop and time.monotonic() < until:
            if self._intake is not None:
                self._intake.commit_if_due()
            self._progress.tick()
            time.sleep(0.02)

    def _fields(self) -> dict[str, object]:
        return (
            self._intake.fields()
            if self._intake is not None
            else {"waiting_for": self._settings.mock_api_url}
        )


def main(argv: list[str]) -> int:
    """Parse the command line and run the worker."""
    parser = argparse.ArgumentParser(
        prog="python -m glue.replay",
        description="Read an NDJSON tick feed over HTTP, make 10 ms bins, publish them to Kafka or to files.",
        epilog="Settings come from the environment or .env; see .env.example.",
    )
    parser.add_argument("--url", help="feed to read (MOCK_API_URL)")
    parser.add_argument("--symbol", help="only these symbols, comma separated (REPLAY_SYMBOL)")
    parser.add_argument("--shard", metavar="I/N", help="be worker I of N for one feed (REPLAY_SHARD, 0/1)")
    parser.add_argument("--sink", choices=("kafka", "jsonl"), default="kafka", help="default: %(default)s")
    parser.add_argument("--bins", type=Path, help="file of bins with --sink jsonl (logs/replay.jsonl)")
    parser.add_argument("--dlt", type=Path, help="file of dead letters (logs/replay_dlt.jsonl)")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="empty the topics and the engine's state first; the engine must be stopped",
    )
    options = parser.parse_args(argv)
    settings = Settings.load(
        mock_api_url=options.url, replay_symbol=options.symbol, replay_shard=options.shard
    )
    shard = settings.shard
    logs.configure(settings)
    stop = StopSignal()
    bins_path = None
    if options.sink == "jsonl":
        if shard.count > 1:
            raise SettingsError("--sink jsonl writes one file of bins: leave out --shard and REPLAY_SHARD")
        bins_path = options.bins or settings.log_dir / "replay.jsonl"
    dlt_path = options.dlt or settings.log_dir / f"replay_dlt{shard.suffix}.jsonl"
    if bins_path is None:
        partitions = partition_count(settings, settings.kafka_topic_raw)  # no broker: say so at once
        if shard.index >= partitions:
            raise SettingsError(
                f"REPLAY_SHARD={shard} has nothing to do: {settings.kafka_topic_raw} has {partitions} "
                "partitions, which is how many workers can share it"
            )
    if options.fresh and shard.index > 0:
        raise SettingsError("--fresh empties the topics of all shards: start 0/N with it, then the others")
    if bins_path is None:
        if options.fresh:
            start_over(settings, Report(on_stderr=True))
            dlt_path.unlink(missing_ok=True)
        agree(settings, WORKER)
    with present(
        f"replay{shard.suffix}",
        metrics.serve(metrics.WORKER, settings.metrics_host, settings.replay_metrics_port),
    ):
        Replay(settings, stop, bins_path, dlt_path).run()
    return 0


if __name__ == "__main__":
    run(main)
