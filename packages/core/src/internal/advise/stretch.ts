/** How much longer handlers take than they did, and why: time has passed, or more run at once. */
import * as Figures from "../../Figures.js"
import { quickest } from "./concurrency.js"
import { type Lag, meanTime } from "./lag.js"
import { asManyBy } from "./probes.js"
import { enough, ramp, sumOf } from "./readings.js"

/** What handlers took as a rule that had about so many beside them. */
const usualAt = ({ well }: Lag, running: number): number | undefined => {
  const alike = well
    .flatMap(({ byRunning }) => byRunning)
    .filter((level) => level.running >= 0.7 * running && level.running <= 1.5 * running)
  const handlers = sumOf(alike, (level) => level.handlers)
  if (handlers < enough) return undefined
  // At worst a handler's time grows as their number does.
  const those = sumOf(alike, (level) => level.handlers * level.running) / handlers
  return (sumOf(alike, (level) => level.time) / handlers) * Math.max(1, running / those)
}

/**
 * How many times as long handlers take as those did, when it was well, that had as many beside them when they began; of a
 * flow that comes in lumps the average number says little of what each met. `undefined` where too few are alike.
 */
const overAlike = ({ norm, now }: Lag): number | undefined => {
  let handlers = 0
  let then = 0
  let time = 0
  for (const level of now.byRunning) {
    const before = norm?.byRunning.find(({ running }) => running === level.running)
    if (before === undefined || before.handlers < enough / 2) continue
    handlers += level.handlers
    time += level.time
    then += (level.handlers * before.time) / before.handlers
  }
  return handlers < 3 * enough ? undefined : time / then
}

/** What concurrency adds to what time explains: the quickest of many means is quick by chance too, so only what is plain. */
const beside = (overQuick: number, byTime: number): number =>
  byTime > 1 && overQuick < 1.5 * byTime ? 1 : Math.max(1, overQuick / byTime)

/** The most that was done a second for as long as six intervals. */
const mostDone = (well: ReadonlyArray<Figures.Interval>): number =>
  well.reduce((most, _, i) => {
    const some = well.slice(i, i + 6)
    const seconds = sumOf(some, (interval) => interval.seconds)
    return some.length < Math.min(6, well.length)
      ? most
      : Math.max(most, sumOf(some, ({ stats }) => stats.handled) / seconds)
  }, 0)

/** How much longer a handler takes now than before: by time passed, and by how many run beside it. */
export const stretched = (lag: Lag): { readonly byTime: number; readonly byConcurrency: number } => {
  const { handlerTime, norm, now, perSlot, quick, running, several, usualTime } = lag
  const none = { byTime: 1, byConcurrency: 1 }
  if (handlerTime === undefined || lag.runs < enough) return none
  const { error, mean } = meanTime(now.handler)
  const surely = handlerTime * Math.max(1 - (2 * error) / Math.max(mean, 1e-9), 0.5)
  const overUsual = usualTime === undefined || surely < 1.15 * usualTime ? 1 : handlerTime / usualTime
  const overQuick = quick === undefined || surely < 1.15 * quick.atMost ? 1 : handlerTime / quick.time
  if (norm === undefined || usualTime === undefined) return { byTime: 1, byConcurrency: overQuick }
  if (overUsual === 1 && overQuick === 1) return none
  // A downstream that is full gives as much to many as it gave to few, or to more; one that gives less than it once did
  // has changed. One that is given less, since slots stand idle for want of messages, has not shown what it gives.
  const rate = now.stats.handled / now.seconds
  const busy = running >= 0.8 * lag.slots
  if (busy && rate < 0.93 * mostDone(lag.well)) return { byTime: overUsual, byConcurrency: 1 }
  const alike = busy || several ? undefined : overAlike(lag)
  if (alike !== undefined) {
    const byTime = alike < 1.15 ? 1 : Math.min(overUsual, alike)
    return { byTime, byConcurrency: beside(overQuick, byTime) }
  }
  // The same concurrency before and now tells the two apart at once.
  const then = several ? undefined : usualAt(lag, running * perSlot)
  if (then !== undefined) {
    const byTime = Math.min(overUsual, surely < 1.15 * then ? 1 : handlerTime / then)
    return { byTime, byConcurrency: beside(overQuick, byTime) }
  }
  // So does concurrency that changes meanwhile, and what few took when it began.
  const [first = now, ...rest] = lag.onset
  const near = several ? undefined : quickest(Figures.join([first, ...rest, now]).byRunning, running * perSlot)
  if (near !== undefined && near.time >= 0.85 * handlerTime) return { byTime: overUsual, byConcurrency: 1 }
  return { byTime: 1, byConcurrency: Math.max(overQuick, overUsual) }
}

/** Whether more at once only make each slower: 1 where the time grows as they do, 0 where it does not. */
export const saturation = (
  { handlerTime, perSlot, probes, quick, running, several }: Lag,
  byConcurrency: number
): number =>
  asManyBy(probes, running) !== undefined
    ? 1
    : several
      ? ramp(byConcurrency, 1.2, 1.8)
      : quick === undefined || handlerTime === undefined || byConcurrency <= 1 || running * perSlot <= quick.running
        ? 0
        : ramp(Math.log(byConcurrency) / Math.log((running * perSlot) / quick.running), 0.3, 0.7)
