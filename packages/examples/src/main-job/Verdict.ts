/**
 * Whether the job did what it promised. Judged from what the queue says and from the handler's own record, not from the
 * consumer's counters; pure, so that its tests can tamper with the figures.
 */
import type { Look } from "./Record.js"
import type { Witness } from "./Target.js"

export interface Evidence {
  readonly sent: Look["sent"]
  readonly successes: Look["successes"]
  readonly failures: number
  /** What came out of the end of the stream. */
  readonly tallied: number
  readonly witness: Witness | { readonly left: number }
  readonly order: Look["order"]
  readonly maxInFlight: number
  /** What the consumer says of itself. */
  readonly stats: {
    readonly acked: number
    readonly redelivered: number
    readonly peakInFlight: number
    readonly polls: number
    readonly settleCalls: number
  }
  /** From the first send to the last success. */
  readonly seconds: number
}

export interface Summary {
  readonly sent: number
  /** Sent, and handled with success at least once. */
  readonly handled: number
  /** Deleted in the queue. */
  readonly acked: number
  /** Sent, and never handled with success. */
  readonly lost: number
  /** Handled with success more than once. */
  readonly duplicates: number
  /** Receives beyond a message's first. */
  readonly redelivered: number
  /** Runs of the handler that failed. */
  readonly failures: number
  /** Still in the queue at the end. */
  readonly left: number
  readonly maxInFlight: number
  readonly peakInFlight: number
  /** Receives, deletes and changes of visibility. */
  readonly calls: number
  readonly seconds: number
}

export interface Check {
  readonly claim: string
  readonly holds: boolean
  readonly found: string
}

export interface Verdict {
  readonly holds: boolean
  readonly checks: ReadonlyArray<Check>
  readonly summary: Summary
}

/** The calls that a consumer makes. */
const consuming = ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"]

const summarize = ({ failures, maxInFlight, seconds, sent, stats, successes, witness }: Evidence): Summary => {
  const handled = [...sent].filter((id) => successes.has(id)).length
  const counted =
    "acks" in witness
      ? {
          acked: witness.deleted,
          redelivered: witness.receives - sent.size,
          peakInFlight: witness.peakInFlight,
          calls: consuming.reduce((sum, operation) => sum + (witness.calls[operation] ?? 0), 0)
        }
      : { ...stats, calls: stats.polls + stats.settleCalls }
  return {
    sent: sent.size,
    handled,
    acked: counted.acked,
    lost: sent.size - handled,
    duplicates: [...successes.values()].filter((times) => times > 1).length,
    redelivered: counted.redelivered,
    failures,
    left: witness.left,
    maxInFlight,
    peakInFlight: counted.peakInFlight,
    calls: counted.calls,
    seconds
  }
}

const n = (count: number) => count.toLocaleString("en")

export const judge = (evidence: Evidence): Verdict => {
  const { sent, successes, tallied, witness } = evidence
  const summary = summarize(evidence)
  const known = "acks" in witness
  const ackedOnce = known ? [...sent].filter((id) => witness.acks.get(id) === 1).length : summary.acked
  const unhandledAcks = known ? [...witness.acks.keys()].filter((id) => !successes.has(id)).length : 0
  const strangers = [...successes.keys()].filter((id) => !sent.has(id)).length
  const runs = [...successes.values()].reduce((sum, times) => sum + times, 0)
  const checks: ReadonlyArray<Check> = [
    {
      claim: "every message handled, none lost",
      holds: summary.sent > 0 && summary.lost === 0 && strangers === 0,
      found: `${n(summary.handled)} of ${n(summary.sent)}${strangers > 0 ? `, and ${n(strangers)} that were not sent` : ""}`
    },
    {
      claim: "every message acked once, none before it was handled",
      holds: ackedOnce === summary.sent && summary.acked === summary.sent && unhandledAcks === 0,
      found: `${n(ackedOnce)} of ${n(summary.sent)} once, ${n(summary.acked)} deletes, ${n(unhandledAcks)} unhandled`
    },
    {
      claim: known ? "no message handled twice" : "no message handled twice (AWS may deliver one twice)",
      holds: !known || summary.duplicates === 0,
      found: n(summary.duplicates)
    },
    {
      claim: known ? "nothing left in the queue" : "nothing left in the queue (AWS counts behind time)",
      holds: !known || summary.left === 0,
      found: n(summary.left)
    },
    {
      claim: "in flight never over the bound",
      holds: summary.peakInFlight > 0 && summary.peakInFlight <= summary.maxInFlight,
      found: `${n(summary.peakInFlight)} of ${n(summary.maxInFlight)} at most`
    },
    {
      claim: "every success in the result",
      holds: tallied === runs,
      found: `${n(tallied)} of ${n(runs)}`
    }
  ]
  const inOrder: Check = {
    claim: "each repository's webhooks one at a time, in order",
    holds: evidence.order.broken === 0,
    found: `${n(evidence.order.groups)} repositories, ${n(evidence.order.broken)} out of order`
  }
  const all = evidence.order.groups === 0 ? checks : [...checks, inOrder]
  return { holds: all.every(({ holds }) => holds), checks: all, summary }
}

export const exitCode = ({ holds }: Verdict): number => (holds ? 0 : 1)
