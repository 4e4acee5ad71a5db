/** What a handler takes by how many run beside it. */
import type * as Figures from "../../Figures.js"
import { enough } from "./readings.js"

export interface Quick {
  readonly time: number
  /** At how many running, on average. */
  readonly running: number
  /** It may be that much, of so few handlers. */
  readonly atMost: number
}

/**
 * What handlers took that began with few beside them: the least by how many those are, up to two thirds of how many run
 * now, and clearly so.
 */
export const quickest = (levels: ReadonlyArray<Figures.AtRunning>, running: number): Quick | undefined => {
  let quick: Quick | undefined
  let handlers = 0
  let time = 0
  let concurrency = 0
  const consider = () => {
    if (handlers < enough / 2) return
    const mean = time / handlers
    // Few handlers may be quick by chance: at worst they vary as waiting times do, and this is the least of many means.
    const atMost = mean * (1 + 2.5 / Math.sqrt(handlers))
    if (quick === undefined || atMost < quick.atMost) quick = { time: mean, running: concurrency / handlers, atMost }
  }
  for (const [i, level] of levels.entries()) {
    if (level.running > running / 1.5) break
    handlers += level.handlers
    time += level.time
    concurrency += level.running * level.handlers
    consider()
    // The levels up to here begin anew with each doubling, so that those far below do not hide these.
    const next = levels[i + 1]
    if (next !== undefined && Math.floor(Math.log2(next.running)) !== Math.floor(Math.log2(level.running))) {
      if (handlers >= 100) handlers = time = concurrency = 0
    }
  }
  return quick
}
