/**
 * What lies between one consumer and the world: its calls to the queue and its clock. Through it the consumer can be
 * frozen, as a process that is stopped or a machine that sleeps, and cut off, as one that is killed: from then on it has
 * no effect on the queue, whatever its fibers still do.
 */
import { type SqsClient, SqsError } from "@millrace/sqs"
import { Clock, Duration, Effect, FiberId, Runtime } from "effect"
import type { RuntimeFiber } from "effect/Fiber"

type Client = SqsClient.Service

export interface Link {
  readonly client: Client
  readonly clock: Clock.Clock
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

const offline = new SqsError.TransportError({ operation: "any", message: "This consumer is cut off." })

/** `client` is the queue's; calls to it run on the clock of whoever makes the link. */
export const make = (client: Client): Effect.Effect<Link> =>
  Effect.gen(function* () {
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())
    const world = yield* Effect.clock
    const open = new Set<RuntimeFiber<unknown, unknown>>()
    let frozen = false
    let severed: "hang" | "fail" | undefined
    let waiting: Array<() => void> = []

    const whenThawed = (go: () => void) => {
      if (frozen) waiting.push(go)
      else go()
    }
    const thawed = Effect.async<void>((resume) => whenThawed(() => resume(Effect.void)))

    const through = <A>(
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
      unsafeCurrentTimeMillis: () => world.unsafeCurrentTimeMillis(),
      unsafeCurrentTimeNanos: () => world.unsafeCurrentTimeNanos(),
      currentTimeMillis: world.currentTimeMillis,
      currentTimeNanos: world.currentTimeNanos,
      sleep: (duration: Duration.Duration) => Effect.zipRight(world.sleep(duration), thawed)
    }

    return {
      clock,
      client: {
        ...client,
        receiveMessage: (request, options) => through(client.receiveMessage(request, options), longTimeLimit),
        deleteMessageBatch: (request) => through(client.deleteMessageBatch(request)),
        changeMessageVisibilityBatch: (request) => through(client.changeMessageVisibilityBatch(request)),
        sendMessageBatch: (request) => through(client.sendMessageBatch(request)),
        getQueueUrl: (request) => through(client.getQueueUrl(request))
      },
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
