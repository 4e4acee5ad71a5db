/** A server of Node's that listens for as long as a scope is open. */
import type { Server } from "node:http"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Ends with the port that it listens at, or fails with what Node says. Open requests end with the scope. */
export const listen = (
  server: Server,
  options: { readonly host: string; readonly port: number }
): Effect.Effect<number, NodeJS.ErrnoException, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<number, NodeJS.ErrnoException>((resume) => {
      const onError = (error: NodeJS.ErrnoException) => resume(Effect.fail(error))
      server.once("error", onError)
      server.listen(options, () => {
        server.off("error", onError)
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : options.port))
      })
    }),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        // Long polls would hold up its end by their 20 seconds.
        server.closeAllConnections()
      })
  )
