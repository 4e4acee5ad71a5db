/**
 * What happens to a delivery after its handler failed. A policy is a value; it is asked once a failure and answers with
 * a settlement, or passes the question on.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Pipeable from "effect/Pipeable"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import { DecodeError, type Delivery, type HandlerDefect, type HandlerTimeout, inFlight } from "./Delivery.js"
import * as Settlement from "./Settlement.js"

/** What a policy is told: the handler's own error, the defect that it died of, or that it took too long. */
export type Failure<E> = E | HandlerDefect | HandlerTimeout

/** What happens next: a settlement, or another run in the same slot. */
export type Decision = Settlement.Settlement | { readonly _tag: "RunAgain"; readonly delay: Duration.Duration }

/**
 * @typeParam E - the failures it can treat.
 */
export interface RetryPolicy<in E> extends Pipeable.Pipeable {
  /** `None` passes the question on. */
  readonly decide: (failure: E, delivery: Delivery<unknown, unknown>) => Effect.Effect<Option.Option<Decision>>
}

const make = <E>(decide: RetryPolicy<E>["decide"]): RetryPolicy<E> => ({
  decide,
  pipe() {
    // biome-ignore lint/complexity/noArguments: what `pipeArguments` takes
    return Pipeable.pipeArguments(this, arguments)
  }
})

const always = (settle: (failure: unknown) => Settlement.Settlement): RetryPolicy<unknown> =>
  make((failure) => Effect.sync(() => Option.some(settle(failure))))

/** Leaves it to the queue: delivered again after the queue's own timeout, set anew, or moved by its redrive policy. */
export const leave: RetryPolicy<unknown> = always(() => Settlement.leave)

/** Acks it all the same: the failure is counted and the message is gone. */
export const discard: RetryPolicy<unknown> = always(() => Settlement.ack)

/** Moves it to the dead letters with the failure as the reason; leaves it to the queue where there are none. */
export const deadLetter: RetryPolicy<unknown> = always((failure) => Settlement.deadLetter(reason(failure)))

const reason = (failure: unknown): string => {
  const tag = typeof failure === "object" && failure !== null && "_tag" in failure ? String(failure._tag) : undefined
  const text = failure instanceof Error ? failure.message : typeof failure === "string" ? failure : undefined
  return [tag, text ?? (tag === undefined ? String(failure) : undefined)].filter((part) => part).join(": ")
}

/**
 * Visible again after the delay that `schedule` has for this attempt: it is stepped from its start, once for each
 * attempt so far, with the present failure as its input. Passes on when the schedule is over, or after `attempts`
 * attempts, runs in place included (default: no end). A delay is cut to what is left of the longest lease (SQS: 12
 * hours). In a lane the message is held here instead, up to `holdLimit` of the stage, so that nothing overtakes it.
 */
export const redeliver = <E = unknown>(
  schedule: Schedule.Schedule<unknown, E>,
  options?: { readonly attempts?: number | undefined }
): RetryPolicy<E> =>
  make((failure, delivery) =>
    delivery.attempt >= (options?.attempts ?? Number.POSITIVE_INFINITY)
      ? Effect.succeedNone
      : Effect.map(
          delayAt(schedule, failure, delivery.attempt - inFlight(delivery).retries),
          Option.map((delay) => Settlement.retry(delay))
        )
  )

/**
 * Runs the handler again in its slot, after the schedule's delays; passes on when the schedule is over. For failures
 * that are over in a moment: the slot is taken meanwhile. No receive is spent on it.
 */
export const inPlace = <E = unknown>(schedule: Schedule.Schedule<unknown, E>): RetryPolicy<E> =>
  make((failure, delivery) =>
    Effect.map(
      delayAt(schedule, failure, inFlight(delivery).retriesInARow + 1),
      Option.map((delay): Decision => ({ _tag: "RunAgain", delay }))
    )
  )

/** A schedule's delays have long reached their cap by then. */
const mostSteps = 1000

const delayAt = <E>(schedule: Schedule.Schedule<unknown, E>, input: E, step: number) =>
  Effect.gen(function* () {
    let now = yield* Clock.currentTimeMillis
    let state = schedule.initial
    const last = Math.min(step, mostSteps)
    for (let i = 1; ; i++) {
      const [next, , decision] = yield* schedule.step(now, input, state)
      if (ScheduleDecision.isDone(decision)) return Option.none<Duration.Duration>()
      const start = ScheduleIntervals.start(decision.intervals)
      if (i >= last) return Option.some(Duration.millis(Math.max(0, start - now)))
      state = next
      now = Math.max(now, start)
    }
  })

/** Where the first policy passes, the second decides. */
export const orElse: {
  <E2>(that: RetryPolicy<E2>): <E>(self: RetryPolicy<E>) => RetryPolicy<E & E2>
  <E, E2>(self: RetryPolicy<E>, that: RetryPolicy<E2>): RetryPolicy<E & E2>
} = dual(
  2,
  <E, E2>(self: RetryPolicy<E>, that: RetryPolicy<E2>): RetryPolicy<E & E2> =>
    make((failure, delivery) =>
      Effect.flatMap(self.decide(failure, delivery), (decision) =>
        Option.isSome(decision) ? Effect.succeed(decision) : that.decide(failure, delivery)
      )
    )
)

const poison: RetryPolicy<unknown> = make((failure, delivery) =>
  failure instanceof DecodeError ? deadLetter.decide(failure, delivery) : Effect.succeedNone
)

const patient = Schedule.exponential("1 second").pipe(Schedule.union(Schedule.spaced("15 minutes")), Schedule.jittered)

/**
 * What `process` does unless told otherwise: a body that does not decode is dead-lettered, since trying again cannot
 * help; anything else comes back after 1, 2, 4 … seconds, at most 15 minutes, jittered, until the queue's own redrive
 * policy takes it away.
 */
export const standard: RetryPolicy<unknown> = orElse(poison, redeliver(patient))

type Tags<E> = E extends { readonly _tag: infer Tag extends string } ? Tag : never

/**
 * A policy for each error tag; an error whose tag is not named passes on.
 *
 * @example
 * RetryPolicy.match<OutOfStock | HttpError>()({
 *   OutOfStock: RetryPolicy.deadLetter,
 *   HttpError: RetryPolicy.redeliver(Schedule.exponential("1 second"))
 * })
 */
export const match =
  <E>() =>
  <Cases extends { readonly [Tag in Tags<E>]?: RetryPolicy<Extract<E, { readonly _tag: Tag }>> }>(
    cases: Cases & { readonly [Tag in Exclude<keyof Cases, Tags<E>>]: never }
  ): RetryPolicy<unknown> => {
    const byTag = new Map<unknown, RetryPolicy<never>>(Object.entries(cases))
    return make((failure, delivery) => {
      const tag = typeof failure === "object" && failure !== null && "_tag" in failure ? failure._tag : undefined
      const policy = byTag.get(tag)
      return policy === undefined ? Effect.succeedNone : policy.decide(failure as never, delivery)
    })
  }

/** A policy, or a function from the failure to one: an inline handler then keeps its error type. */
export type PolicyInput<F, D> = RetryPolicy<F> | ((failure: F, delivery: D) => RetryPolicy<F>)

/** @internal */
export const decide = <F, D extends Delivery<unknown, unknown>>(
  policy: PolicyInput<F, D>,
  failure: F,
  delivery: D
): Effect.Effect<Decision> =>
  Effect.suspend(() =>
    Effect.map(
      (typeof policy === "function" ? policy(failure, delivery) : policy).decide(failure, delivery),
      Option.getOrElse(() => Settlement.leave)
    )
  )
