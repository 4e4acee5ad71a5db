/** Makes one file of a program of ours, for the tests that run it in a process of its own. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { join, relative } from "node:path"
import { pathToFileURL } from "node:url"
import { build, type Plugin } from "esbuild"
import { alias } from "../../vitest.shared.js"

const root = join(import.meta.dirname, "../..")

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

/** Where modules find what is installed. */
const cache = join(root, "node_modules/.cache/millrace-programs")

const bundle = async (main: string): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [main],
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    // Packages that are no ES modules `require` what is Node's own.
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url)'
    },
    plugins: [sources],
    write: false
  })
  const contents = outputFiles[0]?.contents ?? new Uint8Array()
  const file = join(cache, `${relative(root, main).replaceAll(/[\\/]/g, "-")}.mjs`)
  // Another worker may run the same file: it is there whole or not at all.
  const draft = `${file}.${process.pid}`
  await mkdir(cache, { recursive: true })
  await writeFile(draft, contents)
  await rename(draft, file)
  return file
}

const made = new Map<string, Promise<string>>()

/** The file that a program is in, to be run by Node. */
export const bundled = (main: string): Promise<string> => {
  const file = made.get(main) ?? bundle(main)
  made.set(main, file)
  return file
}
