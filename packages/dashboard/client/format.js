/** Figures as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 })
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 })

/** What stands for what is not known. */
export const unknown = "–"

/** @param {number | null | undefined} n */
export const count = (n) => (n == null ? unknown : whole.format(n))

/** For axes. @param {number | null | undefined} n */
export const short = (n) => (n == null ? unknown : Math.abs(n) < 10_000 ? fine.format(n) : compact.format(n))

/** @param {number | null | undefined} n */
export const rate = (n) => (n == null ? unknown : `${n >= 100 ? whole.format(n) : fine.format(n)}/s`)

/** @param {number | null | undefined} part */
export const percent = (part) => (part == null ? unknown : `${whole.format(part * 100)} %`)

/** @param {number | null | undefined} millis */
export const time = (millis) => {
  if (millis == null) return unknown
  if (millis < 9.95) return `${fine.format(millis)} ms`
  if (millis < 999.5) return `${whole.format(millis)} ms`
  const seconds = millis / 1000
  if (seconds < 9.95) return `${fine.format(seconds)} s`
  if (seconds < 99.5) return `${whole.format(seconds)} s`
  const minutes = seconds / 60
  if (minutes < 99.5) return `${whole.format(minutes)} min`
  const hours = minutes / 60
  return hours < 48 ? `${fine.format(hours)} h` : `${whole.format(hours / 24)} days`
}

/** @param {number} at */
export const clock = (at) => new Date(at).toLocaleTimeString("en-GB")
