/** What an act comes to. */
import { Diagnosis } from "@millrace/core"
import { count, table } from "../Format.js"
import type { Played, Sample } from "./Stage.js"

export interface Figures {
  /** By how much the backlog grew each second while orders came in, from the 5th second to the 50th. */
  readonly growth: number
  readonly sent: number
  readonly done: number
  readonly runs: number
  /** Runs for an order that had been worked on before. */
  readonly again: number
  readonly backlogAtEnd: number
  readonly mostWaiting: number
  /** When the queue was first empty after the most had waited, in seconds. */
  readonly drainedAt: number | undefined
  readonly peakInFlight: number
  readonly bound: number | undefined
  readonly receives: number
  /** When the last order was done, in seconds; `undefined` where some are not. */
  readonly allDoneAt: number | undefined
}

const at = (samples: ReadonlyArray<Sample>, second: number) => samples.find((sample) => sample.at >= second)

/** Of a cumulative figure: how much it grew each second, between two instants. */
export const perSecond = ({ samples }: Played, of: (sample: Sample) => number, from: number, to: number): number => {
  const first = at(samples, from)
  const last = at(samples, to)
  return first === undefined || last === undefined || last.at === first.at
    ? 0
    : (of(last) - of(first)) / (last.at - first.at)
}

export const figures = (played: Played): Figures => {
  const { peakInFlight, samples, scenario } = played
  const last = samples.at(-1)
  const mostWaiting = Math.max(...samples.map(({ backlog }) => backlog))
  const most = samples.findIndex(({ backlog }) => backlog === mostWaiting)
  return {
    growth: perSecond(played, ({ backlog }) => backlog, 5, 50),
    sent: last?.sent ?? 0,
    done: last?.done ?? 0,
    runs: last?.runs ?? 0,
    again: last?.again ?? 0,
    backlogAtEnd: last?.backlog ?? 0,
    mostWaiting,
    drainedAt: mostWaiting === 0 ? undefined : samples.slice(most).find(({ backlog }) => backlog === 0)?.at,
    peakInFlight,
    bound: scenario.bound,
    receives: last?.receives ?? 0,
    allDoneAt: samples.find(({ at, done }) => at > 50 && done === last?.sent)?.at
  }
}

/** What the consumer says of its queue, in its own words. */
export const diagnosis = ({ diagnosis, scenario: { diagnosedAt } }: Played): string =>
  diagnosis === undefined ? "" : `After ${diagnosedAt} seconds: ${Diagnosis.render(diagnosis)}`

export const print = (plays: ReadonlyArray<Played>): string => {
  const all = plays.map((played) => ({ name: played.scenario.name, ...figures(played) }))
  const row = (label: string, cell: (figures: Figures) => string) => [label, ...all.map(cell)]
  return table(
    [
      ["", ...all.map(({ name }) => name)],
      row("backlog, growth a second while orders come", ({ growth }) => growth.toFixed(1)),
      row("most waiting", ({ mostWaiting }) => count(mostWaiting)),
      row("queue empty after", ({ drainedAt }) => (drainedAt === undefined ? "–" : `${drainedAt} s`)),
      row("orders sent", ({ sent }) => count(sent)),
      row("orders done", ({ done }) => count(done)),
      row("all done after", ({ allDoneAt }) => (allDoneAt === undefined ? "not yet" : `${allDoneAt} s`)),
      row("worked on again", ({ again }) => count(again)),
      row("in flight at most", ({ bound, peakInFlight }) =>
        bound === undefined ? `${count(peakInFlight)}, no bound` : `${count(peakInFlight)} of ${bound}`
      ),
      row("receives", ({ receives }) => count(receives))
    ],
    ["left", ...all.map(() => "right" as const)]
  )
}
