/**
 * Calls as a client makes them: counted, with the latency and the faults asked for, on Effect's Clock.
 *
 * Time passes for a queue at each call, and, while a poll waits, by one fiber that sleeps until the next thing is due.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Fault from "../../emulator/Fault.js"
import type * as SqsClient from "../../SqsClient.js"
import * as SqsError from "../../SqsError.js"
import { interrupt } from "../effect/fork.js"
import type { Engine } from "./Engine.js"
import type { Task } from "./MoveTasks.js"
import type { Queue } from "./Queue.js"
import { Refusal } from "./Refusal.js"
import * as Tags from "./Tags.js"

/** The operations of `SqsClient`, and those that only other clients use. */
export interface Api extends SqsClient.Service {
  readonly deleteMessage: (request: {
    readonly QueueUrl: string
    readonly ReceiptHandle: string
  }) => Effect.Effect<void, SqsError.SqsError>
  readonly changeMessageVisibility: (request: {
    readonly QueueUrl: string
    readonly ReceiptHandle: string
    readonly VisibilityTimeout: number
  }) => Effect.Effect<void, SqsError.SqsError>
  readonly addPermission: (request: {
    readonly QueueUrl: string
    readonly Label: string
    readonly AWSAccountIds: ReadonlyArray<string>
    readonly Actions: ReadonlyArray<string>
  }) => Effect.Effect<void, SqsError.SqsError>
  readonly removePermission: (request: {
    readonly QueueUrl: string
    readonly Label: string
  }) => Effect.Effect<void, SqsError.SqsError>
}

export interface Calls {
  readonly api: Api
  readonly counts: Map<Fault.Operation, number>
  readonly script: (operation: Fault.Operation, faults: ReadonlyArray<Fault.Fault>) => void
  readonly random: (odds: Fault.Odds, operations: ReadonlyArray<Fault.Operation> | undefined) => void
  readonly clearFaults: () => void
  /** Runs one step at the present instant, past counts and faults. */
  readonly at: <A>(operation: string, run: (now: number) => A) => Effect.Effect<A, SqsError.SqsError>
  /** The same on a queue, whose polls wake when they must. */
  readonly stepOn: <A>(
    operation: string,
    nameOrUrl: string,
    run: (queue: Queue, now: number) => A
  ) => Effect.Effect<A, SqsError.SqsError>
}

type Call<A> = Effect.Effect<A, SqsError.SqsError>

