/** The three acts as one HTML page that needs nothing beside itself. */
import * as Document from "../Document.js"
import { count } from "../Format.js"
import { acts, slow } from "./Acts.js"
import { type Chart, escape, type Line } from "./Chart.js"
import { type Figures, figures, perSecond } from "./Figures.js"
import type { Played, Sample } from "./Stage.js"

export interface Plays {
  readonly oneAtATime: Played
  readonly naiveLoop: Played
  readonly enough: Played
  readonly slowDownstream: Played
}

const line = (played: Played, of: (sample: Sample) => number, colour: Line["colour"] = 1): Line => ({
  label: played.scenario.name,
  colour,
  points: played.samples.map((sample) => [sample.at, of(sample)])
})

/** A cumulative figure by the second, over the last five. */
const rate = (played: Played, of: (sample: Sample) => number): Line => ({
  label: played.scenario.name,
  colour: 1,
  points: played.samples.slice(1).map(({ at }) => [at, perSecond(played, of, Math.max(0, at - 5), at)])
})

const backlog = ({ backlog }: Sample) => backlog
const inFlight = ({ inFlight }: Sample) => inFlight

const limitOf = ({ scenario }: Played) =>
  scenario.bound === undefined ? undefined : { label: `bound: ${scenario.bound}`, y: scenario.bound }

const dl = (figures: Figures): string => {
  const entries: ReadonlyArray<readonly [string, string]> = [
    ["orders sent", count(figures.sent)],
    ["orders done", count(figures.done)],
    ["worked on again", count(figures.again)],
    ["most waiting", count(figures.mostWaiting)],
    [
      "in flight at most",
      count(figures.peakInFlight) + (figures.bound === undefined ? ", no bound" : ` of ${figures.bound}`)
    ],
    ["receives", count(figures.receives)]
  ]
  return Document.facts(entries)
}

const section = (
  title: string,
  words: ReadonlyArray<string>,
  all: ReadonlyArray<readonly [string, Figures]>,
  charts: ReadonlyArray<Chart>
): string =>
  Document.section(
    title,
    words,
    all.map(([name, each]) => `${all.length > 1 ? `<h3>${escape(name)}</h3>` : ""}${dl(each)}`).join(""),
    charts
  )

const act1 = ({ naiveLoop, oneAtATime }: Plays): string => {
  const ours = figures(oneAtATime)
  const naive = figures(naiveLoop)
  const until = acts.oneAtATime.until
  return section(
    "Act 1: one at a time",
    [
      `20 orders come in each second and 2 are done, so the backlog grows by ${ours.growth.toFixed(1)} a second. It grows in the queue, where it is safe: at most ${ours.peakInFlight} messages are in flight, ${ours.again === 0 ? "none times out" : `${count(ours.again)} are worked on again`}, ${ours.allDoneAt === undefined ? "and the rest waits" : `and after ${ours.allDoneAt} seconds every order is done, once`}.`,
      `The naive loop works on one order at a time too, but receives all it can and keeps it in memory. There each message outlives its 30 seconds: the queue hands it out again, and the delete by the old receipt comes too late. After ${until} seconds ${count(naive.done)} orders are done, up to ${count(naive.peakInFlight)} are in flight, and ${count(naive.again)} times an order was worked on again.`
    ],
    [
      ["Millrace", ours],
      ["The naive loop", naive]
    ],
    [
      {
        id: "backlog-1",
        title: "Orders waiting in the queue",
        description: `One at a time: up to ${count(ours.mostWaiting)} orders wait when the last one is sent, then the queue drains at two a second.`,
        lines: [line(oneAtATime, backlog)]
      },
      {
        id: "done-1",
        title: "Orders done",
        description: `One at a time reaches ${count(ours.done)}; the naive loop stays at ${count(naive.done)}.`,
        lines: [line(oneAtATime, ({ done }) => done), line(naiveLoop, ({ done }) => done, 2)]
      },
      {
        id: "in-flight-1",
        title: "In flight",
        description: `One at a time: at most ${ours.peakInFlight}. The naive loop: up to ${count(naive.peakInFlight)}.`,
        lines: [line(oneAtATime, inFlight), line(naiveLoop, inFlight, 2)]
      },
      {
        id: "again-1",
        title: "Orders worked on again",
        description: `One at a time: ${count(ours.again)}. The naive loop: ${count(naive.again)}.`,
        lines: [line(oneAtATime, ({ again }) => again), line(naiveLoop, ({ again }) => again, 2)]
      }
    ]
  )
}

const act2 = ({ enough }: Plays): string => {
  const ours = figures(enough)
  return section(
    "Act 2: 32 at a time",
    [
      `The same pipeline with concurrency: 32, on the ${count(enough.scenario.backlog)} orders that the first act left, while 20 more come in each second. ${ours.drainedAt === undefined ? "The backlog drains." : `The backlog is gone after ${ours.drainedAt} seconds.`} From then on the queue is polled just as fast as orders come.`
    ],
    [["Millrace", ours]],
    [
      {
        id: "backlog-2",
        title: "Orders waiting in the queue",
        description: `From ${count(ours.mostWaiting)} down to ${count(ours.backlogAtEnd)}.`,
        lines: [line(enough, backlog)]
      },
      {
        id: "in-flight-2",
        title: "In flight",
        description: `At most ${ours.peakInFlight} of ${ours.bound} while there is a backlog, then about 10.`,
        lines: [line(enough, inFlight)],
        limit: limitOf(enough)
      }
    ]
  )
}

const act3 = ({ slowDownstream }: Plays): string => {
  const ours = figures(slowDownstream)
  const receives = ({ receives }: Sample) => receives
  const usual = perSecond(slowDownstream, receives, 5, slow.from)
  const slowed = perSecond(slowDownstream, receives, slow.from + 5, slow.to)
  const band = { label: "5 s an order", ...slow }
  return section(
    "Act 3: a slow downstream",
    [
      `The same again, but from the ${slow.from}th to the ${slow.to}th second an order takes 5 seconds instead of half a second. Nobody tells the consumer. Receives go from ${usual.toFixed(1)} a second down to ${slowed.toFixed(1)}, in flight stays within its bound, the queue holds what cannot be done, and ${ours.drainedAt === undefined ? "it drains afterwards" : `${ours.drainedAt - slow.to} seconds after the trouble is over the queue is empty`}.`
    ],
    [["Millrace", ours]],
    [
      {
        id: "receives-3",
        title: "Receives a second",
        description: `${usual.toFixed(1)} a second before, ${slowed.toFixed(1)} while the downstream is slow.`,
        lines: [rate(slowDownstream, receives)],
        band
      },
      {
        id: "in-flight-3",
        title: "In flight",
        description: `At most ${ours.peakInFlight} of ${ours.bound}.`,
        lines: [line(slowDownstream, inFlight)],
        limit: limitOf(slowDownstream),
        band
      },
      {
        id: "backlog-3",
        title: "Orders waiting in the queue",
        description: `Up to ${count(ours.mostWaiting)} wait while the downstream is slow.`,
        lines: [line(slowDownstream, backlog)],
        band
      }
    ]
  )
}

export const html = (plays: Plays): string =>
  Document.page(
    "Backpressure: an SQS queue in three acts",
    "The queue order-processing-queue has a visibility timeout of 30 seconds. 1,000 orders come in, 20 a second, and each takes half a second of work. The acts are the same code, with one thing changed each time.",
    `${act1(plays)}
${act2(plays)}
${act3(plays)}`
  )
