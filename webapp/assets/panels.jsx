// The newest bar in numbers: its price above the chart, all its fields beside it.
import { useEffect, useState } from "react";
import { book, exchangeZone, paints, pointed, useValue, zone } from "$/public/store.js";
import { within } from "$/public/lists.js";
import { clock, clockMs, day, latency } from "$/public/format.js";
import { amount, decimalsOf, price, signed, span } from "$/public/numbers.js";

export function LastPrice() {
  const { bars, history } = useValue(book);
  const last = bars.at(-1);
  if (!last) return <div className="last" />;
  const [first] = within(bars, history);
  const change = last.close - first.open;
  const share = (100 * change) / first.open;
  const decimals = decimalsOf(bars);
  return (
    <div className={`last ${change < 0 ? "down" : "up"}`} data-start={last.start_ts_ms}>
      <span className="price">{price(last.close, decimals)}</span>
      <span className="change">
        {signed(change, decimals)} ({signed(share)} %)
      </span>
      <span className="count">in {span((last.start_ts_ms - first.start_ts_ms) / 1000 + 1)}</span>
    </div>
  );
}

export function LatestBar() {
  const { bars } = useValue(book);
  const under = useValue(pointed);
  const paint = usePaint();
  useValue(zone);
  useValue(exchangeZone);
  const bar = under ?? bars.at(-1);
  if (!bar) return <p className="empty">No bar yet</p>;
  const decimals = decimalsOf(bars);
  const groups = [
    [
      ["bar", `${bar.symbol ?? book.value.symbol}-${bar.start_ts_ms}`],
      ["start", `${day(bar.start_ts_ms)} ${clock(bar.start_ts_ms)}`],
      ["end", clock(bar.start_ts_ms + 1000)],
    ],
    ["open", "high", "low", "close"].map((name) => [name, price(bar[name], decimals)]),
    [
      ["vwap", price(bar.vwap, decimals + 2)],
      ["volume", amount(bar.volume)],
      ["notional", amount(bar.notional)],
      ["ticks", amount(bar.trade_count)],
      ["bins", amount(bar.bin_count)],
      ["lateness, max", `${bar.max_lateness_ms} ms`],
    ],
    [
      ["source event", clockMs(bar.source_event_ts_ms)],
      ["API sent", clockMs(bar.api_send_ts_ms)],
      ["emitted", clockMs(bar.ingest_ts_ms)],
      ["on Kafka", clockMs(bar.append_ms)],
      ["received", clockMs(bar.receive_ms)],
      ["engine", bar.source],
    ],
    [
      ["API → dashboard", latency(bar.api_send_ts_ms, bar.receive_ms)],
      ["producer → dashboard", latency(bar.ingest_ts_ms, bar.receive_ms)],
      ["end → emitted", latency(bar.start_ts_ms + 1000, bar.ingest_ts_ms)],
      ["end → dashboard", latency(bar.start_ts_ms + 1000, bar.receive_ms)],
      ["Kafka log lag", latency(bar.append_ms, bar.receive_ms)],
      ["Kafka → painted", latency(0, under ? null : paint)],
    ],
  ];
  return (
    <div className={under ? "fields pointed" : "fields"}>
      {groups.map((rows, i) => (
        <dl key={i}>
          {rows.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      ))}
    </div>
  );
}

/** The time from append to paint of the newest bar that was measured; it is known a frame after the bar. */
function usePaint() {
  const [ms, setMs] = useState(null);
  useEffect(
    () =>
      book.watch(() => {
        const seen = paints.at(-1);
        setMs(seen ? seen.paint_ms : null);
      }),
    [],
  );
  return ms;
}
