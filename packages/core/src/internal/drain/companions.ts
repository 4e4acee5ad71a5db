/**
 * The consumers that run within a pipeline beside the one that it is given, as where it merges a second queue: whoever
 * stops the pipeline drains them all.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Local from "../effect/local.js"

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
export const companions: Local.Local<Set<Companion<Report>> | undefined> = Local.make<
  Set<Companion<Report>> | undefined
>(undefined)

/** One more, until its scope is closed. */
export const join = (companion: Companion<Report>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(companions.get, (all) =>
    all === undefined
      ? Effect.void
      : Effect.asVoid(
          Effect.acquireRelease(
            Effect.sync(() => all.add(companion)),
            () => Effect.sync(() => all.delete(companion))
          )
        )
  )
