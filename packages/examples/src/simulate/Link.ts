/**
 * What lies between one consumer and the world: its calls to the queue and its clock. Through it the consumer can be
 * frozen, as a process that is stopped or a machine that sleeps; denied, as by a policy or a queue that is gone; and cut
 * off, as one that is killed: from then on it has no effect on the queue, whatever its fibers still do. Its wall clock
 * can be stepped, as NTP does it, while the world's and its own timers go on.
 */
import { type SqsClient, SqsError } from "@millrace/sqs"
import type { Fault } from "@millrace/sqs/emulator"
import { Clock, Duration, Effect, FiberId, Runtime } from "effect"
import type { RuntimeFiber } from "effect/Fiber"

type Client = SqsClient.Service

/** Why the queue refuses, which operation (none: all), and until when by the world's clock. */
export interface Denial {
  readonly why: "QueueDoesNotExist" | "AccessDenied" | "InvalidCredentials"
  readonly operation: Fault.Operation | undefined
  readonly until: number
}

export interface Link {
  readonly client: Client
  readonly clock: Clock.Clock
  /** Refuses in place of what it has refused so far. */
  readonly deny: (denial: Denial) => void
  readonly denial: () => Denial | undefined
  /** Whether it has ever been denied so. */
  readonly wasDenied: (why: string) => boolean
  /** Steps the wall clock, back where it is negative. */
  readonly step: (millis: number) => void
  /** Milliseconds by which it has been stepped forward, all together. */
  readonly steppedAhead: () => number
  readonly freeze: () => void
  readonly thaw: () => void
  readonly isFrozen: () => boolean
  /** Calls under way are broken off; they, and those to come, fail when the client's patience ends, or at once. */
  readonly cut: (then: "hang" | "fail") => void
  readonly isCut: () => boolean
}

/** As the SDK's client has it. */
const timeLimit = Duration.seconds(5)
const longTimeLimit = Duration.seconds(25)
/** Of a call that is denied. */
const roundTrip = Duration.millis(20)

const offline = new SqsError.TransportError({ operation: "any", message: "This consumer is cut off." })

const refusal = ({ operation, why }: Denial): SqsError.SqsError =>
  new SqsError[why]({ operation: operation ?? "any", message: "This consumer is denied." })

/** `client` is the queue's; calls to it run on the clock of whoever makes the link. */
export const make = (client: Client): Effect.Effect<Link> =>
  Effect.gen(function* () {
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())
    const world = yield* Effect.clock
    const open = new Set<RuntimeFiber<unknown, unknown>>()
    let frozen = false
    let severed: "hang" | "fail" | undefined
    let waiting: Array<() => void> = []
    let denial: Denial | undefined
    const reasons = new Set<string>()
    let stepped = 0
    let ahead = 0

    const whenThawed = (go: () => void) => {
      if (frozen) waiting.push(go)
      else go()
    }
    const thawed = Effect.async<void>((resume) => whenThawed(() => resume(Effect.void)))

    const through = <A>(
      operation: Fault.Operation,
      call: Effect.Effect<A, SqsError.SqsError>,
      limit = timeLimit
    ): Effect.Effect<A, SqsError.SqsError> =>
      Effect.async((resume) => {
        const lost = Effect.suspend(() =>
          severed === "hang" ? Effect.zipRight(world.sleep(limit), Effect.fail(offline)) : Effect.fail(offline)
        )
        let ended = false
        let fiber: RuntimeFiber<A, SqsError.SqsError> | undefined
        whenThawed(() => {
          if (ended) return
          if (severed !== undefined) return resume(lost)
          if (
            denial !== undefined &&
            world.unsafeCurrentTimeMillis() < denial.until &&
            (denial.operation ?? operation) === operation
          ) {
            return resume(Effect.zipRight(world.sleep(roundTrip), Effect.fail(refusal(denial))))
          }
          const sent = runFork(call)
          fiber = sent
          open.add(sent)
          sent.addObserver((exit) => {
            open.delete(sent)
            whenThawed(() => resume(severed === undefined ? exit : lost))
          })
        })
        return Effect.sync(() => {
          ended = true
          fiber?.unsafeInterruptAsFork(FiberId.none)
        })
      })

    const clock: Clock.Clock = {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      unsafeCurrentTimeMillis: () => world.unsafeCurrentTimeMillis() + stepped,
      unsafeCurrentTimeNanos: () => world.unsafeCurrentTimeNanos(),
      currentTimeMillis: Effect.map(world.currentTimeMillis, (now) => now + stepped),
      currentTimeNanos: world.currentTimeNanos,
      sleep: (duration: Duration.Duration) => Effect.zipRight(world.sleep(duration), thawed)
    }

    return {
      clock,
      client: {
        ...client,
        receiveMessage: (request, options) =>
          through("ReceiveMessage", client.receiveMessage(request, options), longTimeLimit),
        deleteMessageBatch: (request) => through("DeleteMessageBatch", client.deleteMessageBatch(request)),
        changeMessageVisibilityBatch: (request) =>
          through("ChangeMessageVisibilityBatch", client.changeMessageVisibilityBatch(request)),
        sendMessageBatch: (request) => through("SendMessageBatch", client.sendMessageBatch(request)),
        getQueueUrl: (request) => through("GetQueueUrl", client.getQueueUrl(request))
      },
      deny: (given) => {
        denial = given
        reasons.add(given.why)
      },
      denial: () => denial,
      wasDenied: (why) => reasons.has(why),
      step: (millis) => {
        stepped += millis
        ahead += Math.max(0, millis)
      },
      steppedAhead: () => ahead,
      freeze: () => {
        frozen = true
      },
      thaw: () => {
        frozen = false
        const all = waiting
        waiting = []
        for (const go of all) whenThawed(go)
      },
      isFrozen: () => frozen,
      cut: (then) => {
        severed = then
        for (const fiber of open) fiber.unsafeInterruptAsFork(FiberId.none)
      },
      isCut: () => severed !== undefined
    }
  })
