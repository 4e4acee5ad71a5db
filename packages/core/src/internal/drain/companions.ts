/**
 * The consumers that run within a pipeline beside the one that it is given, as where it merges a second queue: whoever
 * stops the pipeline drains them all.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import type * as Scope from "effect/Scope"

export interface Companion<Report> {
  readonly drain: (deadline: Duration.Duration) => Effect.Effect<Report>
}

export interface Report {
  readonly finished: number
  readonly released: number
  readonly lost: number
  readonly stranded: number
}

/** Those of the pipeline in which a fiber runs; none where nobody stops it as a whole. */
export const companions: FiberRef.FiberRef<Set<Companion<Report>> | undefined> = FiberRef.unsafeMake<
  Set<Companion<Report>> | undefined
>(undefined)

/** One more, until its scope is closed. */
export const join = (companion: Companion<Report>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(FiberRef.get(companions), (all) =>
    all === undefined
      ? Effect.void
      : Effect.asVoid(
          Effect.acquireRelease(
            Effect.sync(() => all.add(companion)),
            () => Effect.sync(() => all.delete(companion))
          )
        )
  )
