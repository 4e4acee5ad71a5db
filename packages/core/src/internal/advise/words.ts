/** How findings put numbers into words, and what a change is made of. */
import * as DateTime from "effect/DateTime"
import type { Change } from "./finding.js"

export const number = (value: number): string =>
  value >= 100
    ? Math.round(value).toLocaleString("en-US")
    : value >= 10
      ? value.toFixed(0)
      : String(Number(value.toFixed(1)))

export const percent = (part: number): string => `${Math.round(part * 100)} %`

/** A time, rounded for a reader. */
export const time = (millis: number): string =>
  millis < 1000
    ? `${number(millis)} ms`
    : millis < 120_000
      ? `${number(millis / 1000)} s`
      : millis < 7_200_000
        ? `${number(millis / 60_000)} min`
        : `${number(millis / 3_600_000)} h`

export const perSecond = (rate: number): string => `${number(rate)} a second`

export const instant = (at: number): string => `${DateTime.formatIso(DateTime.unsafeMake(at)).slice(0, 19)}Z`

export const set = (setting: string, to: number, text: string): Change => ({ setting, to, text })
export const say = (text: string): Change => ({ setting: undefined, to: undefined, text })

/** A round number that is at least as large, with two digits that count. */
export const roundUp = (value: number): number => {
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, value))) - 1)
  return Math.ceil(value / step) * step
}

/** A whole number, rounded up only as far as a twentieth. */
export const atMost = (value: number): number => {
  const rounded = roundUp(value)
  return rounded <= value * 1.05 ? rounded : Math.max(1, Math.ceil(value))
}
