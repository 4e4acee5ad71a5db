/**
 * Draws the pictures of docs/diagnosis, each from a run with that cause on the emulator in virtual time, and puts the
 * diagnosis of that run into its page: npm run pictures
 */
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Diagnosis, Figures, Histogram } from "@millrace/core"
import { Effect, Schedule } from "effect"
import { type Chart, figure } from "../../packages/examples/src/backpressure/Chart.js"
import { causes } from "../../packages/sqs/test/support/Cases.js"
import { type Case, run } from "../../packages/sqs/test/support/Ward.js"
import { root } from "./pages.js"

interface Point {
  readonly at: number
  readonly visible: number
  readonly queueInFlight: number
  readonly interval: Figures.Interval
}

const every = 5

/** What the run shows, every five seconds. */
const observed = (
  scenario: Case
): { readonly points: ReadonlyArray<Point>; readonly diagnosis: Diagnosis.Diagnosis } => {
  const points: Array<Point> = []
  let before: Figures.Figures | undefined
  let at = 0
  const { diagnosis } = run(1, {
    ...scenario,
    meanwhile: (consumer, sqs) =>
      Effect.zipRight(
        Effect.fork(scenario.meanwhile?.(consumer, sqs) ?? Effect.void),
        Effect.gen(function* () {
          const now = yield* consumer.figures
          const { inFlight, visible } = yield* sqs.snapshot(scenario.fifo === true ? "work.fifo" : "work")
          if (before !== undefined)
            points.push({ at, visible, queueInFlight: inFlight, interval: Figures.since(before, now) })
          before = now
          at += every
        }).pipe(Effect.repeat(Schedule.fixed(`${every} seconds`)))
      )
  })
  return { points, diagnosis }
}

type Read = (point: Point) => number

const perSecond =
  (of: (stats: Figures.Interval["stats"]) => number): Read =>
  ({ interval }) =>
    of(interval.stats) / interval.seconds

const busy: Read = ({ interval }) => (interval.stages[0]?.busyTime ?? 0) / interval.seconds / 1000
const slots: Read = ({ interval }) => interval.stages[0]?.slots ?? 0
const handlerTime: Read = ({ interval }) => Histogram.mean(interval.handler) ?? 0
const callTime: Read = ({ interval }) =>
  (Histogram.mean(interval.calls.receive) ?? 0) + (Histogram.mean(interval.calls.ack) ?? 0)
const done = perSecond(({ acked, deadLettered }) => acked + deadLettered)

/** The figure that tells this cause from others, and one to hold it against. */
const telling: Readonly<
  Record<Diagnosis.Cause, readonly [title: string, lines: ReadonlyArray<readonly [string, Read]>]>
> = {
  TooFewSlots: [
    "Slots busy",
    [
      ["busy", busy],
      ["slots", slots]
    ]
  ],
  CpuBound: ["A handler’s time, ms", [["handler", handlerTime]]],
  SlowHandler: ["A handler’s time, ms", [["handler", handlerTime]]],
  SaturatedDownstream: [
    "Done a second, and handlers running",
    [
      ["done", done],
      ["running", busy]
    ]
  ],
  SlowCalls: [
    "Time of calls and of the handler, ms",
    [
      ["receive and ack", callTime],
      ["handler", handlerTime]
    ]
  ],
  ConnectionsExhausted: [
    "Time of calls and of the handler, ms",
    [
      ["receive and ack", callTime],
      ["handler", handlerTime]
    ]
  ],
  VisibilityTimeoutTooShort: [
    "Messages a second",
    [
      ["lost", perSecond(({ lost }) => lost)],
      ["received again", perSecond(({ redelivered }) => redelivered)]
    ]
  ],
  Throttled: [
    "Slots busy, and throttled calls a second",
    [
      ["busy", busy],
      ["throttled", ({ interval }) => interval.failedCalls.throttled / interval.seconds]
    ]
  ],
  IntakeTooSmall: [
    "Slots busy",
    [
      ["busy", busy],
      ["slots", slots]
    ]
  ],
  RateLimited: ["Received a second", [["received", perSecond(({ received }) => received)]]],
  Retries: [
    "Runs a second",
    [
      ["failed", perSecond(({ failed }) => failed)],
      ["succeeded", perSecond(({ handled }) => handled)]
    ]
  ],
  HotGroup: [
    "Groups in flight, and slots",
    [
      ["groups", ({ interval }) => interval.groupsInFlight],
      ["slots", slots]
    ]
  ],
  NoisyTenant: ["Groups in flight", [["groups", ({ interval }) => interval.groupsInFlight]]],
  StuckGroup: ["The oldest in flight, seconds", [["age", ({ interval }) => (interval.oldestInFlight ?? 0) / 1000]]],
  InFlightWindowFull: [
    "In flight in the queue, and here",
    [
      ["queue", ({ queueInFlight }) => queueInFlight],
      ["here", ({ interval }) => interval.stats.inFlight]
    ]
  ],
  ProducerBurst: ["Done a second", [["done", done]]],
  Paused: ["Received a second", [["received", perSecond(({ received }) => received)]]],
  CircuitOpen: [
    "Runs a second",
    [
      ["failed", perSecond(({ failed }) => failed)],
      ["succeeded", perSecond(({ handled }) => handled)]
    ]
  ]
}

