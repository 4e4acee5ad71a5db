/** A value that holds for a part of a program: who runs within it, and what that forks, can read it. */
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"

export interface Local<in out A> {
  readonly get: Effect.Effect<A>
  readonly locally: <B, E, R>(self: Effect.Effect<B, E, R>, value: A) => Effect.Effect<B, E, R>
  readonly locallyWith: <B, E, R>(self: Effect.Effect<B, E, R>, f: (value: A) => A) => Effect.Effect<B, E, R>
}

/** `initial` holds where nothing else does. */
export const make = <A>(initial: A): Local<A> => {
  const ref = FiberRef.unsafeMake(initial)
  return {
    get: FiberRef.get(ref),
    locally: (self, value) => Effect.locally(self, ref, value),
    locallyWith: (self, f) => Effect.locallyWith(self, ref, f)
  }
}
