/** Stands in for `vitest` and `@effect/vitest`: collects a file's tests, to be run many times over. */
import { JestAsymmetricMatchers, JestChaiExpect } from "@vitest/expect"
import * as chai from "chai"
import { Effect, TestContext } from "effect"

chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)

export const { assert, expect } = chai
export const tests = []
const names = []

const eachOf = (f) => (cases) => (name, body) => {
  for (const one of cases) f(`${name} ${[one].flat()[0]}`, () => body(...[one].flat()))
}

export const describe = (name, body) => {
  names.push(name)
  body()
  names.pop()
}
describe.each = eachOf(describe)

const kind = (runs) => {
  const add = (name, ...given) => {
    const body = given.find((one) => typeof one === "function")
    tests.push({ name: [...names, name].join(" > "), run: () => runs(body) })
  }
  add.each = eachOf(add)
  add.skipIf = (isSkipped) => (isSkipped ? () => {} : add)
  return add
}

const inTestContext = (body) => Effect.runPromise(Effect.scoped(body()).pipe(Effect.provide(TestContext.TestContext)))
const live = (body) => Effect.runPromise(Effect.scoped(body()))

export const it = Object.assign(
  kind((body) => body()),
  { effect: kind(inTestContext), scoped: kind(inTestContext), live: kind(live), scopedLive: kind(live) }
)

export const beforeAll = (run) => run()
export const afterAll = () => {}

/** Types are the compiler's: here such a line says nothing. */
const says = new Proxy(() => says, { get: () => says })
export const expectTypeOf = () => says

export const vi = {
  waitFor: async (holds) => {
    for (;;) {
      try {
        return holds()
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }
}
