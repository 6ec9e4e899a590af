// Candles of the warehouse's facts with their VWAP.
import { useEffect, useRef } from "react";
import { CandlestickSeries, LineSeries, createChart } from "lightweight-charts";
import { exchangeZone, theme, useValue, zone } from "$/public/store.js";
import { candleLook, colour, look, priceFormat, times } from "$/public/look.js";
import { decimalsOf } from "$/public/numbers.js";

/** `points` are rows of a time in s, open, high, low, close and VWAP, the oldest first. */
export function FactChart({ label, points }) {
  const element = useRef(null);
  const drawn = useRef(null);
  const chosenTheme = useValue(theme);
  const chosenZone = useValue(zone);
  const exchange = useValue(exchangeZone);

  useEffect(() => {
    const chart = createChart(element.current, { autoSize: true, handleScroll: false, handleScale: false, timeScale: { timeVisible: true, rightOffset: 1 } });
    const candles = chart.addSeries(CandlestickSeries);
    const vwap = chart.addSeries(LineSeries, { lineWidth: 2, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false });
    drawn.current = { chart, candles, vwap };
    return () => chart.remove();
  }, []);
  useEffect(() => {
    const { chart, candles, vwap } = drawn.current;
    chart.applyOptions(look());
    chart.applyOptions(times());
    candles.applyOptions(candleLook());
    vwap.applyOptions({ color: colour("vwap") });
  }, [chosenTheme, chosenZone, exchange]);
  useEffect(() => {
    const { chart, candles, vwap } = drawn.current;
    const bars = points.map(([time, open, high, low, close]) => ({ time, open, high, low, close }));
    const format = { priceFormat: priceFormat(decimalsOf(bars)) };
    candles.applyOptions(format);
    vwap.applyOptions(format);
    candles.setData(bars);
    vwap.setData(points.map((row) => ({ time: row[0], value: row[5] })));
    chart.timeScale().fitContent();
  }, [points]);

  return (
    <div className="facts" role="group" aria-label={label}>
      <div className="canvas-lines" ref={element} />
      <div className="legend" aria-hidden="true">
        <i className="vwap" /> VWAP
      </div>
    </div>
  );
}
