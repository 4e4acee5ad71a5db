/**
 * The fast engine against a naive one that scans a list: any history of sends, receives, deletes, changes and waits
 * must hand out the same messages, whatever heaps and lists the engine keeps.
 */
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { Engine } from "../../src/internal/emulator/Engine.js"
import type { Queue } from "../../src/internal/emulator/Queue.js"
import { Refusal } from "../../src/internal/emulator/Refusal.js"

type Command =
  | { readonly _tag: "Send"; readonly group: number; readonly delay: number }
  | { readonly _tag: "Receive"; readonly max: number; readonly lease: number }
  | { readonly _tag: "Delete"; readonly pick: number }
  | { readonly _tag: "Change"; readonly pick: number; readonly timeout: number }
  | { readonly _tag: "Wait"; readonly millis: number }

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("Send" as const), group: fc.nat(3), delay: fc.nat(4) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("Receive" as const),
      max: fc.integer({ min: 1, max: 10 }),
      lease: fc.nat(9)
    })
  },
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("Delete" as const), pick: fc.nat(999) }) },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("Change" as const), pick: fc.nat(999), timeout: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("Wait" as const), millis: fc.nat(9_000) }) }
)

const retention = 60_000
const maxReceiveCount = 3
const queueDelay = 2

interface Kept {
  readonly body: string
  readonly group: string
  readonly sentAt: number
  state: "visible" | "inFlight" | "delayed"
  due: number
  receives: number
  leasedAt: number
  /** Its place in a standard queue's line. */
  turn: number
}

class Model {
  kept: Array<Kept> = []
  dead: Array<string> = []
  private turn = 0
  private readonly fifo: boolean
  constructor(fifo: boolean) {
    this.fifo = fifo
  }

  send(body: string, group: string, delay: number, now: number): void {
    const state = delay > 0 ? "delayed" : "visible"
    const due = now + delay * 1_000
    this.kept.push({ body, group, sentAt: now, state, due, receives: 0, leasedAt: -1, turn: ++this.turn })
  }
  pass(now: number): void {
    this.kept = this.kept.filter(({ sentAt }) => sentAt + retention > now)
    const due = this.kept.filter(({ state, due }) => state !== "visible" && due <= now)
    for (const message of due.sort((a, b) => a.due - b.due)) this.show(message, message.due === message.leasedAt)
  }
  show(message: Kept, atOnce: boolean): void {
    message.state = "visible"
    if (atOnce) message.turn = ++this.turn
  }
  /** Of a FIFO group, the run of visible messages before the first that is not; of a standard queue, all visible. */
  receivable(): Array<Kept> {
    const blocked = new Set<string>()
    return this.kept.filter((message) => {
      if (message.state !== "visible") blocked.add(message.group)
      return message.state === "visible" && !(this.fifo && blocked.has(message.group))
    })
  }
  bury(message: Kept): void {
    this.kept = this.kept.filter((other) => other !== message)
    this.dead.push(message.body)
  }
}

