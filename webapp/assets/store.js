// The bars of the symbol on the page, and what the viewer chose; one store for all parts of the page.
import { useSyncExternalStore } from "react";

/** The order of a row as webapp/state.py sends it. Times in ms since 1970 UTC. */
export const FIELDS = [
  "start_ts_ms", "open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "bin_count",
  "max_lateness_ms", "api_send_ts_ms", "source_event_ts_ms", "ingest_ts_ms", "append_ms", "receive_ms", "source",
];
const KEPT_BARS = 1000;
const TRIM_AT = 1200;
const KEPT_PAINTS = 600;

/** A value that parts of the page can watch. */
class Value {
  constructor(value) {
    this.value = value;
    this.watchers = new Set();
    this.watch = (watcher) => {
      this.watchers.add(watcher);
      return () => this.watchers.delete(watcher);
    };
    this.get = () => this.value;
  }
  set(value) {
    this.value = value;
    for (const watcher of [...this.watchers]) watcher(value);
  }
}

export const useValue = (value) => useSyncExternalStore(value.watch, value.get, value.get);

/** Ordered bars. `change` says how they became what they are: "reset", "append" or "merge"; `history` is in s. */
export const book = new Value({ symbol: "", history: 0, view: 0, revision: 0, bars: [], changed: [], change: "reset" });
/** A bar under the pointer, else null. */
export const pointed = new Value(null);
/** Times from a bar's append to its paint, of the newest bars: what the page measures of itself. */
export const paints = [];

const kept = (name, fallback) => localStorage.getItem(`tapeline-${name}`) ?? fallback;
export const zone = new Value(kept("zone", "exchange"));
export const exchangeZone = new Value("America/New_York");
export const theme = new Value(document.documentElement.dataset.theme ?? "dark");
export const keep = (value, name, choice) => {
  localStorage.setItem(`tapeline-${name}`, choice);
  value.set(choice);
};
theme.watch((choice) => (document.documentElement.dataset.theme = choice));

const toBar = (row) => Object.fromEntries(FIELDS.map((name, i) => [name, row[i]]));

/** Take what the server sent; false when something between was missed. */
export const take = (feed) => {
  const now = book.value;
  const rows = feed.bars.map(toBar);
  if (feed.after === 0) {
    if (feed.view < now.view) return true;
    if (now.symbol !== feed.symbol) pointed.set(null);
    const { symbol, history, view, revision } = feed;
    const isSame = now.bars.length > 0 && now.symbol === symbol && now.history === history;
    const bars = isSame ? trimmed(joined(now.bars, rows, feed)) : rows;
    book.set({ symbol, history, view, revision, bars, changed: rows, change: isSame ? "merge" : "reset" });
    return true;
  }
  if (feed.view !== now.view || feed.revision <= now.revision) return true;
  if (feed.after !== now.revision) return false;
  const bars = [...now.bars];
  let change = "append";
  for (const bar of rows) {
    const last = bars.at(-1);
    if (!last || bar.start_ts_ms > last.start_ts_ms) {
      bars.push(bar);
      continue;
    }
    const at = bars.findIndex((other) => other.start_ts_ms >= bar.start_ts_ms);
    const repeats = bars[at].start_ts_ms === bar.start_ts_ms;
    if (!(repeats && at === bars.length - 1)) change = "merge";
    bars.splice(at, repeats ? 1 : 0, bar);
  }
  const newest = trimmed(bars);
  if (newest !== bars) change = "merge";
  book.set({ ...now, revision: feed.revision, bars: newest, changed: rows, change });
  measurePaint(rows);
  return true;
};

/** No more bars than a tab may gather: the newest. */
const trimmed = (bars) => (bars.length > TRIM_AT ? bars.slice(-KEPT_BARS) : bars);

/**
 * Bars that were there before everything came again: those from before it stay, unless between them was a gap.
 * All stay while the server, which has just started, knows none yet.
 */
const joined = (before, rows, { since, is_current }) => {
  if (!rows.length && !is_current) return before;
  return before.at(-1).start_ts_ms < since ? rows : [...before.filter((bar) => bar.start_ts_ms < since), ...rows];
};

/** Note when bars that have just come are on the screen: after the frame in which they are drawn. */
const measurePaint = (rows) =>
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      const painted = Date.now();
      for (const bar of rows) {
        if (bar.receive_ms === null) continue;
        paints.push({ start_ts_ms: bar.start_ts_ms, append_ms: bar.append_ms, paint_ms: painted - bar.append_ms });
      }
      paints.splice(0, Math.max(0, paints.length - KEPT_PAINTS));
    }),
  );

globalThis.tapeline = { book, paints };
