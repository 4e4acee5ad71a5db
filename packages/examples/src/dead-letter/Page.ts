import { type Chart, escape } from "../backpressure/Chart.js"
import * as Document from "../Document.js"
import { count, table } from "../Format.js"
import * as Orders from "./Orders.js"
import type { Played, Sample } from "./Stage.js"

export interface Plays {
  readonly ours: Played
  readonly naive: Played
}

const last = ({ samples }: Played): Sample => samples.at(-1) ?? { at: 0, done: 0, handedOut: 0, dead: 0 }

const facts = (played: Played): ReadonlyArray<readonly [string, string]> => [
  ["orders done", `${count(last(played).done)} of ${count(Orders.total - 2)} that can be`],
  ["the two bad ones, handed out", `${count(last(played).handedOut)} times`],
  ["dead-lettered", count(last(played).dead)],
  [
    "the last of them after",
    played.deadLetters.length === 0 ? "–" : `${Math.max(...played.deadLetters.map(({ at }) => at))} s`
  ]
]

const contents = ({ deadLetters }: Played): ReadonlyArray<ReadonlyArray<string>> => [
  ["after", "attempt", "reason", "body"],
  ...deadLetters.map(({ at, attempt, body, reason }) => [`${at} s`, attempt ?? "–", reason ?? "(none)", body])
]

export const print = ({ naive, ours }: Plays): string => {
  const theirs = facts(naive)
  const rows = facts(ours).map(([term, value], i) => [term, value, theirs[i]?.[1] ?? ""])
  return [
    table([["", ours.name, naive.name], ...rows], ["left", "right", "right"]),
    ...[ours, naive].map(
      (played) =>
        `In ${Orders.deadLetters}, by ${played.name}:\n${table(contents(played), ["left", "left", "left", "left"])}`
    )
  ].join("\n\n")
}

const htmlTable = (played: Played): string => {
  const [head = [], ...rows] = contents(played)
  const cells = (of: ReadonlyArray<string>, tag: string) =>
    `<tr>${of.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`
  return `<h3>What ${Orders.deadLetters} then holds</h3><div class="table"><table>${cells(head, "th")}${rows.map((row) => cells(row, "td")).join("")}</table></div>`
}

const charts = ({ naive, ours }: Plays): ReadonlyArray<Chart> => {
  const lines = (of: (sample: Sample) => number) => [
    { label: ours.name, colour: 1 as const, points: ours.samples.map((s) => [s.at, of(s)] as const) },
    { label: naive.name, colour: 2 as const, points: naive.samples.map((s) => [s.at, of(s)] as const) }
  ]
  return [
    {
      id: "done",
      title: "Orders done",
      description: `${ours.name}: ${last(ours).done}. ${naive.name}: ${last(naive).done}.`,
      lines: lines(({ done }) => done)
    },
    {
      id: "handed-out",
      title: "The two bad orders, handed out so far",
      description: `${ours.name}: ${last(ours).handedOut} times. ${naive.name}: ${last(naive).handedOut} times.`,
      lines: lines(({ handedOut }) => handedOut)
    },
    {
      id: "dead",
      title: "Dead letters",
      description: `${ours.name} has ${last(ours).dead} at the end, ${naive.name} ${last(naive).dead}.`,
      lines: lines(({ dead }) => dead)
    }
  ]
}

export const html = (plays: Plays): string =>
  Document.page(
    "Dead letters: two orders that cannot be done",
    `${count(Orders.total)} orders come in, 5 a second, each half a second of work. The body of one does not decode, and one asks for what there will never be. The queue has a visibility timeout of 30 seconds, and takes away what has been received ${Orders.maxReceiveCount} times.`,
    [
      Document.section(
        "Side by side",
        [
          "Either way the queue flows on. What differs is how long the two bad orders go round, and what is known of them afterwards."
        ],
        "",
        charts(plays)
      ),
      Document.section(
        "Millrace",
        [
          "The one that does not decode is dead-lettered at once, since trying again cannot help; the other after three attempts, 1 and 2 seconds apart. Each is sent to the dead letters first and deleted after, with the reason and the attempt beside the body as it was."
        ],
        Document.facts(facts(plays.ours)) + htmlTable(plays.ours),
        []
      ),
      Document.section(
        "Loops that leave what fails",
        [
          "Each bad order comes again after its 30 seconds, until the queue's redrive policy takes it away. Nobody has noted why."
        ],
        Document.facts(facts(plays.naive)) + htmlTable(plays.naive),
        []
      )
    ].join("\n")
  )
