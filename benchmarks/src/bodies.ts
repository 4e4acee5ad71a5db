/** The messages of the benchmarks over HTTP: the same thousand bodies again and again, each of about 100 bytes. */

/** One in each hundred takes long, at a place of its own, so that the slow ones come at no rhythm. */
const isSlow = (n: number): boolean => n % 100 === (Math.floor(n / 100) * 37 + 11) % 100

export const bodies: ReadonlyArray<string> = Array.from({ length: 1000 }, (_, n) =>
  JSON.stringify({ order: n, slow: isSlow(n), item: "widget", note: "x".repeat(45) })
)

/** How long the handler of a body takes, in milliseconds, where handlers take uneven time. */
const durations = new Map(bodies.map((body, n) => [body, isSlow(n) ? 1000 : 20]))

export const durationOf = (body: string): number => durations.get(body) ?? 20
