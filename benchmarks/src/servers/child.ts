/** The server's side of `Server.ts`: answers its parent, and ends with it. */
import * as Effect from "effect/Effect"
import type { Listening, ServerStats } from "../Server.js"

export const serve = (listening: Listening, stats: Effect.Effect<Omit<ServerStats, "cpu">>): void => {
  process.on("message", () => {
    Effect.runPromise(stats).then((answer) => {
      const { system, user } = process.cpuUsage()
      process.send?.({ ...answer, cpu: user + system } satisfies ServerStats)
    })
  })
  process.on("disconnect", () => process.exit(0))
  process.send?.(listening)
}
