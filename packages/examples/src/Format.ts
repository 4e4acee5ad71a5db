export const count = (n: number): string => n.toLocaleString("en")

export const millis = (ms: number | undefined): string =>
  ms === undefined ? "–" : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`

/** Of numbers in ascending order. */
export const percentile = (sorted: ReadonlyArray<number>, p: number): number | undefined =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]

/** Columns of text: the first to the left, the rest as `align` says. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>, align: ReadonlyArray<"left" | "right">): string => {
  const widths = align.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0
          return align[column] === "right" ? cell.padStart(width) : cell.padEnd(width)
        })
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}
