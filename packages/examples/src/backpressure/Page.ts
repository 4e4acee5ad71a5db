/** The three acts as one HTML page that needs nothing beside itself. */
import { count } from "../Format.js"
import { acts, slow } from "./Acts.js"
import { type Chart, escape, figure, type Line } from "./Chart.js"
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
  return `<dl>${entries.map(([term, value]) => `<div><dt>${escape(term)}</dt><dd>${escape(value)}</dd></div>`).join("")}</dl>`
}

const section = (
  title: string,
  words: ReadonlyArray<string>,
  all: ReadonlyArray<readonly [string, Figures]>,
  charts: ReadonlyArray<Chart>
): string =>
  `<section><h2>${escape(title)}</h2>${words.map((text) => `<p>${escape(text)}</p>`).join("")}${all
    .map(([name, each]) => `${all.length > 1 ? `<h3>${escape(name)}</h3>` : ""}${dl(each)}`)
    .join("")}<div class="charts">${charts.map(figure).join("")}</div></section>`

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

const style = `
:root { color-scheme: light dark; --ground: #fbfaf7; --text: #1d2530; --soft: #5a6472; --rule: #dcd9d2;
  --band: #f1e3c4; --line-1: #0b6e75; --line-2: #b3402a; --limit: #1d2530 }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --text: #e6e3dc; --soft: #a2a9b3; --rule: #303842;
  --band: #3a3222; --line-1: #4fc3c7; --line-2: #f08a6c; --limit: #e6e3dc } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.55 system-ui, sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0 }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.5rem; padding-top: 1rem; border-top: 1px solid var(--rule) }
h3 { font-size: 1rem; margin: 1rem 0 0.25rem }
p { max-width: 42rem; margin: 0.5rem 0 }
dl { display: flex; flex-wrap: wrap; gap: 0.5rem 1.75rem; margin: 0.5rem 0 1rem }
dt { font-size: 0.8rem; color: var(--soft) }
dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem }
figure { margin: 0; min-width: 0 }
figcaption { font-weight: 600; font-size: 0.95rem }
figure > svg { display: block; width: 100%; height: auto }
text { font: 13px system-ui, sans-serif; fill: var(--soft) }
.grid { stroke: var(--rule) }
.band { fill: var(--band) }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round }
.line-1 { stroke: var(--line-1) }
.line-2 { stroke: var(--line-2); stroke-dasharray: 6 3 }
.limit { stroke: var(--limit); stroke-dasharray: 2 4 }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0.25rem 0 0; padding: 0; font-size: 0.85rem }
.legend li { display: flex; align-items: center; gap: 0.5rem }
.legend svg { width: 24px; height: 8px }
`

export const html = (plays: Plays): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backpressure: an SQS queue in three acts</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>Backpressure: an SQS queue in three acts</h1>
<p>The queue order-processing-queue has a visibility timeout of 30 seconds. 1,000 orders come in, 20 a second, and each takes half a second of work. The acts are the same code, with one thing changed each time.</p>
${act1(plays)}
${act2(plays)}
${act3(plays)}
</main>
</body>
</html>
`
