// Chosen symbols: newest price, its change since the oldest bar that the server keeps, the last two minutes as a line.
import { useEffect, useRef } from "react";
import { moved } from "$/public/lists.js";
import { decimalsOf, price, signed, span } from "$/public/numbers.js";

const KEPT = 120;
const WIDTH = 56;
const HEIGHT = 18;

export function Watchlist({ quotes, moves, sparks, symbol, onPick, onToggle }) {
  const held = useRef({});
  if (held.current.quotes !== quotes || held.current.moves !== moves) {
    const before = held.current.quotes === quotes ? held.current.rows : quotes;
    held.current = { quotes, moves, rows: moved(before, moves) };
  }
  const rows = held.current.rows;
  const lines = useRef({});
  const given = useRef(null);
  if (given.current !== sparks) {
    given.current = sparks;
    lines.current = Object.fromEntries(Object.entries(sparks).map(([name, points]) => [name, [...points]]));
  }
  useEffect(() => {
    for (const [name, at, close] of rows) {
      const line = (lines.current[name] ??= []);
      if (close !== null && (line.at(-1)?.[0] ?? 0) < at) line.push([at, close]);
      line.splice(0, Math.max(0, line.length - KEPT));
    }
  }, [rows]);
  const isWatched = rows.some(([name]) => name === symbol);
  return (
    <>
      <ul className="quotes">
        {rows.map(([name, at, close, change, seconds]) => (
          <li key={name} className={`${name === symbol ? "here" : ""} ${change < 0 ? "down" : "up"}`}>
            <button type="button" className="quote" aria-current={name === symbol} onClick={() => onPick(name)}>
              <span className="who" title={name}>{name}</span>
              <span className="since">{change === null ? "" : `in ${span(seconds)}`}</span>
              <Spark points={withNewest(lines.current[name], at, close)} />
              <span className="px">{close === null ? "–" : price(close, decimalsOf([{ open: close, high: close, low: close, close }]))}</span>
              <span className="chg">{change === null ? "" : `${signed(change)} %`}</span>
            </button>
            <button type="button" className="drop" aria-label={`Take ${name} off the watchlist`} onClick={() => onToggle(name)}>
              ×
            </button>
          </li>
        ))}
      </ul>
      {symbol && !isWatched && (
        <button type="button" className="small add" onClick={() => onToggle(symbol)}>
          + Watch {symbol}
        </button>
      )}
    </>
  );
}

const withNewest = (line = [], at, close) => (close === null || line.at(-1)?.[0] === at ? line : [...line, [at, close]]);

function Spark({ points }) {
  if (points.length < 2) return <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" height={HEIGHT} aria-hidden="true" />;
  const closes = points.map(([, close]) => close);
  const low = Math.min(...closes);
  const high = Math.max(...closes);
  const first = points[0][0];
  const span = points.at(-1)[0] - first || 1;
  const path = points.map(([at, close]) => {
    const x = ((at - first) / span) * (WIDTH - 2) + 1;
    const y = HEIGHT - 2 - ((close - low) / (high - low || 1)) * (HEIGHT - 4);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" height={HEIGHT} aria-hidden="true">
      <polyline points={path.join(" ")} fill="none" stroke="currentColor" strokeWidth="1.2" />
    </svg>
  );
}
