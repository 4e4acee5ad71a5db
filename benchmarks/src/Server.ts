/** Servers in processes of their own, so that their work is not counted as the client's. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** What a server has done so far. */
export interface ServerStats {
  /** SQS calls, all together. */
  readonly calls: number
  readonly deleted: number
  /** CPU time of the server's process, in microseconds. */
  readonly cpu: number
}

export interface Server {
  readonly endpoint: string
  readonly queueUrl: string
  readonly stats: Effect.Effect<ServerStats>
}

/** What the server process tells its parent when it listens. */
export interface Listening {
  readonly endpoint: string
  readonly queueUrl: string
}

const answer = <A>(child: ChildProcess): Effect.Effect<A> =>
  Effect.async<A>((resume) => {
    const onMessage = (message: A) => {
      child.off("exit", onExit)
      resume(Effect.succeed(message))
    }
    const onExit = (code: number | null) => {
      child.off("message", onMessage)
      resume(Effect.dieMessage(`a benchmark's server ended with code ${code}`))
    }
    child.once("message", onMessage).once("exit", onExit)
  })

const start = (script: string, args: ReadonlyArray<string>): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(fileURLToPath(new URL(`./servers/${script}.js`, import.meta.url)), args, { execArgv: [] })
      ),
      (child) =>
        Effect.promise(async () => {
          if (child.exitCode !== null) return
          const ended = once(child, "exit")
          child.disconnect()
          await ended
        })
    )
    const { endpoint, queueUrl } = yield* answer<Listening>(child)
    return {
      endpoint,
      queueUrl,
      stats: Effect.suspend(() => {
        child.send("stats")
        return answer<ServerStats>(child)
      })
    }
  })

/** A server that does nothing but answer: an endless backlog, each call after `latency` milliseconds. */
export const noop = (latency = 0) => start("noop", [String(latency)])

/** The emulator over HTTP, with one queue. */
export const emulator = start("emulator", [])
