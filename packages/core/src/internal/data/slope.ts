/** A straight line through points of which many may be off: the median of all slopes between two of them (Theil-Sen). */
export interface Line {
  /** By one of x. */
  readonly slope: number
  readonly at: (x: number) => number
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = Float64Array.from(values).sort()
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

export const theilSen = (points: ReadonlyArray<readonly [x: number, y: number]>): Line | undefined => {
  const slopes: Array<number> = []
  for (const [i, [x1, y1]] of points.entries()) {
    for (let j = i + 1; j < points.length; j++) {
      const [x2, y2] = points[j] ?? [x1, y1]
      if (x2 !== x1) slopes.push((y2 - y1) / (x2 - x1))
    }
  }
  if (slopes.length === 0) return undefined
  const slope = median(slopes)
  const offset = median(points.map(([x, y]) => y - slope * x))
  return { slope, at: (x) => offset + slope * x }
}
