/** Runs an example as its user does: a process of its own, from the sources. */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Effect } from "effect"
import { build, type Plugin } from "esbuild"
import { alias } from "../../../../vitest.shared.js"

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, "../../../..")

/** A program is one file, made once, with what it imports: to read all of that one by one takes each process seconds. */
const sources: Plugin = {
  name: "sources",
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: /^@millrace\// }, ({ path }) => {
      const known = alias.find(({ find }) => find.test(path))
      return known && { path: path.replace(known.find, known.replacement) }
    })
    // They find their files beside where they stand.
    onLoad({ filter: /\/packages\/\w+\/(src|test)\/.*\.ts$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href)),
      loader: "ts"
    }))
  }
}

const bundled = new Map<string, Promise<string>>()

/** Where modules find what is installed. */
const cache = join(root, "node_modules/.cache/millrace-examples")

const bundle = async (main: string): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [main],
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    // Packages that are no ES modules `require` what is Node's own.
    banner: { js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url)' },
    plugins: [sources],
    write: false
  })
  const contents = outputFiles[0]?.contents ?? new Uint8Array()
  const file = join(cache, `${createHash("sha256").update(contents).digest("hex")}.mjs`)
  // Another worker may run the same file: it is there whole or not at all.
  const draft = `${file}.${process.pid}`
  await mkdir(cache, { recursive: true })
  await writeFile(draft, contents)
  await rename(draft, file)
  return file
}

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
    Effect.promise(() => {
      const known = bundled.get(program) ?? bundle(mainOf(program))
      bundled.set(program, known)
      return known
    }),
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
