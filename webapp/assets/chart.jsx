// Candles, volume and VWAP, drawn by lightweight-charts (Apache-2.0; its attribution stays on the chart).
import { useEffect, useRef, useState } from "react";
import { CandlestickSeries, HistogramSeries, LineSeries, createChart } from "lightweight-charts";
import { book, pointed, theme, useValue, zone } from "$/public/store.js";
import { clock } from "$/public/format.js";
import { candleLook, colour, look, priceFormat, times } from "$/public/look.js";
import { decimalsOf } from "$/public/numbers.js";

const RIGHT_BARS = 4;
const KEY_STEP = 0.15;

const toCandle = (bar) => ({ time: bar.start_ts_ms / 1000, open: bar.open, high: bar.high, low: bar.low, close: bar.close });
const toVolume = (bar) => ({
  time: bar.start_ts_ms / 1000,
  value: bar.volume,
  color: colour(bar.close >= bar.open ? "up-faint" : "down-faint"),
});
const toVwap = (bar) => ({ time: bar.start_ts_ms / 1000, value: bar.vwap });

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
    this.held = null;
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
      this.candles.applyOptions({ priceFormat: priceFormat(decimals) });
      this.vwap.applyOptions({ priceFormat: priceFormat(decimals) });
    }
    if (change === "append") {
      for (const bar of changed) {
        this.candles.update(toCandle(bar));
        this.volume.update(toVolume(bar));
        this.vwap.update(toVwap(bar));
      }
      return;
    }
    const seen = change === "merge" ? this.heldRange() : null;
    const isThere = seen && bars.length > 0 && seen.to > bars[0].start_ts_ms / 1000;
    this.candles.setData(bars.map(toCandle));
    this.volume.setData(bars.map(toVolume));
    this.vwap.setData(bars.map(toVwap));
    if (isThere) this.hold(seen);
    else if (seen || change === "reset") this.showLast(seconds);
  }

  isAtEnd() {
    return this.chart.timeScale().scrollPosition() >= 0;
  }

  /** What the viewer went back to look at, null at the end: also one that was set and is not drawn yet. */
  heldRange() {
    return this.held ?? (this.isAtEnd() ? null : this.chart.timeScale().getVisibleRange());
  }

  /** Show a range. The chart obeys at the next frame, which a hidden tab waits for as long as it is hidden. */
  hold(range) {
    this.held = range;
    this.chart.timeScale().setVisibleRange(range);
    requestAnimationFrame(() => (this.held = null));
  }

  /** Move or zoom the view by a share of its width. */
  shift(from, to) {
    const seen = this.chart.timeScale().getVisibleLogicalRange();
    if (!seen) return;
    const width = seen.to - seen.from;
    this.chart.timeScale().setVisibleLogicalRange({ from: seen.from + from * width, to: seen.to + to * width });
  }

  showLast(seconds) {
    const bars = book.value.bars;
    if (!bars.length) return;
    const since = bars.at(-1).start_ts_ms - seconds * 1000;
    const shown = bars.filter((bar) => bar.start_ts_ms > since).length;
    this.held = null;
    this.chart.priceScale("right").applyOptions({ autoScale: true });
    this.chart.timeScale().setVisibleLogicalRange({ from: bars.length - Math.max(shown, 30), to: bars.length - 1 + RIGHT_BARS });
  }
}

const KEYS = {
  ArrowLeft: [-KEY_STEP, -KEY_STEP],
  ArrowRight: [KEY_STEP, KEY_STEP],
  "+": [KEY_STEP, 0],
  "-": [-KEY_STEP, 0],
};

/** `history` in s; `kept` is how many bars of a symbol the server has at most. */
export function BarChart({ history, kept }) {
  const element = useRef(null);
  const drawing = useRef(null);
  const [isHeld, setHeld] = useState(false);
  const chosenTheme = useValue(theme);
  const chosenZone = useValue(zone);
  const { bars } = useValue(book);
  const seconds = useRef(history);
  seconds.current = history;
  const onKeyDown = (event) => {
    if (event.key === "End") drawing.current.showLast(seconds.current);
    else if (KEYS[event.key]) drawing.current.shift(...KEYS[event.key]);
    else return;
    event.preventDefault();
  };

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
    <div
      className="chart"
      role="group"
      tabIndex={0}
      aria-label="Candles of one second with volume and VWAP; arrow keys move, + and - zoom, End shows the newest"
      onKeyDown={onKeyDown}
    >
      <div className="canvas" ref={element} />
      <div className="legend" aria-hidden="true">
        <i className="vwap" /> VWAP <i className="vol" /> Volume
        {isCut(bars, history, kept) && <span className="cut">the newest {kept} bars are kept: from {clock(bars[0].start_ts_ms)}</span>}
      </div>
      {isHeld && (
        <button type="button" className="to-end" onClick={() => drawing.current.showLast(seconds.current)}>
          Back to newest ›
        </button>
      )}
    </div>
  );
}

/** Whether there was more in the time that is asked for than the server keeps. */
const isCut = (bars, history, kept) =>
  bars.length >= kept && bars.at(-1).start_ts_ms - bars[0].start_ts_ms < (history - 1) * 1000;
