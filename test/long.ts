/**
 * How long the tests are. `npm test` is for the one who waits: enough seeds to notice each broken invariant. `LONG=1 npm
 * test` runs all of them, and what takes minutes; so does CI.
 */
export const long = process.env["LONG"] === "1"

/** How many seeds a property is tried with. */
export const seeds = (count: { readonly short: number; readonly long: number }): number =>
  long ? count.long : count.short
