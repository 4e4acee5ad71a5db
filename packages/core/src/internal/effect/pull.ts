/**
 * How stages take from a stream, and make one: by pulls. Between two stages nothing stands: a stage that reads another's stream,
 * with no operator of the user's between, pulls from it without a channel, which would cost as much as either.
 */
import * as Cause from "effect/Cause"
import type * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** Gives the next chunk; fails with none at the end. */
export type Pull<A, E, R = never> = Effect.Effect<Chunk.Chunk<A>, Option.Option<E>, R>

type Make<A, E, R, R2> = Effect.Effect<Pull<A, E, R2>, never, Scope.Scope | R>

const made = Symbol("made by a stage")

interface OfStage<A, E, R> {
  readonly [made]: Make<A, E, R, R>
}

const isOfStage = <A, E, R>(self: Stream.Stream<A, E, R>): self is Stream.Stream<A, E, R> & OfStage<A, E, R> =>
  made in self

/** As a channel does it: opened by the first pull, and closed with the scope, in its place of now. */
const opened = <A, E, R>(make: Make<A, E, R, R>): Effect.Effect<Pull<A, E, R>, never, Scope.Scope> =>
  Effect.map(
    Effect.flatMap(Effect.scope, (outer) => Scope.fork(outer, ExecutionStrategy.sequential)),
    (scope) => {
      let pull: Pull<A, E, R> | undefined
      const first = Effect.flatMap(Scope.extend(make, scope), (opened) => {
        pull = opened
        return opened
      })
      return Effect.suspend(() => pull ?? first)
    }
  )

/** Opens a stream for as long as the scope lasts. */
export const toPull = <A, E, R>(self: Stream.Stream<A, E, R>): Effect.Effect<Pull<A, E, R>, never, Scope.Scope | R> =>
  isOfStage(self) ? opened(self[made]) : Stream.toPull(self)

/** The scope is that of the stream's run. */
export const fromPull = <A, E, R, R2>(make: Make<A, E, R, R2>): Stream.Stream<A, E, R2 | Exclude<R, Scope.Scope>> =>
  Object.assign(Stream.fromPull(make), { [made]: make })

/** As `Stream.unwrap`. */
export const unwrapped = <A, E, R, E2, R2>(
  self: Effect.Effect<Stream.Stream<A, E, R>, E2, R2>
): Stream.Stream<A, E | E2, R | Exclude<R2, Scope.Scope>> =>
  fromPull(
    Effect.matchCauseEffect(self, {
      onFailure: (cause) => Effect.succeed(Effect.failCause(Cause.map(cause, Option.some<E | E2>))),
      onSuccess: (stream) => toPull<A, E | E2, R>(stream)
    })
  )
