/**
 * What every `IdempotencyStore` must do, as test cases for an implementation's own tests. No test framework is needed: a
 * case is a name and an Effect that fails with what went wrong.
 *
 * @example
 * import { it } from "@effect/vitest"
 *
 * for (const { effect, name } of StoreConformance.cases(harness)) it.scoped(name, () => effect)
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Begun, Known, Service } from "../IdempotencyStore.js"

/** A store, and what a test can do to it. Others may use it at the same time, with other keys. */
export interface Harness {
  readonly store: Service
  /** What each key of this case begins with, at most 64 bytes. Default: nothing. */
  readonly prefix?: string | undefined
  /** Lets time pass by the store's clock: `TestClock.adjust`, or `Effect.sleep` on a live clock. */
  readonly pass: (duration: Duration.Duration) => Effect.Effect<unknown>
  /** The shortest time that the store's clock, and the way to it, tell apart. Default: 1 second. */
  readonly unit?: Duration.DurationInput | undefined
}

export interface Case<E, R> {
  readonly name: string
  readonly effect: Effect.Effect<void, E, R>
}

/** The store does not do what the port promises. */
export class StoreConformanceError extends Data.TaggedError("StoreConformanceError")<{
  readonly expected: unknown
  readonly actual: unknown
  readonly message: string
}> {}

const show = (value: unknown): string => JSON.stringify(value) ?? String(value)

const equal = <A>(says: string, actual: A, expected: A) =>
  show(actual) === show(expected)
    ? Effect.void
    : Effect.fail(
        new StoreConformanceError({
          expected,
          actual,
          message: `${says}: expected ${show(expected)}, got ${show(actual)}`
        })
      )

/** In words, so that they compare. */
const said = (begun: Begun | undefined): string => {
  switch (begun?._tag) {
    case "Claimed":
      return "claimed"
    case "Busy":
      return `busy ${begun.fingerprint ?? "-"}`
    case "Done":
      return `done ${begun.fingerprint ?? "-"}: ${begun.result ?? "-"}`
    default:
      return "nothing"
  }
}

const known = (of: Option.Option<Known>): string => said(Option.getOrUndefined(of))

const toolkit = ({ pass, prefix = "", store, unit = "1 second" }: Harness) => {
  const one = Duration.decode(unit)
  const times = (n: number) => Duration.times(one, n)
  const only = <A>(results: ReadonlyArray<A>) => results[0]
  const key = (name: string) => `${prefix}${name}`
  return {
    store,
    key,
    times,
    pass: (units: number) => pass(times(units)),
    begin: (name: string, owner: string, units = 60, fingerprint?: string) =>
      Effect.map(store.begin([{ key: key(name), owner, holdFor: times(units), fingerprint }]), (all) =>
        said(only(all))
      ),
    extend: (name: string, owner: string, units: number) =>
      Effect.map(store.extend([{ key: key(name), owner, holdFor: times(units) }]), only),
    complete: (name: string, owner: string, result?: string, units = 60, fingerprint?: string) =>
      Effect.map(store.complete([{ key: key(name), owner, fingerprint, result, keepFor: times(units) }]), only),
    abandon: (name: string, owner: string) => store.abandon([{ key: key(name), owner }]),
    lookUp: (name: string) => Effect.map(store.lookUp(key(name)), known)
  }
}

type Toolkit = ReturnType<typeof toolkit>
type Body = (toolkit: Toolkit) => Effect.Effect<void, unknown>

/** Keys that a careless comparison takes for one another. */
const alike = [
  "k",
  "K",
  "k ",
  " k",
  "k\t",
  "ｋ",
  "k%",
  "k_",
  "k'",
  'k"',
  "k\\",
  "k#1",
  "é",
  "e\u0301",
  "ß",
  "ss",
  "🔑",
  "0",
  "00"
]

