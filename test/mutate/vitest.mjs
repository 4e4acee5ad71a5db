/** Stands in for `@effect/vitest`: collects a file's tests, to be run many times over. */
import { JestAsymmetricMatchers, JestChaiExpect } from "@vitest/expect"
import * as chai from "chai"
import { Effect, TestContext } from "effect"

chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)

export const { assert, expect } = chai
export const tests = []
const names = []

export const describe = (name, body) => {
  names.push(name)
  body()
  names.pop()
}

export const it = (name, run) => tests.push({ name: [...names, name].join(" > "), run })

const each = (cases) => (name, body) => {
  for (const one of cases) describe(`${name} ${one}`, () => body(...[one].flat()))
}
describe.each = each

const inTestContext = (name, body) =>
  it(name, () => Effect.runPromise(Effect.scoped(body()).pipe(Effect.provide(TestContext.TestContext))))

it.effect = inTestContext
it.scoped = inTestContext
it.live = (name, body) => it(name, () => Effect.runPromise(Effect.scoped(body())))
