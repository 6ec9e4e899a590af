// Candles, volume and VWAP, drawn by lightweight-charts (Apache-2.0; its attribution stays on the chart).
import { useEffect, useRef, useState } from "react";
import { CandlestickSeries, HistogramSeries, LineSeries, createChart } from "lightweight-charts";
import { book, pointed, theme, useValue, zone } from "$/public/store.js";
import { clock, day, decimalsOf, minute } from "$/public/format.js";

const RIGHT_BARS = 4;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const toCandle = (bar) => ({ time: bar.start_ts_ms / 1000, open: bar.open, high: bar.high, low: bar.low, close: bar.close });
const toVolume = (bar) => ({
  time: bar.start_ts_ms / 1000,
  value: bar.volume,
  color: colour(bar.close >= bar.open ? "up-faint" : "down-faint"),
});
const toVwap = (bar) => ({ time: bar.start_ts_ms / 1000, value: bar.vwap });

const look = () => ({
  layout: {
    background: { color: "transparent" },
    textColor: colour("muted"),
    fontFamily: getComputedStyle(document.body).fontFamily,
    fontSize: 11,
    attributionLogo: true,
  },
  grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
  crosshair: {
    mode: 0,
    vertLine: { color: colour("faint"), labelBackgroundColor: colour("raised") },
    horzLine: { color: colour("faint"), labelBackgroundColor: colour("raised") },
  },
  rightPriceScale: { borderColor: colour("line") },
  timeScale: { borderColor: colour("line") },
});
const candleLook = () => ({
  upColor: colour("up"), downColor: colour("down"), wickUpColor: colour("up"), wickDownColor: colour("down"),
  borderVisible: false, priceLineColor: colour("faint"), priceLineStyle: 2,
});
const times = () => ({
  localization: { timeFormatter: (s) => `${day(s * 1000)} ${clock(s * 1000)}` },
  timeScale: { tickMarkFormatter: (s, kind) => (kind < 3 ? day(s * 1000) : kind === 3 ? minute(s * 1000) : clock(s * 1000)) },
});

/** The chart and its three series; knows how to draw a book and to keep what the viewer looks at. */
class Drawing {
  constructor(element) {
    this.chart = createChart(element, {
      ...look(),
      autoSize: true,
      rightPriceScale: { ...look().rightPriceScale, scaleMargins: { top: 0.06, bottom: 0.24 } },
      timeScale: { ...look().timeScale, timeVisible: true, secondsVisible: true, rightOffset: RIGHT_BARS, minBarSpacing: 0.6 },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, candleLook());
    this.vwap = this.chart.addSeries(LineSeries, {
      color: colour("vwap"), lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false,
    });
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.restyle();
    this.decimals = 0;
    this.chart.subscribeCrosshairMove((at) => {
      const start = at.time === undefined ? null : at.time * 1000;
      pointed.set(start === null ? null : (book.value.bars.find((bar) => bar.start_ts_ms === start) ?? null));
    });
  }

  restyle() {
    this.chart.applyOptions(look());
    this.candles.applyOptions(candleLook());
    this.vwap.applyOptions({ color: colour("vwap") });
    this.volume.setData(book.value.bars.map(toVolume));
  }

  retime() {
    this.chart.applyOptions(times());
  }

  draw({ bars, changed, change }, seconds) {
    const decimals = bars.length ? decimalsOf(bars) : 2;
    if (decimals > this.decimals || change === "reset") {
      this.decimals = decimals;
      const format = { type: "price", precision: decimals, minMove: 10 ** -decimals };
      this.candles.applyOptions({ priceFormat: format });
      this.vwap.applyOptions({ priceFormat: format });
    }
    if (change === "append") {
      for (const bar of changed) {
        this.candles.update(toCandle(bar));
        this.volume.update(toVolume(bar));
        this.vwap.update(toVwap(bar));
      }
      return;
    }
    const held = change === "merge" && !this.isAtEnd() ? this.chart.timeScale().getVisibleRange() : null;
    this.candles.setData(bars.map(toCandle));
    this.volume.setData(bars.map(toVolume));
    this.vwap.setData(bars.map(toVwap));
    if (held) this.chart.timeScale().setVisibleRange(held);
    else if (change === "reset") this.showLast(seconds);
  }

  isAtEnd() {
    return this.chart.timeScale().scrollPosition() >= 0;
  }

  showLast(seconds) {
    const bars = book.value.bars;
    if (!bars.length) return;
    const since = bars.at(-1).start_ts_ms - seconds * 1000;
    const shown = bars.filter((bar) => bar.start_ts_ms > since).length;
    this.chart.priceScale("right").applyOptions({ autoScale: true });
    this.chart.timeScale().setVisibleLogicalRange({ from: bars.length - Math.max(shown, 30), to: bars.length - 1 + RIGHT_BARS });
  }
}

export function BarChart({ history }) {
  const element = useRef(null);
  const drawing = useRef(null);
  const [isHeld, setHeld] = useState(false);
  const chosenTheme = useValue(theme);
  const chosenZone = useValue(zone);
  const seconds = useRef(history);
  seconds.current = history;

  useEffect(() => {
    const made = (drawing.current = new Drawing(element.current));
    const onRange = () => setHeld(!made.isAtEnd());
    made.retime();
    made.draw({ ...book.value, change: "reset" }, seconds.current);
    made.chart.timeScale().subscribeVisibleLogicalRangeChange(onRange);
    const unwatch = book.watch((now) => made.draw(now, seconds.current));
    globalThis.tapeline.drawing = made;
    return () => {
      unwatch();
      made.chart.remove();
    };
  }, []);
  useEffect(() => drawing.current.restyle(), [chosenTheme]);
  useEffect(() => drawing.current.retime(), [chosenZone]);

  return (
    <div className="chart" role="group" aria-label="Candles of one second with volume and VWAP">
      <div className="canvas" ref={element} />
      <div className="legend" aria-hidden="true">
        <i className="vwap" /> VWAP <i className="vol" /> Volume
      </div>
      {isHeld && (
        <button type="button" className="to-end" onClick={() => drawing.current.showLast(seconds.current)}>
          Back to newest ›
        </button>
      )}
    </div>
  );
}
