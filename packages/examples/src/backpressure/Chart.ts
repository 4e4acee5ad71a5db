/** A line chart as inline SVG: no script, no request, colours from the page's variables. */

export interface Line {
  readonly label: string
  /** Which of the page's colours: `--line-1`, `--line-2` … A second line is dashed too. */
  readonly colour: 1 | 2
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

export interface Chart {
  readonly id: string
  readonly title: string
  /** What it shows, in words, for those who cannot see it. */
  readonly description: string
  readonly lines: ReadonlyArray<Line>
  /** What its x is counted in. Default: seconds. */
  readonly x?: string | undefined
  /** A limit to draw across. */
  readonly limit?: { readonly label: string; readonly y: number } | undefined
  /** A span of time to shade. */
  readonly band?: { readonly label: string; readonly from: number; readonly to: number } | undefined
}

export const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c] ?? "&quot;")

const width = 420
const height = 240
const box = { left: 54, right: width - 12, top: 14, bottom: height - 36 }

/** 1, 2 or 5 times a power of ten, so that there are about four steps. */
const stepOf = (max: number): number => {
  const power = 10 ** Math.floor(Math.log10(max / 4))
  return ([1, 2, 5].find((m) => max / (m * power) <= 5) ?? 10) * power
}

const ticks = (max: number, step = stepOf(max)): ReadonlyArray<number> =>
  Array.from({ length: Math.floor(max / step + 1e-9) + 1 }, (_, i) => i * step)

const round = (n: number) => Math.round(n * 10) / 10

export const svg = ({ band, description, id, limit, lines, title, x: unit = "seconds" }: Chart): string => {
  const xs = lines.flatMap(({ points }) => points.map(([x]) => x))
  const ys = lines.flatMap(({ points }) => points.map(([, y]) => y))
  const maxX = Math.max(1, ...xs)
  const top = Math.max(1, limit?.y ?? 0, ...ys)
  const step = stepOf(top)
  const maxY = Math.ceil((top * 1.05) / step) * step
  const x = (value: number) => round(box.left + (value / maxX) * (box.right - box.left))
  const y = (value: number) => round(box.bottom - (value / maxY) * (box.bottom - box.top))

  const grid = ticks(maxY, step).map(
    (value) =>
      `<line class="grid" x1="${box.left}" x2="${box.right}" y1="${y(value)}" y2="${y(value)}"/>` +
      `<text x="${box.left - 6}" y="${y(value) + 4}" text-anchor="end">${value.toLocaleString("en")}</text>`
  )
  const along = ticks(maxX).map(
    (value) => `<text x="${x(value)}" y="${box.bottom + 16}" text-anchor="middle">${value}</text>`
  )
  const shade =
    band === undefined
      ? ""
      : `<rect class="band" x="${x(band.from)}" y="${box.top}" width="${round(x(band.to) - x(band.from))}" height="${box.bottom - box.top}"/>` +
        `<text x="${round((x(band.from) + x(band.to)) / 2)}" y="${box.top + 12}" text-anchor="middle">${escape(band.label)}</text>`
  const across =
    limit === undefined
      ? ""
      : `<line class="limit" x1="${box.left}" x2="${box.right}" y1="${y(limit.y)}" y2="${y(limit.y)}"/>` +
        `<text x="${box.right}" y="${y(limit.y) - 5}" text-anchor="end">${escape(limit.label)}</text>`
  const paths = lines.map(
    ({ colour, points }) =>
      `<polyline class="line line-${colour}" points="${points.map(([px, py]) => `${x(px)},${y(py)}`).join(" ")}"/>`
  )
  return [
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-title ${id}-description">`,
    `<title id="${id}-title">${escape(title)}</title><desc id="${id}-description">${escape(description)}</desc>`,
    shade,
    ...grid,
    ...along,
    `<text x="${(box.left + box.right) / 2}" y="${height - 4}" text-anchor="middle">${escape(unit)}</text>`,
    across,
    ...paths,
    "</svg>"
  ].join("")
}

/** The chart with its title and, where there is more than one line, what each is. */
export const figure = (chart: Chart): string => {
  const legend =
    chart.lines.length < 2
      ? ""
      : `<ul class="legend">${chart.lines
          .map(
            ({ colour, label }) =>
              `<li><svg viewBox="0 0 24 8" aria-hidden="true"><line class="line line-${colour}" x1="0" x2="24" y1="4" y2="4"/></svg>${escape(label)}</li>`
          )
          .join("")}</ul>`
  return `<figure><figcaption>${escape(chart.title)}</figcaption>${svg(chart)}${legend}</figure>`
}
