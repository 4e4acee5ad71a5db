/** The four charts, each with its legend and the same figures as a table. */
import { clock, count, rate, short, time } from "./format.js"
import uPlot from "./uplot.js"

/** @typedef {import("../src/internal/wire.js").Point} Point */
/**
 * @typedef {object} Series
 * @property {string} label
 * @property {(point: Point) => number | null} of
 * @property {string} color - a custom property
 * @property {boolean} [dashed]
 * @property {boolean} [filled]
 */
/**
 * @typedef {object} Kind
 * @property {string} id
 * @property {string} title
 * @property {(value: number | null | undefined) => string} format
 * @property {ReadonlyArray<Series>} series
 */

/** @type {ReadonlyArray<Kind>} */
const kinds = [
  {
    id: "backlog",
    title: "Backlog",
    format: count,
    series: [{ label: "waiting in the queue", of: ({ backlog }) => backlog, color: "--blue", filled: true }]
  },
  {
    id: "rates",
    title: "Messages a second",
    format: rate,
    series: [
      { label: "sent", of: ({ arrivals }) => arrivals, color: "--violet", dashed: true },
      { label: "received", of: ({ received }) => received, color: "--blue" },
      { label: "handled", of: ({ handled }) => handled, color: "--green" },
      { label: "failed", of: ({ failed }) => failed, color: "--red" }
    ]
  },
  {
    id: "in-flight",
    title: "In flight and slots",
    format: count,
    series: [
      { label: "in flight", of: ({ inFlight }) => inFlight, color: "--blue", filled: true },
      { label: "bound", of: ({ bound }) => bound, color: "--blue", dashed: true },
      { label: "running", of: ({ running }) => running, color: "--green" },
      { label: "slots", of: ({ slots }) => slots, color: "--green", dashed: true }
    ]
  },
  {
    id: "times",
    title: "Handler time",
    format: time,
    series: [
      { label: "median", of: ({ p50 }) => p50, color: "--green" },
      { label: "95 %", of: ({ p95 }) => p95, color: "--orange" },
      { label: "99 %", of: ({ p99 }) => p99, color: "--red" }
    ]
  }
]

/** @param {string} name */
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** @param {string} tag @param {string} [className] @param {string} [text] */
const element = (tag, className, text) => {
  const made = document.createElement(tag)
  if (className !== undefined) made.className = className
  if (text !== undefined) made.textContent = text
  return made
}

/** Rows of a table that stands for a chart: evenly spread, the latest first. */
const rows = 12

/** @param {Kind} kind @param {HTMLElement} parent */
const chart = (kind, parent) => {
  const figure = element("figure", "card chart")
  figure.id = `chart-${kind.id}`
  const caption = element("figcaption")
  caption.append(element("h3", undefined, kind.title))
  const legend = element("ul", "legend")
  const values = kind.series.map(({ color, dashed, label }) => {
    const item = element("li")
    const swatch = element("span", dashed ? "swatch dashed" : "swatch")
    swatch.style.setProperty("--swatch", `var(${color})`)
    const value = element("span", "value")
    item.append(swatch, `${label} `, value)
    legend.append(item)
    return value
  })
  caption.append(legend)
  const plot = element("div", "plot")
  plot.setAttribute("role", "img")
  const details = document.createElement("details")
  details.append(element("summary", undefined, "As a table"))
  const scroll = element("div", "scroll")
  scroll.tabIndex = 0
  scroll.setAttribute("role", "region")
  scroll.setAttribute("aria-label", `${kind.title}, as a table`)
  const table = element("table")
  const head = element("tr")
  for (const label of ["Time", ...kind.series.map(({ label }) => label)]) {
    const cell = element("th", label === "Time" ? undefined : "number", label)
    cell.setAttribute("scope", "col")
    head.append(cell)
  }
  const thead = element("thead")
  thead.append(head)
  const tbody = element("tbody")
  table.append(thead, tbody)
  scroll.append(table)
  details.append(scroll)
  figure.append(caption, plot, details)
  parent.append(figure)

  /** @type {ReadonlyArray<Point>} */
  let points = []
  /** @type {number | null} */
  let hovered = null

  const showValues = () => {
    const point = points[hovered ?? points.length - 1]
    for (const [i, series] of kind.series.entries()) {
      const value = values[i]
      if (value !== undefined) value.textContent = point === undefined ? "" : kind.format(series.of(point))
    }
  }

  const axis = {
    stroke: () => color("--muted"),
    grid: { stroke: () => color("--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif"
  }
  const drawn = new uPlot(
    {
      width: 300,
      height: 180,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      padding: [8, 8, 0, 0],
      scales: { y: { range: (_, __, max) => [0, Math.max(1, (max ?? 1) * 1.08)] } },
      axes: [
        { ...axis, size: 28, space: 70, values: (_, splits) => splits.map((at) => clock(at * 1000).slice(0, 8)) },
        {
          ...axis,
          size: 58,
          space: 34,
          values: (_, splits) => splits.map((v) => (kind.format === time ? time(v) : short(v)))
        }
      ],
      series: [
        {},
        ...kind.series.map((series) => ({
          label: series.label,
          stroke: () => color(series.color),
          width: series.dashed ? 1.5 : 2,
          ...(series.dashed ? { dash: [5, 4] } : {}),
          ...(series.filled ? { fill: () => `color-mix(in srgb, ${color(series.color)} 14%, transparent)` } : {}),
          spanGaps: false,
          points: { show: false }
        }))
      ],
      hooks: {
        setCursor: [
          (u) => {
            hovered = u.cursor.left != null && u.cursor.left >= 0 && u.cursor.idx != null ? u.cursor.idx : null
            showValues()
          }
        ]
      }
    },
    [[], ...kind.series.map(() => [])],
    plot
  )
  new ResizeObserver(() => {
    if (plot.clientWidth > 0) drawn.setSize({ width: plot.clientWidth, height: 180 })
  }).observe(plot)
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.redraw(false, true))

  const fillTable = () => {
    if (!details.open) return
    const step = Math.max(1, Math.floor(points.length / rows))
    const chosen = points.filter((_, i) => (points.length - 1 - i) % step === 0).slice(-rows)
    tbody.replaceChildren(
      ...chosen.reverse().map((point) => {
        const row = element("tr")
        const at = element("th", undefined, clock(point.at))
        at.setAttribute("scope", "row")
        row.append(at, ...kind.series.map(({ of }) => element("td", "number", kind.format(of(point)))))
        return row
      })
    )
  }
  details.addEventListener("toggle", fillTable)

  /** @param {ReadonlyArray<Point>} given */
  const show = (given) => {
    points = given
    drawn.setData([points.map(({ at }) => at / 1000), ...kind.series.map(({ of }) => points.map(of))])
    showValues()
    fillTable()
    const last = points.at(-1)
    const said = kind.series.map(({ label, of }) => `${label} ${kind.format(last === undefined ? null : of(last))}`)
    plot.setAttribute("aria-label", `${kind.title}, now: ${said.join(", ")}. The table below has its course.`)
  }
  return { show }
}

/** @param {HTMLElement} parent */
export const make = (parent) => {
  const all = kinds.map((kind) => chart(kind, parent))
  return {
    /** @param {ReadonlyArray<Point>} points */
    show: (points) => {
      for (const each of all) each.show(points)
    }
  }
}
