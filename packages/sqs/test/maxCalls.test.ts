/** How many calls are on the wire at once: never more, the first in line next, and no place is lost. */
import { assert, describe, it } from "@effect/vitest"
import { MaxCalls } from "../src/internal/wire/maxCalls.js"

const turn = () => new Promise<void>((resolve) => queueMicrotask(() => setImmediate(() => resolve())))

describe("a limit of calls", () => {
  it("begins so many, and the others one by one, in their order, as places come free", async () => {
    const limit = new MaxCalls(2)
    const begun: Array<string> = []
    const call = (name: string) => () => begun.push(name)
    const [a, b, c, d] = [call("a"), call("b"), call("c"), call("d")]
    for (const begin of [a, b, c, d]) limit.enter(begin)
    assert.deepStrictEqual([begun, limit.taken, limit.waiting], [["a", "b"], 2, 2])
    limit.leave(a)
    assert.deepStrictEqual(begun, ["a", "b"], "a turn later: the connection is not free yet")
    await turn()
    assert.deepStrictEqual([begun, limit.taken, limit.waiting], [["a", "b", "c"], 2, 1])
    limit.leave(b)
    await turn()
    assert.deepStrictEqual([begun.at(-1), limit.taken, limit.waiting], ["d", 2, 0])
    limit.leave(c)
    limit.leave(d)
    await turn()
    assert.strictEqual(limit.taken, 0)
    limit.enter(a)
    assert.deepStrictEqual([begun.at(-1), limit.taken], ["a", 1])
  })

  it("who leaves the line before its turn takes no place with it", async () => {
    const limit = new MaxCalls(1)
    const begun: Array<string> = []
    const call = (name: string) => () => begun.push(name)
    const [a, b, c] = [call("a"), call("b"), call("c")]
    for (const begin of [a, b, c]) limit.enter(begin)
    limit.leave(b)
    await turn()
    assert.deepStrictEqual([begun, limit.taken, limit.waiting], [["a"], 1, 1])
    limit.leave(a)
    await turn()
    assert.deepStrictEqual([begun, limit.taken, limit.waiting], [["a", "c"], 1, 0])
  })
})
