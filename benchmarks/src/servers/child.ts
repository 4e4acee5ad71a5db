/** The server's side of `Server.ts`: answers its parent, and ends with it. */
import type { Listening, ServerStats } from "../Server.js"

export const serve = (listening: Listening, stats: () => Omit<ServerStats, "cpu">): void => {
  process.on("message", () => {
    const { system, user } = process.cpuUsage()
    process.send?.({ ...stats(), cpu: user + system } satisfies ServerStats)
  })
  process.on("disconnect", () => process.exit(0))
  process.send?.(listening)
}