const bodies: Readonly<Record<string, Body>> = {
  "a key that nobody has is claimed, and held against others": ({ begin, lookUp }) =>
    Effect.gen(function* () {
      yield* equal("before", yield* lookUp("a"), "nothing")
      yield* equal("the first", yield* begin("a", "one", 60, "print"), "claimed")
      yield* equal("another", yield* begin("a", "two"), "busy print")
      yield* equal("looked up", yield* lookUp("a"), "busy print")
    }),

  "the same owner may begin again, since an answer may have been lost": ({ begin }) =>
    Effect.gen(function* () {
      yield* begin("a", "one")
      yield* equal("again", yield* begin("a", "one"), "claimed")
      yield* equal("another", yield* begin("a", "two"), "busy -")
    }),

  "a busy key says how long it is held": ({ begin, key, pass, store, times }) =>
    Effect.gen(function* () {
      yield* begin("a", "one", 60)
      yield* pass(2)
      const [begun] = yield* store.begin([{ key: key("a"), owner: "two", holdFor: times(60), fingerprint: undefined }])
      const endsIn = begun?._tag === "Busy" ? Duration.toMillis(begun.endsIn) / Duration.toMillis(times(1)) : -1
      yield* equal(`it ends in ${endsIn} of 58 units`, endsIn > 50 && endsIn <= 58.5, true)
    }),

  "a claim ends, and another may have the key then": ({ begin, lookUp, pass }) =>
    Effect.gen(function* () {
      yield* begin("a", "one", 2, "old")
      yield* pass(3)
      yield* equal("looked up", yield* lookUp("a"), "nothing")
      yield* equal("another", yield* begin("a", "two", 60, "new"), "claimed")
      yield* equal("the first", yield* begin("a", "one"), "busy new")
    }),

  "a claim that is extended holds, from then on": ({ begin, extend, pass }) =>
    Effect.gen(function* () {
      yield* begin("a", "one", 3)
      yield* pass(1)
      yield* equal("extended", yield* extend("a", "one", 6), true)
      yield* pass(4)
      yield* equal("another, after the first claim's time", yield* begin("a", "two"), "busy -")
      yield* pass(3)
      yield* equal("another, after the second's", yield* begin("a", "two"), "claimed")
    }),

  "only the claim's owner extends it": ({ begin, complete, extend, pass }) =>
    Effect.gen(function* () {
      yield* begin("a", "one", 2)
      yield* equal("another's", yield* extend("a", "two", 60), false)
      yield* equal("unknown", yield* extend("b", "one", 60), false)
      yield* pass(3)
      yield* begin("a", "two")
      yield* equal("taken over", yield* extend("a", "one", 60), false)
      yield* complete("a", "two")
      yield* equal("completed", yield* extend("a", "two", 60), false)
    }),

  "what is completed stays so, with its result": ({ begin, complete, lookUp }) =>
    Effect.gen(function* () {
      yield* begin("a", "one", 60, "print")
      yield* equal("completed", yield* complete("a", "one", '{"text":"ü 🔑 \'"}', 60, "print"), true)
      const done = 'done print: {"text":"ü 🔑 \'"}'
      yield* equal("another", yield* begin("a", "two", 60, "other"), done)
      yield* equal("its owner", yield* begin("a", "one"), done)
      yield* equal("looked up", yield* lookUp("a"), done)
    }),

  "no result, an empty one, and the longest": ({ complete, lookUp, store }) =>
    Effect.gen(function* () {
      const long = "x".repeat(Math.min(store.limits.resultBytes, 300_000))
      yield* complete("none", "one", undefined)
      yield* complete("empty", "one", "")
      yield* equal("the longest", yield* complete("long", "one", long), true)
      yield* equal("none", yield* lookUp("none"), "done -: -")
      yield* equal("empty", yield* lookUp("empty"), "done -: ")
      yield* equal("the longest", (yield* lookUp("long")).length, long.length + "done -: ".length)
    }),

  "completing again is no error for its owner, and refused to others": ({ begin, complete, lookUp }) =>
    Effect.gen(function* () {
      yield* begin("a", "one")
      yield* complete("a", "one", "1")
      yield* equal("its owner", yield* complete("a", "one", "1"), true)
      yield* equal("another", yield* complete("a", "two", "2"), false)
      yield* equal("what is kept", yield* lookUp("a"), "done -: 1")
    }),

  "a claim that is over may still be completed, unless another has the key": ({ begin, complete, lookUp, pass }) =>
    Effect.gen(function* () {
      yield* begin("a", "one", 2)
      yield* begin("b", "one", 2)
      yield* pass(3)
      yield* equal("nobody's", yield* complete("a", "one", "1"), true)
      yield* begin("b", "two", 60)
      yield* equal("another's", yield* complete("b", "one", "1"), false)
      yield* equal("it is still the other's", yield* lookUp("b"), "busy -")
      yield* equal("what nobody has begun", yield* complete("c", "one", "1"), true)
    }),

  "what is completed is forgotten when its time is over": ({ begin, complete, lookUp, pass }) =>
    Effect.gen(function* () {
      yield* begin("a", "one")
      yield* complete("a", "one", "1", 2)
      yield* pass(3)
      yield* equal("looked up", yield* lookUp("a"), "nothing")
      yield* equal("another", yield* begin("a", "two"), "claimed")
      yield* complete("b", "one", "1", 2)
      yield* pass(3)
      yield* equal("completed by another", yield* complete("b", "two", "2"), true)
      yield* equal("what is kept", yield* lookUp("b"), "done -: 2")
    }),

  "an abandoned key is free at once": ({ abandon, begin, lookUp }) =>
    Effect.gen(function* () {
      yield* begin("a", "one")
      yield* abandon("a", "one")
      yield* equal("looked up", yield* lookUp("a"), "nothing")
      yield* equal("another", yield* begin("a", "two"), "claimed")
    }),

  "only its owner abandons a claim, and what is completed stays": ({ abandon, begin, complete, lookUp }) =>
    Effect.gen(function* () {
      yield* begin("a", "one")
      yield* abandon("a", "two")
      yield* equal("another's", yield* lookUp("a"), "busy -")
      yield* complete("a", "one", "1")
      yield* abandon("a", "one")
      yield* equal("completed", yield* lookUp("a"), "done -: 1")
      yield* abandon("unknown", "one")
    }),

  "keys that are not the same bytes are not the same": ({ begin, complete, lookUp }) =>
    Effect.gen(function* () {
      const keys = [...alike, "k".repeat(440), `${"k".repeat(439)}K`]
      for (const [i, name] of keys.entries()) {
        yield* equal(`the key ${show(name)}`, yield* begin(name, `${i}`), "claimed")
        yield* complete(name, `${i}`, `${i}`)
      }
      for (const [i, name] of keys.entries()) yield* equal(`the key ${show(name)}`, yield* lookUp(name), `done -: ${i}`)
    }),

  "many at once: each entry has its own result, in the order of the entries": ({
    begin,
    complete,
    key,
    store,
    times
  }) =>
    Effect.gen(function* () {
      const count = store.limits.batchSize
      const names = Array.from({ length: count }, (_, i) => `${(i * 7) % 11}-${i}`)
      const expected: Array<string> = []
      for (const [i, name] of names.entries()) {
        if (i % 3 === 1) yield* begin(name, "other", 60, `${i}`)
        if (i % 3 === 2) yield* complete(name, "other", `result ${i}`)
        expected.push(["claimed", `busy ${i}`, `done -: result ${i}`][i % 3] ?? "")
      }
      const entries = names.map((name) => ({ key: key(name), owner: "one" }))
      const begun = yield* store.begin(
        entries.map((entry) => ({ ...entry, holdFor: times(60), fingerprint: undefined }))
      )
      yield* equal("begun", begun.map(said), expected)
      const mine = names.map((_, i) => i % 3 === 0)
      yield* equal("extended", yield* store.extend(entries.map((entry) => ({ ...entry, holdFor: times(60) }))), mine)
      const complete1 = entries.map((entry) => ({ ...entry, fingerprint: undefined, result: "1", keepFor: times(60) }))
      yield* equal("completed", yield* store.complete(complete1), mine)
      yield* store.abandon(entries)
      const now = yield* Effect.forEach(entries, (entry) => Effect.map(store.lookUp(entry.key), known))
      yield* equal(
        "in the end",
        now,
        expected.map((said, i) => (i % 3 === 0 ? "done -: 1" : said))
      )
    }),

  "nothing asked, nothing answered": ({ store }) =>
    Effect.gen(function* () {
      yield* equal("begun", yield* store.begin([]), [])
      yield* equal("extended", yield* store.extend([]), [])
      yield* equal("completed", yield* store.complete([]), [])
      yield* store.abandon([])
    }),

  "of many who begin a key at the same moment one has it": ({ begin, pass }) =>
    Effect.gen(function* () {
      const race = (units: number) =>
        Effect.forEach(
          Array.from({ length: 20 }, (_, i) => `${units} ${i}`),
          (owner) => begin("a", owner, units),
          { concurrency: "unbounded" }
        )
      const claims = (all: ReadonlyArray<string>) => all.filter((each) => each === "claimed").length
      yield* equal("of a key that nobody has", claims(yield* race(2)), 1)
      yield* pass(3)
      yield* equal("of a claim that is over", claims(yield* race(60)), 1)
    }),

  "many at once in any order end, and each key has one owner": ({ key, store, times }) =>
    Effect.gen(function* () {
      const count = Math.min(10, store.limits.batchSize)
      const names = Array.from({ length: count }, (_, i) => key(`${i}`))
      const owners = Array.from({ length: 12 }, (_, i) => `owner ${i}`)
      const all = yield* Effect.forEach(
        owners,
        (owner, i) => {
          const turned = [...names.slice(i % count), ...names.slice(0, i % count)]
          const inOrder = i % 2 === 0 ? turned : turned.toReversed()
          return Effect.map(
            store.begin(inOrder.map((name) => ({ key: name, owner, holdFor: times(60), fingerprint: undefined }))),
            (begun) => begun.filter(({ _tag }) => _tag === "Claimed").length
          )
        },
        { concurrency: "unbounded" }
      )
      yield* equal(
        "claims",
        all.reduce((sum, each) => sum + each, 0),
        count
      )
    })
}

/** The cases, one harness each. On a live clock each takes some seven of the harness's units. */
export const cases = <E, R>(
  harness: Effect.Effect<Harness, E, R>
): ReadonlyArray<Case<unknown, Exclude<R, Scope.Scope>>> =>
  Object.entries(bodies).map(([name, body], i) => ({
    name,
    effect: harness.pipe(
      Effect.flatMap((made) => body(toolkit({ ...made, prefix: `${made.prefix ?? ""}${i}/` }))),
      Effect.scoped
    )
  }))
