// Lines over time, drawn by lightweight-charts.
import { useEffect, useRef } from "react";
import { LineSeries, createChart } from "lightweight-charts";
import { exchangeZone, theme, useValue, zone } from "$/public/store.js";
import { colour, look, times } from "$/public/look.js";

const MARGINS = { top: 0.1, bottom: 0.05 };
const COLOURS = ["accent", "vwap", "muted", "muted"];

/** A scale of positive values begins at 0. */
const fromZero = (found) => {
  const info = found();
  if (info?.priceRange) info.priceRange.minValue = Math.min(0, info.priceRange.minValue);
  return info;
};

/** `points` are rows of a time in s and a value, or null, for each of `names`. */
export function TimeLines({ title, names, unit, digits, isApart, points }) {
  const element = useRef(null);
  const drawn = useRef(null);
  const chosenTheme = useValue(theme);
  const chosenZone = useValue(zone);
  const exchange = useValue(exchangeZone);

  useEffect(() => {
    const chart = createChart(element.current, {
      autoSize: true,
      handleScroll: false,
      handleScale: false,
      timeScale: { timeVisible: true, secondsVisible: true },
      rightPriceScale: { scaleMargins: MARGINS },
      leftPriceScale: { scaleMargins: MARGINS, visible: isApart },
      crosshair: { mode: 0 },
    });
    const format = { type: "custom", minMove: 10 ** -digits, formatter: (value) => (Math.abs(value) < 10 ? value.toFixed(digits) : Math.round(value).toLocaleString("en-US")) };
    const series = names.map((_, i) =>
      chart.addSeries(LineSeries, { lineWidth: i < 2 ? 2 : 1, priceLineVisible: false, lastValueVisible: i < 2, priceFormat: format, color: colour(COLOURS[i]), priceScaleId: isApart && i === 1 ? "left" : "right", autoscaleInfoProvider: fromZero }),
    );
    drawn.current = { chart, series };
    return () => chart.remove();
  }, []);
  useEffect(() => {
    const { chart, series } = drawn.current;
    chart.applyOptions(look());
    chart.applyOptions(times());
    series.forEach((one, i) => one.applyOptions({ color: colour(COLOURS[i]) }));
  }, [chosenTheme, chosenZone, exchange]);
  useEffect(() => {
    const { chart, series } = drawn.current;
    series.forEach((one, i) => one.setData(points.map((row) => (row[i + 1] === null ? { time: row[0] } : { time: row[0], value: row[i + 1] }))));
    chart.timeScale().fitContent();
  }, [points]);

  return (
    <figure className="lines">
      <figcaption>
        {title && <h2>{title}</h2>}
        {names.map((name, i) => (
          <span key={name}>
            <i style={{ background: `var(--${COLOURS[i]})` }} /> {name}
          </span>
        ))}
        <span className="unit">{unit}</span>
      </figcaption>
      <div className="canvas-lines" ref={element} />
    </figure>
  );
}
