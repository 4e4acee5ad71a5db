// MemoryQueue against a model that is slow and plain: an array of messages, and the rule of the port said once.
import type { LeaseQueue } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Duration, Effect, Random } from "effect"
import { describe, expect, it } from "vitest"
import { seeds } from "../../../../test/long.js"

interface Modelled {
  readonly number: number
  readonly group: string
  attempt: number
  /** The end of its lease; 0 while it is visible. */
  deadline: number
  gone: boolean
  lease: LeaseQueue.Lease | undefined
}

const program = (ordered: boolean) =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make({ ordered })
    const messages: Array<Modelled> = []
    const repeats = new Map<string, ReadonlyArray<Modelled>>()
    const alive = () => messages.filter(({ gone }) => !gone)
    const inFlight = () => alive().filter(({ deadline }) => deadline > 0)
    const receivable = () =>
      alive().filter(
        (message) =>
          message.deadline === 0 &&
          !(ordered && inFlight().some(({ group, number }) => group === message.group && number < message.number))
      )
    /** A receive can be repeated while all of its messages are as it left them. */
    const touch = (message: Modelled) => {
      for (const [id, touched] of repeats) if (touched.includes(message)) repeats.delete(id)
    }
    const oneInFlight = Effect.suspend(() => {
      const all = inFlight()
      return Effect.map(Random.nextIntBetween(0, Math.max(all.length, 1)), (i) => all[i])
    })

    for (let turn = 0; turn < 300; turn++) {
      const now = yield* Clock.currentTimeMillis
      for (const message of inFlight()) {
        if (message.deadline > now) continue
        message.deadline = 0
        touch(message)
      }
      const what = yield* Random.nextIntBetween(0, 10)
      if (what < 3) {
        const group = `${yield* Random.nextIntBetween(0, 4)}`
        yield* queue.send([{ body: `${messages.length}`, group }])
        messages.push({ number: messages.length, group, attempt: 0, deadline: 0, gone: false, lease: undefined })
      } else if (what < 6) {
        const max = yield* Random.nextIntBetween(1, 11)
        const attemptId = `${yield* Random.nextIntBetween(0, 3)}`
        const received = yield* queue.receive({ max, wait: Duration.zero, attemptId })
        const got = received.map(({ body }) => messages[Number(body)]).filter((message) => message !== undefined)
        const repeated = ordered ? repeats.get(attemptId) : undefined
        if (repeated !== undefined) {
          expect(got).toEqual(repeated)
        } else {
          const could = receivable()
          expect(received).toHaveLength(Math.min(max, could.length))
          for (const group of new Set(messages.map(({ group }) => group))) {
            const run = got.filter((message) => message.group === group)
            const of = could.filter((message) => message.group === group)
            if (ordered) expect(run).toEqual(of.slice(0, run.length))
            else for (const message of run) expect(of).toContain(message)
          }
          for (const message of got) message.attempt += 1
          if (ordered && got.length > 0) repeats.set(attemptId, got)
        }
        for (const [i, message] of got.entries()) {
          message.deadline = now + 30_000
          message.lease = received[i]?.lease
        }
        expect(received.map(({ attempt }) => attempt)).toEqual(got.map(({ attempt }) => attempt))
      } else if (what < 8) {
        const message = yield* oneInFlight
        if (message?.lease === undefined) continue
        expect(yield* queue.ack([message.lease])).toMatchObject([{ _tag: "Right" }])
        message.gone = true
        touch(message)
      } else if (what < 9) {
        const message = yield* oneInFlight
        if (message?.lease === undefined) continue
        const seconds = yield* Random.nextIntBetween(0, 60)
        const [result] = yield* queue.setLease([{ lease: message.lease, duration: Duration.seconds(seconds) }])
        expect(result).toMatchObject({ _tag: "Right" })
        message.deadline = seconds === 0 ? 0 : now + seconds * 1000
        touch(message)
      } else {
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 30_000))
        continue
      }
      expect(yield* queue.stats).toMatchObject({
        visible: alive().length - inFlight().length,
        inFlight: inFlight().length,
        acked: messages.length - alive().length
      })
    }
  })

describe("MemoryQueue does what a plain model does", () => {
  it("standard", () => Simulation.check({ seeds: seeds({ short: 10, long: 40 }), order: "fifo" }, program(false)))
  it("ordered", () => Simulation.check({ seeds: seeds({ short: 10, long: 40 }), order: "fifo" }, program(true)))
})
