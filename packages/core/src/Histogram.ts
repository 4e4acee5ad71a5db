/**
 * How long something took, many times over: counts by buckets of equal ratio. Two readings of a histogram that only
 * grows give that of the time between them.
 */

/** Times in milliseconds. */
export interface Histogram {
  readonly count: number
  readonly sum: number
  /** How many fell into each bucket, without the empty ones at the end. */
  readonly buckets: ReadonlyArray<number>
}

/** Buckets to a doubling: each is 9 % wide, so a quantile is off by less than 5 %. */
const resolution = 8
/** The upper end of the first bucket, in milliseconds. */
const smallest = 0.1

export const empty: Histogram = { count: 0, sum: 0, buckets: [] }

/** @internal The bucket of a value. */
export const bucketOf = (value: number): number =>
  value <= smallest ? 0 : Math.ceil(Math.log2(value / smallest) * resolution)

/** The middle of a bucket, by its place in `buckets`: in milliseconds. */
export const middleOf = (bucket: number): number => (bucket === 0 ? 0 : smallest * 2 ** ((bucket - 0.5) / resolution))

/** Of these times, in milliseconds. */
export const of = (times: Iterable<number>): Histogram => {
  const buckets: Array<number> = []
  let count = 0
  let sum = 0
  for (const time of times) {
    const bucket = bucketOf(time)
    while (buckets.length <= bucket) buckets.push(0)
    buckets[bucket] = (buckets[bucket] ?? 0) + 1
    count++
    sum += time
  }
  return { count, sum, buckets }
}

/** `undefined` where nothing was measured. */
export const mean = ({ count, sum }: Histogram): number | undefined => (count === 0 ? undefined : sum / count)

/** The value that a part of all, from 0 to 1, does not exceed, within 5 %. `undefined` where nothing was measured. */
export const quantile = ({ buckets, count }: Histogram, part: number): number | undefined => {
  if (count === 0) return undefined
  let left = Math.max(1, Math.ceil(part * count))
  for (const [bucket, n] of buckets.entries()) {
    left -= n
    if (left <= 0) return middleOf(bucket)
  }
  return middleOf(buckets.length - 1)
}

/** What was measured after `before`, an earlier reading of the same histogram. */
export const since = (before: Histogram, now: Histogram): Histogram => ({
  count: now.count - before.count,
  sum: now.sum - before.sum,
  buckets: now.buckets.map((n, bucket) => n - (before.buckets[bucket] ?? 0))
})

/** Of several, one. */
export const merge = (histograms: ReadonlyArray<Histogram>): Histogram =>
  histograms.reduce(
    (all, { buckets, count, sum }) => ({
      count: all.count + count,
      sum: all.sum + sum,
      buckets: Array.from(
        { length: Math.max(all.buckets.length, buckets.length) },
        (_, bucket) => (all.buckets[bucket] ?? 0) + (buckets[bucket] ?? 0)
      )
    }),
    empty
  )
