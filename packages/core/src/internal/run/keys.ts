/**
 * The keys that the user's functions make of a body: of `sequence`, of `share` and of `coalesce`. A function that throws, or answers with
 * what is no key, has failed on its message: without a key that would have no place, and nobody would know.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { type Delivery, inFlight, withBody } from "../../Delivery.js"
import * as Reason from "../../Reason.js"
import { onLoop } from "../observe/loopTime.js"
import { noKey } from "../userCode/answer.js"
import { attempt } from "../userCode/attempt.js"

type Key<in A> = (body: A) => string | undefined

/** As `Pipeline.ConcurrencyOptions` have them. */
interface Keys<in A> {
  readonly key?: string | Key<A> | undefined
  readonly sequence?: string | Key<A> | undefined
  readonly share?: { readonly key?: string | Key<A> | undefined } | undefined
}

/** What else a function answers with is no key. */
export const isKey = (answer: unknown): answer is string | number =>
  typeof answer === "string" || typeof answer === "number"

/** The key of a body that `keyed` has let pass. */
export const keyOf = <A>(key: Key<A>, body: A): string | undefined => {
  const found: unknown = attempt(() => key(body), undefined)
  return isKey(found) ? String(found) : undefined
}

/** What is wrong with the key that `option` gives a body, if anything. */
const wrong = <A>(option: string, key: Key<A>, body: A): Error | undefined => {
  try {
    const answer: unknown = key(body)
    return isKey(answer) || answer === undefined || answer === null ? undefined : noKey(answer, option)
  } catch (cause) {
    const message = `the function given as \`${option}\` threw ${Reason.of(cause)}; answer with a text, and with undefined for a body that has no key`
    return new Error(message, { cause })
  }
}

/** Makes failed deliveries of those whose keys cannot be told. */
export const keyed = <A, E, EX, RX>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  { key, sequence, share }: Keys<A>
): Stream.Stream<Delivery<A, E>, EX, RX> => {
  const of = <K>(option: string, key: K | Key<A>) => (typeof key === "function" ? [{ option, key: key as Key<A> }] : [])
  const keys = [...of("key", key), ...of("sequence", sequence), ...of("share.key", share?.key)]
  if (keys.length === 0) return self
  return Stream.map(self, (delivery) => {
    const { body } = delivery
    if (Exit.isFailure(body)) return delivery
    for (const { key, option } of keys) {
      const error = onLoop(inFlight(delivery), option, () => wrong(option, key, body.value))
      if (error !== undefined) return withBody(delivery, Exit.failCause(Cause.die(error)))
    }
    return delivery
  })
}
