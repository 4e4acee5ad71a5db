/**
 * What a user's function answered with, where it had to be an Effect or a policy. The types see to it; plain JavaScript
 * calls us too, and an `async` handler would have run, with its promise taken for nothing. That is a defect of the
 * handler, and it says what to write.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { PolicyInput, RetryPolicy } from "../../RetryPolicy.js"

const isGenerator = (answer: unknown): boolean => Predicate.hasProperty(answer, Symbol.iterator) && "next" in answer

/** Of what kind it is, without its value. */
const kindOf = (answer: unknown): string =>
  answer === null || answer === undefined
    ? String(answer)
    : Array.isArray(answer)
      ? "an array"
      : `${typeof answer === "object" ? "an" : "a"} ${typeof answer}`

const notAnEffect = (answer: unknown, stage: string): Error => {
  if (Predicate.isPromiseLike(answer)) {
    // Nobody waits for it: its rejection must not end the process.
    answer.then(undefined, () => {})
    return new TypeError(
      `the handler of ${stage} returned a promise, which is not waited for: return an Effect, as with \`(body) => Effect.tryPromise(() => handle(body))\``
    )
  }
  if (isGenerator(answer)) {
    return new TypeError(
      `the handler of ${stage} returned a generator, which nobody runs: write \`(body) => Effect.gen(function* () { … })\``
    )
  }
  return new TypeError(
    `the handler of ${stage} returned ${kindOf(answer)} and no Effect: write \`(body) => Effect.sync(() => handle(body))\`, or \`Effect.tryPromise\` where it is asynchronous`
  )
}

/** The Effect, or a defect that says what to write in its place. `stage` names the function that took the handler. */
export const effectOf = <A, E, R>(answer: Effect.Effect<A, E, R>, stage: string): Effect.Effect<A, E, R> =>
  Effect.isEffect(answer) ? answer : Effect.die(notAnEffect(answer, stage))

/** The policy for a failure. Throws where the user's function does, or answers with none. */
export const policyOf = <F, D>(policy: PolicyInput<F, D>, failure: F, delivery: D): RetryPolicy<F> => {
  if (typeof policy !== "function") return policy
  const answer: unknown = policy(failure, delivery)
  if (isPolicy<F>(answer)) return answer
  throw new TypeError(
    `the function given as \`retry\` answered with ${Predicate.isPromiseLike(answer) ? "a promise" : kindOf(answer)} and no policy: answer with one of RetryPolicy, such as \`RetryPolicy.standard\``
  )
}

const isPolicy = <F>(answer: unknown): answer is RetryPolicy<F> =>
  Predicate.hasProperty(answer, "decide") && typeof answer.decide === "function"

/** What a function of the body answered with in place of a key. */
export const noKey = (answer: unknown, option: string): Error => {
  if (Predicate.isPromiseLike(answer)) answer.then(undefined, () => {})
  return new TypeError(
    `the function given as \`${option}\` answered with ${Predicate.isPromiseLike(answer) ? "a promise" : kindOf(answer)} and no key: answer with a text, or with undefined for a body that has none; find what is asynchronous in \`Pipeline.mapEffect\` first`
  )
}

/** What `fold` made of two bodies. */
export const foldedBody = <A>(answer: A): A => {
  if (!Predicate.isPromiseLike(answer)) return answer
  answer.then(undefined, () => {})
  throw new TypeError(
    "the function given as `fold` answered with a promise and no body: answer with the body itself, and do what is asynchronous in the handler, or in `Pipeline.mapEffect` first"
  )
}

/** Whether a predicate said yes. What is neither true nor false says nothing: taken for "no", its message would be deleted. */
export const saysYes = (answer: unknown, stage: string): boolean => {
  if (typeof answer === "boolean") return answer
  if (Predicate.isPromiseLike(answer)) answer.then(undefined, () => {})
  throw new TypeError(
    `the predicate of ${stage} answered with ${Predicate.isPromiseLike(answer) ? "a promise" : kindOf(answer)}, and not with true or false: return one of them, and ask what is asynchronous in \`Pipeline.mapEffect\``
  )
}

/** What a function took apart. A text is one thing, though JavaScript can go through its characters. */
export const itemsOf = <A>(answer: Iterable<A>, stage: string): ReadonlyArray<A> => {
  const given: unknown = answer
  if (typeof given === "object" && given !== null && Symbol.iterator in given) return Array.from(answer)
  if (Predicate.isPromiseLike(given)) given.then(undefined, () => {})
  throw new TypeError(
    `the function of ${stage} answered with ${Predicate.isPromiseLike(given) ? "a promise" : kindOf(given)} and no list: answer with an array or another iterable of parts, and find what is asynchronous in \`Pipeline.mapEffect\` first`
  )
}
