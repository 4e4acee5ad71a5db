/** How stages take from a stream, and make one: by pulls. */
import type * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** Gives the next chunk; fails with none at the end. */
export type Pull<A, E, R = never> = Effect.Effect<Chunk.Chunk<A>, Option.Option<E>, R>

/** Opens a stream for as long as the scope lasts; what it gives may be run in any fiber. */
export const toPull = <A, E, R>(self: Stream.Stream<A, E, R>): Effect.Effect<Pull<A, E>, never, Scope.Scope | R> =>
  Effect.flatMap(Effect.context<R>(), (context) =>
    Effect.map(Stream.toPull(self), (pull) => Effect.provide(pull, context))
  )

/** The scope is that of the stream's run. */
export const fromPull = <A, E, R, R2>(
  make: Effect.Effect<Pull<A, E, R2>, never, Scope.Scope | R>
): Stream.Stream<A, E, R2 | Exclude<R, Scope.Scope>> => Stream.fromPull(make)