const run = (fifo: boolean, commands: ReadonlyArray<Command>): void => {
  const engine = new Engine({
    region: "us-east-1",
    accountId: "000000000000",
    url: "",
    keepDeleted: 0,
    inFlightLimit: 120_000,
    waits: true,
    seed: [1, 2]
  })
  const suffix = fifo ? ".fifo" : ""
  const common: Record<string, string> = fifo ? { FifoQueue: "true" } : {}
  const dlq = engine.create({ QueueName: `dlq${suffix}`, Attributes: common }, 0)
  const queue = engine.create(
    {
      QueueName: `q${suffix}`,
      Attributes: {
        ...common,
        MessageRetentionPeriod: "60",
        DelaySeconds: fifo ? String(queueDelay) : "0",
        RedrivePolicy: JSON.stringify({ deadLetterTargetArn: dlq.arn, maxReceiveCount })
      }
    },
    0
  )
  const model = new Model(fifo)
  const leases: Array<{ readonly handle: string; readonly message: Kept; readonly receive: number }> = []
  let now = 0
  let sent = 0

  const receive = (max: number, lease: number) => {
    const { receive } = queue.checkReceive({ QueueUrl: "q", MaxNumberOfMessages: max, VisibilityTimeout: lease })
    const got = queue.receive(receive, now)
    // What was received often enough has gone to the dead-letter queue on the way.
    const buried = [...dlq.all()].map(({ content }) => content.body)
    for (const body of buried) {
      const message = model.kept.find((kept) => kept.body === body)
      if (message === undefined) continue
      expect(message.receives, "dead-lettered only when received often enough").toBe(maxReceiveCount)
      model.bury(message)
    }
    const able = model.receivable().filter(({ receives }) => receives < maxReceiveCount)
    if (got.length < max) {
      // Nothing receivable was left; where a head is spent, all behind it was offered.
      expect(got.length).toBe(able.length)
    }
    const bodies = got.map(({ Body }) => Body)
    if (fifo) {
      const groups = [...new Set(able.map(({ group }) => group))]
      let cut = 0
      for (const group of groups) {
        const run = able.filter((kept) => kept.group === group).map(({ body }) => body)
        const mine = bodies.filter((body) => run.includes(body))
        expect(mine, "a run at its group's head").toEqual(run.slice(0, mine.length))
        if (mine.length > 0 && mine.length < run.length) cut++
      }
      expect(cut, "one group is drained before the next is begun").toBeLessThanOrEqual(1)
      expect(bodies.every((body) => able.some((kept) => kept.body === body))).toBe(true)
    } else {
      const order = able.sort((a, b) => a.turn - b.turn).map(({ body }) => body)
      expect(bodies).toEqual(order.slice(0, max))
    }
    for (const { Body, ReceiptHandle } of got) {
      const message = model.kept.find((kept) => kept.body === Body)
      if (message === undefined) throw new Error(`received ${Body}, which the model does not hold`)
      message.state = "inFlight"
      message.leasedAt = now
      message.due = now + lease * 1_000
      message.receives++
      leases.push({ handle: ReceiptHandle, message, receive: message.receives })
    }
  }

  const allowed = (call: () => void): boolean => {
    try {
      call()
      return true
    } catch (refusal) {
      if (refusal instanceof Refusal) return false
      throw refusal
    }
  }

  for (const each of commands) {
    queue.advance(now)
    model.pass(now)
    switch (each._tag) {
      case "Send": {
        const body = `m${++sent}`
        const group = `g${each.group}`
        const delay = fifo ? queueDelay : each.delay
        queue.send(
          fifo
            ? { MessageBody: body, MessageGroupId: group, MessageDeduplicationId: body }
            : { MessageBody: body, DelaySeconds: each.delay },
          now,
          "call"
        )
        model.send(body, group, delay, now)
        break
      }
      case "Receive":
        receive(each.max, each.lease)
        break
      case "Delete": {
        const lease = leases[each.pick % Math.max(1, leases.length)]
        if (lease === undefined) break
        const { message } = lease
        const latest = message.receives === lease.receive
        const held = model.kept.includes(message)
        const ok = allowed(() => queue.delete(lease.handle, now))
        expect(ok).toBe(!(fifo && held && !(latest && message.state === "inFlight")))
        if (ok && held && latest) model.kept = model.kept.filter((kept) => kept !== message)
        break
      }
      case "Change": {
        const lease = leases[each.pick % Math.max(1, leases.length)]
        if (lease === undefined) break
        const { message } = lease
        const held = model.kept.includes(message)
        const latest = message.receives === lease.receive
        const ok = allowed(() => queue.changeVisibility(lease.handle, each.timeout, now))
        expect(ok).toBe(held && !(fifo && !(latest && message.state === "inFlight")))
        if (ok && message.state === "inFlight") {
          message.due = now + each.timeout * 1_000
          if (each.timeout === 0) model.show(message, true)
        }
        break
      }
      case "Wait":
        now += each.millis
    }
    check(queue, model, now)
  }
}

const check = (queue: Queue, model: Model, now: number): void => {
  queue.advance(now)
  model.pass(now)
  const count = (state: Kept["state"]) => model.kept.filter((kept) => kept.state === state).length
  expect([queue.visible, queue.inFlight, queue.delayed]).toEqual([
    count("visible"),
    count("inFlight"),
    count("delayed")
  ])
}

describe("the engine agrees with a naive model", () => {
  for (const fifo of [false, true]) {
    it(fifo ? "FIFO" : "standard", () => {
      fc.assert(
        fc.property(fc.array(command, { maxLength: 300, size: "max" }), (commands) => run(fifo, commands)),
        { numRuns: 100, seed: 7 }
      )
    }, 60_000)
  }
})
