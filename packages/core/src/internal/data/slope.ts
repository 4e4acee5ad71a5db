/** A straight line through points of which many may be off: the median of all slopes between two of them (Theil-Sen). */
export interface Line {
  /** By one of x. */
  readonly slope: number
  readonly at: (x: number) => number
}

/** Puts the number that would be at `k`, were they sorted, there, and none greater before it: Hoare's selection. */
const select = (values: Float64Array, k: number): void => {
  let low = 0
  let high = values.length - 1
  while (low < high) {
    const pivot = values[(low + high) >> 1] as number
    let i = low
    let j = high
    while (i <= j) {
      while ((values[i] as number) < pivot) i++
      while ((values[j] as number) > pivot) j--
      if (i > j) break
      const other = values[i] as number
      values[i++] = values[j] as number
      values[j--] = other
    }
    if (k <= j) high = j
    else if (k >= i) low = i
    else return
  }
}

/** There are as many slopes as pairs, of which none but the middle one or two matter: to sort them all takes most of the time. */
export const median = (all: ArrayLike<number>): number => {
  const values = new Float64Array(all)
  const middle = values.length >> 1
  select(values, middle)
  const upper = values[middle] ?? Number.NaN
  if (values.length % 2 === 1) return upper
  let lower = values[0] ?? Number.NaN
  for (let i = 1; i < middle; i++) lower = Math.max(lower, values[i] as number)
  return (lower + upper) / 2
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