const style = `text{font:13px system-ui,sans-serif;fill:#5a6472}.title{font-weight:600;font-size:14px}.grid{stroke:#dcd9d2}
.line{fill:none;stroke-width:2.25;stroke-linejoin:round}.line-1{stroke:#0b6e75}.line-2{stroke:#b3402a;stroke-dasharray:6 3}
@media (prefers-color-scheme:dark){text{fill:#a2a9b3}.grid{stroke:#303842}.line-1{stroke:#4fc3c7}.line-2{stroke:#f08a6c}}`

const panel = (chart: Chart, x: number): string => {
  const svg = /<svg [\s\S]*?<\/svg>/.exec(figure(chart))?.[0] ?? ""
  const legend = chart.lines
    .map(
      ({ colour, label }, i) =>
        `<line class="line line-${colour}" x1="${x + 54 + i * 150}" x2="${x + 78 + i * 150}" y1="36" y2="36"/><text x="${x + 84 + i * 150}" y="40">${label}</text>`
    )
    .join("")
  return `<text class="title" x="${x + 54}" y="18">${chart.title}</text>${chart.lines.length > 1 ? legend : ""}${svg.replace("<svg ", `<svg x="${x}" y="44" width="420" height="240" `)}`
}

const picture = (cause: Diagnosis.Cause, points: ReadonlyArray<Point>): string => {
  const [title, lines] = telling[cause]
  const drawn = (id: string, title: string, lines: ReadonlyArray<readonly [string, Read]>): Chart => ({
    id,
    title,
    description: `${lines.map(([label]) => label).join(", ")}, every ${every} seconds`,
    lines: lines.map(([label, read], i) => ({
      label,
      colour: i === 0 ? 1 : 2,
      points: points.map((point) => [point.at, Math.round(read(point) * 100) / 100])
    }))
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 290" role="img" aria-labelledby="title"><title id="title">${cause}: messages waiting; ${title}</title><style>${style}</style>${panel(
    drawn("backlog", "Messages waiting", [["waiting", ({ visible }) => visible]]),
    0
  )}${panel(drawn("telling", title, lines), 440)}</svg>\n`
}

for (const [cause, scenario] of Object.entries<Case>(causes)) {
  const { diagnosis, points } = observed(scenario)
  const finding = diagnosis.findings.find(({ _tag }) => _tag === cause)
  if (finding === undefined) throw new Error(`${cause} was not found: ${Diagnosis.render(diagnosis)}`)
  const page = join(root, "docs/diagnosis", `${finding.page}.md`)
  await writeFile(join(root, "docs/diagnosis/pictures", `${finding.page}.svg`), picture(finding._tag, points))
  const text = await readFile(page, "utf8")
  await writeFile(
    page,
    text.replace(/```text\n[\s\S]*?```/, () => `\`\`\`text\n${Diagnosis.render(diagnosis)}\n\`\`\``)
  )
  console.log(
    `${finding.page}: ${diagnosis.findings.map(({ _tag, score }) => `${_tag} ${score.toFixed(2)}`).join(", ")}`
  )
}
