/** The process's environment as a test wants it, and as it was before when the scope closes. */
import { Effect } from "effect"

/** `undefined` takes a variable away. */
export const set = (values: Readonly<Record<string, string | undefined>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = Object.keys(values).map((name) => [name, process.env[name]] as const)
      put(Object.entries(values))
      return before
    }),
    (before) => Effect.sync(() => put(before))
  )

const put = (values: ReadonlyArray<readonly [string, string | undefined]>) => {
  for (const [name, value] of values) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}