export const make = (engine: Engine, latency: Duration.Duration): Effect.Effect<Calls, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope): Calls => {
    const counts = new Map<Fault.Operation, number>()
    const scripts = new Map<Fault.Operation, Array<Fault.Fault>>()
    const odds = new Map<Fault.Operation, Fault.Odds>()
    let oddsForAll: Fault.Odds | undefined
    const slow = Duration.toMillis(latency) > 0

    // The waker: of each queue on which a poll waits, the instant it sleeps to and which of its fibers is the valid one.
    const wakers = new WeakMap<Queue, { at: number; turn: number; stop: () => void }>()

    /**
     * Sees to it that somebody wakes at `at`. A waker that nobody needs any more sleeps out its time, at most the 20
     * seconds of a poll, and ends: that is cheaper than to start another for each poll.
     */
    const wakeAt = (queue: Queue, at: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const waker = wakers.get(queue) ?? { at: Infinity, turn: 0, stop: () => {} }
        wakers.set(queue, waker)
        if (at >= waker.at) return Effect.void
        const turn = ++waker.turn
        waker.at = at
        waker.stop()
        const loop: Effect.Effect<void> = Effect.clockWith((clock) =>
          Effect.flatMap(clock.sleep(Duration.millis(Math.max(0, waker.at - clock.unsafeCurrentTimeMillis()))), () => {
            if (waker.turn !== turn) return Effect.void
            waker.at = Infinity
            queue.advance(clock.unsafeCurrentTimeMillis())
            waker.at = queue.nextInstant()
            if (waker.at !== Infinity) return loop
            waker.stop = () => {}
            return Effect.void
          })
        )
        return Effect.map(Effect.forkIn(Effect.interruptible(loop), scope), (fiber) => {
          if (waker.turn === turn) waker.stop = () => interrupt(fiber)
        })
      })

    const at = <A>(operation: string, run: (now: number) => A): Call<A> =>
      Effect.clockWith((clock) => {
        try {
          return Effect.succeed(run(clock.unsafeCurrentTimeMillis()))
        } catch (refusal) {
          return refusal instanceof Refusal ? Effect.fail(refusal.toError(operation)) : Effect.die(refusal)
        }
      })

    const drawFault = (operation: Fault.Operation): Effect.Effect<Fault.Fault> => {
      const scripted = scripts.get(operation)?.shift()
      if (scripted !== undefined) return Effect.succeed(scripted)
      const drawn = odds.get(operation) ?? oddsForAll
      return drawn === undefined ? Effect.succeed(Fault.none) : Fault.draw(drawn, operation)
    }

    const lost = (operation: string) =>
      new SqsError.TransportError({ operation, message: "The emulator was told to lose this call's answer." })

    const suffer = <A>(
      operation: Fault.Operation,
      fault: Fault.Fault,
      run: (fault: Fault.Fault) => Call<A>
    ): Call<A> => {
      const taken =
        fault.fail !== undefined
          ? Effect.fail(fault.fail(operation))
          : fault.dropResponse === true
            ? Effect.zipRight(Effect.exit(run(fault)), Effect.fail(lost(operation)))
            : run(fault)
      const delayed = fault.delay === undefined ? taken : Effect.zipRight(Effect.sleep(fault.delay), taken)
      return slow
        ? Effect.flatMap(Effect.exit(delayed), (exit) => Effect.zipRight(Effect.sleep(latency), exit))
        : delayed
    }

    const call = <A>(operation: Fault.Operation, run: (fault: Fault.Fault) => Call<A>): Call<A> =>
      Effect.suspend(() => {
        counts.set(operation, (counts.get(operation) ?? 0) + 1)
        return scripts.size === 0 && odds.size === 0 && oddsForAll === undefined && !slow
          ? run(Fault.none)
          : Effect.flatMap(drawFault(operation), (fault) => suffer(operation, fault, run))
      })

    /** An operation that names no queue. */
    const plain = <A>(operation: Fault.Operation, run: (now: number) => A): Call<A> =>
      call(operation, () => at(operation, run))

    const stepOn = <A>(operation: string, queueUrl: string, run: (queue: Queue, now: number) => A): Call<A> =>
      Effect.suspend(() => {
        let queue: Queue | undefined
        const step = at(operation, (now) => {
          queue = engine.find(queueUrl)
          queue.advance(now)
          return run(queue, now)
        })
        return Effect.flatMap(step, (value) => {
          const next = queue?.nextInstant() ?? Infinity
          return queue === undefined || next === Infinity
            ? Effect.succeed(value)
            : Effect.as(wakeAt(queue, next), value)
        })
      })

    const on = <A>(operation: Fault.Operation, queueUrl: string, run: (queue: Queue, now: number) => A): Call<A> =>
      call(operation, () => stepOn(operation, queueUrl, run))

    const batch =
      <Entry, Success>(
        operation: Fault.Operation,
        run: (request: SqsClient.BatchRequest<Entry>, queue: Queue, now: number) => SqsClient.BatchResult<Success>
      ) =>
      (request: SqsClient.BatchRequest<Entry>): Call<SqsClient.BatchResult<Success>> =>
        call(operation, ({ failEntries: failing }) =>
          stepOn(operation, request.QueueUrl, (queue, now) => {
            if (failing === undefined) return run(request, queue, now)
            const kept = request.Entries.filter((_, position) => !failing.at(position))
            const failed = request.Entries.filter((_, position) => failing.at(position)).map(({ Id }) => ({
              Id,
              Code: failing.code,
              SenderFault: failing.senderFault,
              Message: failing.message
            }))
            if (kept.length === 0 && failed.length > 0) return { Successful: [], Failed: failed }
            const result = run({ QueueUrl: request.QueueUrl, Entries: kept }, queue, now)
            return { Successful: result.Successful, Failed: [...result.Failed, ...failed] }
          })
        )

    type Received = ReadonlyArray<SqsClient.ReceivedMessage>

    const receiveMessage: SqsClient.Service["receiveMessage"] = (request, options) =>
      call("ReceiveMessage", (fault) =>
        Effect.flatMap(
          stepOn("ReceiveMessage", request.QueueUrl, (queue, now) => {
            const { receive: asked, wait } = queue.checkReceive(request)
            const receive = {
              ...asked,
              max: Math.min(asked.max, fault.atMost ?? asked.max),
              duplicate: fault.duplicate === true && !queue.fifo
            }
            const waits = wait > 0
            return { queue, receive, until: now + wait, waits, messages: queue.receive(receive, now, waits) }
          }),
          ({ queue, receive, until, waits, messages }) =>
            messages.length > 0 || !waits
              ? Effect.succeed(messages)
              : Effect.zipRight(
                  wakeAt(queue, queue.nextInstant(until)),
                  Effect.flatMap(Effect.clock, (clock) =>
                    waitFor(queue, receive, until, clock, fault.strand === true, options?.stop)
                  )
                )
        )
      )

    const waitFor = (
      queue: Queue,
      receive: Parameters<Queue["wait"]>[0],
      until: number,
      clock: Clock.Clock,
      strand: boolean,
      stop: Effect.Effect<void> | undefined
    ): Call<Received> => {
      let poll: ReturnType<Queue["wait"]> | undefined
      const answered = Effect.async<Received, SqsError.SqsError>((resume) => {
        const waiting = queue.wait(receive, until, (answer) =>
          resume(answer instanceof Refusal ? Effect.fail(answer.toError("ReceiveMessage")) : Effect.succeed(answer))
        )
        poll = waiting
        // Something may have become visible since it was looked for.
        queue.advance(clock.unsafeCurrentTimeMillis())
        return Effect.sync(() => {
          if (!strand) queue.giveUp(waiting)
        })
      })
      if (stop === undefined || strand) return answered
      const end = Effect.sync(() => {
        if (poll !== undefined) queue.end(poll)
      })
      return Effect.flatMap(Effect.fork(Effect.zipRight(stop, end)), (ending) =>
        Effect.ensuring(answered, Fiber.interruptFork(ending))
      )
    }

    /** One step of a move task; polls that wait where it moves to wake when they must. */
    const stepOf = (task: Task): Effect.Effect<void> =>
      Effect.clockWith((clock) => {
        const queues = task.advance(clock.unsafeCurrentTimeMillis())
        return Effect.forEach(
          queues,
          (queue) => {
            const next = queue.nextInstant()
            return next === Infinity ? Effect.void : wakeAt(queue, next)
          },
          { discard: true }
        )
      })

    const goOn = (task: Task): Effect.Effect<void> =>
      Effect.clockWith((clock) => {
        if (task.status !== "RUNNING") return Effect.void
        const now = clock.unsafeCurrentTimeMillis()
        return Effect.zipRight(
          clock.sleep(Duration.millis(task.nextInstant(now) - now)),
          Effect.zipRight(stepOf(task), goOn(task))
        )
      })

    const startMoveTask: SqsClient.Service["startMessageMoveTask"] = (request) =>
      call("StartMessageMoveTask", () =>
        Effect.flatMap(
          at("StartMessageMoveTask", (now) => engine.moveTasks.start(request, now)),
          (task) =>
            Effect.as(
              Effect.zipRight(stepOf(task), Effect.forkIn(Effect.interruptible(goOn(task)), scope)),
              task.handle
            )
        )
      )

    const api: Api = {
      sendMessage: (request) =>
        on("SendMessage", request.QueueUrl, (queue, now) => {
          queue.checkOrdering(request)
          return queue.send(request, now, "call")
        }),
      sendMessageBatch: batch("SendMessageBatch", (request: SqsClient.BatchRequest<SqsClient.SendFields>, queue, now) =>
        engine.sendBatch(request, queue, now)
      ),
      receiveMessage,
      deleteMessage: (request) =>
        on("DeleteMessage", request.QueueUrl, (queue, now) => queue.delete(request.ReceiptHandle, now)),
      deleteMessageBatch: batch(
        "DeleteMessageBatch",
        (request: SqsClient.BatchRequest<SqsClient.ReceiptEntry>, queue, now) => engine.deleteBatch(request, queue, now)
      ),
      changeMessageVisibility: (request) =>
        on("ChangeMessageVisibility", request.QueueUrl, (queue, now) =>
          queue.changeVisibility(request.ReceiptHandle, request.VisibilityTimeout, now)
        ),
      changeMessageVisibilityBatch: batch(
        "ChangeMessageVisibilityBatch",
        (request: SqsClient.BatchRequest<SqsClient.VisibilityEntry>, queue, now) =>
          engine.changeVisibilityBatch(request, queue, now)
      ),
      getQueueUrl: (request) =>
        plain("GetQueueUrl", () =>
          engine.queueUrl(engine.findOwned(request.QueueName, request.QueueOwnerAWSAccountId).name)
        ),
      getQueueAttributes: (request) =>
        on("GetQueueAttributes", request.QueueUrl, (queue) => engine.attributes(queue, request.AttributeNames ?? [])),
      setQueueAttributes: (request) =>
        on("SetQueueAttributes", request.QueueUrl, (queue, now) =>
          engine.setAttributes(queue, request.Attributes, now)
        ),
      createQueue: (request) => plain("CreateQueue", (now) => engine.queueUrl(engine.create(request, now).name)),
      deleteQueue: (request) => on("DeleteQueue", request.QueueUrl, (queue, now) => engine.delete(queue, now)),
      purgeQueue: (request) => on("PurgeQueue", request.QueueUrl, (queue, now) => queue.purge(now)),
      listQueues: (request) => plain("ListQueues", () => engine.list(request)),
      listDeadLetterSourceQueues: (request) =>
        on("ListDeadLetterSourceQueues", request.QueueUrl, (queue) => engine.listDeadLetterSources(request, queue)),
      listQueueTags: (request) => on("ListQueueTags", request.QueueUrl, (queue) => Object.fromEntries(queue.tags)),
      tagQueue: (request) =>
        on("TagQueue", request.QueueUrl, (queue) => Tags.put(queue.tags, request.Tags, queue.name)),
      untagQueue: (request) => on("UntagQueue", request.QueueUrl, (queue) => Tags.remove(queue.tags, request.TagKeys)),
      startMessageMoveTask: startMoveTask,
      cancelMessageMoveTask: ({ TaskHandle }) =>
        plain("CancelMessageMoveTask", () => engine.moveTasks.cancel(TaskHandle)),
      listMessageMoveTasks: (request) => plain("ListMessageMoveTasks", () => engine.moveTasks.list(request)),
      addPermission: (request) =>
        on("AddPermission", request.QueueUrl, (queue, now) => engine.addPermission(queue, request, now)),
      removePermission: (request) =>
        on("RemovePermission", request.QueueUrl, (queue, now) => engine.removePermission(queue, request.Label, now))
    }

    return {
      api,
      counts,
      at,
      stepOn,
      script: (operation, faults) => {
        scripts.set(operation, [...(scripts.get(operation) ?? []), ...faults])
      },
      random: (drawn, operations) => {
        if (operations === undefined) oddsForAll = drawn
        else for (const operation of operations) odds.set(operation, drawn)
      },
      clearFaults: () => {
        scripts.clear()
        odds.clear()
        oddsForAll = undefined
      }
    }
  })
