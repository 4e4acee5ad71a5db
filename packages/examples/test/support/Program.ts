/** Runs an example as its user does: a process of its own, from the sources. */
import { spawn } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { bundled } from "../../../../test/support/bundle.js"

const here = dirname(fileURLToPath(import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Called with all of stdout so far; a signal it answers with is sent to the process, once. */
  readonly signalOn?: ((stdout: string) => NodeJS.Signals | undefined) | undefined
}

/** The program's folder, in `src` or, from a `.`, beside this file. */
const mainOf = (program: string) =>
  join(here, program.startsWith(".") ? program : join("../../src", program), "main.ts")

export const run = (program: string, args: ReadonlyArray<string>, options: RunOptions = {}): Effect.Effect<Ended> =>
  Effect.flatMap(
    Effect.promise(() => bundled(mainOf(program))),
    (main) => runs(main, args, options)
  )

const runs = (main: string, args: ReadonlyArray<string>, options: RunOptions): Effect.Effect<Ended> =>
  Effect.async((resume) => {
    const { AWS_PROFILE: _, ...env } = process.env
    const child = spawn(process.execPath, [main, ...args], {
      env: {
        ...env,
        AWS_EC2_METADATA_DISABLED: "true",
        AWS_CONFIG_FILE: "/dev/null",
        AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
        ...options.env
      },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    let signalled = false
    child.stdout.on("data", (chunk) => {
      stdout += chunk
      const signal = signalled ? undefined : options.signalOn?.(stdout)
      if (signal !== undefined) {
        signalled = true
        child.kill(signal)
      }
    })
    child.stderr.on("data", (chunk) => {
      stderr += chunk
    })
    child.on("close", (code) => resume(Effect.succeed({ code, stdout, stderr })))
    return Effect.sync(() => {
      child.kill("SIGKILL")
    })
  })
