// Lines over time for the pipeline page, drawn by lightweight-charts.
import { useEffect, useRef } from "react";
import { LineSeries, createChart } from "lightweight-charts";
import { exchangeZone, theme, useValue, zone } from "$/public/store.js";
import { clock, minute } from "$/public/format.js";

const COLOURS = ["accent", "vwap"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function TimeLines({ title, names, unit, points }) {
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
      rightPriceScale: { scaleMargins: { top: 0.1, bottom: 0.05 } },
      crosshair: { mode: 0 },
    });
    const format = { type: "custom", minMove: 0.1, formatter: (value) => (value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en-US")) };
    const series = names.map((_, i) =>
      chart.addSeries(LineSeries, { lineWidth: 2, priceLineVisible: false, lastValueVisible: true, priceFormat: format, color: colour(COLOURS[i]) }),
    );
    drawn.current = { chart, series };
    return () => chart.remove();
  }, []);
  useEffect(() => {
    const { chart, series } = drawn.current;
    chart.applyOptions({
      layout: { background: { color: "transparent" }, textColor: colour("muted"), fontSize: 11, fontFamily: getComputedStyle(document.body).fontFamily, attributionLogo: true },
      grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
      rightPriceScale: { borderColor: colour("line") },
      localization: { timeFormatter: (s) => clock(s * 1000) },
      timeScale: { borderColor: colour("line"), tickMarkFormatter: (s) => minute(s * 1000) },
    });
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
        <h2>{title}</h2>
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
