import { assert, describe, it } from "@effect/vitest"
import * as Verdict from "../src/main-job/Verdict.js"

const ids = ["a", "b", "c", "d"]
const once = (of: ReadonlyArray<string>) => new Map(of.map((id) => [id, 1]))

/** A run in which all went well: four messages, of which one failed once. */
const sound = {
  sent: new Set(ids),
  successes: once(ids),
  failures: 1,
  tallied: 4,
  witness: {
    acks: once(ids),
    deleted: 4,
    left: 0,
    receives: 5,
    peakInFlight: 3,
    calls: { ReceiveMessage: 2, DeleteMessageBatch: 1, ChangeMessageVisibilityBatch: 1, SendMessageBatch: 9 }
  },
  maxInFlight: 3,
  order: { groups: 0, broken: 0 },
  stats: { acked: 4, redelivered: 1, peakInFlight: 3, polls: 2, settleCalls: 2 },
  seconds: 2
} satisfies Verdict.Evidence

type Tampered = Partial<Omit<Verdict.Evidence, "witness">> & { readonly witness?: Partial<typeof sound.witness> }

const tampered = ({ witness, ...rest }: Tampered): Verdict.Evidence => ({
  ...sound,
  ...rest,
  witness: { ...sound.witness, ...witness }
})

describe("verdict", () => {
  it("holds for a sound run, and sums it up from the queue's own account", () => {
    const verdict = Verdict.judge(sound)
    assert.strictEqual(Verdict.exitCode(verdict), 0)
    assert.deepStrictEqual(verdict.summary, {
      sent: 4,
      handled: 4,
      acked: 4,
      lost: 0,
      duplicates: 0,
      redelivered: 1,
      failures: 1,
      left: 0,
      maxInFlight: 3,
      peakInFlight: 3,
      calls: 4,
      seconds: 2
    })
  })

  // A verdict that cannot fail is worth nothing: each claim, with the figure that must break it.
  const lies: ReadonlyArray<readonly [what: string, claim: string, evidence: Verdict.Evidence]> = [
    ["nothing was sent", "none lost", tampered({ sent: new Set(), successes: new Map(), tallied: 0 })],
    ["one was never handled", "none lost", tampered({ successes: once(["a", "b", "c"]), tallied: 3 })],
    ["one that was not sent was handled", "none lost", tampered({ successes: once([...ids, "x"]), tallied: 5 })],
    ["one was not deleted", "acked once", tampered({ witness: { acks: once(["a", "b", "c"]), deleted: 3, left: 1 } })],
    ["the deletes are one short", "acked once", tampered({ witness: { deleted: 3 } })],
    ["one was deleted twice", "acked once", tampered({ witness: { acks: new Map([...once(ids), ["a", 2]]) } })],
    [
      "one was deleted that was never handled",
      "acked once",
      tampered({ successes: once(["a", "b", "c"]), tallied: 3 })
    ],
    ["one was handled twice", "handled twice", tampered({ successes: new Map([...once(ids), ["b", 2]]), tallied: 5 })],
    ["one is left", "left in the queue", tampered({ witness: { left: 1 } })],
    ["one too many was in flight", "over the bound", tampered({ witness: { peakInFlight: 4 } })],
    ["nothing ever was in flight", "over the bound", tampered({ witness: { peakInFlight: 0 } })],
    ["a success is not in the result", "in the result", tampered({ tallied: 3 })],
    ["one overtook another", "in order", tampered({ order: { groups: 2, broken: 1 } })]
  ]

  it.each(lies)("fails where %s", (_, claim, evidence) => {
    const verdict = Verdict.judge(evidence)
    assert.strictEqual(Verdict.exitCode(verdict), 1)
    const failed = verdict.checks.filter(({ holds }) => !holds).map(({ claim }) => claim)
    assert.isTrue(
      failed.some((each) => each.includes(claim)),
      `"${claim}" is not among ${failed}`
    )
  })

  it("on AWS it is drawn from the consumer's figures, and lets at-least-once delivery be", () => {
    const aws = { ...sound, witness: { left: 2 }, successes: new Map([...once(ids), ["a", 2]]), tallied: 5 }
    assert.strictEqual(Verdict.exitCode(Verdict.judge(aws)), 0)
    assert.strictEqual(Verdict.judge(aws).summary.duplicates, 1)
    for (const lie of [
      { stats: { ...sound.stats, acked: 3 } },
      { stats: { ...sound.stats, peakInFlight: 4 } },
      { successes: once(["a", "b"]), tallied: 2 }
    ]) {
      assert.strictEqual(Verdict.exitCode(Verdict.judge({ ...aws, ...lie })), 1)
    }
  })
})
