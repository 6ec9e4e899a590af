// The recent bars as a table that can be sorted and taken away as CSV.
import { useState } from "react";
import { FIELDS, book, exchangeZone, useValue, zone } from "$/public/store.js";
import { ordered, within } from "$/public/lists.js";
import { clock, latency } from "$/public/format.js";
import { amount, decimalsOf, price } from "$/public/numbers.js";

const SHOWN = 40;
const COLUMNS = [
  ["start_ts_ms", "time", (bar) => clock(bar.start_ts_ms)],
  ...["open", "high", "low", "close"].map((name) => [name, name, (bar, decimals) => price(bar[name], decimals)]),
  ["vwap", "vwap", (bar, decimals) => price(bar.vwap, decimals + 2)],
  ["volume", "volume", (bar) => amount(bar.volume)],
  ["trade_count", "ticks", (bar) => amount(bar.trade_count)],
  ["bin_count", "bins", (bar) => amount(bar.bin_count)],
  ["max_lateness_ms", "late ms", (bar) => amount(bar.max_lateness_ms)],
  ["latency", "end → here", (bar) => latency(bar.start_ts_ms + 1000, bar.receive_ms)],
];

export function BarTable() {
  const { symbol, bars: gathered, history } = useValue(book);
  const bars = within(gathered, history);
  const [[by, isDown], setOrder] = useState(["start_ts_ms", true]);
  useValue(zone);
  useValue(exchangeZone);
  const decimals = decimalsOf(bars);
  const sorted =
    by === "start_ts_ms"
      ? isDown
        ? bars.slice(-SHOWN).reverse()
        : bars.slice(0, SHOWN)
      : ordered(bars, by, isDown).slice(0, SHOWN);
  return (
    <>
      <div className="head">
        <h2>Recent bars</h2>
        <span className="count">{bars.length.toLocaleString("en-US")} bars</span>
        <button type="button" className="small" disabled={!bars.length} onClick={() => download(symbol, bars)}>
          CSV
        </button>
      </div>
      <div className="scroll" tabIndex={0} role="region" aria-label="Recent bars, table">
        <table>
          <thead>
            <tr>
              {COLUMNS.map(([name, title]) => (
                <th key={name} scope="col" aria-sort={by === name ? (isDown ? "descending" : "ascending") : "none"}>
                  <button type="button" onClick={() => setOrder([name, by === name ? !isDown : true])}>
                    {title}
                    <span aria-hidden="true">{by === name ? (isDown ? " ▾" : " ▴") : ""}</span>
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sorted.map((bar) => (
              <tr key={bar.start_ts_ms} className={bar.close < bar.open ? "down" : "up"}>
                {COLUMNS.map(([name, , write]) => (
                  <td key={name}>{write(bar, decimals)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
        {!bars.length && <p className="empty">No bars yet</p>}
      </div>
    </>
  );
}

const download = (symbol, bars) => {
  const lines = [
    ["bar_id", "symbol", "end_ts_ms", ...FIELDS].join(","),
    ...bars.map((bar) =>
      [`${symbol}-${bar.start_ts_ms}`, symbol, bar.start_ts_ms + 1000, ...FIELDS.map((name) => bar[name] ?? "")].join(","),
    ),
  ];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
  link.download = `${symbol.replace(/[^\w.-]/g, "_")}-bars.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
};
